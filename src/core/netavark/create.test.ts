import assert from "node:assert/strict";
import { test } from "node:test";
import { rigAssignment } from "../../../test/support/attach-rig.ts";
import { CREATE } from "../../../test/support/netavark-messages.ts";
import type { AgentOverlay } from "../../model/cluster.ts";
import type { Problems } from "../../model/foreign-json.ts";
import { cidr } from "../../model/ip.ts";
import { createdNetwork, type KnownNetwork } from "./create.ts";
import { readAskedNetwork } from "./network.ts";

const both = rigAssignment().agent.overlays.find(({ info }) => info.name === "both") as AgentOverlay;
const KNOWN: KnownNetwork = { overlay: both, enableIpv6: true, socketPath: "/run/weft/agent.sock" };
const V4 = { subnet: "10.8.0.0/16", gateway: "10.8.0.1" };
const V6 = { subnet: "fd01:c::/64", gateway: "fd01:c::1" };

function create(more: object, known: Partial<KnownNetwork> = {}) {
  const problems: Problems = [];
  const asked = readAskedNetwork({ ...JSON.parse(CREATE), ...more }, problems);
  assert.deepEqual(problems, []);
  return createdNetwork(asked, { ...KNOWN, ...known });
}

test("the network comes back with what is true of it, and the rest as it came", () => {
  assert.deepEqual(create({ labels: { a: "b" }, later: 7 }), {
    ...JSON.parse(CREATE),
    labels: { a: "b" },
    later: 7,
    subnets: [V4, V6],
    ipv6_enabled: true,
    dns_enabled: false,
    options: { "weft.network": "both", "weft.socket": "/run/weft/agent.sock" },
    ipam_options: { driver: "weft" },
  });
  assert.deepEqual(create(create({})), create({}), "as it was made it is taken again");
});

test("all address spaces are told; one that this host has no slice of has no gateway here", () => {
  const more = [{ subnet: cidr("10.9.0.0/16"), prefix: 24 }];
  const { subnets } = create({}, { overlay: { ...both, info: { ...both.info, more } } });
  assert.deepEqual(subnets, [V4, V6, { subnet: "10.9.0.0/16" }]);
});

test("where containers get no IPv6 there is none", () => {
  const { subnets, ipv6_enabled } = create({}, { enableIpv6: false });
  assert.deepEqual([subnets, ipv6_enabled], [[V4], false]);
  assert.throws(
    () => create({ ipv6_enabled: true }, { enableIpv6: false }),
    /ipv6_enabled: it has no IPv6 on this host/,
  );
  assert.equal(create({ ipv6_enabled: true }).ipv6_enabled, true);
});

test("a network that does not reach the outside is internal, whether that was asked for or not", () => {
  const shut = { overlay: { ...both, info: { ...both.info, egress: "none" as const } } };
  for (const internal of [true, false]) assert.equal(create({ internal }, shut).internal, true);
  assert.throws(() => create({ internal: true }), /internal: .*weft network set both --egress none/);
});

test("a subnet or a gateway that is not the cluster's is refused, its own are taken", () => {
  assert.deepEqual(create({ subnets: [V6, { subnet: "10.8.0.0/16" }] }).subnets, [V4, V6]);
  const wrong = [{ subnet: "10.8.0.0/24" }, { ...V4, gateway: "10.8.0.254" }];
  assert.throws(
    () => create({ subnets: wrong }),
    /both cannot be had as asked: subnets\[0\]\.subnet: 10\.8\.0\.0\/24 is not both's, which has 10\.8\.0\.0\/16, fd01:c::\/64; leave --subnet out; subnets\[1\]\.gateway: 10\.8\.0\.254 is not this host's, which is 10\.8\.0\.1/,
  );
});
