/**
 * Ethernet frames byte by byte, right or wrong as the caller wants them (RFC 826, 791, 792, 768, 8200, 4443, 4861).
 * Checksums are right always: a frame must fail for what it claims, not for how it is written.
 */
import { familyOf, type Ip, ipToBytes } from "../../src/model/ip.ts";
import { type Mac, mac, macToBytes } from "../../src/model/mac.ts";
import { VNI } from "../../src/model/names.ts";

export const BROADCAST = mac("ff:ff:ff:ff:ff:ff");
/** Of ff02::1, all nodes. */
export const ALL_NODES_MAC = mac("33:33:00:00:00:01");

export const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd } as const;
const PROTOCOL = { icmp: 1, udp: 17, icmp6: 58 } as const;
const TTL = 64;
/** Neighbour discovery is believed only if no router forwarded it. */
const HOPS_MAX = 255;
const ETHERNET_MIN_BYTES = 60;

export function bytes(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

export function u16(value: number): number[] {
  return [value >> 8, value & 0xff];
}

export interface Link {
  readonly src: Mac;
  readonly dst: Mac;
}

export function ethernet({ src, dst }: Link, type: number, payload: Uint8Array): Uint8Array {
  return bytes(macToBytes(dst), macToBytes(src), u16(type), payload);
}

/** The same frame with an 802.1Q tag of VLAN 0, which says a priority and no VLAN: hosts take the tag off and go on. */
export function priorityTagged(frame: Uint8Array): Uint8Array {
  return bytes(frame.subarray(0, 12), u16(ETHERTYPE.vlan), u16(0), frame.subarray(12));
}

export interface ArpClaim {
  readonly operation: "request" | "reply";
  readonly senderMac: Mac;
  readonly senderIp: Ip;
  readonly targetMac: Mac;
  readonly targetIp: Ip;
}

/** @param padding behind the packet, where nobody looks */
export function arp(link: Link, claim: ArpClaim, padding: Uint8Array): Uint8Array {
  const packet = bytes(
    [...u16(1), ...u16(ETHERTYPE.ipv4), 6, 4, ...u16(claim.operation === "request" ? 1 : 2)],
    macToBytes(claim.senderMac),
    ipToBytes(claim.senderIp),
    macToBytes(claim.targetMac),
    ipToBytes(claim.targetIp),
    padding,
  );
  const frame = ethernet(link, ETHERTYPE.arp, packet);
  return bytes(frame, new Uint8Array(Math.max(0, ETHERNET_MIN_BYTES - frame.length)));
}

export interface Way {
  readonly src: Ip;
  readonly dst: Ip;
}

/** An IP packet of the family of its addresses in a frame. */
function packet(link: Link, way: Way, protocol: number, payload: Uint8Array, hops = TTL): Uint8Array {
  return familyOf(way.dst) === 4
    ? ethernet(link, ETHERTYPE.ipv4, ipv4(way, protocol, payload, hops))
    : ethernet(link, ETHERTYPE.ipv6, ipv6(way, protocol, payload, hops));
}

function ipv4({ src, dst }: Way, protocol: number, payload: Uint8Array, ttl: number): Uint8Array {
  const length = u16(20 + payload.length);
  const header = bytes([0x45, 0, ...length, 0, 0, 0x40, 0, ttl, protocol, 0, 0], ipToBytes(src), ipToBytes(dst));
  header.set(u16(checksum(header)), 10);
  return bytes(header, payload);
}

function ipv6({ src, dst }: Way, next: number, payload: Uint8Array, hops: number): Uint8Array {
  return bytes([0x60, 0, 0, 0, ...u16(payload.length), next, hops], ipToBytes(src), ipToBytes(dst), payload);
}

/** @param ports source, destination */
export function udp(link: Link, way: Way, ports: readonly [number, number], payload: Uint8Array): Uint8Array {
  const datagram = bytes(u16(ports[0]), u16(ports[1]), u16(8 + payload.length), [0, 0], payload);
  datagram.set(u16(checksum(pseudoHeader(way, PROTOCOL.udp, datagram.length), datagram) || 0xffff), 6);
  return packet(link, way, PROTOCOL.udp, datagram);
}

/** RFC 7348: what a VTEP unpacks, with a datagram in it. */
export function vxlan(link: Link, way: Way, ports: readonly [number, number], payload: Uint8Array): Uint8Array {
  return bytes([8, 0, 0, 0, 0, ...u16(VNI), 0], udp(link, way, ports, payload));
}

/**
 * ICMP redirect: "go to `via` for `to`", in answer to an echo reply that `victim` is said to have sent there (the kernel
 * believes that one without a socket).
 */
export function redirect4(link: Link, way: Way, to: Ip, via: Ip, mark: Uint8Array): Uint8Array {
  const reply = ipv4({ src: way.dst, dst: to }, PROTOCOL.icmp, bytes(new Uint8Array(8), mark), TTL);
  const message = bytes([5, 1, 0, 0], ipToBytes(via), reply);
  message.set(u16(checksum(message)), 2);
  return packet(link, way, PROTOCOL.icmp, message);
}

/** An ICMPv6 message; as neighbour discovery it has the hop limit that says it comes from this link. */
export function icmp6(link: Link, way: Way, type: number, body: Uint8Array): Uint8Array {
  const message = bytes([type, 0, 0, 0], body);
  message.set(u16(checksum(pseudoHeader(way, PROTOCOL.icmp6, message.length), message)), 2);
  return packet(link, way, PROTOCOL.icmp6, message, HOPS_MAX);
}

/** ICMPv6 types. */
export const ICMP6 = { echo: 128, echoReply: 129, routerAdvert: 134, neighbourAdvert: 136, redirect: 137 } as const;

/** An option of neighbour discovery that nobody knows, and so everybody skips. */
export function unknownOption(mark: Uint8Array): Uint8Array {
  const length = Math.ceil((2 + mark.length) / 8);
  return bytes([253, length], mark, new Uint8Array(length * 8 - 2 - mark.length));
}

/** Option 1 or 2: source or target link-layer address. */
export function linkLayerOption(kind: "source" | "target", address: Mac): Uint8Array {
  return bytes([kind === "source" ? 1 : 2, 1], macToBytes(address));
}

/** "I am a router for everything, and this is a prefix to take an address from." */
export function routerAdvert(link: Link, way: Way, prefix: Ip, mark: Uint8Array): Uint8Array {
  const lifetime = [0, 0, 7, 8]; // 1800 s
  const prefixOption = bytes([3, 4, 64, 0xc0], lifetime, lifetime, [0, 0, 0, 0], ipToBytes(prefix));
  const options = bytes(linkLayerOption("source", link.src), prefixOption, unknownOption(mark));
  return icmp6(link, way, ICMP6.routerAdvert, bytes([64, 0], u16(1800), new Uint8Array(8), options));
}

/** "`target` is at `at`, whatever you have heard before." */
export function neighbourAdvert(link: Link, way: Way, target: Ip, at: Mac, mark: Uint8Array): Uint8Array {
  const options = bytes(linkLayerOption("target", at), unknownOption(mark));
  return icmp6(link, way, ICMP6.neighbourAdvert, bytes([0x20, 0, 0, 0], ipToBytes(target), options));
}

/** "Go to `via`, which is at `at`, for `to`." */
export function redirect6(link: Link, way: Way, to: Ip, via: Ip, at: Mac, mark: Uint8Array): Uint8Array {
  const options = bytes(linkLayerOption("target", at), unknownOption(mark));
  return icmp6(link, way, ICMP6.redirect, bytes([0, 0, 0, 0], ipToBytes(via), ipToBytes(to), options));
}

function pseudoHeader({ src, dst }: Way, protocol: number, length: number): Uint8Array {
  return bytes(ipToBytes(src), ipToBytes(dst), u16(length), u16(protocol));
}

/** RFC 1071. */
function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts)
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] as number) << 8) | (part[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

/** Whether the mark is anywhere in the frame. */
export function contains(frame: Uint8Array, mark: Uint8Array): boolean {
  return Buffer.from(frame).includes(Buffer.from(mark));
}
