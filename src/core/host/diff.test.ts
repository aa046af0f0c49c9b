/**
 * The laws of the diff, on the states that hosts really have (clusters made at random) and on damage done to them; and
 * the order and the restraint that single cases need.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { anyShape, clusterHosts } from "../../../test/support/cluster.ts";
import { BARE_HOST, peerOf, SEED_ATTACHMENT, seedInput } from "../../../test/support/seed-cluster.ts";
import { FakeMachine } from "../../io/kernel/fake-kernel.ts";
import type { Peer } from "../../model/cluster.ts";
import { cidr, familyOf, ip, ipInterface, nthSubnet } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import { desiredHost, type OverlayInput, peerOps, sysctlPaths } from "../overlay/desired.ts";
import { diff } from "./diff.ts";
import { formatHostState } from "./format.ts";
import { EMPTY_HOST_STATE, type HostState, type KernelOp, type Link, type NftTable, type Rule } from "./host-state.ts";
import { ownsNftRule } from "./ownership.ts";

/** One host of a random cluster, with its peers. */
const anyInput = fc.tuple(anyShape, fc.nat()).map(([shape, pick]): OverlayInput => {
  const hosts = clusterHosts(shape);
  const self = hosts[pick % hosts.length] ?? assert.fail("a cluster has hosts");
  const peers = hosts.filter((host) => host !== self).map(({ context }) => peerOf(context.assignment.agent));
  return { ...self.context, attachments: self.attachments, peers, observed: EMPTY_HOST_STATE };
});

/** Another firewall, as Docker makes it. */
const FILTER: NftTable = {
  family: "ip",
  name: "filter",
  maps: [],
  chains: [
    { name: "DOCKER-USER", rules: [[{ kind: "counter" }, { kind: "return" }]] },
    {
      name: "FORWARD",
      hook: { type: "filter", hook: "forward", priority: 0, policy: "drop" },
      rules: [[{ kind: "counter" }, { kind: "jump", chain: "DOCKER-USER" }]],
    },
  ],
};
const FOREIGN: readonly Link[] = [
  { kind: "bridge", name: "docker0", up: true, mtu: 1500, mac: mac("02:42:00:00:00:01") },
  {
    kind: "vxlan",
    name: "flannel.1",
    up: true,
    mtu: 1450,
    mac: mac("02:42:00:00:00:02"),
    vni: 1,
    port: 8472,
    learning: true,
  },
];

/** A machine with an underlay, devices of other people, and a namespace for every container that there may be. */
function machineFor(...inputs: OverlayInput[]): FakeMachine {
  const machine = new FakeMachine();
  const kernel = machine.kernel();
  kernel.addDevice("eth0", ["10.0.0.1/16", "fd00::1/64"]);
  assert.deepEqual(kernel.applyNow([{ op: "nft.table.replace", table: FILTER }]), []);
  for (const link of FOREIGN) machine.root.addLink({ link: { ...link, mtu: link.mtu ?? 1500 } }, "0");
  machine.root.addresses.push({ dev: "docker0", address: ipInterface("172.17.0.1/16") });
  machine.root.neighbors.set("docker0 x", { dev: "docker0", ip: ip("172.17.0.9"), mac: mac("02:42:00:00:00:09") });
  const paths = inputs.flatMap(({ attachments }) => attachments.map(({ netns }) => netns));
  for (const path of new Set(paths)) machine.newNetns(path);
  return machine;
}

async function pass(machine: FakeMachine, input: OverlayInput): Promise<KernelOp[]> {
  const kernel = machine.kernel();
  const observed = await kernel.observe(sysctlPaths(input));
  const ops = diff(observed, desiredHost({ ...input, observed }));
  const failures = await kernel.apply(ops);
  assert.deepEqual(
    failures.map(({ error }) => error.message),
    [],
  );
  return ops;
}

test("a state differs from itself in nothing", () => {
  fc.assert(
    fc.property(anyInput, (input) => {
      const state = desiredHost({ ...input, observed: BARE_HOST });
      assert.deepEqual(diff(state, state), []);
    }),
  );
});

test("from any host to any other, in one pass; the second finds nothing, and other people's things are untouched", async () => {
  await fc.assert(
    fc.asyncProperty(anyInput, anyInput, async (first, second) => {
      const machine = machineFor(first, second);
      const before = await foreign(machine);
      for (const input of [first, second, first]) {
        await pass(machine, input);
        assert.deepEqual(await pass(machine, input), []);
      }
      assert.deepEqual(await foreign(machine), before);
    }),
    { numRuns: 60 },
  );
});

async function foreign(machine: FakeMachine): Promise<unknown> {
  const state = await machine.kernel().observe([]);
  const chains = [...(machine.root.tables.get("ip filter")?.chains.values() ?? [])];
  const names = ["lo", "eth0", ...FOREIGN.map(({ name }) => name)];
  return [
    state.links.filter(({ name }) => names.includes(name)),
    state.addresses.filter(({ dev }) => names.includes(dev)),
    state.neighbors.filter(({ dev }) => names.includes(dev)),
    chains.map((chain) => ({ ...chain, rules: chain.rules.filter((rule) => !ownsNftRule(rule)) })),
  ];
}

/** What somebody may do to a host behind our back; refusals are fine. */
const anyDamage = fc.array(fc.tuple(fc.nat(), fc.nat(8)), { minLength: 1, maxLength: 6 });

function damage(state: HostState, picks: readonly (readonly [number, number])[]): KernelOp[] {
  const ours = state.links.filter(({ alias }) => alias?.startsWith("weft"));
  const pick = <T>(list: readonly T[], n: number): T | undefined => list[n % Math.max(list.length, 1)];
  return picks.flatMap(([n, kind]): KernelOp[] => {
    const link = pick(ours, n);
    const address = pick(
      state.addresses.filter(({ dev }) => ours.some(({ name }) => name === dev)),
      n,
    );
    const route = pick(state.routes, n);
    const neighbor = pick(state.neighbors, n);
    const table = pick(state.tables, n);
    if (link === undefined) return [];
    const stranger = { dev: link.name, address: ipInterface(`7.${n % 250}.0.1/24`) };
    const damages: readonly (KernelOp | undefined)[] = [
      { op: "link.delete", name: link.name },
      { op: "link.set", name: link.name, up: false },
      { op: "link.set", name: link.name, mac: mac("02:00:00:00:00:77"), mtu: 1300 },
      address && { op: "address.delete", address },
      { op: "address.replace", address: stranger },
      route && { op: "route.delete", route },
      neighbor && { op: "neighbor.delete", neighbor },
      table && { op: "nft.table.delete", family: table.family, name: table.name },
      { op: "nft.chain.replace", family: "ip", table: "filter", chain: { name: "DOCKER-USER", rules: [] } },
    ];
    const chosen = damages[kind];
    return chosen === undefined ? [] : [chosen];
  });
}

test("whatever is done to a host of ours, one pass repairs", async () => {
  await fc.assert(
    fc.asyncProperty(anyInput, anyDamage, async (input, picks) => {
      const machine = machineFor(input);
      await pass(machine, input);
      const healthy = machine.kernel().dump();
      await machine.kernel().apply(damage(await machine.kernel().observe([]), picks));
      await pass(machine, input);
      assert.equal(withoutChosenMacs(machine.kernel().dump()), withoutChosenMacs(healthy));
      assert.deepEqual(await pass(machine, input), []);
    }),
    { numRuns: 200 },
  );
});

/** The kernel chooses the MAC of a bridge anew. */
function withoutChosenMacs(text: string): string {
  return text.replace(/^(link \S+ bridge) address \S+ mtu \d+/gm, "$1");
}

test("one peer that came, changed or left: the same end as a whole pass", async () => {
  await fc.assert(
    fc.asyncProperty(anyInput, fc.nat(), async (input, pick) => {
      const peers = input.peers ?? [];
      const peer = peers[pick % Math.max(peers.length, 1)];
      if (peer === undefined) return;
      const rest = peers.filter((each) => each !== peer);
      const free = input.assignment.overlaySubnets.map((p) => nthSubnet(p, familyOf(p) === 4 ? 24 : 80, 250n));
      const elsewhere = { ...peer, ip: ip(familyOf(peer.ip) === 6 ? "fd00::ffff" : "10.0.255.255") };
      const { vtepIp6: _, ...only4 } = { ...peer, vtepIp: ip("44.128.7.7"), vtepMac: mac("70:b3:d5:80:07:07") };
      const wrong = { ...peer, vtepIp: ip("7.7.7.7") };
      const others = [undefined, elsewhere, { ...elsewhere, subnets: free }, { ...only4, subnets: free }, wrong];
      for (const other of others)
        for (const [before, after] of [
          [peer, other],
          [other, peer],
        ]) {
          const machine = machineFor(input);
          await pass(machine, { ...input, peers: [...rest, ...(before ? [before] : [])] });
          assert.deepEqual(await machine.kernel().apply(peerOps(listOf(before), listOf(after), input)), []);
          const fresh = machineFor(input);
          await pass(fresh, { ...input, peers: [...rest, ...(after ? [after] : [])] });
          assert.equal(machine.kernel().dump(), fresh.kernel().dump());
        }
    }),
    { numRuns: 40 },
  );
});

test("all peers at once: the same end as a whole pass", async () => {
  await fc.assert(
    fc.asyncProperty(anyInput, async (input) => {
      const peers = input.peers ?? [];
      const kept = peers.filter((_, n) => n % 3 > 0);
      for (const [before, after] of [
        [[], peers],
        [peers, []],
        [peers, kept],
      ] as const) {
        const machine = machineFor(input);
        await pass(machine, { ...input, peers: before });
        assert.deepEqual(await machine.kernel().apply(peerOps(before, after, input)), []);
        const fresh = machineFor(input);
        await pass(fresh, { ...input, peers: after });
        assert.equal(machine.kernel().dump(), fresh.kernel().dump());
      }
    }),
    { numRuns: 40 },
  );
});

const listOf = (peer: Peer | undefined) => (peer === undefined ? [] : [peer]);

const VTEP = desiredHost(seedInput(1)).links.find(({ name }) => name === "vtep1024") as Extract<
  Link,
  { kind: "vxlan" }
>;

function linksOnly(...links: Link[]): HostState {
  return { ...EMPTY_HOST_STATE, links };
}

function names(ops: readonly KernelOp[]): string[] {
  return ops.map((op) => op.op);
}

test("a device of ours with another VNI, port, local address or kind is made anew; MTU, MAC, alias are set", () => {
  const anew: Link[] = [
    { ...VTEP, vni: 7 },
    { ...VTEP, port: 4789 },
    { ...VTEP, local: ip("10.0.0.99") },
    { ...VTEP, learning: true },
    { kind: "bridge", name: VTEP.name, up: true, alias: "weft" },
  ];
  for (const old of anew)
    assert.deepEqual(names(diff(linksOnly(old), linksOnly(VTEP))), ["link.delete", "link.add", "link.set"]);
  const old = { ...VTEP, mtu: 1300, mac: mac("02:00:00:00:00:01"), up: false };
  assert.deepEqual(diff(linksOnly(old), linksOnly(VTEP)), [
    { op: "link.set", name: "vtep1024", mtu: 1450, mac: VTEP.mac, up: true },
  ]);
});

test("somebody else's device under our name is not deleted, gets nothing of ours, and the refusal shows it", () => {
  const { alias: _, ...theirs } = { ...VTEP, vni: 7 };
  const observed = { ...linksOnly(theirs), addresses: [{ dev: VTEP.name, address: ipInterface("1.2.3.4/8") }] };
  const ops = diff({ ...observed, sysctls: BARE_HOST.sysctls }, desiredHost(seedInput(0)));
  assert.ok(!names(ops).includes("link.delete") && !names(ops).includes("address.delete"));
  const onTheirs = ops.filter((op) => JSON.stringify(op).includes('"dev":"vtep1024"'));
  assert.deepEqual(onTheirs, []);
  assert.deepEqual(
    ops.filter((op) => op.op.startsWith("link.")),
    [{ op: "link.add", link: VTEP && { ...desiredHost(seedInput(0)).links[0] } }],
  );
});

test("what the kernel drops with an address or a MAC that changes is written again in the same pass", async () => {
  const input = { ...seedInput(1), attachments: [SEED_ATTACHMENT] };
  const { agent } = input.assignment;
  const renumbered = {
    ...input,
    assignment: {
      ...input.assignment,
      agent: {
        ...agent,
        backend: { ...agent.backend, vtepMac: mac("70:b3:d5:80:09:09"), vtepIp: ipInterface("44.128.9.9/20") },
      },
    },
  };
  const machine = machineFor(input);
  await pass(machine, input);
  await pass(machine, renumbered);
  assert.deepEqual(await pass(machine, renumbered), []);

  // Somebody's address came first to the prefix of ours, which lives as long as that one.
  const vtep = "vtep1024";
  const ours = machine.root.addresses.findIndex(({ dev }) => dev === vtep);
  machine.root.addresses.splice(ours, 0, { dev: vtep, address: ipInterface("44.128.1.1/20") });
  await pass(machine, renumbered);
  assert.deepEqual(await pass(machine, renumbered), []);
});

test("a device without our alias but otherwise as desired is taken over", () => {
  const { alias: _, ...unmarked } = VTEP;
  assert.deepEqual(diff(linksOnly(unmarked), linksOnly(VTEP)), [{ op: "link.set", name: "vtep1024", alias: "weft" }]);
});

test("router advertisements are kept before forwarding is switched on", () => {
  const ops = diff(BARE_HOST, desiredHost(seedInput(1)));
  const paths = ops.flatMap((op) => (op.op === "sysctl.set" ? [op.sysctl.path] : []));
  const forwarding = paths.indexOf("net/ipv6/conf/all/forwarding");
  assert.ok(paths.indexOf("net/ipv6/conf/eth0/accept_ra") < forwarding);
  assert.ok(paths.indexOf("net/ipv6/conf/default/accept_ra") < forwarding);
  assert.ok(forwarding >= 0);
});

test("a new device has its sysctls before it is raised", () => {
  const ops = diff(BARE_HOST, desiredHost({ ...seedInput(1), attachments: [SEED_ATTACHMENT] }));
  const text = ops.map((op) => JSON.stringify(op));
  const added = text.findIndex((op) => op.includes("link.add") && op.includes(SEED_ATTACHMENT.hostIfname));
  assert.match(text[added + 1] ?? "", /accept_ra/);
  assert.match(text[added + 2] ?? "", /disable_ipv6/);
  assert.match(text[added + 3] ?? "", /ipv4.*forwarding/);
  assert.match(text[added + 4] ?? "", /"link.set".*"up":true/);
});

test("routes over a device that nobody speaks of stay: one attachment does not clear another's", () => {
  const route = { dst: cidr("0.0.0.0/0"), table: 254, metric: 0, type: "unicast", dev: "eth0" } as const;
  const observed = { ...linksOnly({ kind: "veth", name: "eth0", up: true }), routes: [route] };
  assert.deepEqual(diff(observed, EMPTY_HOST_STATE), []);
  const spokenOf = linksOnly({ kind: "veth", name: "eth0", up: true });
  assert.deepEqual(diff(observed, spokenOf), [{ op: "route.delete", route }]);
});

test("a rule that leads to another interface's table stays; one to the same table, or on a host, does not", () => {
  const rule = (src: string, table: number): Rule => ({ src: cidr(src), table, priority: 32_087 });
  const [other, stale, mine, host] = [
    rule("9.0.1.9/32", 871),
    rule("9.0.1.8/32", 872),
    rule("9.0.1.2/32", 872),
    rule("9.0.0.0/8", 42),
  ];
  const observed = { ...EMPTY_HOST_STATE, rules: [other, stale, host] };
  assert.deepEqual(diff(observed, { ...EMPTY_HOST_STATE, rules: [mine] }), [
    { op: "rule.delete", rule: stale },
    { op: "rule.delete", rule: host },
    { op: "rule.add", rule: mine },
  ]);
});

test("an element that changed its value is deleted before it is added", () => {
  const table = (vtep: string): HostState => ({
    ...EMPTY_HOST_STATE,
    tables: [
      {
        family: "netdev",
        name: "weft",
        chains: [],
        maps: [{ name: "nodes4", type: "ipv4_addr : ipv4_addr", elements: [[ip("10.0.0.12"), ip(vtep)]] }],
      },
    ],
  });
  assert.deepEqual(names(diff(table("44.128.0.3"), table("44.128.0.4"))), ["nft.elements.delete", "nft.elements.add"]);
});

test("ten thousand peers are compared in a fraction of a second", () => {
  const peers = Array.from({ length: 10_000 }, (_, i) => {
    const low = `${(i + 4) >> 8}.${(i + 4) & 255}`;
    const macTail = [(i + 4) >> 8, (i + 4) & 255].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
    return {
      id: `peer-${i}`,
      ip: ip(`10.1.${low}`),
      vtepIp: ip(`44.128.${low}`),
      vtepMac: mac(`70:b3:d5:81:${macTail}`),
      subnets: [cidr(`9.${100 + (i >> 8)}.${i & 255}.0/24`)],
    };
  });
  const input = seedInput(1);
  const assignment = { ...input.assignment, vtepSubnets: [cidr("44.128.0.0/16"), cidr("fd01:a::/64")] };
  const state = desiredHost({ ...input, assignment, peers });
  assert.equal(state.neighbors.length + state.fdb.length + state.routes.length, 30_002);
  const copy = JSON.parse(JSON.stringify(state)) as HostState;
  const start = performance.now();
  assert.deepEqual(diff(copy, state), []);
  // 25 ms on a quiet machine; the bound leaves room for a busy one and still fails when the work is quadratic.
  assert.ok(performance.now() - start < 1_000);
});

test("equal states are equal texts, whatever the order of their objects", () => {
  fc.assert(
    fc.property(anyInput, (input) => {
      const state = desiredHost({ ...input, observed: BARE_HOST });
      const reversed = Object.fromEntries(
        Object.entries(state).map(([key, list]) => [key, [...list].reverse()]),
      ) as unknown as HostState;
      assert.equal(formatHostState(reversed), formatHostState(state));
    }),
    { numRuns: 30 },
  );
});
