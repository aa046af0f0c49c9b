/**
 * The maps' bytes are what the C says they are, and what was encoded is decoded again. Structures, numbers and their order
 * are read from the C itself.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import fc from "fast-check";
import { type DatapathEntry, type DatapathSettings, FAST_PATHS, PATHS } from "../../../core/host/datapath.ts";
import * as limits from "../../../model/datapath-limits.ts";
import { bigIntToIp, bytesToIp, cidr, type Family, ip, networkOf, withLength } from "../../../model/ip.ts";
import { bytesToMac, mac } from "../../../model/mac.ts";
import { VXLAN_PORT } from "../../../model/names.ts";
import * as layout from "./layout.ts";
import { datapathObject } from "./object.ts";

const source = (name: string) => readFileSync(new URL(`./${name}`, import.meta.url), "utf8");
const MAPS = source("maps.h");

const DEVICES = new Map([
  ["eth0", 2],
  ["vtep1024", 0xfffe_fdfc],
  ["weft0", 77],
]);
const indexOf = (dev: string) => DEVICES.get(dev);
const nameOf = (ifindex: number) => [...DEVICES].find(([, index]) => index === ifindex)?.[0];

// ---- the C -----------------------------------------------------------------------------------------------------------

const COMMENTS = /\/\*[\s\S]*?\*\//g;
const numberIn = (text: string, name: string): number => Number(new RegExp(`#define ${name} (\\d+)`).exec(text)?.[1]);

/** Of the types that structures in maps.h are made of: bytes, and what they are aligned to. */
const TYPES: Readonly<Record<string, readonly [bytes: number, alignment: number]>> = {
  __u8: [1, 1],
  __u16: [2, 2],
  __u32: [4, 4],
  __u64: [8, 8],
  "struct address6": [16, 4],
};

/** Where each field begins, as a C compiler places them, and under `""` where the structure ends. */
function offsetsOf(struct: string): Record<string, number> {
  const body = new RegExp(`struct ${struct} \\{([^}]*)\\};`).exec(MAPS)?.[1] ?? assert.fail(`there is ${struct}`);
  const offsets: Record<string, number> = {};
  let at = 0;
  let widest = 1;
  for (const [, type = "", names = ""] of body.replaceAll(COMMENTS, "").matchAll(/((?:struct )?\w+) ([^;]+);/g)) {
    const [bytes, alignment] = TYPES[type] ?? assert.fail(`the size of ${type} is known`);
    widest = Math.max(widest, alignment);
    for (const [, name = "", count] of names.matchAll(/(\w+)(?:\[(\w+)\])?/g)) {
      at = Math.ceil(at / alignment) * alignment;
      offsets[name] = at;
      at += bytes * (count === undefined ? 1 : count === "LENGTHS" ? numberIn(MAPS, count) : Number(count));
    }
  }
  return { ...offsets, "": Math.ceil(at / widest) * widest };
}

test("paths are numbered in the C as they are listed here, and nothing is counted beyond them", () => {
  const names = /enum path \{([^}]*)\}/.exec(MAPS)?.[1]?.replaceAll(COMMENTS, "") ?? "";
  const words = [...names.matchAll(/[A-Z_]+(?= =|,)/g)].map(([word]) => word.replace(/^PATH_/, ""));
  assert.match(names, /^\s*PATH_SAME_HOST = 1,/);
  assert.deepEqual(
    words.map((word) => word.toLowerCase().replaceAll("_", "-")),
    [...PATHS, "not-the-tunnel", "paths"],
  );
  assert.deepEqual(
    PATHS.filter((_, i) => names.split(",")[i]?.includes("PATH_")),
    FAST_PATHS,
  );
  for (const path of PATHS) assert.equal(layout.pathOf(layout.pathNumber(path)), path);
  assert.equal(layout.MAP_SIZES.counts, PATHS.length + 1);
});

test("numbers that both sides know are the same", () => {
  const [packet, kernel] = [source("packet.h"), source("datapath.c")];
  assert.equal(numberIn(MAPS, "LENGTHS"), limits.DATAPATH_LENGTHS_MAX);
  assert.equal(numberIn(packet, "TUNNEL_PORT"), VXLAN_PORT);
  assert.equal(numberIn(kernel, "OUTER_TTL"), 64);
});

test("every map has a size, and each structure the bytes that the compiler gave it", () => {
  const { maps } = datapathObject();
  assert.deepEqual(Object.keys(layout.MAP_SIZES).sort(), Object.keys(maps).sort());
  assert.deepEqual(
    layout.ENTRY_MAPS.map(({ name }) => name).filter((name) => maps[name] === undefined),
    [],
  );
  const sizeOf = (struct: string) => offsetsOf(struct)[""];
  assert.deepEqual(
    ["settings", "locals4", "locals6", "peers4", "counts", "pairs4"].map((name) => maps[name]?.value),
    ["settings", "local", "local", "peer", "count", "count"].map(sizeOf),
  );
  assert.deepEqual(
    ["peers4", "peers6", "talk", "translated4", "translated6", "pairs4", "pairs6"].map((name) => maps[name]?.key),
    ["prefix4", "prefix6", "groups", "end4", "end6", "pair4", "pair6"].map(sizeOf),
  );
  assert.equal(sizeOf("count"), layout.COUNT_BYTES);
  const ring = layout.MAP_SIZES.samples ?? 0;
  assert.ok(ring % 4096 === 0 && (ring & (ring - 1)) === 0, "a ring of whole pages, and a power of two");
});

test("each setting is where the C looks for it", () => {
  const bytes = layout.encodeSettings(
    {
      underlay: "eth0",
      node: ip("10.1.2.3"),
      vni: 0xabcdef,
      mac: mac("70:b3:d5:80:00:02"),
      gatewayMac: mac("02:57:00:00:00:01"),
      mtu: 1450,
      sampleEvery: 99,
      lengths: { 4: [31, 9], 6: [127, 33] },
      hasGuarded: true,
      hasSpecial: false,
      decapsulatesIpv6: false,
    },
    "vtep1024",
    indexOf,
  );
  const at = offsetsOf("settings");
  assert.ok(bytes !== undefined);
  assert.equal(bytes.length, at[""]);
  const hex = (field: string, length: number) => bytes.toString("hex", at[field], (at[field] ?? 0) + length);
  assert.deepEqual(
    ["underlay", "tunnel", "mtu", "sample", "has"].map((field) => bytes.readUInt32LE(at[field])),
    [2, 0xfffe_fdfc, 1450, 99, numberIn(MAPS, "HAS_GUARDED")],
  );
  // In network order.
  assert.deepEqual([hex("node", 4), hex("vni", 4)], ["0a010203", "abcdef00"]);
  assert.deepEqual([hex("tunnel_mac", 6), hex("gateway_mac", 6)], ["70b3d5800002", "025700000001"]);
  assert.equal(hex("length4", 12), "1f0000000900000000000000");
  assert.equal(hex("mask4", 12), "fffffffeff80000000000000");
  assert.equal(hex("length6", 12), "7f0000002100000000000000");
  assert.equal(hex("mask6", 32), `${"f".repeat(31)}effffffff80000000${"0".repeat(16)}`);
});

test("each flag of the settings is its own bit in the C", () => {
  const bits = { hasGuarded: "HAS_GUARDED", hasSpecial: "HAS_SPECIAL", decapsulatesIpv6: "DECAPSULATES_IPV6" } as const;
  const none = { hasGuarded: false, hasSpecial: false, decapsulatesIpv6: false };
  for (const [flag, name] of Object.entries(bits)) {
    const bytes = layout.encodeSettings({ ...NO_SETTINGS, ...none, [flag]: true }, "vtep1024", indexOf);
    assert.equal(bytes?.readUInt32LE(offsetsOf("settings").has ?? 0), numberIn(MAPS, name), flag);
  }
});

test("each value of an entry, and each group of a pair, is where the C looks for it", () => {
  const local = layout.encodeValue(
    {
      map: "locals",
      ip: ip("9.0.1.2"),
      dev: "weft0",
      mac: NO_SETTINGS.mac,
      group: 0xfedc_ba98,
      mtu: 1420,
      isLimited: true,
    },
    indexOf,
  );
  const localAt = offsetsOf("local");
  assert.ok(local !== undefined);
  assert.equal(local.length, localAt[""]);
  const value = Buffer.from(local);
  assert.deepEqual(
    [value.readUInt32LE(localAt.ifindex), value.toString("hex", localAt.mac, (localAt.mac ?? 0) + 6)],
    [77, "70b3d5800002"],
  );
  assert.deepEqual(
    [value.readUInt32LE(localAt.group), value.readUInt16LE(localAt.mtu), value.readUInt32LE(localAt.kernel)],
    [0xfedc_ba98, 1420, layout.pathNumber("limited")],
  );
  const peer = layout.encodeValue(
    {
      ...{ map: "peers", prefix: cidr("fd01:b::/80"), node: ip("10.0.0.12"), vtep: ip("fd01:a::3") },
      ...{ mac: NO_SETTINGS.mac, group: 0xfedc_ba99, level: 2 },
    },
    indexOf,
  );
  const peerAt = offsetsOf("peer");
  assert.ok(peer !== undefined);
  assert.equal(peer.length, peerAt[""]);
  const hex = (field: string, length: number) =>
    Buffer.from(peer).toString("hex", peerAt[field], (peerAt[field] ?? 0) + length);
  assert.deepEqual(
    [hex("node", 4), hex("mac", 6), hex("group", 4), hex("level", 2), hex("neighbor", 16)],
    ["0a00000c", "70b3d5800002", "99badcfe", "0200", "fd01000a000000000000000000000003"],
  );
  const pair = Buffer.from(layout.encodeKey({ map: "talk", from: 0xfedc_ba98, to: 0xfedc_ba99 }));
  const pairAt = offsetsOf("groups");
  assert.equal(pair.length, pairAt[""]);
  assert.deepEqual([pair.readUInt32LE(pairAt.from), pair.readUInt32LE(pairAt.to)], [0xfedc_ba98, 0xfedc_ba99]);
});

// ---- there and back --------------------------------------------------------------------------------------------------

const NO_SETTINGS: DatapathSettings = {
  underlay: "eth0",
  vni: 0,
  mac: mac("70:b3:d5:80:00:02"),
  gatewayMac: mac("02:57:00:00:00:01"),
  mtu: 0,
  sampleEvery: 0,
  lengths: { 4: [], 6: [] },
  hasGuarded: false,
  hasSpecial: false,
  decapsulatesIpv6: false,
};

const anyMac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map(bytesToMac);
const anyIp = (family: Family) =>
  fc.bigInt({ min: 1n, max: 2n ** (family === 4 ? 32n : 128n) - 1n }).map((n) => bigIntToIp(family, n));
const anyLength = (family: Family) => fc.integer({ min: 1, max: family === 4 ? 32 : 128 });
const anyPrefix = (family: Family) =>
  fc.tuple(anyIp(family), anyLength(family)).map(([address, length]) => networkOf(withLength(address, length)));
const anyLengths = (family: Family) =>
  fc
    .uniqueArray(anyLength(family), { maxLength: limits.DATAPATH_LENGTHS_MAX })
    .map((lengths) => lengths.sort((a, b) => b - a));
const anyWord = fc.integer({ min: 0, max: 0xffff_ffff });
const anyShort = fc.integer({ min: 0, max: 0xffff });
const anyDevice = fc.constantFrom(...DEVICES.keys());
/** Absent, or an address. */
const anyNode = fc.option(
  anyIp(4).map((node) => ({ node })),
  { nil: {} },
);

const anySettings: fc.Arbitrary<DatapathSettings> = fc
  .tuple(
    anyNode,
    fc.record({
      underlay: anyDevice,
      vni: fc.integer({ min: 0, max: 0xff_ffff }),
      mac: anyMac,
      gatewayMac: anyMac,
      mtu: anyWord,
      sampleEvery: anyWord,
      lengths: fc.tuple(anyLengths(4), anyLengths(6)).map(([v4, v6]) => ({ 4: v4, 6: v6 })),
      hasGuarded: fc.boolean(),
      hasSpecial: fc.boolean(),
      decapsulatesIpv6: fc.boolean(),
    }),
  )
  .map(([node, rest]) => ({ ...rest, ...node }));

const anyEntryOf = (family: Family): fc.Arbitrary<DatapathEntry> =>
  fc
    .oneof(
      fc.record({
        map: fc.constant("locals" as const),
        ip: anyIp(family),
        dev: anyDevice,
        mac: anyMac,
        group: anyWord,
        mtu: anyShort,
        isLimited: fc.boolean(),
      }),
      fc
        .tuple(
          anyNode,
          fc.record({
            map: fc.constant("peers" as const),
            prefix: anyPrefix(family),
            vtep: anyIp(family),
            mac: anyMac,
            group: anyWord,
            level: fc.constantFrom(1 as const, 2 as const),
          }),
        )
        .map(([node, rest]) => ({ ...rest, ...node })),
      fc.record({ map: fc.constantFrom("guarded" as const, "special" as const), ip: anyIp(family) }),
      fc.record({ map: fc.constant("talk" as const), from: anyWord, to: anyWord }),
    )
    .map((entry) => ({ ...entry }));

test("settings are decoded as they were encoded", () => {
  fc.assert(
    fc.property(anySettings, (settings) => {
      const bytes = layout.encodeSettings(settings, "vtep1024", indexOf);
      assert.ok(bytes !== undefined);
      assert.deepEqual(layout.decodeSettings(bytes, nameOf), settings);
    }),
  );
});

test("entries are decoded as they were encoded, from the map that they belong to, in its bytes", () => {
  fc.assert(
    fc.property(fc.oneof(anyEntryOf(4), anyEntryOf(6)), (entry) => {
      const name = layout.mapName(entry);
      const shape = datapathObject().maps[name];
      const which = layout.ENTRY_MAPS.find((each) => each.name === name);
      const value = layout.encodeValue(entry, indexOf);
      assert.ok(which !== undefined && value !== undefined);
      const key = layout.encodeKey(entry);
      assert.deepEqual([key.length, value.length], [shape?.key, shape?.value]);
      assert.deepEqual(layout.decodeEntry(which, Buffer.from(key), Buffer.from(value), nameOf), entry);
    }),
  );
});

test("what names a device that is not there is not encoded, and is decoded as nobody's", () => {
  assert.equal(layout.encodeSettings({ ...NO_SETTINGS, underlay: "nobody" }, "vtep1024", indexOf), undefined);
  assert.equal(layout.encodeSettings(NO_SETTINGS, "nobody", indexOf), undefined);
  const bytes = layout.encodeSettings(NO_SETTINGS, "vtep1024", indexOf);
  assert.ok(bytes !== undefined, "positive control");
  assert.deepEqual(
    layout.decodeSettings(bytes, () => undefined),
    { ...NO_SETTINGS, underlay: "" },
  );
});

test("pairs are decoded as they were encoded, and counts are the sum over the processors", () => {
  fc.assert(
    fc.property(fc.constantFrom<Family>(4, 6), fc.constantFrom(...PATHS), anyIp(4), anyIp(6), (family, path, a, b) => {
      const source = family === 4 ? a : b;
      const destination = bytesToIp(new Uint8Array(family === 4 ? 4 : 16));
      const key = layout.encodePairKey({ source, destination, path });
      assert.equal(key.length, datapathObject().maps[`pairs${family}`]?.key);
      assert.deepEqual(layout.decodePairKey(key, family), { source, destination, path });
    }),
  );
  const values = Buffer.alloc(layout.COUNT_BYTES * 3);
  for (const [i, n] of [1n, 10n, 2n, 20n, 2n ** 40n, 2n ** 50n].entries()) values.writeBigUInt64LE(n, i * 8);
  assert.deepEqual(layout.sumCounts(values), { packets: 3 + 2 ** 40, bytes: 30 + 2 ** 50 });
});

test("a sample is read where the C wrote it; what no version writes is none", () => {
  const at = offsetsOf("sample");
  const bytes = Buffer.alloc(at[""] ?? 0);
  bytes.set([9, 0, 1, 2], at.source);
  bytes.set([9, 0, 2, 2], at.destination);
  bytes.writeUInt16BE(4_000, at.source_port);
  bytes.writeUInt16BE(80, at.destination_port);
  bytes.set([4, 6, layout.pathNumber("guarded")], at.family);
  assert.deepEqual([at.protocol, at.path], [(at.family ?? 0) + 1, (at.family ?? 0) + 2]);
  bytes.writeUInt32LE(77, at.ifindex);
  bytes.writeUInt32LE(64_000, at.length);
  const sample = {
    source: "9.0.1.2",
    destination: "9.0.2.2",
    protocol: 6,
    path: "guarded",
    dev: "weft0",
    length: 64_000,
  };
  assert.deepEqual(layout.decodeSample(bytes, nameOf), { ...sample, sourcePort: 4_000, destinationPort: 80 });
  bytes.writeUInt8(1, at.protocol);
  assert.deepEqual(layout.decodeSample(bytes, nameOf), { ...sample, protocol: 1 });
  assert.equal(layout.decodeSample(bytes.subarray(1), nameOf), undefined);
  for (const wrong of [0, PATHS.length + 1]) {
    bytes.writeUInt8(wrong, at.path);
    assert.equal(layout.decodeSample(bytes, nameOf), undefined);
  }
});
