import assert from "node:assert/strict";
import { test } from "node:test";
import { SEED_ATTACHMENT, seedAssignment } from "../../../test/support/seed-cluster.ts";
import type { Attachment } from "../../model/attachment.ts";
import type { Assignment } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { cidr, ip } from "../../model/ip.ts";
import { lease } from "./lease.ts";

const REQUEST = {
  containerId: "c9",
  ifname: "eth0",
  network: "dcos",
  netns: "/run/netns/c9",
  netnsId: "4:9",
  requestId: "r9",
  runtime: "podman",
  since: "2026-11-21T08:00:00Z",
};
const AGENT1 = seedAssignment(1);

/** Agent 1 with a dual-stack network. */
const DUAL: Assignment = {
  ...AGENT1,
  agent: {
    ...AGENT1.agent,
    overlays: [
      {
        info: { name: "both", subnet: cidr("9.0.0.0/8"), subnet6: cidr("fd01:b::/64"), enabled: true },
        mesosBridge: { name: "m-both", ip: cidr("9.0.1.0/25"), ip6: cidr("fd01:b:0:0:1::/81") },
      },
    ],
  },
};

// printf 'c9\\0eth0' | sha256sum
test("a lease of each kind of network", () => {
  assert.deepEqual(lease(REQUEST, AGENT1, [], new Map()), {
    ...REQUEST,
    hostIfname: "weftb21de23a8f",
    mac: "02:57:09:00:01:02",
    ip: "9.0.1.2",
    state: "pending",
  });
  const both = lease({ ...REQUEST, network: "both" }, DUAL, [], new Map());
  assert.deepEqual([both.ip, both.ip6, both.mac], ["9.0.1.2", "fd01:b::1:0:0:2", "02:57:09:00:01:02"]);
  const six = lease({ ...REQUEST, network: "dcos6" }, AGENT1, [], new Map());
  assert.deepEqual([six.ip, six.ip6], [undefined, "fd01:b::1:0:0:2"]);
  assert.match(six.mac, /^02:58:/);
});

test("names differ by container and by interface", () => {
  const names = (["c1", "c2"] as const).flatMap((containerId) =>
    ["eth0", "eth1"].map((ifname) => lease({ ...REQUEST, containerId, ifname }, AGENT1, [], new Map()).hostIfname),
  );
  assert.equal(new Set(names).size, 4);
  for (const name of names) assert.match(name, /^weft[0-9a-f]{10}$/);
});

test("pending ones hold their addresses too, and the newest lease counts as last where none is known", () => {
  const held = (address: string): Attachment => ({ ...SEED_ATTACHMENT, ip: ip(address), state: "pending" });
  assert.equal(lease(REQUEST, AGENT1, [held("9.0.1.2")], new Map()).ip, "9.0.1.3");
  assert.equal(lease(REQUEST, AGENT1, [held("9.0.1.2"), held("9.0.1.40")], new Map()).ip, "9.0.1.41");
  assert.equal(lease(REQUEST, AGENT1, [], new Map([[cidr("9.0.1.0/25"), ip("9.0.1.77")]])).ip, "9.0.1.78");
});

test("IPv6 that the cluster turned off is not leased", () => {
  assert.equal(lease({ ...REQUEST, network: "both" }, { ...DUAL, enableIpv6: false }, [], new Map()).ip6, undefined);
});

test("a network that is not there names those that are", () => {
  const table: [Assignment, string, RegExp][] = [
    [AGENT1, "nope", /^agent 10\.0\.0\.11 knows no network nope; it has dcos, dcos6$/],
    [{ ...AGENT1, agent: { ...AGENT1.agent, overlays: [] } }, "dcos", /it has none$/],
    [seedAssignment(0), "dcos", /^agent 10\.0\.0\.10 has no addresses of network dcos for containers/],
    [{ ...AGENT1, enableIpv6: false }, "dcos6", /has no addresses of network dcos6/],
  ];
  for (const [assignment, network, message] of table)
    assert.throws(
      () => lease({ ...REQUEST, network }, assignment, [], new Map()),
      (error) => error instanceof Fault && error.code === "unknown-network" && message.test(error.message),
    );
});
