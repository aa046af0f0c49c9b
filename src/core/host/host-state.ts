/**
 * A network namespace of the kernel as data: what `observe` reads, what `desired*` functions return, what `diff`
 * compares. One vocabulary for the host and for the inside of a container.
 *
 * Words and shapes are the kernel's (linux/if_link.h, rtnetlink.h, neighbour.h, netfilter/nf_tables.h). Objects are
 * plain values: two that are equal by JSON are the same object in the same state. Arrays are sets, their order means
 * nothing, except for the rules of an nftables chain.
 */
import type { Cidr, Family, Ip, IpInterface } from "../../model/ip.ts";
import type { Mac } from "../../model/mac.ts";
import type { Datapath, DatapathOp } from "./datapath.ts";

export interface HostState {
  readonly links: readonly Link[];
  readonly addresses: readonly Address[];
  readonly routes: readonly Route[];
  readonly rules: readonly Rule[];
  readonly neighbors: readonly Neighbor[];
  readonly fdb: readonly FdbEntry[];
  readonly shapers: readonly Shaper[];
  readonly sysctls: readonly Sysctl[];
  readonly tables: readonly NftTable[];
  readonly passages: readonly Passage[];
  /** None, or one. */
  readonly datapaths: readonly Datapath[];
  /** Observed only: IPsec policies are in force; FDB destinations behind a router, or another device than the tunnel's. */
  readonly encrypts?: true;
  readonly elsewhere?: readonly Ip[];
}

export const EMPTY_HOST_STATE: HostState = {
  links: [],
  addresses: [],
  routes: [],
  rules: [],
  neighbors: [],
  fdb: [],
  shapers: [],
  sysctls: [],
  tables: [],
  passages: [],
  datapaths: [],
};

/** The union of parts, as `desired*` functions return them. */
export function mergeHostStates(parts: readonly Partial<HostState>[]): HostState {
  const merge = <K extends Exclude<keyof HostState, "encrypts" | "elsewhere">>(key: K) =>
    parts.flatMap((part) => (part[key] ?? []) as HostState[K][number][]);
  return {
    links: merge("links"),
    addresses: merge("addresses"),
    routes: merge("routes"),
    rules: merge("rules"),
    neighbors: merge("neighbors"),
    fdb: merge("fdb"),
    shapers: merge("shapers"),
    sysctls: merge("sysctls"),
    tables: merge("tables"),
    passages: merge("passages"),
    datapaths: merge("datapaths"),
  };
}

// ---- links -------------------------------------------------------------------------------------------------------

interface LinkAttributes {
  readonly name: string;
  readonly up: boolean;
  /** Bytes. Absent in a desired link: whatever the kernel chooses. Always present in an observed one. */
  readonly mtu?: number;
  /** Absent in a desired link: whatever the kernel chooses. Present in an observed one that has a MAC. */
  readonly mac?: Mac;
  /** `ifalias`; on links of ours it begins with `OWNER` (model/names.ts). */
  readonly alias?: string;
  /** Observed only: of somebody's bridge. What leaves by it leaves by the bridge first. */
  readonly isPort?: true;
}

export interface VxlanLink extends LinkAttributes {
  readonly kind: "vxlan";
  readonly vni: number;
  readonly port: number;
  /** Source address of the outer packets. */
  readonly local?: Ip;
  readonly learning: boolean;
}

interface BridgeLink extends LinkAttributes {
  readonly kind: "bridge";
}

/** One end of a veth pair. One without `peer` is never made nor deleted: it must be there. */
export interface VethLink extends LinkAttributes {
  readonly kind: "veth";
  /**
   * Desired only, used when the pair is created and never compared: the other end is made straight in the namespace
   * at `netns` (a path; absent: beside this one) with this name, down. Absent where the pair must exist already (the
   * container's side).
   */
  readonly peer?: VethPeer;
}

interface VethPeer {
  readonly netns?: string;
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
}

/** Any device that Weft does not make (eth0, lo, other people's bridges). Desired: it must exist and be up or down. */
interface DeviceLink extends LinkAttributes {
  readonly kind: "device";
}

export type Link = VxlanLink | BridgeLink | VethLink | DeviceLink;

// ---- addresses, routes, rules, neighbours --------------------------------------------------------------------------

/** Identity: device and address with its length. Link-local IPv6 addresses are the kernel's and are never observed. */
export interface Address {
  readonly dev: string;
  readonly address: IpInterface;
}

/** The kernel's number of its main routing table. */
export const MAIN_TABLE = 254;

/** Identity: table, destination, metric. Written with ROUTE_PROTOCOL, in containers too, and observed only with it. */
export interface Route {
  readonly dst: Cidr;
  /** `MAIN_TABLE`, or another's number. */
  readonly table: number;
  /**
   * IPv4 0 or up; IPv6 1 or up (the kernel turns 0 into 1024). Peer routes carry a unique one: with equal metrics the
   * kernel's hash of next hops is quadratic (1.3 s instead of 34 ms for 10,000).
   */
  readonly metric: number;
  /** `unreachable` refuses with ICMP and has no device. */
  readonly type: "unicast" | "unreachable";
  readonly dev?: string;
  readonly via?: Ip;
  /** The gateway is taken to be on the link, whatever the addresses of the device say. */
  readonly onlink?: boolean;
  /** Preferred source address of packets that this host sends. */
  readonly src?: Ip;
}

/** A policy rule `from SRC lookup TABLE`, of protocol ROUTE_PROTOCOL. */
export interface Rule {
  readonly src: Cidr;
  readonly table: number;
  readonly priority: number;
}

/** A permanent neighbour. Identity: device and address. */
export interface Neighbor {
  readonly dev: string;
  readonly ip: Ip;
  readonly mac: Mac;
}

/** A permanent entry of a VXLAN device's own forwarding table. Identity: device and MAC. */
export interface FdbEntry {
  readonly dev: string;
  readonly mac: Mac;
  /** Where frames for the MAC are sent on the underlay. */
  readonly dst: Ip;
}

/** What leaves by a device is held to a rate by a queue (qdisc `tbf` at its root). Identity: device. */
export interface Shaper {
  readonly dev: string;
  /** Bytes per second. */
  readonly rate: number;
  /** Bytes that may leave at once. */
  readonly burst: number;
}

/** `path` below /proc/sys with slashes, so that a dot in a device's name stays what it is. */
export interface Sysctl {
  readonly path: string;
  readonly value: string;
}

// ---- nftables ------------------------------------------------------------------------------------------------------

export type NftFamily = "ip" | "ip6" | "netdev";

/** Identity: family and name. Tables named OWNER are ours, whole; all others are never looked at. */
export interface NftTable {
  readonly family: NftFamily;
  readonly name: string;
  readonly chains: readonly NftChain[];
  readonly maps: readonly NftMap[];
}

export interface NftChain {
  readonly name: string;
  /** Absent: a chain that is only jumped to. */
  readonly hook?: NftHook;
  readonly rules: readonly NftRule[];
}

export interface NftHook {
  readonly type: "filter" | "nat";
  readonly hook: "prerouting" | "input" | "forward" | "output" | "postrouting" | "ingress";
  readonly priority: number;
  /**
   * The one device of an `ingress` chain (netdev family). Older kernels delete the chain with the device; newer ones
   * (6.18 is one) take and keep a chain whose device is absent, and bind it to the next device of that name.
   */
  readonly device?: string;
  readonly policy: "accept" | "drop";
}

/** Statements of one rule, left to right. */
export type NftRule = readonly NftStatement[];

export type NftStatement =
  | { readonly kind: "match"; readonly field: NftAddressField; readonly op: "==" | "!="; readonly prefix: Cidr }
  /**
   * The device a packet came in by, or leaves by; compared by name, so the device may come and go. `weft*` is every
   * device whose name begins so.
   */
  | { readonly kind: "iifname"; readonly device: string }
  | { readonly kind: "oifname"; readonly device: string }
  /** Of a TCP, UDP or ICMP header; both ends included. */
  | { readonly kind: "range"; readonly field: NftTransportField; readonly first: number; readonly last: number }
  | { readonly kind: "ether saddr"; readonly op: "==" | "!="; readonly mac: Mac }
  /** ARP, in which this IPv4 address says that it asks or answers. */
  | { readonly kind: "arp saddr ip"; readonly ip: Ip }
  /** The address is a key of the map: `ip saddr map @MAP != 0.0.0.0`. */
  | { readonly kind: "mapped"; readonly field: NftAddressField; readonly map: string }
  /**
   * What a map of verdicts says of the first `length` bits of the address: `ip daddr & 255.0.0.0 vmap @MAP`; else goes
   * on. One hash lookup, where a set of intervals costs several times as much.
   */
  | { readonly kind: "vmap"; readonly field: NftAddressField; readonly length: number; readonly map: string }
  /** The destination is an address of this host; broadcasts and multicast groups are none. */
  | { readonly kind: "fib daddr type local" }
  /** The connection's destination is translated, by whomever. */
  | { readonly kind: "ct status dnat" }
  /** The packet answers the one that the connection began with. Never true of what is not tracked. */
  | { readonly kind: "ct direction reply" }
  /**
   * `limit rate over RATE bytes/second burst BURST bytes`: true for a packet that is too much. What was not used is kept
   * up to the burst and one second's bytes.
   */
  | { readonly kind: "limit over"; readonly rate: number; readonly burst: number }
  | { readonly kind: "counter" }
  /** Says nothing to the kernel; always a rule's last. */
  | { readonly kind: "comment"; readonly text: string }
  | { readonly kind: "notrack" }
  | { readonly kind: "masquerade" }
  | { readonly kind: "accept" }
  | { readonly kind: "drop" }
  | { readonly kind: "return" }
  | { readonly kind: "jump"; readonly chain: string }
  /** `fwd ip to FIELD map @MAP device DEVICE`: sends the packet to the neighbour that the map names; else goes on. */
  | {
      readonly kind: "forward";
      readonly field: "ip daddr" | "ip6 daddr";
      readonly map: string;
      readonly device: string;
    }
  /** `dnat FAMILY to KEY map @MAP`: a new destination from the map, address and port; else goes on. */
  | { readonly kind: "dnat"; readonly family: "ip" | "ip6"; readonly key: NftPortKey; readonly map: string }
  /** Observed only: something that we did not write; never equal to anything desired. */
  | { readonly kind: "unknown"; readonly text: string };

/**
 * Rules of ours in another firewall's chain, of the table `filter` that iptables keeps in nftables. Identity: family and
 * chain. A rule is ours by its comment, OWNER.
 */
export interface Passage {
  readonly family: "ip" | "ip6";
  readonly chain: "DOCKER-USER" | "FORWARD";
  /** Desired: ours, at the head of the chain. Observed: the chain's rules up to the last of ours. */
  readonly rules: readonly NftRule[];
  /** Observed only: Docker decides in this table, and all that is forwarded comes to this chain. */
  readonly isAsked?: boolean;
}

export type NftAddressField = "ip saddr" | "ip daddr" | "ip6 saddr" | "ip6 daddr";

export type NftTransportField = "tcp sport" | "tcp dport" | "udp sport" | "udp dport" | "icmp type" | "icmpv6 type";

/** What of a packet is looked up in a map whose keys have these parts, in this order. */
export type NftPortKey =
  | "meta l4proto . th dport"
  | "ip daddr . meta l4proto . th dport"
  | "ip6 daddr . meta l4proto . th dport";

export interface NftMap {
  readonly name: string;
  readonly type: NftMapType;
  /** Pairs of key and value of the map's types, keys unique. */
  readonly elements: readonly (readonly [key: NftValue, value: NftValue])[];
}

/** Key and value in nft's own words. */
export type NftMapType =
  | "ipv4_addr : ipv4_addr"
  | "ipv6_addr : ipv6_addr"
  | "inet_proto . inet_service : ipv4_addr . inet_service"
  | "inet_proto . inet_service : ipv6_addr . inet_service"
  | "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service"
  | "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service"
  | "ipv4_addr : verdict"
  | "ipv6_addr : verdict";

/** As nft writes it: `10.0.0.11`, `tcp . 8080`, `10.0.0.11 . udp . 53`, `9.0.1.2 . 80`. */
export type NftValue =
  | Ip
  | `${NftProtocol} . ${number}`
  | `${Ip} . ${NftProtocol} . ${number}`
  | `${Ip} . ${number}`
  | NftVerdict;

/** What a map of verdicts says. */
export type NftVerdict = "accept" | "drop" | `jump ${string}`;

/** By number: one that is only ever observed. */
export type NftProtocol = "tcp" | "udp" | `${number}`;

// ---- operations ----------------------------------------------------------------------------------------------------

/**
 * One change of the kernel. `diff` returns them in an order in which each finds what it needs. `add` of something that
 * is there and `delete` of something that is not are errors (EEXIST, ENOENT and the like); `replace` and `set` are not.
 */
export type KernelOp =
  /** Creates the link down; the `up` of `link` is carried out by a later `link.set`. */
  | { readonly op: "link.add"; readonly link: VxlanLink | BridgeLink | VethLink }
  | {
      readonly op: "link.set";
      readonly name: string;
      readonly up?: boolean;
      readonly mtu?: number;
      readonly mac?: Mac;
      readonly alias?: string;
    }
  | { readonly op: "link.delete"; readonly name: string }
  | { readonly op: "address.replace"; readonly address: Address }
  | { readonly op: "address.delete"; readonly address: Address }
  | { readonly op: "route.replace"; readonly route: Route }
  | { readonly op: "route.delete"; readonly route: Route }
  | { readonly op: "rule.add"; readonly rule: Rule }
  | { readonly op: "rule.delete"; readonly rule: Rule }
  | { readonly op: "neighbor.replace"; readonly neighbor: Neighbor }
  | { readonly op: "neighbor.delete"; readonly neighbor: Neighbor }
  | { readonly op: "fdb.replace"; readonly entry: FdbEntry }
  | { readonly op: "fdb.delete"; readonly entry: FdbEntry }
  | { readonly op: "shaper.replace"; readonly shaper: Shaper }
  | { readonly op: "shaper.delete"; readonly shaper: Shaper }
  | { readonly op: "sysctl.set"; readonly sysctl: Sysctl }
  /**
   * Forgets the tracked connections whose first packet was for this port of the host, at `to` or at any of its addresses:
   * the next packet of each is translated as if it were the first.
   */
  | {
      readonly op: "connections.forget";
      readonly family: Family;
      readonly protocol: "udp";
      readonly port: number;
      readonly to?: Ip;
    }
  /** Whole tables, chains and map elements. `replace` makes the object and all that is in it exactly so. */
  | { readonly op: "nft.table.replace"; readonly table: NftTable }
  | { readonly op: "nft.table.delete"; readonly family: NftFamily; readonly name: string }
  | { readonly op: "nft.chain.replace"; readonly family: NftFamily; readonly table: string; readonly chain: NftChain }
  | { readonly op: "nft.chain.delete"; readonly family: NftFamily; readonly table: string; readonly chain: string }
  /** Makes an empty map. */
  | {
      readonly op: "nft.map.add";
      readonly family: NftFamily;
      readonly table: string;
      readonly map: string;
      readonly type: NftMap["type"];
    }
  | { readonly op: "nft.map.delete"; readonly family: NftFamily; readonly table: string; readonly map: string }
  | {
      readonly op: "nft.elements.add";
      readonly family: NftFamily;
      readonly table: string;
      readonly map: string;
      readonly type: NftMap["type"];
      readonly elements: NftMap["elements"];
    }
  | {
      readonly op: "nft.elements.delete";
      readonly family: NftFamily;
      readonly table: string;
      readonly map: string;
      readonly type: NftMap["type"];
      readonly keys: readonly NftValue[];
    }
  /** Ours become exactly these, before all others of the chain. */
  | { readonly op: "nft.passage.replace"; readonly passage: Passage }
  | DatapathOp;
