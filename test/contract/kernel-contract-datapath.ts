/**
 * The datapath: programs on devices, and what their maps say. Where the process may not use BPF the tests say so and are
 * skipped; what the programs do with packets is looked at in test/kernel/datapath-*.test.ts.
 */
import assert from "node:assert/strict";
import type { Datapath, DatapathEntry, DatapathKey, DatapathSettings } from "../../src/core/host/datapath.ts";
import { entryKey } from "../../src/core/host/datapath.ts";
import { diff } from "../../src/core/host/diff.ts";
import type { KernelOp } from "../../src/core/host/host-state.ts";
import type { Kernel } from "../../src/io/ports.ts";
import { DATAPATH_LOCALS_MAX } from "../../src/model/datapath-limits.ts";
import { cidr, ip, nthAddress } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import { BRIDGE, done, type KernelUnderTest, PEER_MAC, refused, type Test, VTEP } from "./kernel-contract-objects.ts";

const DEV = VTEP.name;
/** Stands for the device to the other hosts. */
const UNDERLAY = BRIDGE.name;

const SETTINGS: DatapathSettings = {
  underlay: UNDERLAY,
  node: ip("10.0.0.11"),
  vni: 1024,
  mac: mac("70:b3:d5:80:00:02"),
  gatewayMac: mac("02:57:00:00:00:01"),
  mtu: 1450,
  sampleEvery: 0,
  lengths: { 4: [32, 24], 6: [128, 80] },
  hasGuarded: true,
  hasSpecial: true,
  decapsulatesIpv6: true,
};

type Local = Extract<DatapathEntry, { readonly map: "locals" }>;

const local = (text: string, dev: string, group = 0): Local => {
  return { map: "locals", ip: ip(text), dev, mac: mac("02:57:09:00:01:02"), group, mtu: 1420, isLimited: false };
};
const peer = (prefix: string, vtep: string): Extract<DatapathEntry, { readonly map: "peers" }> => ({
  map: "peers",
  prefix: cidr(prefix),
  node: ip("10.0.0.12"),
  vtep: ip(vtep),
  mac: PEER_MAC,
  group: 3,
  level: 2,
});
const { node: _, ...ofNoNode } = peer("fd01:b:0:0:2::/80", "fd01:a::3");

/** One or more of each map and family, with values at their edges. */
const ENTRIES: readonly DatapathEntry[] = [
  local("9.0.1.2", "weft0"),
  { ...local("9.0.1.3", "weft1", 65_535), mtu: 65_535, isLimited: true },
  local("fd01:b::1:0:0:2", "weft0", 7),
  peer("9.0.2.0/24", "44.128.0.3"),
  peer("9.0.2.7/32", "44.128.0.3"),
  { ...ofNoNode, level: 1 },
  { map: "talk", from: 0, to: 7 },
  { map: "talk", from: 65_535, to: 65_534 },
  { map: "guarded", ip: ip("9.0.2.9") },
  { map: "guarded", ip: ip("fd01:b::2:0:0:9") },
  { map: "special", ip: ip("11.0.0.1") },
  { map: "special", ip: ip("fd01:c::1") },
];

export function datapathTests(test: Test): void {
  readingTests(withDevices(test));
  changingTests(withDevices(test));
  refusalTests(withDevices(test));
  deletionTests(withDevices(test));
}

interface DatapathWorld extends KernelUnderTest {
  /** With two containers. */
  readonly datapath: Datapath;
}

type DatapathTest = (what: string, body: (world: DatapathWorld) => Promise<void>) => void;

/** In a namespace with the devices that a datapath speaks of: the tunnel's, the underlay and two pairs. */
function withDevices(test: Test): DatapathTest {
  return (what, body) =>
    test(what, async (world, t) => {
      const { kernel } = world;
      const feature = (await kernel.features()).datapath;
      if ("missing" in feature) return t.skip(feature.missing);
      await addDevices(kernel, world);
      await body({ ...world, datapath: datapathOf(feature.code) });
    });
}

async function addDevices(kernel: Kernel, { newNetns }: Pick<KernelUnderTest, "newNetns">): Promise<void> {
  const pairs = ["weft0", "weft1"].map(async (name): Promise<KernelOp> => {
    const peer = { netns: await newNetns(), name: "eth0", mac: mac("02:57:09:00:01:02"), mtu: 1420 };
    return { op: "link.add", link: { kind: "veth", name, up: true, peer } };
  });
  await done(kernel, [{ op: "link.add", link: VTEP }, { op: "link.add", link: BRIDGE }, ...(await Promise.all(pairs))]);
}

function datapathOf(code: string): Datapath {
  const programs: Datapath["programs"] = [
    { dev: DEV, program: "tunnel" },
    { dev: UNDERLAY, program: "underlay" },
    { dev: "weft0", program: "container" },
    { dev: "weft1", program: "container" },
  ];
  return { dev: DEV, code, settings: SETTINGS, programs, entries: ENTRIES };
}

/** The kernel tells both lists in an order of its own. */
function sorted(datapath: Datapath | undefined): Datapath | undefined {
  if (datapath === undefined) return undefined;
  return {
    ...datapath,
    programs: datapath.programs.toSorted((a, b) => a.dev.localeCompare(b.dev)),
    entries: datapath.entries.toSorted((a, b) => entryKey(a).localeCompare(entryKey(b))),
  };
}

async function observed(kernel: Kernel): Promise<Datapath | undefined> {
  const { datapaths } = await kernel.observe([]);
  assert.ok(datapaths.length <= 1, "a namespace has one datapath or none");
  return sorted(datapaths[0]);
}

async function isThere(kernel: Kernel, datapath: Datapath): Promise<void> {
  assert.deepEqual(await observed(kernel), sorted(datapath));
}

const replace = (datapath: Datapath): KernelOp => ({ op: "datapath.replace", datapath });
const put = (...entries: readonly DatapathEntry[]): KernelOp => ({ op: "datapath.put", dev: DEV, entries });
const remove = (...entries: readonly DatapathKey[]): KernelOp => ({ op: "datapath.remove", dev: DEV, entries });
const attach = (dev: string, program: Datapath["programs"][number]["program"]): KernelOp => ({
  op: "datapath.attach",
  dev: DEV,
  program: { dev, program },
});
const detach = (from: string): KernelOp => ({ op: "datapath.detach", dev: DEV, from });

/** What leads from what the kernel has to `desired`, all else being as it is. */
async function difference(kernel: Kernel, desired: Datapath): Promise<KernelOp[]> {
  const state = await kernel.observe([]);
  return diff(state, { ...state, datapaths: [desired] });
}

function readingTests(test: DatapathTest): void {
  test("a datapath is read as it was written, in all its maps and both families, and needs no second pass", async (world) => {
    const { kernel, datapath } = world;
    assert.equal(await observed(kernel), undefined);
    await done(kernel, await difference(kernel, datapath));
    await isThere(kernel, datapath);
    assert.deepEqual(await difference(kernel, datapath), []);
  });

  test("a datapath needs nobody who holds it open: whoever comes later finds it and changes it", async (world) => {
    const path = await world.newNetns();
    const first = await world.kernel.enter(path);
    await addDevices(first, world);
    await done(first, [replace(world.datapath)]);
    first.close();
    const second = await world.kernel.enter(path);
    await isThere(second, world.datapath);
    await done(second, [remove(...ENTRIES)]);
    await isThere(second, { ...world.datapath, entries: [] });
    second.close();
  });

  test("a datapath of a host whose underlay is IPv6 has no node, one without peers no lengths", async (world) => {
    const { node: _, ...settings } = SETTINGS;
    const lengths = { 4: [], 6: [] };
    const bare = { ...world.datapath, entries: [], settings: { ...settings, lengths, hasGuarded: false } };
    await done(world.kernel, [replace(bare)]);
    await isThere(world.kernel, bare);
  });
}

function changingTests(test: DatapathTest): void {
  test("entries are put, overwritten and removed one by one, also those that are not there", async (world) => {
    const { kernel, datapath } = world;
    await done(kernel, [replace({ ...datapath, entries: [] })]);
    for (const entry of ENTRIES) await done(kernel, [put(entry)]);
    await isThere(kernel, datapath);
    const moved = { ...local("9.0.1.2", "weft1", 9), mtu: 9_000 };
    await done(kernel, [put(moved, moved)]);
    const others = ENTRIES.slice(1);
    await isThere(kernel, { ...datapath, entries: [moved, ...others] });
    await done(kernel, [remove(moved, { map: "guarded", ip: ip("9.9.9.9") }, { map: "talk", from: 5, to: 5 })]);
    await done(kernel, [remove({ map: "locals", ip: moved.ip }, { map: "peers", prefix: cidr("9.0.3.0/24") })]);
    await isThere(kernel, { ...datapath, entries: others });
    await done(kernel, await difference(kernel, datapath));
    await isThere(kernel, datapath);
  });

  test("settings change while all else stays", async ({ kernel, datapath }) => {
    await done(kernel, [replace(datapath)]);
    const settings = { ...SETTINGS, sampleEvery: 4_294_967_295, vni: 16_777_215, hasSpecial: false };
    await done(kernel, [{ op: "datapath.set", dev: DEV, settings }]);
    await isThere(kernel, { ...datapath, settings });
  });

  test("programs come and go device by device; one in the place of another leaves none of it", async (world) => {
    const { kernel, datapath } = world;
    const [tunnel, underlay, first, second] = datapath.programs as Required<Datapath["programs"]>;
    assert.ok(tunnel && underlay && first && second);
    await done(kernel, [replace({ ...datapath, programs: [tunnel, first] })]);
    await isThere(kernel, { ...datapath, programs: [tunnel, first] });
    await done(kernel, [attach("weft1", "container"), attach(UNDERLAY, "underlay"), attach("weft0", "container")]);
    await isThere(kernel, datapath);
    await done(kernel, [detach("weft0"), detach("weft0"), attach("weft1", "underlay")]);
    await isThere(kernel, { ...datapath, programs: [tunnel, underlay, { dev: "weft1", program: "underlay" }] });
    await done(kernel, await difference(kernel, datapath));
    await isThere(kernel, datapath);
  });

  test("a device is made ready for its program before there is one, once and again, and shows nothing of it", async (world) => {
    const { kernel, datapath } = world;
    const before = await kernel.observe([]);
    const prepare = (at: string): KernelOp => ({ op: "datapath.prepare", at });
    await done(kernel, [prepare("weft0"), prepare("weft0")]);
    await refused(kernel, prepare("nobody"), "ENODEV");
    assert.deepEqual(await kernel.observe([]), before);
    await done(kernel, [replace(datapath), prepare("weft0")]);
    await isThere(kernel, datapath);
  });

  test("a datapath in the place of another keeps nothing of it, and waits for devices that are not there", async (world) => {
    const { kernel, datapath } = world;
    await done(kernel, [replace(datapath)]);
    const [tunnel] = datapath.programs;
    assert.ok(tunnel);
    const next: Datapath = { ...datapath, programs: [tunnel], entries: [local("9.0.1.9", "weft1")] };
    await done(kernel, [replace({ ...next, programs: [tunnel, { dev: "nobody", program: "container" }] })]);
    await isThere(kernel, next);
  });
}

function refusalTests(test: DatapathTest): void {
  test("entries of a device that is not there are refused, and all others written", async ({ kernel, datapath }) => {
    await done(kernel, [replace({ ...datapath, entries: [] })]);
    const here = local("9.0.1.2", "weft0");
    const guarded = { map: "guarded", ip: ip("9.0.2.9") } as const;
    await refused(kernel, put(local("9.0.1.3", "nobody"), here, guarded), "ENODEV");
    await isThere(kernel, { ...datapath, entries: [here, guarded] });
  });

  test("a datapath without its own devices is refused whole, one of absent containers is there without them", async ({
    kernel,
    datapath,
  }) => {
    const elsewhere = { ...SETTINGS, underlay: "nobody" };
    await refused(kernel, replace({ ...datapath, dev: "nobody" }), "ENODEV");
    await refused(kernel, replace({ ...datapath, settings: elsewhere }), "ENODEV");
    assert.equal(await observed(kernel), undefined);
    await refused(kernel, replace({ ...datapath, entries: [...ENTRIES, local("9.0.1.77", "nobody")] }), "ENODEV");
    await isThere(kernel, datapath);
    await refused(kernel, { op: "datapath.set", dev: DEV, settings: elsewhere }, "ENODEV");
    await refused(kernel, attach("nobody", "container"), "ENODEV");
    await refused(kernel, detach("nobody"), "ENODEV");
    await isThere(kernel, datapath);
  });

  test("where there is no datapath nothing can be put into it or taken out of it", async ({ kernel, datapath }) => {
    const ops = (dev: string): readonly KernelOp[] => [
      { op: "datapath.put", dev, entries: ENTRIES },
      { op: "datapath.remove", dev, entries: ENTRIES },
      { op: "datapath.attach", dev, program: { dev: "weft0", program: "container" } },
      { op: "datapath.set", dev, settings: SETTINGS },
    ];
    for (const op of ops(DEV)) await refused(kernel, op, "ENOENT");
    // Neither on a device that is not the tunnel's, nor on one that is not there.
    await done(kernel, [replace(datapath)]);
    for (const op of ops("weft0")) await refused(kernel, op, "ENOENT");
    for (const op of ops("nobody")) await refused(kernel, op, "ENODEV");
    await done(kernel, ops(DEV));
    await done(kernel, [detach("weft1")]);
  });

  test("a map that is full takes no more, and keeps and changes what it has", async ({ kernel, datapath }) => {
    await done(kernel, [replace({ ...datapath, entries: [] })]);
    const addresses = Array.from({ length: DATAPATH_LOCALS_MAX }, (_, i) => nthAddress(cidr("9.1.0.0/16"), BigInt(i)));
    await done(kernel, [put(...addresses.map((address) => local(address, "weft0")))]);
    const more = Array.from({ length: 9 }, (_, i) => local(`9.2.0.${i}`, "weft0"));
    const changed = local("9.1.0.7", "weft1", 3);
    await refused(kernel, put(local("9.2.0.9", "weft0")), "E2BIG");
    await refused(kernel, put(...more, changed, ...ENTRIES), "E2BIG");
    const others = ENTRIES.filter(({ map }) => map !== "locals").map(entryKey);
    const locals = [...addresses, ip("fd01:b::1:0:0:2")].map((address) => entryKey({ map: "locals", ip: address }));
    const entries = (await observed(kernel))?.entries ?? [];
    assert.deepEqual(new Set(entries.map(entryKey)), new Set([...others, ...locals]));
    assert.deepEqual(
      entries.find((entry) => entryKey(entry) === entryKey(changed)),
      changed,
    );
    await done(kernel, [remove(changed), put(local("9.2.0.9", "weft0"))]);
  });

  test("a datapath that does not fit its maps is refused, and the one before stays", async ({ kernel, datapath }) => {
    await done(kernel, [replace(datapath)]);
    const entries = Array.from({ length: DATAPATH_LOCALS_MAX + 1 }, (_, i) =>
      local(nthAddress(cidr("9.1.0.0/16"), BigInt(i)), "weft0"),
    );
    await refused(kernel, replace({ ...datapath, entries }), "E2BIG");
    await isThere(kernel, datapath);
  });
}

function deletionTests(test: DatapathTest): void {
  test("a container's device takes its program along, and what led to it leads nowhere", async (world) => {
    const { kernel, datapath } = world;
    await done(kernel, [replace(datapath), { op: "link.delete", name: "weft1" }]);
    const programs = datapath.programs.filter(({ dev }) => dev !== "weft1");
    const entries = ENTRIES.map((entry) =>
      entry.map === "locals" && entry.dev === "weft1" ? { ...entry, dev: "" } : entry,
    );
    await isThere(kernel, { ...datapath, programs, entries });
    const without = ENTRIES.filter((entry) => entry.map !== "locals" || entry.dev !== "weft1");
    await done(kernel, await difference(kernel, { ...datapath, programs, entries: without }));
    await isThere(kernel, { ...datapath, programs, entries: without });
  });

  test("a device that comes back under its name gets its program and its entries again", async (world) => {
    const { kernel, datapath, newNetns } = world;
    await done(kernel, [replace(datapath), { op: "link.delete", name: "weft0" }]);
    const end = { netns: await newNetns(), name: "eth0", mac: mac("02:57:09:00:01:02"), mtu: 1420 };
    await done(kernel, [{ op: "link.add", link: { kind: "veth", name: "weft0", up: true, peer: end } }]);
    const ops = await difference(kernel, datapath);
    assert.deepEqual(ops.map(({ op }) => op).sort(), ["datapath.attach", "datapath.put"]);
    await done(kernel, ops);
    await isThere(kernel, datapath);
  });

  test("without the tunnel's device programs are left that lead nowhere, and the next pass replaces them", async (world) => {
    const { kernel, datapath } = world;
    await done(kernel, [replace(datapath), { op: "link.delete", name: DEV }]);
    const left = await observed(kernel);
    assert.deepEqual([left?.dev, left?.code, left?.entries], ["", "", []]);
    assert.deepEqual(
      left?.programs.map(({ dev, isStale }) => [dev, isStale]),
      [UNDERLAY, "weft0", "weft1"].map((dev) => [dev, true]),
    );
    await done(kernel, [{ op: "link.add", link: VTEP }]);
    await done(kernel, await difference(kernel, datapath));
    await isThere(kernel, datapath);
  });

  test("settings tell that the underlay is gone", async ({ kernel, datapath }) => {
    await done(kernel, [replace(datapath), { op: "link.delete", name: UNDERLAY }]);
    assert.equal((await observed(kernel))?.settings.underlay, "");
    await done(kernel, [{ op: "link.add", link: BRIDGE }]);
    await done(kernel, await difference(kernel, datapath));
    await isThere(kernel, datapath);
  });

  test("nothing is left of a datapath that is deleted, and it can be deleted again", async ({ kernel, datapath }) => {
    const before = await kernel.observe([]);
    await done(kernel, [replace(datapath)]);
    const state = await kernel.observe([]);
    await done(kernel, diff(state, { ...state, datapaths: [] }));
    assert.deepEqual(await kernel.observe([]), before);
    await done(kernel, [{ op: "datapath.delete", dev: DEV }]);
    await refused(kernel, put(...ENTRIES), "ENOENT");
  });
}
