import assert from "node:assert/strict";
import { test } from "node:test";
import { peerOf, seedAgent, seedContext } from "../../../test/support/seed-cluster.ts";
import type { Peer } from "../../model/cluster.ts";
import type { Hosting } from "../../model/hosting.ts";
import { cidr, ip } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import { admitPeers } from "./admission.ts";

const context = seedContext(1);
const good = peerOf(seedAgent(2));

function refusedPeers(change: Partial<Peer>): string {
  const { peers, problems } = admitPeers([peerOf(seedAgent(0)), { ...good, ...change }], context);
  assert.ok(
    peers.some(({ id }) => id === "agent-0"),
    "the other peer is served",
  );
  return problems.map(({ id, problem }) => `${id}: ${problem}`).join("; ");
}

test("peers as the master gives them are all believed", () => {
  assert.equal(refusedPeers({}), "");
});

test("a peer that would hurt others, or that no packet can reach, is left out with the reason", () => {
  const rows: [Partial<Peer>, RegExp][] = [
    [{ ip: ip("fd00::12") }, /not of the family of this host's 10\.0\.0\.11/],
    [{ ip: ip("10.0.0.11") }, /10\.0\.0\.11 is taken by this host/],
    [{ ip: ip("10.0.0.10") }, /10\.0\.0\.10 is taken by peer agent-0/],
    [{ ip: ip("9.0.7.7") }, /lies inside the network that the tunnel carries/],
    [{ ip: ip("44.128.0.9") }, /lies inside the network that the tunnel carries/],
    [{ vtepIp: ip("44.128.0.2") }, /taken by this host/],
    [{ vtepIp: ip("44.128.0.1") }, /taken by peer agent-0/],
    [{ vtepIp: ip("8.8.8.8") }, /lies in no VTEP subnet/],
    [{ vtepIp6: ip("fd05::3") }, /lies in no VTEP subnet/],
    [{ vtepMac: mac("70:b3:d5:80:00:02") }, /taken by this host/],
    [{ vtepMac: mac("00:00:00:00:00:00") }, /no unicast address/],
    [{ vtepMac: mac("01:00:5e:00:00:01") }, /no unicast address/],
  ];
  for (const [change, problem] of rows) assert.match(refusedPeers(change), problem);
});

test("a subnet that is wrong is left out alone", () => {
  const rows: [string, RegExp][] = [
    ["0.0.0.0/0", /lies in no overlay/],
    ["10.0.0.0/24", /lies in no overlay/],
    ["9.0.1.128/26", /overlaps this host's own/],
    ["9.0.0.0/24", /taken by peer agent-0/],
  ];
  for (const [text, problem] of rows) {
    assert.match(refusedPeers({ subnets: [cidr(text), cidr("9.0.2.0/24")] }), problem);
    const { peers } = admitPeers(
      [peerOf(seedAgent(0)), { ...good, subnets: [cidr(text), cidr("9.0.2.0/24")] }],
      context,
    );
    assert.deepEqual(peers[1]?.subnets, ["9.0.2.0/24"]);
  }
  const { vtepIp6: _, ...without6 } = good;
  const { problems } = admitPeers([without6], context);
  assert.match(problems[0]?.problem ?? "", /no IPv6 VTEP address/);
});

test("who keeps what two peers claim does not depend on the order in which they came", () => {
  const rival = { ...good, id: "agent-1000", ip: ip("10.0.0.99") };
  for (const peers of [
    [good, rival],
    [rival, good],
  ])
    assert.deepEqual(
      admitPeers(peers, context).peers.map(({ id }) => id),
      ["agent-1000"],
    );
});

test("what a peer hosts of this host's slice and of others is a route, as far as the cluster's newest word says so", () => {
  // Of this host's slice, of a third one's, of its own, and in no overlay.
  const addresses = ["9.0.1.77", "9.0.7.5", "9.0.2.9", "8.8.8.8"].map((text) => ip(text));
  const hosted = addresses.map((address) => ({ address, revision: 3 }));
  const subnetsWith = (revision: number, agentId = good.id): string => {
    const hosting: Hosting = new Map(addresses.map((address) => [address, { agentId, revision }]));
    const { peers, problems } = admitPeers([{ ...good, hosted }], { ...context, hosting });
    assert.deepEqual(problems, []);
    return (peers[0]?.subnets ?? []).filter((subnet) => !good.subnets.includes(subnet)).join();
  };
  assert.equal(subnetsWith(3), "9.0.1.77/32,9.0.7.5/32");
  assert.equal(subnetsWith(4), "", "an older word");
  assert.equal(subnetsWith(3, "agent-0"), "", "another's");
  assert.deepEqual(admitPeers([{ ...good, hosted }], context).peers[0]?.subnets, good.subnets, "nobody reserved them");
});
