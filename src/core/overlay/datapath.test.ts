/**
 * What a host's datapath says: how high it goes and why not higher, the golden text of a small one, and what of it does
 * not fit and is left to the kernel.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { peerOf, SEED_ATTACHMENT, seedAgent, seedContext, seedInput } from "../../../test/support/seed-cluster.ts";
import type { Attachment } from "../../model/attachment.ts";
import type { Peer } from "../../model/cluster.ts";
import * as limits from "../../model/datapath-limits.ts";
import { cidr, familyOf, type Ip, ip, nthAddress, nthSubnet } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import type { Policy } from "../../model/policy.ts";
import { type Datapath, type DatapathEntry, entryKey } from "../host/datapath.ts";
import type { NftTable } from "../host/host-state.ts";
import type { OverlayContext } from "./context.ts";
import { type DatapathLevel, datapathLevel, datapathReport, desiredDatapath, peersDatapath } from "./datapath.ts";
import { desiredHost, type OverlayInput } from "./desired.ts";
import { peerEntries } from "./peers.ts";

const TCX = { hook: "tcx", code: "01234567", encapsulates: true, decapsulatesIpv6: true } as const;

/** Host 1 of the seeds as high as it can go, with peers on its link. */
const CONTEXT: OverlayContext = {
  ...seedContext(1),
  facts: { ...seedContext(1).facts, underlayMac: mac("02:00:00:00:00:11"), underlayPrefix: cidr("10.0.0.0/24") },
  features: { ingressForward: true, datapath: TCX },
  datapath: { maxLevel: 2, sampleEvery: 0 },
};
const INPUT: OverlayInput = { ...seedInput(1), ...CONTEXT, attachments: [SEED_ATTACHMENT] };

function datapathOf(input: OverlayInput): Datapath {
  const [datapath, ...others] = desiredHost(input).datapaths;
  assert.ok(datapath !== undefined && others.length === 0, "there is one datapath");
  return datapath;
}

/** One line an entry: its key and then its values. */
function formatEntry(entry: DatapathEntry): string {
  const key = entryKey(entry);
  if (entry.map === "locals")
    return `${key}: ${entry.dev} ${entry.mac} group ${entry.group} mtu ${entry.mtu}${entry.isLimited ? " limited" : ""}`;
  if (entry.map !== "peers") return key;
  return `${key}: node ${entry.node ?? "-"} via ${entry.vtep} ${entry.mac} group ${entry.group} level ${entry.level}`;
}

const entriesOf = (datapath: Datapath, map: DatapathEntry["map"]): string[] =>
  datapath.entries.filter((entry) => entry.map === map).map(formatEntry);

test("host 1 of the seeds with one container: settings, programs and entries", () => {
  const ip6 = ip("fd01:b::1:0:0:2");
  const datapath = datapathOf({ ...INPUT, attachments: [{ ...SEED_ATTACHMENT, ip6 }] });
  const { entries, programs, ...rest } = datapath;
  assert.deepEqual(rest, {
    dev: "vtep1024",
    code: "01234567",
    settings: {
      underlay: "eth0",
      node: "10.0.0.11",
      vni: 1024,
      mac: "70:b3:d5:80:00:02",
      gatewayMac: "02:57:00:00:00:01",
      mtu: 1450,
      sampleEvery: 0,
      lengths: { 4: [24], 6: [80] },
      hasGuarded: false,
      hasSpecial: false,
      decapsulatesIpv6: true,
    },
  });
  assert.equal(
    `\n${[...programs.map(({ dev, program }) => `${program} on ${dev}`), ...entries.map(formatEntry)].join("\n")}\n`,
    `
tunnel on vtep1024
underlay on eth0
container on weft0123456789
locals 9.0.1.2: weft0123456789 02:57:09:00:01:02 group 0 mtu 1420
locals fd01:b::1:0:0:2: weft0123456789 02:57:09:00:01:02 group 0 mtu 1420
peers 9.0.0.0/24: node 10.0.0.10 via 44.128.0.1 70:b3:d5:80:00:01 group 0 level 2
peers fd01:b::/80: node 10.0.0.10 via fd01:a::1 70:b3:d5:80:00:01 group 0 level 2
peers 9.0.2.0/24: node 10.0.0.12 via 44.128.0.3 70:b3:d5:80:00:03 group 0 level 2
peers fd01:b:0:0:2::/80: node 10.0.0.12 via fd01:a::3 70:b3:d5:80:00:03 group 0 level 2
`,
  );
});

const IPV6_AGENT = { ...CONTEXT.assignment.agent, ip: ip("fd00::11") };

/** What is changed, how high it may go then, and why not higher. */
const LEVELS: readonly (readonly [string, Partial<OverlayContext>, DatapathLevel, ...reasons: string[]])[] = [
  ["nothing", {}, 2],
  ["the level is set to 1", { datapath: { maxLevel: 1, sampleEvery: 0 } }, 1, "it is set to 1"],
  ["the level is set to 0", { datapath: { maxLevel: 0, sampleEvery: 0 } }, 0, "it is set to 0"],
  [
    "the kernel cannot, and it is set to 0",
    {
      features: { ingressForward: true, datapath: { missing: "this process may not use BPF" } },
      datapath: { maxLevel: 0, sampleEvery: 0 },
    },
    0,
    "it is set to 0",
    "this process may not use BPF",
  ],
  [
    "programs that cannot encapsulate",
    { features: { ingressForward: true, datapath: { ...TCX, encapsulates: false } } },
    1,
    "this kernel cannot encapsulate in programs",
  ],
  ["the kernel was not asked", { features: { ingressForward: true } }, 0, "the kernel was not asked"],
  [
    "hosts that speak IPv6",
    { assignment: { ...CONTEXT.assignment, agent: IPV6_AGENT } },
    1,
    "the hosts reach each other by IPv6",
  ],
  [
    "an underlay without Ethernet",
    { facts: { underlayDev: "wg0", underlayMtu: 1500, foreignDevs: [], uplinks: [] } },
    1,
    "wg0 is no Ethernet device",
  ],
  [
    "IPsec",
    { facts: { ...CONTEXT.facts, isEncrypted: true } },
    1,
    "IPsec policies are in force, which programs would pass by",
  ],
  [
    "a tunnel that is too wide by one byte",
    {
      assignment: {
        ...CONTEXT.assignment,
        agent: { ...CONTEXT.assignment.agent, backend: { ...CONTEXT.assignment.agent.backend, vtepMtu: 1451 } },
      },
    },
    1,
    "the tunnel's MTU of 1451 does not fit eth0, which has 1500",
  ],
  [
    "several at once",
    {
      datapath: { maxLevel: 1, sampleEvery: 0 },
      facts: { underlayDev: "wg0", underlayMtu: 1500, foreignDevs: [], uplinks: [], isEncrypted: true },
    },
    1,
    "it is set to 1",
    "wg0 is no Ethernet device",
    "IPsec policies are in force, which programs would pass by",
  ],
];

for (const [what, change, level, ...reasons] of LEVELS)
  test(`how high a host goes, and why not higher: ${what}`, () => {
    const context = { ...CONTEXT, ...change };
    assert.deepEqual(datapathLevel(context), { level, reasons });
    const isIpv6 = familyOf(context.assignment.agent.ip) === 6;
    const peers = INPUT.peers.map((peer, i) => (isIpv6 ? { ...peer, ip: ip(`fd00::${i}`) } : peer));
    const { datapaths } = desiredHost({ ...INPUT, ...change, peers });
    const programs = datapaths.flatMap((each) => each.programs.map(({ program }) => program));
    assert.deepEqual(
      programs,
      [["tunnel", "underlay", "container"], ["tunnel", "container"], []][2 - level],
      "the programs of that level",
    );
    const levels = new Set(
      datapaths.flatMap(({ entries }) => entries.flatMap((e) => (e.map === "peers" ? e.level : []))),
    );
    assert.deepEqual([...levels], level === 0 ? [] : [level]);
    assert.deepEqual(datapathReport(context, datapaths[0]), { level, reasons, notes: [] });
  });

test("what a container is led by is taken from it: rate, another plugin's address, Docker's MTU, families served", () => {
  const limited = { ingressRate: 8_000_000, ingressBurst: 800_000 };
  const of = (attachment: Attachment, input = INPUT) =>
    entriesOf(datapathOf({ ...input, attachments: [attachment] }), "locals");
  const line = "weft0123456789 02:57:09:00:01:02 group 0 mtu";
  assert.deepEqual(of({ ...SEED_ATTACHMENT, bandwidth: limited }), [`locals 9.0.1.2: ${line} 1420 limited`]);
  assert.deepEqual(of({ ...SEED_ATTACHMENT, ip: ip("192.168.7.2") }), [`locals 192.168.7.2: ${line} 1420 limited`]);
  assert.deepEqual(of({ ...SEED_ATTACHMENT, docker: { mtu: 1300 } }), [`locals 9.0.1.2: ${line} 1300`]);
  const both = { ...SEED_ATTACHMENT, ip6: ip("fd01:b::1:0:0:2") };
  const ipv4Only = { ...INPUT, assignment: { ...INPUT.assignment, enableIpv6: false } };
  assert.deepEqual(of(both, ipv4Only), [`locals 9.0.1.2: ${line} 1420`]);
  assert.equal(of(both).length, 2, "positive control");
});

test("programs take the header off IPv6 packets where this kernel was seen to, whatever they are put on devices by", () => {
  for (const hook of ["tcx", "clsact"] as const)
    for (const decapsulatesIpv6 of [true, false]) {
      const features = { ingressForward: true, datapath: { ...TCX, hook, decapsulatesIpv6 } };
      assert.equal(datapathOf({ ...INPUT, features }).settings.decapsulatesIpv6, decapsulatesIpv6);
    }
});

test("a peer that is not on the underlay's link is reached at level 1, in both families, and a note says so", () => {
  const far = { ...peerOf(seedAgent(2)), ip: ip("10.7.0.12") };
  const datapath = datapathOf({ ...INPUT, peers: [peerOf(seedAgent(0)), far] });
  assert.deepEqual(
    entriesOf(datapath, "peers").map((line) => line.replace(/(?<=peers \S+: node \S+ ).*(?=level)/, "")),
    [
      "peers 9.0.0.0/24: node 10.0.0.10 level 2",
      "peers fd01:b::/80: node 10.0.0.10 level 2",
      "peers 9.0.2.0/24: node 10.7.0.12 level 1",
      "peers fd01:b:0:0:2::/80: node 10.7.0.12 level 1",
    ],
  );
  assert.deepEqual(datapathReport(CONTEXT, datapath), {
    level: 2,
    reasons: [],
    notes: ["not on this host's link, and so reached at level 1: 1 of its peers"],
  });
  const { underlayPrefix: _, ...facts } = CONTEXT.facts;
  const blind = datapathOf({ ...INPUT, facts });
  assert.ok(blind.entries.every((entry) => entry.map !== "peers" || entry.level === 1));
});

test("hosts that speak IPv6 have no node in settings and peers; sources are not compared then", () => {
  const peer = { ...peerOf(seedAgent(2)), ip: ip("fd00::12") };
  const input = { ...INPUT, assignment: { ...INPUT.assignment, agent: IPV6_AGENT }, peers: [peer] };
  const datapath = datapathOf(input);
  assert.equal("node" in datapath.settings, false);
  assert.deepEqual(entriesOf(datapath, "peers"), [
    "peers 9.0.2.0/24: node - via 44.128.0.3 70:b3:d5:80:00:03 group 0 level 1",
    "peers fd01:b:0:0:2::/80: node - via fd01:a::3 70:b3:d5:80:00:03 group 0 level 1",
  ]);
});

test("a prefix of whose peer something is not known is the kernel's, and so are routes of other tables", () => {
  const known = peerEntries(INPUT.peers, { ...CONTEXT, features: { ...CONTEXT.features, ingressForward: false } });
  const made = (change: Partial<typeof known>) =>
    desiredDatapath(CONTEXT, { attachments: [], entries: { ...known, ...change }, tables: [] }).flatMap((datapath) =>
      datapath.entries.flatMap((entry) => (entry.map === "peers" ? [entry.prefix] : [])),
    );
  const all = ["9.0.0.0/24", "fd01:b::/80", "9.0.2.0/24", "fd01:b:0:0:2::/80"];
  assert.ok(known.routes.length > all.length, "there are routes to nodes");
  assert.deepEqual(made({}), all);
  assert.deepEqual(made({ neighbors: known.neighbors.filter(({ ip }) => ip !== "44.128.0.3") }), all.toSpliced(2, 1));
  assert.deepEqual(made({ fdb: known.fdb.slice(0, 1) }), all.slice(0, 2));
});

test("isolation is groups: of containers, of prefixes, and which of them talk", () => {
  const networks = [
    { name: "dcos", prefixes: [cidr("9.0.0.0/8")], isolation: { allow: ["dcos6"] } },
    { name: "dcos6", prefixes: [cidr("fd01:b::/64")] },
  ];
  const datapath = datapathOf({ ...INPUT, assignment: { ...INPUT.assignment, networks } });
  // `= dcos`, and `dcos`: open, and let in by it.
  const [own, friends] = [1378471418, 1185716268];
  assert.deepEqual(
    datapath.entries.map(formatEntry).map((line) => line.replace(/:? .*(?= group)/, "").replace(/ (mtu|level) .*/, "")),
    [
      `locals group ${own}`,
      `talk ${own} ${friends}`,
      `talk ${friends} ${own}`,
      `peers group ${own}`,
      `peers group ${friends}`,
      `peers group ${own}`,
      `peers group ${friends}`,
    ],
  );
});

const POLICY: Policy = { name: "db", from: { app: "web" }, to: { app: "db" }, ports: [] };
const member = (app: string, ...addresses: readonly Ip[]) => ({ network: "dcos", labels: { app }, addresses });

test("containers that policies guard are told, wherever they are; nobody else", () => {
  const guarded = [ip("9.0.2.9"), ip("9.0.1.2"), ip("fd01:b::2:0:0:9")];
  const input = {
    ...INPUT,
    assignment: { ...INPUT.assignment, policies: [POLICY] },
    members: [member("db", ...guarded), member("web", ip("9.0.2.10"))],
  };
  const datapath = datapathOf(input);
  assert.deepEqual(entriesOf(datapath, "guarded").sort(), guarded.map((address) => `guarded ${address}`).sort());
  assert.equal(datapath.settings.hasGuarded, true);
});

test("addresses that somebody translates are told, and samples asked for", () => {
  const services = [ip("11.0.0.1"), ip("fd01:c::1")];
  const { settings, entries } = datapathOf({ ...INPUT, services, datapath: { maxLevel: 2, sampleEvery: 100 } });
  assert.deepEqual([settings.hasSpecial, settings.sampleEvery, settings.hasGuarded], [true, 100, false]);
  assert.deepEqual(
    entries.flatMap((entry) => (entry.map === "special" ? entry.ip : [])),
    services,
  );
});

// ---- what does not fit -------------------------------------------------------------------------------------------------

const tableOf = (count: number): NftTable => ({
  family: "ip",
  name: "weft",
  chains: [],
  maps: [
    {
      name: "tracked",
      type: "ipv4_addr : verdict",
      elements: Array.from({ length: count }, (_, i) => [nthAddress(cidr("9.0.0.0/8"), BigInt(i)), "accept"] as const),
    },
  ],
});
const NO_PEERS = peerEntries([], CONTEXT);

test("where not all that is guarded or translated fits there is no datapath at all: packets would go astray", () => {
  const services = Array.from({ length: limits.DATAPATH_SPECIAL_MAX + 1 }, (_, i) =>
    nthAddress(cidr("11.0.0.0/8"), BigInt(i)),
  );
  const made = (guarded: number, special: number) =>
    desiredDatapath(
      { ...CONTEXT, services: services.slice(0, special) },
      { attachments: [], entries: NO_PEERS, tables: [tableOf(guarded)] },
    ).length;
  assert.equal(made(limits.DATAPATH_GUARDED_MAX, limits.DATAPATH_SPECIAL_MAX), 1);
  assert.equal(made(limits.DATAPATH_GUARDED_MAX + 1, 0), 0);
  assert.equal(made(0, limits.DATAPATH_SPECIAL_MAX + 1), 0);
  assert.equal(datapathReport(CONTEXT, undefined).level, 0);
  assert.notDeepEqual(datapathReport(CONTEXT, undefined).reasons, []);
});

test("where not all containers of a family fit there is no datapath at all: a peer's prefix may cover their addresses", () => {
  const most = limits.DATAPATH_LOCALS_MAX;
  const attachmentsOf = (count: number, count6: number) =>
    Array.from({ length: Math.max(count, count6) }, (_, i): Attachment => {
      const ip6 = nthAddress(cidr("fd01:b:0:0:1::/80"), BigInt(i));
      const address = i < count ? nthAddress(cidr("9.1.0.0/16"), BigInt(i)) : ip6;
      return { ...SEED_ATTACHMENT, ip: address, ...(i < Math.min(count, count6) && { ip6 }) };
    });
  const made = (count: number, count6: number) =>
    desiredDatapath(CONTEXT, { attachments: attachmentsOf(count, count6), entries: NO_PEERS, tables: [] });
  const [full, ...others] = made(most, most);
  assert.ok(full !== undefined && others.length === 0, "each family has a map of its own");
  const lines = entriesOf(full, "locals");
  assert.deepEqual([lines.length, lines.filter((line) => line.includes("fd01:")).length], [most * 2, most]);
  assert.deepEqual(datapathReport(CONTEXT, full), { level: 2, reasons: [], notes: [] });
  assert.equal(made(most + 1, 7).length, 0);
  assert.equal(made(7, most + 1).length, 0);
  assert.deepEqual(datapathReport(CONTEXT, undefined), {
    level: 0,
    reasons: ["more is guarded or attached here than fits the datapath's maps"],
    notes: [],
  });
});

test("where two groups have one number there is no datapath at all: networks would be let through that do not talk", () => {
  const made = (...names: readonly string[]) => {
    const networks = names.map((name) => ({ name, prefixes: [], isolation: "closed" as const }));
    return desiredHost({ ...INPUT, assignment: { ...INPUT.assignment, networks } }).datapaths.length;
  };
  assert.deepEqual([made("net6866", "net100918"), made("net6866", "net100919")], [1, 0]);
});

test("of peers that do not fit the shortest prefixes are left out, so that none is reached by a longer one's way", () => {
  const prefixes = [
    ...Array.from({ length: limits.DATAPATH_PEERS_MAX }, (_, i) => nthSubnet(cidr("9.0.0.0/8"), 24, BigInt(i))),
    ...Array.from({ length: 3 }, (_, i) => nthSubnet(cidr("9.200.0.0/16"), 32, BigInt(i))),
  ];
  const peer: Peer = { ...peerOf(seedAgent(2)), subnets: prefixes };
  const [datapath] = desiredDatapath(CONTEXT, { attachments: [], entries: peerEntries([peer], CONTEXT), tables: [] });
  const lines = datapath === undefined ? [] : entriesOf(datapath, "peers");
  assert.equal(lines.length, limits.DATAPATH_PEERS_MAX);
  assert.equal(lines.filter((line) => line.includes("/32: ")).length, 3);
  assert.deepEqual(datapathReport(CONTEXT, datapath).notes, ["the map peers4 is full: the rest is left to the kernel"]);
});

test("of more lengths than are looked up the longest are, and a note says so", () => {
  const subnets = Array.from({ length: limits.DATAPATH_LENGTHS_MAX + 2 }, (_, i) =>
    nthSubnet(cidr("9.64.0.0/10"), 16 + i, 3n),
  );
  const datapath = datapathOf({ ...INPUT, peers: [{ ...peerOf(seedAgent(2)), subnets }] });
  assert.deepEqual(datapath.settings.lengths, { 4: [25, 24, 23, 22, 21, 20, 19, 18], 6: [] });
  assert.match(datapathReport(CONTEXT, datapath).notes.join(), /prefixes of 8 lengths are looked up/);
});

// ---- parts -------------------------------------------------------------------------------------------------------------

test("the part of peers is what the whole has of them, and nothing else", () => {
  const whole = datapathOf(INPUT);
  const of = (map: string) => whole.entries.filter((entry) => entry.map === map);
  const [peers] = peersDatapath(CONTEXT, peerEntries(INPUT.peers, CONTEXT));
  assert.deepEqual([peers?.entries, peers?.programs], [of("peers"), []]);
  assert.deepEqual([peers?.dev, peers?.code], [whole.dev, whole.code]);
  const low: OverlayContext = { ...CONTEXT, datapath: { maxLevel: 0, sampleEvery: 0 } };
  assert.deepEqual(peersDatapath(low, peerEntries(INPUT.peers, low)), []);
});
