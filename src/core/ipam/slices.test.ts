import assert from "node:assert/strict";
import { test } from "node:test";
import { seedAssignment } from "../../../test/support/seed-cluster.ts";
import { type AgentOverlay, type Assignment, slicesOf } from "../../model/cluster.ts";
import { cidr } from "../../model/ip.ts";
import { assignmentSchema } from "../../model/schemas.ts";
import { containerHalves } from "./lease.ts";
import { commonPart } from "./slices.ts";

const BEFORE = seedAssignment(1);
const FURTHER = { subnet: cidr("9.0.7.0/24") };

function withDcos(delta: Partial<AgentOverlay>, from = BEFORE): Assignment {
  const overlays = from.agent.overlays.map((each) => (each.info.name === "dcos" ? { ...each, ...delta } : each));
  return { ...from, agent: { ...from.agent, overlays } };
}

test("until a new assignment is programmed, addresses are given of what both have, as the new one says it is", () => {
  const grown = withDcos({ more: [FURTHER] });
  assert.deepEqual(commonPart(grown, BEFORE)?.agent.overlays.map(slicesOf), BEFORE.agent.overlays.map(slicesOf));
  const drained = withDcos({ more: [{ ...FURTHER, draining: true }] });
  const common = commonPart(drained, grown);
  assert.ok(common !== undefined);
  assert.deepEqual(containerHalves(common, "dcos")[4], ["9.0.1.0/25", "9.0.1.128/25"], "no more of what is draining");
  assert.deepEqual(commonPart(BEFORE, grown)?.agent.overlays.map(slicesOf), BEFORE.agent.overlays.map(slicesOf));
  const replaced = commonPart(withDcos({ ...FURTHER, more: [] }), BEFORE);
  assert.deepEqual(
    replaced?.agent.overlays.map(({ info }) => info.name),
    ["dcos6"],
    "nothing of a network that has no slice in common",
  );
  const elsewhere = { ...BEFORE, agent: { ...BEFORE.agent, id: "another" } };
  assert.equal(commonPart(elsewhere, BEFORE), undefined);
});

test("an assignment of the version before loads as it is, and one with slices comes back whole", () => {
  const old = {
    agent: {
      id: "agent-1",
      ip: "10.0.0.11",
      hostname: "host1",
      backend: { vni: 1024, vtepName: "vtep1024", vtepIp: "44.128.0.2/20", vtepMac: "70:b3:d5:80:00:02" },
      overlays: [
        {
          info: { name: "dcos", subnet: "9.0.0.0/8", prefix: 24, enabled: true },
          subnet: "9.0.1.0/24",
          mesosBridge: { name: "m-dcos", ip: "9.0.1.0/25" },
          dockerBridge: { name: "d-dcos", ip: "9.0.1.128/25" },
        },
      ],
    },
    overlaySubnets: ["9.0.0.0/8"],
    vtepSubnets: ["44.128.0.0/20"],
    enableIpv6: true,
  };
  assert.deepEqual(assignmentSchema.parse(old), old);
  const grown = { ...withDcos({ more: [FURTHER], draining: true }), elastic: { threshold: 0.8 } };
  assert.deepEqual(assignmentSchema.parse(JSON.parse(JSON.stringify(grown))), grown);
});
