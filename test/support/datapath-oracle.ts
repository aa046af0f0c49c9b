/**
 * What the datapath's programs must do with a frame, said a second time: from what the maps mean (core/host/datapath.ts) and
 * from what docs/decisions/0041 and 0042 promise, byte by byte and without regard for speed. It knows nothing of how the
 * programs are made; where the two differ, one of them is wrong.
 */
import type { DatapathEntry, DatapathPath, DatapathSettings } from "../../src/core/host/datapath.ts";
import { addressOf, type Family, familyOf, ipToBytes, lengthOf } from "../../src/model/ip.ts";
import { macToBytes } from "../../src/model/mac.ts";
import { VXLAN_PORT } from "../../src/model/names.ts";

export type ProgramKind = "container" | "tunnel" | "underlay";

/** Where frames come in, as the kernel sees them: on a device with a MAC of its own. */
export interface Arrival {
  readonly dev: string;
  readonly mac: Uint8Array;
}

/**
 * A packet that stands for many of this payload. In test runs the kernel does not know in which way, and neither wraps it
 * nor takes a header off.
 */
export interface Gso {
  readonly size: number;
  readonly segments: number;
}

export interface Fate {
  /** `kernel`: it goes on as it came. */
  readonly goes: "kernel" | "container" | "tunnel" | "encapsulated";
  /** What it is afterwards, where it does not go to the kernel. */
  readonly frame?: Buffer;
  /** How it is counted; absent: not at all. */
  readonly counted?: { readonly path: DatapathPath; readonly packets: number; readonly bytes: number };
  /** Source and destination in hexadecimal, and what was read, where pairs are counted and samples told as well. */
  readonly pair?: string;
  readonly packet?: Packet;
}

type Local = Extract<DatapathEntry, { readonly map: "locals" }>;
type Peer = Extract<DatapathEntry, { readonly map: "peers" }>;

export interface Packet {
  readonly family: Family;
  /** In hexadecimal. */
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly ecn: number;
  /** From its IP header on; and the longest of those that it becomes. */
  readonly length: number;
  readonly size: number;
  /** It is not for programs. */
  readonly why?: "not-plain" | "not-tcp-udp";
}

const ETHERNET = 14;
const OVERHEAD = 50;
const [TCP, UDP] = [6, 17];
const ECN = { none: 0, ect1: 1, ect0: 2, congested: 3 } as const;
const IP_LENGTH_MAX = 65_535;
const FAMILY: Readonly<Record<number, Family>> = { 2048: 4, 34525: 6 };

export class Oracle {
  readonly #settings: DatapathSettings;
  readonly #arrival: Arrival;
  readonly #locals = new Map<string, Local>();
  /** The longest first, of those lengths that are looked up. */
  readonly #peers: readonly { readonly peer: Peer; readonly bits: string; readonly family: Family }[];
  readonly #talks = new Set<string>();
  readonly #guarded = new Set<string>();
  readonly #special = new Set<string>();
  /** Ends of connections whose other end may be translated: address, port, protocol. */
  readonly translated = new Set<string>();

  constructor(settings: DatapathSettings, entries: readonly DatapathEntry[], arrival: Arrival) {
    this.#settings = settings;
    this.#arrival = arrival;
    const hex = (address: Parameters<typeof ipToBytes>[0]) => Buffer.from(ipToBytes(address)).toString("hex");
    for (const entry of entries) {
      if (entry.map === "locals") this.#locals.set(hex(entry.ip), entry);
      if (entry.map === "talk") this.#talks.add(`${entry.from} ${entry.to}`);
      if (entry.map === "guarded") this.#guarded.add(hex(entry.ip));
      if (entry.map === "special") this.#special.add(hex(entry.ip));
    }
    this.#peers = entries
      .filter((entry) => entry.map === "peers")
      .filter(({ prefix }) => settings.lengths[familyOf(prefix)].includes(lengthOf(prefix)))
      .toSorted((a, b) => lengthOf(b.prefix) - lengthOf(a.prefix))
      .map((peer) => {
        const bits = bitsOf(hex(addressOf(peer.prefix))).slice(0, lengthOf(peer.prefix));
        return { peer, bits, family: familyOf(peer.prefix) };
      });
  }

  /** @param frame as it comes in */
  fate(program: ProgramKind, frame: Buffer, gso?: Gso): Fate {
    const isPlain = frame.subarray(0, 6).equals(this.#arrival.mac);
    const family = FAMILY[frame.readUInt16BE(12)];
    if (program === "underlay") return isPlain && family === 4 ? this.#underlay(frame, gso) : { goes: "kernel" };
    if (!isPlain || family === undefined) return this.#unread("not-ip", frame, gso);
    const packet = readPacket(frame.subarray(ETHERNET), family, gso);
    return program === "container" ? this.#container(frame, packet, gso) : this.#tunnel(frame, packet, gso);
  }

  #container(frame: Buffer, packet: Packet, gso: Gso | undefined): Fate {
    const from = this.#locals.get(packet.source);
    if (from?.dev !== this.#arrival.dev || !frame.subarray(6, 12).equals(macToBytes(from.mac)))
      return this.#unread("not-own-source", frame, gso);
    const to = this.#locals.get(packet.destination);
    const peer = this.#peerOf(packet.family, packet.destination);
    const left = packet.why ?? this.#reasonToLeave(packet, from, to, peer);
    const why = left ?? (to === undefined && peer?.level === 2 && gso !== undefined ? "not-plain" : undefined);
    const isKnown = { source: true, destination: to !== undefined || peer !== undefined };
    if (why !== undefined) return leftToKernel(why, packet, gso, isKnown);
    const mine = Buffer.from(frame);
    takeHop(mine.subarray(ETHERNET), packet.family);
    if (to !== undefined) return carried("container", this.#addressed(mine, to), "same-host", packet, gso);
    if (peer?.level === 1) return carried("tunnel", mine, "tunnel", packet, gso);
    return carried("encapsulated", this.#wrapped(mine, packet, peer as Peer), "encapsulated", packet, gso);
  }

  #tunnel(frame: Buffer, packet: Packet, gso: Gso | undefined): Fate {
    const to = this.#locals.get(packet.destination);
    const why = packet.why ?? this.#reasonToRefuse(packet, to, undefined);
    const source = this.#peerOf(packet.family, packet.source) !== undefined;
    const isKnown = { source, destination: to !== undefined };
    if (why !== undefined || to === undefined) return leftToKernel(why ?? "outside", packet, gso, isKnown);
    const mine = Buffer.from(frame);
    takeHop(mine.subarray(ETHERNET), packet.family);
    return carried("container", this.#addressed(mine, to), "tunnel", packet, gso);
  }

  #underlay(frame: Buffer, gso: Gso | undefined): Fate {
    const [outer, inner] = [frame.subarray(ETHERNET, OVERHEAD), frame.subarray(OVERHEAD)];
    if (!this.#isForTunnel(frame)) return { goes: "kernel" };
    const mark = outer.readUInt8(1) & 3;
    const bytes = inner.length - ETHERNET;
    if (mark === ECN.congested) return { goes: "kernel", counted: counts("congested", bytes, gso) };
    const family = FAMILY[inner.readUInt16BE(12)];
    if (family === undefined || (family === 6 && !this.#settings.decapsulatesIpv6)) return { goes: "kernel" };
    const packet = readPacket(inner.subarray(ETHERNET), family, gso);
    if (packet.why !== undefined) return { goes: "kernel" };
    const to = this.#locals.get(packet.destination);
    const why = this.#reasonToRefuse(packet, to, outer.subarray(12, 16));
    if (why === "stranger") return { goes: "kernel", counted: counts(why, bytes, gso) };
    if (why !== undefined || to === undefined) return { goes: "kernel" };
    // RFC 6040: the underlay made one codepoint the other, and it must get inside.
    if (mark === ECN.ect1 && packet.ecn === ECN.ect0)
      return { goes: "kernel", counted: counts("congested", bytes, gso) };
    if (gso !== undefined) return { goes: "kernel" };
    const mine = Buffer.from(inner);
    takeHop(mine.subarray(ETHERNET), family);
    return carried("container", this.#addressed(mine, to), "encapsulated", packet, gso);
  }

  /** A tunnel packet of RFC 7348 for this host, of this network, that says of itself what is so. */
  #isForTunnel(frame: Buffer): boolean {
    const { node, vni, mac } = this.#settings;
    if (frame.length < OVERHEAD + ETHERNET || node === undefined) return false;
    const [outer, vxlan] = [frame.subarray(ETHERNET), frame.subarray(OVERHEAD - 8, OVERHEAD)];
    return (
      outer.readUInt8(0) === 0x45 &&
      outer.readUInt16BE(2) === outer.length &&
      (outer.readUInt16BE(6) & 0x3fff) === 0 &&
      outer.readUInt8(9) === UDP &&
      outer.subarray(16, 20).equals(ipToBytes(node)) &&
      outer.readUInt16BE(22) === VXLAN_PORT &&
      outer.readUInt16BE(24) === outer.length - 20 &&
      vxlan.readUInt32BE(0) === 0x08000000 &&
      vxlan.readUInt32BE(4) === vni * 256 &&
      frame.subarray(OVERHEAD, OVERHEAD + 6).equals(macToBytes(mac))
    );
  }

  #reasonToLeave(packet: Packet, from: Local, to: Local | undefined, peer: Peer | undefined): DatapathPath | undefined {
    if (from.isLimited) return "limited";
    if (isForbidden(packet)) return "forbidden-port";
    if (to === undefined && peer === undefined) {
      this.#remember(packet);
      return "outside";
    }
    if (to?.isLimited === true) return "limited";
    const group = to?.group ?? peer?.group ?? -1;
    const mtu = to?.mtu ?? this.#settings.mtu;
    return this.#commonReason(packet, from.group, group) ?? tooBig(packet, mtu, OVERHEAD);
  }

  #reasonToRefuse(packet: Packet, to: Local | undefined, node: Buffer | undefined): DatapathPath | undefined {
    const peer = this.#peerOf(packet.family, packet.source);
    if (to === undefined || peer === undefined) {
      if (node === undefined) this.#remember(packet);
      return "outside";
    }
    if (node !== undefined && (peer.node === undefined || !node.equals(ipToBytes(peer.node)))) return "stranger";
    if (to.isLimited) return "limited";
    if (isForbidden(packet)) return "forbidden-port";
    return this.#commonReason(packet, peer.group, to.group) ?? tooBig(packet, to.mtu, 0);
  }

  #commonReason(packet: Packet, from: number, to: number): DatapathPath | undefined {
    const { source, destination, destinationPort, protocol } = packet;
    const { hasGuarded, hasSpecial } = this.#settings;
    if (hasGuarded && (this.#guarded.has(source) || this.#guarded.has(destination))) return "guarded";
    if (hasSpecial && this.translated.has(`${destination} ${destinationPort} ${protocol}`)) return "translated";
    return from === to || this.#talks.has(`${from} ${to}`) ? undefined : "between-networks";
  }

  #remember({ destination, source, sourcePort, protocol }: Packet): void {
    if (this.#settings.hasSpecial && this.#special.has(destination))
      this.translated.add(`${source} ${sourcePort} ${protocol}`);
  }

  #peerOf(family: Family, address: string): Peer | undefined {
    const bits = bitsOf(address);
    return this.#peers.find((each) => each.family === family && bits.startsWith(each.bits))?.peer;
  }

  #addressed(frame: Buffer, { mac }: Local): Buffer {
    frame.set(macToBytes(mac), 0);
    frame.set(macToBytes(this.#settings.gatewayMac), 6);
    return frame;
  }

  /** The outer Ethernet addresses and the source port are zero: the neighbour's and the connection's to choose. */
  #wrapped(frame: Buffer, packet: Packet, peer: Peer): Buffer {
    const { node, vni, mac } = this.#settings;
    const outer = Buffer.alloc(OVERHEAD);
    const length = OVERHEAD - ETHERNET + frame.length;
    outer.writeUInt16BE(0x0800, 12);
    outer.set([0x45, packet.ecn === ECN.congested ? ECN.ect0 : packet.ecn], 14);
    outer.writeUInt16BE(length, 16);
    outer.set([0, 0, 0x40, 0, 64, UDP], 18);
    outer.set(node === undefined ? [] : ipToBytes(node), 26);
    outer.set(peer.node === undefined ? [] : ipToBytes(peer.node), 30);
    outer.writeUInt16BE(0xffff - onesSum(outer.subarray(14, 34)), 24);
    outer.writeUInt16BE(VXLAN_PORT, 36);
    outer.writeUInt16BE(length - 20, 38);
    outer.writeUInt32BE(0x08000000, 42);
    outer.writeUInt32BE(vni * 256, 46);
    frame.set(macToBytes(peer.mac), 0);
    frame.set(macToBytes(mac), 6);
    return Buffer.concat([outer, frame]);
  }

  #unread(path: DatapathPath, frame: Buffer, gso: Gso | undefined): Fate {
    return { goes: "kernel", counted: counts(path, frame.length - ETHERNET, gso) };
  }
}

/** All that is outside of the overlay is one. */
function leftToKernel(
  path: DatapathPath,
  packet: Packet,
  gso: Gso | undefined,
  isKnown: Readonly<Record<"source" | "destination", boolean>>,
): Fate {
  const shown = (end: "source" | "destination") => (isKnown[end] ? packet[end] : packet[end].replaceAll(/./g, "0"));
  const pair = `${shown("source")} ${shown("destination")}`;
  return { goes: "kernel", counted: counts(path, packet.length, gso), packet, pair };
}

function carried(goes: Fate["goes"], frame: Buffer, path: DatapathPath, packet: Packet, gso: Gso | undefined): Fate {
  const pair = `${packet.source} ${packet.destination}`;
  return { goes, frame, counted: counts(path, packet.length, gso), packet, pair };
}

function counts(path: DatapathPath, bytes: number, gso: Gso | undefined) {
  return { path, bytes, packets: gso?.segments ?? 1 };
}

function tooBig({ size, length }: Packet, mtu: number, overhead: number): "too-big" | undefined {
  return size > mtu || length + overhead > IP_LENGTH_MAX ? "too-big" : undefined;
}

/** As ingress.ts drops it: DHCP servers, DHCP clients, and the tunnel itself. */
function isForbidden({ family, protocol, sourcePort, destinationPort }: Packet): boolean {
  if (protocol !== UDP) return false;
  const [server, client] = family === 4 ? [67, 68] : [547, 546];
  return destinationPort === VXLAN_PORT || sourcePort === server || destinationPort === client;
}

/** @param bytes from the IP header on, to the end of the frame */
function readPacket(bytes: Buffer, family: Family, gso: Gso | undefined): Packet {
  const header = family === 4 ? 20 : 40;
  const at = family === 4 ? [12, 16, 20] : [8, 24, 40];
  const [from, to, end] = at as [number, number, number];
  const isShort = bytes.length < header;
  const protocol = isShort ? 0 : bytes.readUInt8(family === 4 ? 9 : 6);
  const address = (start: number, stop: number) =>
    isShort ? "0".repeat((stop - start) * 2) : bytes.toString("hex", start, stop);
  const packet = { family, protocol, source: address(from, to), destination: address(to, end), length: bytes.length };
  const unread = { ...packet, ecn: 0, sourcePort: 0, destinationPort: 0, size: bytes.length };
  if (isShort || !(family === 4 ? isPlain4(bytes) : isPlain6(bytes))) return { ...unread, why: "not-plain" };
  if (protocol !== TCP && protocol !== UDP) return { ...unread, why: "not-tcp-udp" };
  const transport = bytes.subarray(header);
  if (transport.length < (protocol === TCP ? 20 : 8)) return { ...unread, why: "not-plain" };
  const headers = header + (protocol === TCP ? (transport.readUInt8(12) >> 4) * 4 : 8);
  return {
    ...packet,
    ecn: family === 4 ? bytes.readUInt8(1) & 3 : (bytes.readUInt8(1) >> 4) & 3,
    sourcePort: transport.readUInt16BE(0),
    destinationPort: transport.readUInt16BE(2),
    size: gso === undefined ? bytes.length : headers + gso.size,
  };
}

/** No options, no fragment, a way that does not end here, and as long as it says. */
function isPlain4(bytes: Buffer): boolean {
  const isWhole = (bytes.readUInt16BE(6) & 0x3fff) === 0;
  return bytes.readUInt8(0) === 0x45 && isWhole && bytes.readUInt8(8) > 1 && bytes.readUInt16BE(2) === bytes.length;
}

function isPlain6(bytes: Buffer): boolean {
  return bytes.readUInt8(0) >> 4 === 6 && bytes.readUInt8(7) > 1 && bytes.readUInt16BE(4) + 40 === bytes.length;
}

/** One hop less; the checksum of IPv4 is as right or as wrong as it was: RFC 1624, equation 3. */
function takeHop(bytes: Buffer, family: Family): void {
  const at = family === 4 ? 8 : 7;
  const before = bytes.readUInt16BE(8);
  bytes.writeUInt8(bytes.readUInt8(at) - 1, at);
  if (family === 6) return;
  const sum = 0xffff - bytes.readUInt16BE(10) + (0xffff - before) + bytes.readUInt16BE(8);
  bytes.writeUInt16BE(0xffff - folded(sum), 10);
}

/** RFC 1071, before it is inverted. */
export function onesSum(bytes: Buffer): number {
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  return folded(sum);
}

function folded(sum: number): number {
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return sum;
}

function bitsOf(hex: string): string {
  return [...hex].map((digit) => Number.parseInt(digit, 16).toString(2).padStart(4, "0")).join("");
}
