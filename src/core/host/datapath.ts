/**
 * The accelerated data path as data: programs at the ingress of devices, and what their maps say (docs/decisions/0041).
 *
 * A host has at most one, held by the programs themselves: it is found from a device, lives as long as one of them is
 * attached, and needs no process. It says nothing that the rest of HostState does not say as well; what it does not say is
 * left to the kernel.
 */
import type { Cidr, Family, Ip } from "../../model/ip.ts";
import { familyOf } from "../../model/ip.ts";
import type { Mac } from "../../model/mac.ts";

/** At the ingress of a container's veth, of the VXLAN device, of the device to the other hosts. */
export type DatapathProgram = "container" | "tunnel" | "underlay";

/** Identity: `dev`. */
export interface Datapath {
  /** The VXLAN device. Its program is there in each datapath, and leads to the maps. */
  readonly dev: string;
  /** Digest of the programs: two with the same code work alike. */
  readonly code: string;
  readonly settings: DatapathSettings;
  readonly programs: readonly AttachedProgram[];
  readonly entries: readonly DatapathEntry[];
}

/** Identity: the device. */
export interface AttachedProgram {
  readonly dev: string;
  readonly program: DatapathProgram;
  /** Observed only: of other maps or of other code than the datapath's. It is replaced, or taken away. */
  readonly isStale?: true;
}

export interface DatapathSettings {
  /** The device that holds `node`; observed as `""` when it is gone. */
  readonly underlay: string;
  /** This host's address on the underlay; absent where that is IPv6, which only the VXLAN device speaks. */
  readonly node?: Ip;
  readonly vni: number;
  /** Of the VXLAN device. */
  readonly mac: Mac;
  /** Of the hosts' ends of all veths. */
  readonly gatewayMac: Mac;
  /** Bytes that the tunnel carries. */
  readonly mtu: number;
  /** Of so many packets one is told (`Kernel.samples`); 0: none. */
  readonly sampleEvery: number;
  /** The lengths of the prefixes of peers, the longest first. One that is not named is not looked up. */
  readonly lengths: Readonly<Record<Family, readonly number[]>>;
  /** Whether these are asked at all. */
  readonly hasGuarded: boolean;
  readonly hasSpecial: boolean;
  /** The kernel can make a packet IPv6 from which a program took the tunnel's header (6.3). */
  readonly decapsulatesIpv6: boolean;
}

/** Identity: the map and what `entryKey` tells. */
export type DatapathEntry =
  /** A container of this host. */
  | {
      readonly map: "locals";
      readonly ip: Ip;
      /** The host's end of its veth. */
      readonly dev: string;
      readonly mac: Mac;
      readonly group: number;
      /** Bytes. */
      readonly mtu: number;
      /** Its packets are all left to the kernel. */
      readonly isLimited: boolean;
    }
  /** Who has a prefix elsewhere. */
  | {
      readonly map: "peers";
      readonly prefix: Cidr;
      /** As in the settings. */
      readonly node?: Ip;
      /** Its address on the VXLAN device, of the family of the prefix. */
      readonly vtep: Ip;
      readonly mac: Mac;
      readonly group: number;
      readonly level: 1 | 2;
    }
  /** Two groups of networks that talk, in this direction. A group always talks to itself. */
  | { readonly map: "talk"; readonly from: number; readonly to: number }
  /** A container that a policy guards, on whichever host. */
  | { readonly map: "guarded"; readonly ip: Ip }
  /** Somebody else may answer behind this address: what comes back from there is the kernel's. */
  | { readonly map: "special"; readonly ip: Ip };

export type DatapathMap = DatapathEntry["map"];

/** What identifies an entry; an entry is one. */
export type DatapathKey =
  | { readonly map: "locals" | "guarded" | "special"; readonly ip: Ip }
  | { readonly map: "peers"; readonly prefix: Cidr }
  | { readonly map: "talk"; readonly from: number; readonly to: number };

export function entryKey(entry: DatapathKey): string {
  switch (entry.map) {
    case "peers":
      return `peers ${entry.prefix}`;
    case "talk":
      return `talk ${entry.from} ${entry.to}`;
    default:
      return `${entry.map} ${entry.ip}`;
  }
}

/** By value; cheap, since a pass compares thousands. */
export function isSameEntry(a: DatapathEntry, b: DatapathEntry): boolean {
  if (a.map === "locals" && b.map === "locals")
    return a.dev === b.dev && a.mac === b.mac && a.group === b.group && a.mtu === b.mtu && a.isLimited === b.isLimited;
  if (a.map === "peers" && b.map === "peers")
    return a.node === b.node && a.mac === b.mac && a.vtep === b.vtep && a.group === b.group && a.level === b.level;
  return a.map === b.map;
}

/** The family of what the entry is looked up by; `undefined` for what has none. */
export function entryFamily(entry: DatapathKey): Family | undefined {
  if (entry.map === "talk") return undefined;
  return familyOf(entry.map === "peers" ? entry.prefix : entry.ip);
}

/** How programs are put on devices, the digest of those that there are, and what they can do here; or why none can be. */
export type DatapathFeature =
  | {
      readonly hook: "tcx" | "clsact";
      readonly code: string;
      /** They can write the tunnel's header and take it off. */
      readonly encapsulates: boolean;
      /** They can take it off from an IPv6 packet. */
      readonly decapsulatesIpv6: boolean;
    }
  | { readonly missing: string };

/** How a packet went on; the order is that of `enum path` in maps.h, from 1. */
export const PATHS = [
  "same-host",
  "tunnel",
  "encapsulated",
  "not-ip",
  "not-own-source",
  "not-plain",
  "not-tcp-udp",
  "forbidden-port",
  "outside",
  "translated",
  "between-networks",
  "guarded",
  "limited",
  "too-big",
  "congested",
  "stranger",
] as const;

export type DatapathPath = (typeof PATHS)[number];

/** Those that a program carried; all others were left to the kernel, for the reason that they name. */
export const FAST_PATHS: readonly DatapathPath[] = ["same-host", "tunnel", "encapsulated"];

/** Since the datapath was made. Packets are counted as they are on the wire, bytes from the IP header on. */
export interface TrafficCount {
  readonly packets: number;
  readonly bytes: number;
}

export interface PairKey {
  /** Of both: `0.0.0.0` and `::` for everybody outside of the overlay. */
  readonly source: Ip;
  readonly destination: Ip;
  readonly path: DatapathPath;
}

export type PairTraffic = PairKey & TrafficCount;

export interface Traffic {
  readonly paths: Readonly<Partial<Record<DatapathPath, TrafficCount>>>;
  readonly pairs: readonly PairTraffic[];
}

/** One packet. */
export interface FlowSample {
  readonly source: Ip;
  readonly destination: Ip;
  /** Of TCP or UDP; absent for others. */
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** The IP protocol's number. */
  readonly protocol: number;
  readonly path: DatapathPath;
  /** Where it came in; absent when that is gone. */
  readonly dev?: string;
  /** Bytes from the IP header on, of what the host handled at once. */
  readonly length: number;
}

/** What a datapath's operations are about, beside its device. */
export type DatapathOp =
  /** Makes maps and programs, fills them, and puts them in the place of whatever is there of ours, device by device. */
  | { readonly op: "datapath.replace"; readonly datapath: Datapath }
  /** Makes a new device, which is still down, ready for a program: to do so while it is up loses packets. */
  | { readonly op: "datapath.prepare"; readonly at: string }
  /** Takes all programs of ours from all devices, and with them the maps. */
  | { readonly op: "datapath.delete"; readonly dev: string }
  | { readonly op: "datapath.set"; readonly dev: string; readonly settings: DatapathSettings }
  | { readonly op: "datapath.attach"; readonly dev: string; readonly program: AttachedProgram }
  | { readonly op: "datapath.detach"; readonly dev: string; readonly from: string }
  | { readonly op: "datapath.put"; readonly dev: string; readonly entries: readonly DatapathEntry[] }
  /** Those that are not there are passed over. */
  | { readonly op: "datapath.remove"; readonly dev: string; readonly entries: readonly DatapathKey[] };

export function isDatapathOp(op: { readonly op: string }): op is DatapathOp {
  return op.op.startsWith("datapath.");
}
