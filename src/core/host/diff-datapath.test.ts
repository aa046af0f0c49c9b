/**
 * How a datapath becomes another: in one pass, what leads to a device gone before the device and back after it, and at no
 * moment with a packet let through that neither the old rules nor the new ones let through.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { FakeMachine } from "../../io/kernel/fake-kernel.ts";
import { cidr, ip } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import {
  type AttachedProgram,
  type Datapath,
  type DatapathEntry,
  type DatapathProgram,
  type DatapathSettings,
  entryKey,
} from "./datapath.ts";
import { diff } from "./diff.ts";
import { diffDatapath } from "./diff-datapath.ts";
import { EMPTY_HOST_STATE, type HostState, type KernelOp, type Link } from "./host-state.ts";

const DEV = "vtep1024";
const DEVICES = ["eth0", "weft0", "weft1", "weft2"] as const;
const CODE = "00000000";

const SETTINGS: DatapathSettings = {
  underlay: "eth0",
  node: ip("10.0.0.11"),
  vni: 1024,
  mac: mac("70:b3:d5:80:00:02"),
  gatewayMac: mac("02:57:00:00:00:01"),
  mtu: 1450,
  sampleEvery: 0,
  lengths: { 4: [24], 6: [] },
  hasGuarded: false,
  hasSpecial: false,
  decapsulatesIpv6: true,
};

type Local = Extract<DatapathEntry, { readonly map: "locals" }>;
type Peer = Extract<DatapathEntry, { readonly map: "peers" }>;

const local = (n: number, dev = "weft0", group = 0): Local => {
  return {
    map: "locals",
    ip: ip(`9.0.1.${n}`),
    dev,
    mac: mac("02:57:09:00:01:02"),
    group,
    mtu: 1450,
    isLimited: false,
  };
};
const peer = (n: number, group = 0): Peer => ({
  map: "peers",
  prefix: cidr(`9.0.${n}.0/24`),
  node: ip(`10.0.0.${n}`),
  vtep: ip(`44.128.0.${n}`),
  mac: mac("70:b3:d5:80:00:03"),
  group,
  level: 2,
});

const PROGRAMS: readonly AttachedProgram[] = [
  { dev: DEV, program: "tunnel" },
  { dev: "eth0", program: "underlay" },
  { dev: "weft0", program: "container" },
];
const BASE: Datapath = {
  dev: DEV,
  code: CODE,
  settings: SETTINGS,
  programs: PROGRAMS,
  entries: [local(2), peer(3), { map: "guarded", ip: ip("9.0.3.9") }],
};

const NONE: ReadonlySet<string> = new Set();
const opsBetween = (observed: Datapath | undefined, desired: Datapath | undefined, gone = NONE): KernelOp[] => {
  const { before, after } = diffDatapath(observed, desired, gone);
  return [...before, ...after];
};

test("a datapath differs from itself in nothing, whatever the order of its lists and of its settings", () => {
  const settings = Object.fromEntries(Object.entries(SETTINGS).reverse()) as unknown as DatapathSettings;
  const other = { ...BASE, settings, programs: PROGRAMS.toReversed(), entries: BASE.entries.toReversed() };
  assert.deepEqual(diffDatapath(BASE, other, NONE), { before: [], after: [] });
  assert.deepEqual(diffDatapath(undefined, undefined, NONE), { before: [], after: [] });
});

test("one that is missing is made after all else, one that is too many goes before all else", () => {
  const made: KernelOp = { op: "datapath.replace", datapath: BASE };
  assert.deepEqual(diffDatapath(undefined, BASE, NONE), { before: [], after: [made] });
  const gone: KernelOp = { op: "datapath.delete", dev: DEV };
  assert.deepEqual(diffDatapath(BASE, undefined, NONE), { before: [gone], after: [] });
});

test("other code, another tunnel, stale programs: all is replaced, what leads astray taken out first", () => {
  const isStale = PROGRAMS.map((each) => (each.dev === "weft0" ? { ...each, isStale: true as const } : each));
  const wrong = local(9);
  for (const observed of [
    { ...BASE, code: "11111111", entries: [...BASE.entries, wrong] },
    { ...BASE, dev: "vtep7", entries: [...BASE.entries, wrong] },
    { ...BASE, programs: isStale, entries: [...BASE.entries, wrong] },
  ])
    assert.deepEqual(diffDatapath(observed, BASE, NONE), {
      before: [{ op: "datapath.remove", dev: observed.dev, entries: [wrong] }],
      after: [{ op: "datapath.replace", datapath: BASE }],
    });
});

test("where the tunnel's device is made anew so is its datapath", () => {
  const { after } = diffDatapath(BASE, BASE, new Set([DEV]));
  assert.deepEqual(after, [{ op: "datapath.replace", datapath: BASE }]);
});

test("a stale program on a device that needs none is taken away, and replaces nothing", () => {
  const programs = [...PROGRAMS, { dev: "weft1", program: "container", isStale: true } as const];
  assert.deepEqual(opsBetween({ ...BASE, programs }, BASE), [{ op: "datapath.detach", dev: DEV, from: "weft1" }]);
});

test("each setting that differs is set, and nothing but that", () => {
  const { node: _, ...nodeless } = SETTINGS;
  const others: readonly DatapathSettings[] = [
    nodeless,
    { ...SETTINGS, underlay: "eth1" },
    { ...SETTINGS, node: ip("10.0.0.12") },
    { ...SETTINGS, vni: 1 },
    { ...SETTINGS, mac: SETTINGS.gatewayMac },
    { ...SETTINGS, gatewayMac: SETTINGS.mac },
    { ...SETTINGS, mtu: 1400 },
    { ...SETTINGS, sampleEvery: 100 },
    { ...SETTINGS, lengths: { 4: [32, 24], 6: [] } },
    { ...SETTINGS, lengths: { 4: [], 6: [24] } },
    { ...SETTINGS, hasGuarded: true },
    { ...SETTINGS, hasSpecial: true },
    { ...SETTINGS, decapsulatesIpv6: false },
  ];
  for (const settings of others)
    assert.deepEqual(opsBetween({ ...BASE, settings }, BASE), [{ op: "datapath.set", dev: DEV, settings: SETTINGS }]);
});

test("each part of an entry that differs is written over it, and only a group takes it out before", () => {
  const inGroup = { ...peer(3), group: 1 };
  const { node: _, ...nodeless } = peer(3);
  const cases: readonly (readonly [DatapathEntry, DatapathEntry, isRemoved: boolean])[] = [
    [local(2), local(2, "weft1"), false],
    [local(2), { ...local(2), mac: SETTINGS.mac }, false],
    [local(2), { ...local(2), mtu: 1400 }, false],
    [local(2), { ...local(2), isLimited: true }, false],
    [local(2), local(2, "weft0", 1), true],
    [peer(3), nodeless, false],
    [peer(3), { ...peer(3), node: ip("10.0.0.4") }, false],
    [peer(3), { ...peer(3), vtep: ip("44.128.0.4") }, false],
    [peer(3), { ...peer(3), mac: SETTINGS.mac }, false],
    [peer(3), { ...peer(3), level: 1 }, false],
    [peer(3), inGroup, true],
  ];
  for (const [old, wanted, isRemoved] of cases)
    assert.deepEqual(opsBetween({ ...BASE, entries: [old] }, { ...BASE, entries: [wanted] }), [
      ...(isRemoved ? [{ op: "datapath.remove", dev: DEV, entries: [old] }] : []),
      { op: "datapath.put", dev: DEV, entries: [wanted] },
    ]);
});

const link = (name: string): Link => ({
  kind: "veth",
  name,
  up: true,
  alias: "weft dcos",
  peer: { netns: "/run/netns/c", name: "eth0", mac: mac("02:57:09:00:01:02"), mtu: 1450 },
});
const withDatapath = (datapath: Datapath, ...links: readonly Link[]): HostState => {
  return { ...EMPTY_HOST_STATE, links, datapaths: [datapath] };
};
const words = (ops: readonly KernelOp[]): string[] =>
  ops.map((op) => (op.op === "link.add" ? `${op.op} ${op.link.name}` : "name" in op ? `${op.op} ${op.name}` : op.op));

test("a container that goes is led to no more before its device goes; one that comes, when its device is there", () => {
  const bare = { ...BASE, programs: PROGRAMS.slice(0, 2), entries: [peer(3)] };
  const [without, withOne] = [withDatapath(bare), withDatapath({ ...BASE, entries: [local(2), peer(3)] })];
  const there = { ...withOne, links: [link("weft0")] };
  assert.deepEqual(words(diff(there, without)), ["datapath.remove", "link.delete weft0"]);
  assert.deepEqual(words(diff(without, there)), [
    "link.add weft0",
    "link.set weft0",
    "datapath.attach",
    "datapath.put",
  ]);
});

test("a device that is made anew under its name gets its program again, and what names it is written again", () => {
  const there = withDatapath({ ...BASE, entries: [local(2), peer(3)] }, link("weft0"));
  const other: Link = { kind: "bridge", name: "weft0", up: true, alias: "weft dcos" };
  const ops = diff({ ...there, links: [other] }, there);
  assert.deepEqual(words(ops), [
    "datapath.remove",
    "link.delete weft0",
    "link.add weft0",
    "link.set weft0",
    "datapath.attach",
    "datapath.put",
  ]);
  assert.deepEqual(
    ops.flatMap((op) => (op.op === "datapath.put" || op.op === "datapath.remove" ? [op.entries] : [])),
    [[local(2)], [local(2)]],
  );
});

// ---- laws ----------------------------------------------------------------------------------------------------------

const anyGroup = fc.integer({ min: 0, max: 3 });
const anyEntry: fc.Arbitrary<DatapathEntry> = fc.oneof(
  fc.tuple(fc.integer({ min: 1, max: 5 }), fc.constantFrom(...DEVICES), anyGroup).map((args) => local(...args)),
  fc.tuple(fc.integer({ min: 2, max: 5 }), anyGroup).map((args) => peer(...args)),
  fc.tuple(anyGroup, anyGroup).map(([from, to]) => ({ map: "talk", from, to }) as const),
  fc.integer({ min: 1, max: 3 }).map((n) => ({ map: "guarded", ip: ip(`9.0.3.${n}`) }) as const),
  fc.integer({ min: 1, max: 3 }).map((n) => ({ map: "special", ip: ip(`11.0.0.${n}`) }) as const),
);
const anyPrograms = fc
  .subarray([...DEVICES])
  .chain((devices) =>
    fc
      .tuple(
        ...devices.map((dev) =>
          fc
            .constantFrom<DatapathProgram>("container", "underlay")
            .map((program): AttachedProgram => ({ dev, program })),
        ),
      )
      .map((programs): AttachedProgram[] => [{ dev: DEV, program: "tunnel" }, ...programs]),
  );
const anyDatapath: fc.Arbitrary<Datapath> = fc
  .record({
    code: fc.constantFrom(CODE, CODE, CODE, "11111111"),
    programs: anyPrograms,
    entries: fc.uniqueArray(anyEntry, { selector: entryKey, maxLength: 14 }),
    mtu: fc.constantFrom(1450, 1400),
  })
  .map(({ mtu, ...rest }) => ({ dev: DEV, settings: { ...SETTINGS, mtu }, ...rest }));

function machineWith(datapath: Datapath): FakeMachine {
  const machine = new FakeMachine();
  for (const name of [DEV, ...DEVICES])
    machine.root.addLink({ link: { kind: "device", name, up: true, mtu: 1500 } }, "0");
  machine.root.datapath = datapath;
  return machine;
}

const sorted = ({ programs, entries, ...rest }: Datapath) => ({
  ...rest,
  programs: programs.toSorted((a, b) => a.dev.localeCompare(b.dev)),
  entries: entries.toSorted((a, b) => entryKey(a).localeCompare(entryKey(b))),
});

test("from any datapath to any other in one pass, after which nothing differs", async () => {
  await fc.assert(
    fc.asyncProperty(anyDatapath, anyDatapath, async (observed, desired) => {
      const kernel = machineWith(observed).kernel();
      assert.deepEqual(await kernel.apply(opsBetween(observed, desired)), []);
      const [left, ...others] = (await kernel.observe([])).datapaths;
      assert.ok(left !== undefined && others.length === 0);
      assert.deepEqual(sorted(left), sorted(desired));
      assert.deepEqual(opsBetween(left, desired), []);
    }),
  );
});

/** Whether the programs would let a packet from the one to the other. */
function together(datapath: Datapath, a: string, b: string): boolean {
  const group = (key: string) => {
    const entry = datapath.entries.find((each) => entryKey(each) === key);
    return entry?.map === "locals" || entry?.map === "peers" ? entry.group : undefined;
  };
  const [from, to] = [group(a), group(b)];
  if (from === undefined || to === undefined) return false;
  return from === to || datapath.entries.some((each) => each.map === "talk" && each.from === from && each.to === to);
}

test("on the way from one to the other no two meet that meet neither before nor after", async () => {
  await fc.assert(
    fc.asyncProperty(anyDatapath, anyDatapath, async (observed, desired) => {
      const machine = machineWith(observed);
      const keys = [...observed.entries, ...desired.entries].filter(({ map }) => map === "locals" || map === "peers");
      for (const op of opsBetween(observed, desired)) {
        await machine.kernel().apply([op]);
        const now = machine.root.datapath;
        assert.ok(now !== undefined);
        for (const a of keys.map(entryKey))
          for (const b of keys.map(entryKey))
            assert.ok(
              !together(now, a, b) || together(observed, a, b) || together(desired, a, b),
              `after ${op.op} ${a} reaches ${b}`,
            );
      }
    }),
  );
});

test("an entry never names a device that has gone, at any moment of a pass", async () => {
  await fc.assert(
    fc.asyncProperty(anyDatapath, anyDatapath, fc.subarray([...DEVICES]), async (observed, desired, gone) => {
      const { before } = diffDatapath(observed, desired, new Set(gone));
      const machine = machineWith(observed);
      assert.deepEqual(await machine.kernel().apply(before), []);
      for (const entry of machine.root.datapath?.entries ?? [])
        assert.ok(entry.map !== "locals" || !gone.some((dev) => dev === entry.dev), `${entryKey(entry)} stays`);
    }),
  );
});
