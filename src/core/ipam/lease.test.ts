import assert from "node:assert/strict";
import { test } from "node:test";
import { SEED_ATTACHMENT, seedAssignment } from "../../../test/support/seed-cluster.ts";
import type { Assignment, Slice } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { cidr, type Ip, ip } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import { attachmentOf, containerHalves, halfOf, isStranded, leaseOf, pickAddresses, refuseDraining } from "./lease.ts";
import { Ledger } from "./ledger.ts";

const WHO = {
  containerId: "c9",
  ifname: "eth0",
  network: "dcos",
  netns: "/run/netns/c9",
  netnsId: "boot-1:9",
  requestId: "r9",
  runtime: "podman",
  since: "2026-11-21T08:00:00Z",
};
const NOTHING = { ips: [], extras: {} };
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

function addresses(assignment: Assignment, network: string, ips: readonly Ip[] = [], ledger = new Ledger([], [], 0)) {
  return pickAddresses({ who: { ...WHO, network }, ips }, assignment, { ledger, now: 0 }).map(({ address }) => address);
}

function refused(call: () => unknown, code: string, message: RegExp): void {
  assert.throws(call, (error) => error instanceof Fault && error.code === code && message.test(error.message));
}

// printf 'c9\\0eth0' | sha256sum
test("an attachment of each kind of network", () => {
  const four = addresses(AGENT1, "dcos");
  assert.deepEqual(attachmentOf({ who: WHO, ...NOTHING }, four, []), {
    ...WHO,
    hostIfname: "weftb21de23a8f",
    mac: "02:57:09:00:01:02",
    ip: "9.0.1.2",
    state: "pending",
  });
  assert.deepEqual(addresses(DUAL, "both"), ["9.0.1.2", "fd01:b::1:0:0:2"]);
  const six = attachmentOf({ who: WHO, ...NOTHING }, addresses(AGENT1, "dcos6"), []);
  assert.deepEqual([six.ip, six.ip6], [undefined, "fd01:b::1:0:0:2"]);
  assert.match(six.mac, /^02:58:/);
  assert.deepEqual(leaseOf({ who: WHO, ...NOTHING }, four), { ...WHO, ip: "9.0.1.2", state: "pending" });
});

test("names differ by container and by interface", () => {
  const names = (["c1", "c2"] as const).flatMap((containerId) =>
    ["eth0", "eth1"].map(
      (ifname) => attachmentOf({ who: { ...WHO, containerId, ifname }, ...NOTHING }, [], []).hostIfname,
    ),
  );
  assert.equal(new Set(names).size, 4);
  for (const name of names) assert.match(name, /^weft[0-9a-f]{10}$/);
});

test("an interface's rank is its number, and free among the interfaces of its namespace", () => {
  const rankOf = (ifname: string, ...taken: (number | undefined)[]) => {
    const others = taken.map((rank, i) => ({
      ...SEED_ATTACHMENT,
      netnsId: WHO.netnsId,
      ifname: `other${i}`,
      ...(rank === undefined ? {} : { rank }),
    }));
    return attachmentOf({ who: { ...WHO, ifname }, ...NOTHING }, [], others).rank;
  };
  assert.deepEqual(
    [rankOf("eth0"), rankOf("eth1"), rankOf("net12"), rankOf("lan"), rankOf("lan", undefined), rankOf("eth1", 0, 1, 2)],
    [undefined, 1, 12, undefined, 1, 3],
  );
});

test("a MAC that is asked for is given, unless another container of the network has it", () => {
  const wanted = mac("02:00:00:00:00:07");
  assert.equal(attachmentOf({ who: WHO, ...NOTHING, mac: wanted }, [], []).mac, wanted);
  const twin = { ...SEED_ATTACHMENT, mac: wanted };
  refused(
    () => attachmentOf({ who: WHO, ...NOTHING, mac: wanted }, [], [twin]),
    "address-taken",
    /the MAC 02:00:00:00:00:07 is that of container c1 on network dcos/,
  );
  attachmentOf({ who: { ...WHO, network: "dcos-1" }, ...NOTHING, mac: wanted }, [], [twin]);
});

test("an address that is asked for is given, from either half; what cannot be had says why", () => {
  assert.deepEqual(addresses(AGENT1, "dcos", [ip("9.0.1.77")]), ["9.0.1.77"]);
  assert.deepEqual(addresses(AGENT1, "dcos", [ip("9.0.1.200")]), ["9.0.1.200"]);
  for (const outside of ["9.0.2.7", "9.0.1.0", "9.0.1.1", "9.0.1.127", "9.0.1.128", "9.0.1.129", "9.0.1.255"])
    refused(
      () => addresses(AGENT1, "dcos", [ip(outside)]),
      "bad-request",
      /is no address that this host gives on network dcos; it has 9\.0\.1\.0\/25 and 9\.0\.1\.128\/25/,
    );
  refused(() => addresses(AGENT1, "dcos", [ip("fd01:b::7")]), "bad-request", /network dcos has no IPv6 on this host/);
  const held = new Ledger([], [SEED_ATTACHMENT], 0);
  refused(
    () => addresses(AGENT1, "dcos", [ip("9.0.1.2")], held),
    "address-taken",
    /9\.0\.1\.2 is held by container c1 \(eth0 on network dcos\)/,
  );
});

test("with strict halves nothing is borrowed; a full network says how full which range is", () => {
  const [dcos] = AGENT1.agent.overlays;
  assert(dcos !== undefined);
  const withHalves = (strictHalves: boolean): Assignment => ({
    ...AGENT1,
    agent: {
      ...AGENT1.agent,
      overlays: [
        {
          ...dcos,
          info: { ...dcos.info, strictHalves },
          mesosBridge: { name: "m-dcos", ip: cidr("9.0.1.0/30") },
          dockerBridge: { name: "d-dcos", ip: cidr("9.0.1.4/30") },
        },
      ],
    },
  });
  const held = (...texts: string[]) =>
    new Ledger(
      [],
      texts.map((text) => ({ ...SEED_ATTACHMENT, containerId: text, ip: ip(text) })),
      0,
    );
  assert.deepEqual(addresses(withHalves(false), "dcos", [], held("9.0.1.2")), ["9.0.1.6"]);
  refused(
    () => addresses(withHalves(true), "dcos", [], held("9.0.1.2")),
    "exhausted",
    /^agent 10\.0\.0\.11: network dcos has no free address in 9\.0\.1\.0\/30 \(1 of 1 leased\); remove/,
  );
  refused(
    () => addresses(withHalves(false), "dcos", [], held("9.0.1.2", "9.0.1.6")),
    "exhausted",
    /in 9\.0\.1\.0\/30 \(1 of 1 leased\) and 9\.0\.1\.4\/30 \(1 of 1 leased\); remove/,
  );
});

test("IPv6 that the cluster turned off is not leased", () => {
  assert.deepEqual(addresses({ ...DUAL, enableIpv6: false }, "both"), ["9.0.1.2"]);
});

test("a network that is not there names those that are", () => {
  const table: [Assignment, string, RegExp][] = [
    [AGENT1, "nope", /^agent 10\.0\.0\.11 knows no network nope; it has dcos, dcos6$/],
    [{ ...AGENT1, agent: { ...AGENT1.agent, overlays: [] } }, "dcos", /it has none$/],
    [seedAssignment(0), "dcos", /^agent 10\.0\.0\.10 has no addresses of network dcos for containers/],
    [{ ...AGENT1, enableIpv6: false }, "dcos6", /has no addresses of network dcos6/],
  ];
  for (const [assignment, network, message] of table)
    refused(() => addresses(assignment, network), "unknown-network", message);
});

/** Agent 1 with a second slice of dcos, as `more` says it. */
function withMore(more: Slice, strictHalves = false): Assignment {
  const overlays = AGENT1.agent.overlays.map((each) =>
    each.info.name === "dcos" ? { ...each, info: { ...each.info, strictHalves }, more: [more] } : each,
  );
  return { ...AGENT1, agent: { ...AGENT1.agent, overlays } };
}

test("slices are filled in their order, both halves of each, and nothing of one that is draining", () => {
  const more = { subnet: cidr("9.0.7.0/24") };
  assert.deepEqual(containerHalves(withMore(more), "dcos"), {
    4: ["9.0.1.0/25", "9.0.1.128/25", "9.0.7.0/25", "9.0.7.128/25"],
  });
  assert.deepEqual(containerHalves(withMore(more, true), "dcos"), { 4: ["9.0.1.0/25", "9.0.7.0/25"] });
  const lone = containerHalves(withMore(more), "dcos", "lone");
  assert.deepEqual(lone, { 4: ["9.0.1.0/25", "9.0.1.128/25"] }, "other plugins know one subnet");
  const draining = withMore({ ...more, draining: true });
  assert.deepEqual(containerHalves(draining, "dcos"), { 4: ["9.0.1.0/25", "9.0.1.128/25"] });
  assert.equal(halfOf(draining, "dcos", ip("9.0.7.200")), "9.0.7.128/25", "what is there has its gateway");
  refused(() => addresses(draining, "dcos", [ip("9.0.7.5")]), "bad-request", /9\.0\.7\.5 is no address/);
  assert.deepEqual(addresses(withMore(more), "dcos", [ip("9.0.7.5")]), ["9.0.7.5"]);
});

test("a network that drains gives no addresses, and one that is unknown here is not its business", () => {
  const { agent, ...rest } = DUAL;
  const overlays = agent.overlays.map((overlay) => ({
    ...overlay,
    info: { ...overlay.info, phase: "draining" as const },
  }));
  const draining = { ...rest, agent: { ...agent, overlays } };
  const name = agent.overlays[0]?.info.name ?? "";
  assert.ok(containerHalves(DUAL, name), "it does before");
  assert.throws(() => containerHalves(draining, name), { code: "forbidden", message: /is draining/ });
  assert.throws(() => refuseDraining(draining, name), { code: "forbidden" });
  refuseDraining(draining, "nobody's");
});

test("a container is stranded when its slice is gone, and not where the cluster says that this host hosts its address", () => {
  const own = SEED_ATTACHMENT;
  const away = { ...own, ip: ip("9.0.2.77") };
  assert.equal(isStranded(own, AGENT1), false);
  assert.equal(isStranded(away, AGENT1), true);
  const reservations = [{ network: "dcos", name: "web", addresses: [ip("9.0.1.2"), away.ip] }];
  assert.equal(isStranded(own, { ...AGENT1, reservations }), false, "of its own slice");
  assert.equal(isStranded(away, { ...AGENT1, reservations }), true, "it is hosted nowhere, or elsewhere");
  const claim = { network: "dcos", name: "web", address: away.ip, revision: 1 };
  const hosting = { ...AGENT1, reservations, hosted: [claim] };
  assert.equal(isStranded(away, hosting), false);
  assert.equal(isStranded(away, { ...hosting, hosted: [{ ...claim, network: "dcos6" }] }), true, "another network's");
  assert.equal(isStranded({ ...away, network: "gone" }, hosting), true, "its network was removed");
});
