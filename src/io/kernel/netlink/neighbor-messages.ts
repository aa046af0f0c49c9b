/**
 * Neighbours (IP → MAC) and the forwarding tables of VXLAN devices (MAC → underlay address) in rtnetlink: one message
 * kind for both, told apart by the family. Only permanent entries are made. Source: linux/neighbour.h.
 */
import type { FdbEntry, Neighbor } from "../../../core/host/host-state.ts";
import { bytesToIp, familyOf, ipToBytes } from "../../../model/ip.ts";
import { bytesToMac, type Mac, macToBytes } from "../../../model/mac.ts";
import { AF_BRIDGE, familyNumber } from "./family.ts";
import type { NameOf } from "./link-messages.ts";
import {
  Attributes,
  type Message,
  type MessageWriter,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  readU16,
  readU32,
} from "./message.ts";

const RTM_NEWNEIGH = 28;
const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
/** struct ndmsg */
const NEIGHBOR_BYTES = 12;
const NDA_DST = 1;
const NDA_LLADDR = 2;
const NUD_PERMANENT = 0x80;
/** INCOMPLETE, REACHABLE, STALE, DELAY, PROBE: what the kernel goes through by itself. */
const NUD_TRANSIENT = 0x1f;
const NTF_SELF = 0x02;

export function encodeNeighborReplace(writer: MessageWriter, neighbor: Neighbor, ifindex: number): void {
  writer.message(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE, () => {
    writeHeader(writer, familyNumber(familyOf(neighbor.ip)), ifindex, 0);
    writer.attribute(NDA_DST, ipToBytes(neighbor.ip));
    writer.attribute(NDA_LLADDR, macToBytes(neighbor.mac));
  });
}

export function encodeNeighborDelete(writer: MessageWriter, neighbor: Neighbor, ifindex: number): void {
  writer.message(RTM_DELNEIGH, NLM_F_REQUEST, () => {
    writeHeader(writer, familyNumber(familyOf(neighbor.ip)), ifindex, 0);
    writer.attribute(NDA_DST, ipToBytes(neighbor.ip));
  });
}

export function encodeFdbReplace(writer: MessageWriter, entry: FdbEntry, ifindex: number): void {
  writer.message(RTM_NEWNEIGH, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE, () => writeFdb(writer, entry, ifindex));
}

export function encodeFdbDelete(writer: MessageWriter, entry: FdbEntry, ifindex: number): void {
  writer.message(RTM_DELNEIGH, NLM_F_REQUEST, () => writeFdb(writer, entry, ifindex));
}

/** Asks for the neighbours of both families on all devices, or for the forwarding table of one. */
export function encodeNeighborDump(writer: MessageWriter, fdbOf?: number): void {
  writer.message(RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, () => {
    writer.u32(fdbOf === undefined ? 0 : AF_BRIDGE);
    writer.u32(fdbOf ?? 0);
    writer.u32(0);
  });
}

/**
 * `undefined` for an entry that is not permanent, or has no MAC.
 * @throws Fault kernel-refused on garbage
 */
export function decodeNeighbor(message: Message, nameOf: NameOf): Neighbor | undefined {
  const entry = decodeEntry(message);
  const dev = nameOf(readU32(message.payload, 4));
  if (entry === undefined || dev === undefined || (readU16(message.payload, 8) & NUD_PERMANENT) === 0) return undefined;
  return { dev, ip: entry.dst, mac: entry.mac };
}

/**
 * `undefined` for an entry without a destination: that of a bridge, not of a VXLAN device.
 * @throws Fault kernel-refused on garbage
 */
export function decodeFdbEntry(message: Message, dev: string): FdbEntry | undefined {
  const entry = decodeEntry(message);
  return entry === undefined ? undefined : { dev, mac: entry.mac, dst: entry.dst };
}

/** Whether a notice says only that the kernel resolves or ages an entry by itself, as it does all day. */
export function isResolution(message: Message): boolean {
  const state = readU16(message.payload, 8);
  return message.type === RTM_NEWNEIGH && message.payload[0] !== AF_BRIDGE && (state & ~NUD_TRANSIENT) === 0;
}

function decodeEntry(message: Message): { readonly dst: Neighbor["ip"]; readonly mac: Mac } | undefined {
  const attributes = new Attributes(message.payload, NEIGHBOR_BYTES);
  const dst = attributes.bytes(NDA_DST);
  const mac = attributes.bytes(NDA_LLADDR);
  if (mac?.length !== 6 || (dst?.length !== 4 && dst?.length !== 16)) return undefined;
  return { dst: bytesToIp(dst), mac: bytesToMac(mac) };
}

function writeFdb(writer: MessageWriter, entry: FdbEntry, ifindex: number): void {
  writeHeader(writer, AF_BRIDGE, ifindex, NTF_SELF);
  writer.attribute(NDA_LLADDR, macToBytes(entry.mac));
  writer.attribute(NDA_DST, ipToBytes(entry.dst));
}

function writeHeader(writer: MessageWriter, family: number, ifindex: number, flags: number): void {
  writer.u32(family);
  writer.u32(ifindex);
  writer.u16(NUD_PERMANENT);
  writer.u8(flags);
  writer.u8(0); // type
}
