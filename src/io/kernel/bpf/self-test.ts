/**
 * Whether the programs do here what they are for, found out by letting them: flags of the kernel's helpers came one by
 * one, and a program that asks for one too many loads well and loses packets.
 *
 * A packet is encapsulated as by one host and taken out as by another, with BPF_PROG_TEST_RUN: nothing is sent. There the
 * device is the loopback of the namespace, whose MAC is all zero.
 */
import type { DatapathEntry, DatapathSettings } from "../../../core/host/datapath.ts";
import { cidr, type Family, type Ip, ip, ipToBytes } from "../../../model/ip.ts";
import { mac, macToBytes } from "../../../model/mac.ts";
import { testRun } from "./bpf-calls.ts";
import type { DatapathSet } from "./datapath-set.ts";
import { encodeSettings } from "./layout.ts";

const TC_ACT_REDIRECT = 7;
const LOOPBACK = mac("00:00:00:00:00:00");
const OVERHEAD_BYTES = 50;
const MTU = 1_450;
const TTL = 64;

/** An end of the way: a host, its container, and where the programs look. */
interface End {
  readonly node: Ip;
  readonly mac: string;
  readonly container: Readonly<Record<Family, Ip>>;
  readonly prefix: Readonly<Record<Family, string>>;
}

const ENDS: readonly [End, End] = [
  {
    node: ip("192.0.2.1"),
    mac: "02:57:00:00:01:01",
    container: { 4: ip("198.51.100.2"), 6: ip("2001:db8:1::2") },
    prefix: { 4: "198.51.100.0/24", 6: "2001:db8:1::/64" },
  },
  {
    node: ip("192.0.2.2"),
    mac: "02:57:00:00:01:02",
    container: { 4: ip("203.0.113.2"), 6: ip("2001:db8:2::2") },
    prefix: { 4: "203.0.113.0/24", 6: "2001:db8:2::/64" },
  },
];

export interface Abilities {
  /** Level 2 can be had. */
  readonly encapsulates: boolean;
  /** A packet from which the header is taken can be made IPv6. */
  readonly decapsulatesIpv6: boolean;
}

/** @param set empty, of which nothing is in use. @param programs descriptors. @throws SystemCallError */
export function abilities(
  set: DatapathSet,
  programs: { readonly container: number; readonly underlay: number },
): Abilities {
  const carries = (family: Family): boolean => {
    const [from, to] = ENDS;
    set.writeSettings(settingsOf(from));
    set.put(entriesOf(from, to, family), () => 1);
    const packet = packetOf(family, from, to);
    const sent = testRun(programs.container, packet);
    if (sent.verdict !== TC_ACT_REDIRECT || sent.frame.length !== packet.length + OVERHEAD_BYTES) return false;
    set.remove(entriesOf(from, to, family));
    set.writeSettings(settingsOf(to));
    set.put(entriesOf(to, from, family), () => 1);
    const received = testRun(programs.underlay, sent.frame);
    return received.verdict === TC_ACT_REDIRECT && isWhole(family, packet, received.frame);
  };
  const encapsulates = carries(4);
  return { encapsulates, decapsulatesIpv6: encapsulates && carries(6) };
}

function settingsOf({ node, mac: own }: End): Buffer {
  const settings: DatapathSettings = {
    underlay: "lo",
    node,
    vni: 1,
    mac: mac(own),
    gatewayMac: LOOPBACK,
    mtu: MTU,
    sampleEvery: 0,
    lengths: { 4: [24], 6: [64] },
    hasGuarded: false,
    hasSpecial: false,
    decapsulatesIpv6: true,
  };
  return encodeSettings(settings, "lo", () => 1) ?? Buffer.alloc(0);
}

function entriesOf(here: End, there: End, family: Family): readonly DatapathEntry[] {
  const container = { dev: "lo", mac: LOOPBACK, group: 0, mtu: MTU, isLimited: false } as const;
  const peer = { node: there.node, vtep: there.node, mac: mac(there.mac), group: 0, level: 2 } as const;
  return [
    { map: "locals", ip: here.container[family], ...container },
    { map: "peers", prefix: cidr(there.prefix[family]), ...peer, vtep: there.container[family] },
  ];
}

/** An Ethernet frame with the IP and TCP headers that the programs look at. */
function packetOf(family: Family, from: End, to: End): Buffer {
  const link = Buffer.concat([
    macToBytes(LOOPBACK),
    macToBytes(LOOPBACK),
    Buffer.from(family === 4 ? "0800" : "86dd", "hex"),
  ]);
  const addresses = Buffer.concat([ipToBytes(from.container[family]), ipToBytes(to.container[family])]);
  const tcp = Buffer.from("c000005000000000000000005002100000000000", "hex");
  if (family === 6) {
    const header = Buffer.from("6000000000000600", "hex");
    header.writeUInt16BE(tcp.length, 4);
    header.writeUInt8(TTL, 7);
    return Buffer.concat([link, header, addresses, tcp]);
  }
  const header = Buffer.from("450000000000400000060000", "hex");
  header.writeUInt16BE(header.length + addresses.length + tcp.length, 2);
  header.writeUInt8(TTL, 8);
  return Buffer.concat([link, header, addresses, tcp]);
}

/** As it was sent, but for what two routers change. */
function isWhole(family: Family, sent: Buffer, received: Buffer): boolean {
  const hops = family === 4 ? 14 + 8 : 14 + 7;
  const checksum = family === 4 ? [14 + 10, 14 + 11] : [];
  return (
    received.length === sent.length &&
    received.every((byte, i) => byte === (i === hops ? TTL - 2 : sent[i]) || checksum.includes(i))
  );
}
