/**
 * What is in the datapath's maps, as bytes: the structures of maps.h, field by field at their offsets. Devices go by
 * their number there and by their name here.
 *
 * Addresses and prefixes are in network order, numbers in the machine's.
 */
import {
  type DatapathEntry,
  type DatapathKey,
  type DatapathMap,
  type DatapathPath,
  type DatapathSettings,
  entryFamily,
  type FlowSample,
  PATHS,
  type PairKey,
} from "../../../core/host/datapath.ts";
import * as limits from "../../../model/datapath-limits.ts";
import { assert } from "../../../model/fault.ts";
import {
  addressBits,
  addressOf,
  bytesToIp,
  type Cidr,
  type Family,
  type Ip,
  ip,
  ipToBytes,
  lengthOf,
  networkOf,
  withLength,
} from "../../../model/ip.ts";
import { bytesToMac, macToBytes } from "../../../model/mac.ts";
import type { NameOf } from "../netlink/link-messages.ts";

export type IndexOf = (dev: string) => number | undefined;

/** Elements, or bytes for the ring of samples. */
export const MAP_SIZES: Readonly<Record<string, number>> = {
  settings: 1,
  locals4: limits.DATAPATH_LOCALS_MAX,
  locals6: limits.DATAPATH_LOCALS_MAX,
  peers4: limits.DATAPATH_PEERS_MAX,
  peers6: limits.DATAPATH_PEERS_MAX,
  talk: limits.DATAPATH_TALK_MAX,
  guarded4: limits.DATAPATH_GUARDED_MAX,
  guarded6: limits.DATAPATH_GUARDED_MAX,
  special4: limits.DATAPATH_SPECIAL_MAX,
  special6: limits.DATAPATH_SPECIAL_MAX,
  translated4: limits.DATAPATH_TRANSLATED_MAX,
  translated6: limits.DATAPATH_TRANSLATED_MAX,
  counts: PATHS.length + 1,
  pairs4: limits.DATAPATH_PAIRS_MAX,
  pairs6: limits.DATAPATH_PAIRS_MAX,
  samples: limits.DATAPATH_SAMPLES_BYTES,
};

/** Maps of entries, as the kernel has them: one of each family, but `talk`. */
export const ENTRY_MAPS: readonly { readonly map: DatapathMap; readonly family: Family; readonly name: string }[] = [
  ...(["locals", "peers", "guarded", "special"] as const).flatMap((map) =>
    ([4, 6] as const).map((family) => ({ map, family, name: `${map}${family}` })),
  ),
  { map: "talk", family: 4, name: "talk" },
];

const SETTINGS_BYTES = 264;
const LOCAL_BYTES = 20;
const PEER_BYTES = 32;
const HAS_GUARDED = 1;
const HAS_SPECIAL = 2;
const DECAPSULATES_IPV6 = 4;
const NO_NODE = ip("0.0.0.0");
/** In `enum path`. */
const LIMITED = pathNumber("limited");

/** The map's name as the kernel has it. */
export function mapName(entry: DatapathKey): string {
  return `${entry.map}${entryFamily(entry) ?? ""}`;
}

export function pathNumber(path: DatapathPath): number {
  return PATHS.indexOf(path) + 1;
}

export function pathOf(number: number): DatapathPath | undefined {
  return PATHS[number - 1];
}

// ---- settings ------------------------------------------------------------------------------------------------------

/** `undefined` when a device is not there. */
export function encodeSettings(settings: DatapathSettings, tunnel: string, indexOf: IndexOf): Buffer | undefined {
  const [underlayIndex, tunnelIndex] = [indexOf(settings.underlay), indexOf(tunnel)];
  if (underlayIndex === undefined || tunnelIndex === undefined) return undefined;
  const bytes = Buffer.alloc(SETTINGS_BYTES);
  bytes.writeUInt32LE(underlayIndex, 0);
  bytes.writeUInt32LE(tunnelIndex, 4);
  bytes.set(nodeBytes(settings.node), 8);
  bytes.writeUInt32BE(settings.vni * 256, 12);
  bytes.writeUInt32LE(settings.mtu, 16);
  bytes.writeUInt32LE(settings.sampleEvery, 20);
  bytes.writeUInt32LE(bitsOf(settings), 24);
  bytes.set(macToBytes(settings.mac), 28);
  bytes.set(macToBytes(settings.gatewayMac), 34);
  for (const family of [4, 6] as const) {
    const lengths = settings.lengths[family];
    assert(lengths.length <= limits.DATAPATH_LENGTHS_MAX, `no more than ${limits.DATAPATH_LENGTHS_MAX} lengths`);
    const size = addressBits(family) / 8;
    const [lengthAt, maskAt] = family === 4 ? [40, 72] : [104, 136];
    for (const [i, length] of lengths.entries()) {
      bytes.writeUInt32LE(length, lengthAt + i * 4);
      bytes.set(maskBytes(family, length), maskAt + i * size);
    }
  }
  return bytes;
}

export function decodeSettings(bytes: Buffer, nameOf: NameOf): DatapathSettings {
  const has = bytes.readUInt32LE(24);
  const lengths = (at: number) =>
    Array.from({ length: limits.DATAPATH_LENGTHS_MAX }, (_, i) => bytes.readUInt32LE(at + i * 4)).filter(
      (length) => length > 0,
    );
  return {
    underlay: nameOf(bytes.readUInt32LE(0)) ?? "",
    ...nodeAt(bytes, 8),
    vni: bytes.readUInt32BE(12) / 256,
    mtu: bytes.readUInt32LE(16),
    sampleEvery: bytes.readUInt32LE(20),
    mac: bytesToMac(bytes.subarray(28, 34)),
    gatewayMac: bytesToMac(bytes.subarray(34, 40)),
    lengths: { 4: lengths(40), 6: lengths(104) },
    hasGuarded: (has & HAS_GUARDED) !== 0,
    hasSpecial: (has & HAS_SPECIAL) !== 0,
    decapsulatesIpv6: (has & DECAPSULATES_IPV6) !== 0,
  };
}

function bitsOf({ hasGuarded, hasSpecial, decapsulatesIpv6 }: DatapathSettings): number {
  return (hasGuarded ? HAS_GUARDED : 0) | (hasSpecial ? HAS_SPECIAL : 0) | (decapsulatesIpv6 ? DECAPSULATES_IPV6 : 0);
}

function nodeBytes(node: Ip | undefined): Uint8Array {
  return ipToBytes(node ?? NO_NODE);
}

function nodeAt(bytes: Buffer, at: number): { readonly node?: Ip } {
  const node = bytesToIp(bytes.subarray(at, at + 4));
  return node === NO_NODE ? {} : { node };
}

function maskBytes(family: Family, length: number): Uint8Array {
  return Uint8Array.from({ length: addressBits(family) / 8 }, (_, i) => {
    const ones = Math.min(8, Math.max(0, length - i * 8));
    return (0xff00 >> ones) & 0xff;
  });
}

// ---- entries -------------------------------------------------------------------------------------------------------

export function encodeKey(entry: DatapathKey): Uint8Array {
  if (entry.map === "peers") {
    const address = ipToBytes(addressOf(entry.prefix));
    const bytes = Buffer.alloc(4 + address.length);
    bytes.writeUInt32LE(lengthOf(entry.prefix), 0);
    bytes.set(address, 4);
    return bytes;
  }
  if (entry.map !== "talk") return ipToBytes(entry.ip);
  const bytes = Buffer.alloc(8);
  bytes.writeUInt32LE(entry.from, 0);
  bytes.writeUInt32LE(entry.to, 4);
  return bytes;
}

/** `undefined` when its device is not there. */
export function encodeValue(entry: DatapathEntry, indexOf: IndexOf): Uint8Array | undefined {
  if (entry.map === "locals") {
    const ifindex = indexOf(entry.dev);
    if (ifindex === undefined) return undefined;
    const bytes = Buffer.alloc(LOCAL_BYTES);
    bytes.writeUInt32LE(ifindex, 0);
    bytes.writeUInt32LE(entry.group, 4);
    bytes.set(macToBytes(entry.mac), 8);
    bytes.writeUInt16LE(entry.mtu, 14);
    bytes.writeUInt32LE(entry.isLimited ? LIMITED : 0, 16);
    return bytes;
  }
  if (entry.map !== "peers") return Uint8Array.of(1);
  const bytes = Buffer.alloc(PEER_BYTES);
  bytes.set(nodeBytes(entry.node), 0);
  bytes.writeUInt32LE(entry.group, 4);
  bytes.set(macToBytes(entry.mac), 8);
  bytes.writeUInt16LE(entry.level, 14);
  bytes.set(ipToBytes(entry.vtep), 16);
  return bytes;
}

/** A device that is gone has the name `""`. */
export function decodeEntry(
  { map, family }: { readonly map: DatapathMap; readonly family: Family },
  key: Buffer,
  value: Buffer,
  nameOf: NameOf,
): DatapathEntry {
  if (map === "talk") return { map, from: key.readUInt32LE(0), to: key.readUInt32LE(4) };
  if (map === "locals")
    return {
      map,
      ip: bytesToIp(key),
      dev: nameOf(value.readUInt32LE(0)) ?? "",
      mac: bytesToMac(value.subarray(8, 14)),
      group: value.readUInt32LE(4),
      mtu: value.readUInt16LE(14),
      isLimited: value.readUInt32LE(16) !== 0,
    };
  if (map !== "peers") return { map, ip: bytesToIp(key) };
  return {
    map,
    prefix: prefixOf(key),
    ...nodeAt(value, 0),
    mac: bytesToMac(value.subarray(8, 14)),
    group: value.readUInt32LE(4),
    level: value.readUInt16LE(14) === 2 ? 2 : 1,
    vtep: bytesToIp(value.subarray(16, 16 + addressBits(family) / 8)),
  };
}

function prefixOf(key: Buffer): Cidr {
  return networkOf(withLength(bytesToIp(key.subarray(4)), key.readUInt32LE(0)));
}

// ---- traffic -------------------------------------------------------------------------------------------------------

export const COUNT_BYTES = 16;

/** The sum over the processors. */
export function sumCounts(values: Buffer): { packets: number; bytes: number } {
  let packets = 0n;
  let bytes = 0n;
  for (let at = 0; at + COUNT_BYTES <= values.length; at += COUNT_BYTES) {
    packets += values.readBigUInt64LE(at);
    bytes += values.readBigUInt64LE(at + 8);
  }
  return { packets: Number(packets), bytes: Number(bytes) };
}

export function decodePairKey(key: Buffer, family: Family) {
  const size = addressBits(family) / 8;
  return {
    source: bytesToIp(key.subarray(0, size)),
    destination: bytesToIp(key.subarray(size, size * 2)),
    path: pathOf(key.readUInt32LE(size * 2)),
  };
}

export function encodePairKey(pair: PairKey) {
  const number = Buffer.alloc(4);
  number.writeUInt32LE(pathNumber(pair.path), 0);
  return Buffer.concat([ipToBytes(pair.source), ipToBytes(pair.destination), number]);
}

const SAMPLE_BYTES = 48;

/** `undefined` for what no version of the programs writes. */
export function decodeSample(bytes: Buffer, nameOf: NameOf): FlowSample | undefined {
  if (bytes.length < SAMPLE_BYTES) return undefined;
  const family = bytes.readUInt8(36);
  const path = pathOf(bytes.readUInt8(38));
  if ((family !== 4 && family !== 6) || path === undefined) return undefined;
  const size = addressBits(family) / 8;
  const protocol = bytes.readUInt8(37);
  const dev = nameOf(bytes.readUInt32LE(40));
  const hasPorts = protocol === 6 || protocol === 17;
  return {
    source: bytesToIp(bytes.subarray(0, size)),
    destination: bytesToIp(bytes.subarray(16, 16 + size)),
    ...(hasPorts && { sourcePort: bytes.readUInt16BE(32), destinationPort: bytes.readUInt16BE(34) }),
    protocol,
    path,
    ...(dev !== undefined && { dev }),
    length: bytes.readUInt32LE(44),
  };
}
