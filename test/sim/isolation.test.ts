/**
 * Who reaches whom, with packets followed through whole clusters on fake kernels: every pair of networks, both families,
 * and each end by itself, with the other end's rules taken away.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { formatHostState } from "../../src/core/host/format.ts";
import { EMPTY_HOST_STATE, type NftChain } from "../../src/core/host/host-state.ts";
import { type Attachment, addressesOf } from "../../src/model/attachment.ts";
import { gatewayOf } from "../../src/model/half.ts";
import { addressOf, type Family, familyOf, type Ip } from "../../src/model/ip.ts";
import { type Isolation, mayTalk } from "../../src/model/isolation.ts";
import { PREFIXES_COMPARED_MAX } from "../../src/model/limits.ts";
import type { Overlay } from "../../src/model/network.ts";
import { type ClusterShape, INTERNET } from "../support/cluster.ts";
import { type Trace, trace } from "../support/packet-tracer.ts";
import { mustApply, SimCluster, type SimHost } from "../support/sim-cluster.ts";

type Rules = Pick<Overlay, "isolation" | "egress">;
type Ends = "both" | "sender" | "receiver" | "neither";

/** Networks by place; more of them than are compared one by one, where `many`. */
const TABLE: readonly Rules[] = [
  {},
  { isolation: "closed" },
  { isolation: { allow: ["net0", "net3"] } },
  { isolation: { allow: ["net0", "net2", "net1"] } },
  { egress: "none" },
  { egress: "routed" },
  { isolation: "closed", egress: "none" },
  { isolation: { allow: ["net4"] }, egress: "none" },
];

function shapeOf(rules: readonly Rules[], more: Partial<ClusterShape> = {}): ClusterShape {
  const containers = TABLE.map((_, place) => place);
  return {
    overlays: rules.map(() => [4, 6]),
    rules,
    hosts: [
      { bridges: true, containers: [...containers, 0, 1, 6] },
      { bridges: true, containers },
    ],
    underlay: 4,
    ingressForward: true,
    enableIpv6: true,
    ...more,
  };
}

function padded(rules: readonly Rules[]): readonly Rules[] {
  return [...rules, ...Array.from({ length: PREFIXES_COMPARED_MAX }, (): Rules => ({ isolation: "closed" }))];
}

/** Takes one end's rules off all hosts, as if it had never heard of them. */
function disarm(cluster: SimCluster, ends: Ends): void {
  for (const { kernel } of cluster.hosts)
    for (const table of kernel.namespace.tables.values()) {
      if (table.family === "netdev" && (ends === "receiver" || ends === "neither"))
        for (const [name, chain] of table.chains) table.chains.set(name, ungated(chain));
      if (table.family !== "netdev" && (ends === "sender" || ends === "neither")) table.chains.delete("forward");
    }
}

function ungated(chain: NftChain): NftChain {
  const plain = (name: string): string => name.replace(/^(leased[46])-.*/, "$1");
  const rules = chain.rules.map((rule) =>
    rule.map((part) => (part.kind === "jump" ? { ...part, chain: plain(part.chain) } : part)),
  );
  return { ...chain, rules };
}

function told({ arrived, place, src, hops, reason }: Trace): string {
  return [`${arrived ? `arrived at ${place} from ${src}` : `died at ${place}: ${reason}`}`, ...hops].join("\n  ");
}

function ofFamily(attachment: Attachment, family: Family): Ip {
  return addressesOf(attachment).find((address) => familyOf(address) === family) as Ip;
}

function rulesIn(cluster: SimCluster, name: string) {
  const rules = cluster.hosts[0]?.context.assignment.networks?.find((each) => each.name === name);
  assert.ok(rules !== undefined);
  return rules;
}

function everyPair(
  cluster: SimCluster,
  check: (from: Attachment, to: Attachment, family: Family, host: SimHost) => void,
): void {
  for (const host of cluster.hosts)
    for (const from of host.attachments)
      for (const to of cluster.hosts.flatMap(({ attachments }) => attachments))
        for (const family of [4, 6] as const) if (from !== to) check(from, to, family, host);
}

for (const [what, rules] of [
  ["few networks, compared one by one", TABLE],
  ["many networks, looked up in maps", padded(TABLE)],
] as const)
  for (const ends of ["both", "sender", "receiver", "neither"] as const)
    test(`${what}: containers reach whom both sides let in (rules at: ${ends})`, async () => {
      const cluster = await SimCluster.start(shapeOf(rules));
      disarm(cluster, ends);
      let refused = 0;
      everyPair(cluster, (from, to, family) => {
        const found = trace(cluster.world(), from.containerId, ofFamily(to, family), ofFamily(from, family));
        const may = ends === "neither" || mayTalk(rulesIn(cluster, from.network), rulesIn(cluster, to.network));
        assert.equal(found.arrived, may, `${from.network} → ${to.network}: ${told(found)}`);
        if (!may) refused += 1;
        if (!may && ends !== "receiver") assert.match(found.reason ?? "", /^netdev weft weft/, told(found));
        if (!may && ends === "receiver") assert.match(found.reason ?? "", /^ip6? weft forward: drop$/, told(found));
      });
      assert.equal(refused > 0, ends !== "neither");
    });

test("the outside: with the host's address, with the container's own, or not at all", async () => {
  const cluster = await SimCluster.start(shapeOf(TABLE));
  for (const host of cluster.hosts)
    for (const from of host.attachments)
      for (const family of [4, 6] as const) {
        const own = ofFamily(from, family);
        const found = trace(cluster.world(), from.containerId, INTERNET[family], own);
        const { egress } = rulesIn(cluster, from.network);
        assert.equal(found.arrived, egress !== "none", told(found));
        if (egress === "none") assert.match(found.reason ?? "", /^netdev weft weft/, told(found));
        else assert.equal(found.src === own, egress === "routed", told(found));
      }
});

test("egress none holds against what comes in as well, also where the sender's end forgot it", async () => {
  for (const ends of ["both", "receiver", "neither"] as const) {
    const cluster = await SimCluster.start(shapeOf(TABLE));
    disarm(cluster, ends);
    // The outside knows the way to routed networks, and tries it to others.
    const [host] = cluster.hosts as [SimHost];
    for (const to of host.attachments) {
      const port = to.ports?.[0]?.hostPort ?? 0;
      const asked = { protocol: "tcp", sport: 40_000, dport: port } as const;
      const { ip } = host.context.assignment.agent;
      const found = trace(cluster.world(), "internet", ip, INTERNET[4], asked);
      const isCut = rulesIn(cluster, to.network).egress === "none" && ends !== "neither";
      assert.equal(found.arrived, !isCut, `${to.network}, rules at ${ends}: ${told(found)}`);
    }
  }
});

test("nodes: reached unless the network's egress is none; its own gateway and the VTEPs always are", async () => {
  for (const ingressForward of [true, false]) {
    const cluster = await SimCluster.start(shapeOf(TABLE, { ingressForward }));
    for (const host of cluster.hosts)
      for (const from of host.attachments)
        for (const node of cluster.hosts) {
          const { ip, backend, overlays } = node.context.assignment.agent;
          const { egress } = rulesIn(cluster, from.network);
          const found = trace(cluster.world(), from.containerId, ip, from.ip);
          assert.equal(found.arrived, egress !== "none", `${from.network} → ${node.name}: ${told(found)}`);
          const vtep = trace(cluster.world(), from.containerId, addressOf(backend.vtepIp), from.ip);
          assert.ok(vtep.arrived, told(vtep));
          for (const { info, mesosBridge } of node === host ? overlays : []) {
            const gateway = mesosBridge?.ip && gatewayOf(mesosBridge.ip);
            const may = mayTalk(rulesIn(cluster, from.network), rulesIn(cluster, info.name));
            const there = trace(cluster.world(), from.containerId, gateway as Ip, from.ip);
            assert.equal(there.arrived, may, `${from.network} → gateway of ${info.name}: ${told(there)}`);
          }
        }
  }
});

test("a published port is no way around: who may not talk is refused, the outside and nodes are let in", async () => {
  for (const ends of ["both", "neither"] as const) {
    const cluster = await SimCluster.start(shapeOf(TABLE));
    disarm(cluster, ends);
    for (const host of cluster.hosts) {
      const { ip } = host.context.assignment.agent;
      for (const to of host.attachments) {
        const dport = to.ports?.[0]?.hostPort ?? 0;
        const target = rulesIn(cluster, to.network);
        for (const from of cluster.hosts.flatMap(({ attachments }) => attachments)) {
          const sender = rulesIn(cluster, from.network);
          const way = { protocol: "tcp", sport: 40_000, dport } as const;
          const found = trace(cluster.world(), from.containerId, ip, from.ip, way);
          const may = ends === "neither" || (mayTalk(sender, target) && sender.egress !== "none");
          assert.equal(found.arrived, may, `${from.network} → ${to.network} at ${host.name}: ${told(found)}`);
        }
        if (target.egress === "none") continue;
        const found = trace(cluster.world(), "internet", ip, INTERNET[4], { protocol: "tcp", sport: 4, dport });
        assert.ok(found.arrived, told(found));
      }
    }
  }
});

test("hosts reach all containers, whatever their networks say", async () => {
  const cluster = await SimCluster.start(shapeOf(TABLE));
  for (const node of cluster.hosts)
    for (const to of cluster.hosts.flatMap(({ attachments }) => attachments))
      for (const family of [4, 6] as const) {
        const found = trace(cluster.world(), node.name, ofFamily(to, family));
        assert.ok(found.arrived, told(found));
      }
});

// ---- changes -----------------------------------------------------------------------------------------------------

const isolation = (places: number): fc.Arbitrary<Isolation | undefined> =>
  fc.oneof(
    fc.constant(undefined),
    fc.constant("closed" as const),
    fc.uniqueArray(fc.nat(places - 1), { maxLength: 4 }).map((allow) => ({ allow: allow.map((n) => `net${n}`) })),
  );
const anyRules = (places: number): fc.Arbitrary<readonly Rules[]> =>
  fc.array(
    fc
      .record({ isolation: isolation(places), egress: fc.constantFrom(undefined, undefined, "routed", "none") })
      .map((each) => Object.fromEntries(Object.entries(each).filter(([, value]) => value !== undefined)) as Rules),
    { minLength: places, maxLength: places },
  );

async function tablesOf({ kernel }: SimHost): Promise<string> {
  return formatHostState({ ...EMPTY_HOST_STATE, tables: (await kernel.observe([])).tables });
}

/** The shapes of two configurations that differ in their rules alone. */
const anyChange = fc
  .constantFrom(3, 12)
  .chain((places) => fc.tuple(anyRules(places), anyRules(places)))
  .map((both) => both.map((rules) => shapeOf(rules, { hosts: [{ bridges: true, containers: [0, 1, 2] }] })));

/** As a policy that was turned around by where it stood in a list: what is refused may not depend on order or number. */
test("any rules in any order of networks refuse whom they say, at each end", async () => {
  const anyOrder = anyRules(12).chain((rules) =>
    fc.tuple(fc.constant(rules), fc.shuffledSubarray(rules.map((_, i) => i))),
  );
  await fc.assert(
    fc.asyncProperty(anyOrder, fc.constantFrom<Ends>("sender", "receiver"), async ([rules, order], ends) => {
      const hosts = [
        { bridges: true, containers: [0, 5, 11] },
        { bridges: true, containers: [0, 1, 7] },
      ];
      const cluster = await SimCluster.start(shapeOf(rules, { hosts, networkOrder: order }));
      disarm(cluster, ends);
      everyPair(cluster, (from, to, family) => {
        const found = trace(cluster.world(), from.containerId, ofFamily(to, family), ofFamily(from, family));
        const may = mayTalk(rulesIn(cluster, from.network), rulesIn(cluster, to.network));
        assert.equal(found.arrived, may, `${from.network} → ${to.network}: ${told(found)}`);
      });
    }),
    { numRuns: 25 },
  );
});

test("any rules, any others after them: one transaction of nftables, and a second pass finds nothing to do", async () => {
  await fc.assert(
    fc.asyncProperty(anyChange, async ([before, after]) => {
      assert.ok(before !== undefined && after !== undefined);
      const cluster = await SimCluster.start(before);
      const [host] = cluster.hosts as [SimHost];
      const [changed] = (await SimCluster.start(after)).hosts as [SimHost];
      const next = { ...host, context: changed.context };
      const ops = await cluster.opsOf(next, []);
      assert.ok(
        ops.every(({ op }) => op.startsWith("nft.")),
        JSON.stringify(ops.map(({ op }) => op)),
      );
      await mustApply(host.kernel, ops);
      assert.deepEqual(await cluster.opsOf(next, []), []);
      assert.equal(await tablesOf(host), await tablesOf(changed), "as on a host that never was another");
    }),
    { numRuns: 40 },
  );
});
