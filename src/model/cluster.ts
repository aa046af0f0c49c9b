/**
 * What the masters decide and agents carry out: who has which VTEP and which subnets.
 */
import { halves } from "./half.ts";
import type { Cidr, Ip, IpInterface } from "./ip.ts";
import type { NetworkRules } from "./isolation.ts";
import type { Mac } from "./mac.ts";
import { type Elastic, type Overlay, prefixesOf } from "./network.ts";
import type { Policy } from "./policy.ts";
import type { Claim, Hosted, Reservation, ReservedUse } from "./reservation.ts";

/** A node's end of the tunnel; one per node, shared by all overlays (spec: overlay §2.3). */
export interface Backend {
  readonly vni: number;
  readonly vtepName: string;
  readonly vtepIp: IpInterface;
  readonly vtepIp6?: IpInterface;
  readonly vtepMac: Mac;
  readonly vtepMtu?: number;
}

/** One half of an agent's subnet and the device that holds its gateway address. */
export interface Bridge {
  readonly name: string;
  readonly ip?: Cidr;
  readonly ip6?: Cidr;
}

/** What an agent got of a network in one piece; at least one family. */
export interface Slice {
  readonly subnet?: Cidr;
  readonly subnet6?: Cidr;
  /** No new addresses are leased of it, and it goes back when none is held. */
  readonly draining?: true;
}

/**
 * An agent's share of one overlay. No subnet at all when the agent asked for none. The fields of a slice, and what the
 * bridges say, are those of the first one, as in versions that knew no more; ask `slicesOf` and `halvesOf`.
 */
export interface AgentOverlay extends Slice {
  readonly info: Overlay;
  readonly mesosBridge?: Bridge;
  readonly dockerBridge?: Bridge;
  /** Further slices. Their halves are on the same bridges. */
  readonly more?: readonly Slice[];
}

/** All slices, the first one first; none when the agent has none. */
export function slicesOf({ subnet, subnet6, draining, more = [] }: AgentOverlay): readonly Slice[] {
  if (subnet === undefined && subnet6 === undefined) return more;
  return [
    {
      ...(subnet !== undefined && { subnet }),
      ...(subnet6 !== undefined && { subnet6 }),
      ...(draining === true && { draining }),
    },
    ...more,
  ];
}

/** For whom the addresses of a half are first of all: containers by CNI, or those of Docker. */
export type HalfName = "mesos" | "docker";

export interface Half {
  readonly half: Cidr;
  /** The prefix that it is a half of. */
  readonly slice: Cidr;
  readonly draining: boolean;
}

/** The halves that a bridge of the agent holds, the first slice first, of each IPv4 first; none without that bridge. */
export function halvesOf(overlay: AgentOverlay, name: HalfName): readonly Half[] {
  const bridge = name === "mesos" ? overlay.mesosBridge : overlay.dockerBridge;
  if (bridge === undefined) return [];
  // Every container's route asks for it: what is written in the record is not calculated again.
  const written = [
    [bridge.ip, overlay.subnet],
    [bridge.ip6, overlay.subnet6],
  ] as const;
  const first = written.flatMap(([half, slice]) =>
    half === undefined ? [] : [{ half, slice: slice ?? half, draining: overlay.draining === true }],
  );
  const further = (overlay.more ?? []).flatMap((slice) =>
    prefixesOf(slice).map((prefix) => ({
      half: halves(prefix)[name],
      slice: prefix,
      draining: slice.draining === true,
    })),
  );
  return further.length === 0 ? first : [...first, ...further];
}

/** The durable record of one agent, as the master stores it. */
export interface AgentRecord {
  /** Chosen by the agent at its first start (a UUID) and kept on its disk. */
  readonly id: string;
  /** Its address on the underlay, where its peers send the tunnel's packets. */
  readonly ip: Ip;
  readonly hostname: string;
  readonly backend: Backend;
  readonly overlays: readonly AgentOverlay[];
  /** It takes no new containers; those on it stay. */
  readonly phase?: "draining";
}

/** What an agent wants to have when it registers (spec: overlay §1.6, AgentNetworkConfig). */
export interface AgentNetworkConfig {
  readonly allocateSubnet: boolean;
  readonly mesosBridge: boolean;
  readonly dockerBridge: boolean;
}

/** What the master answers: the agent's record and the facts about the whole cluster that its kernel must know. */
export interface Assignment {
  readonly agent: AgentRecord;
  /** All prefixes of all overlays: traffic between any two of them is neither masqueraded nor tracked. */
  readonly overlaySubnets: readonly Cidr[];
  /** All networks, when one of them is not as by default. Absent, and from masters that know nothing of it: all open. */
  readonly networks?: readonly NetworkRules[];
  readonly vtepSubnets: readonly Cidr[];
  /** Which groups of containers reach which. Absent, and from older masters: none. */
  readonly policies?: readonly Policy[];
  /** Addresses of the agent's networks that are kept for names. Absent, and from older masters: none. */
  readonly reservations?: readonly Reservation[];
  /** Reserved addresses that this agent hosts, whosever slice holds them; absent: none. */
  readonly hosted?: readonly Claim[];
  /** MTU of the containers' interfaces; absent: the VTEP's. */
  readonly overlayMtu?: number;
  readonly enableIpv6: boolean;
  /** Absent: there are no further slices to be had. */
  readonly elastic?: Elastic;
}

/** What one node must know of another to reach its containers. */
export interface Peer {
  readonly id: string;
  readonly ip: Ip;
  readonly vtepIp: Ip;
  readonly vtepIp6?: Ip;
  readonly vtepMac: Mac;
  /** Its subnets of all overlays and both families. */
  readonly subnets: readonly Cidr[];
  /** Reserved addresses that it hosts, whosever slice holds them; absent: none. */
  readonly hosted?: readonly Hosted[];
}

/** How an agent's host carries packets between containers: 2 is the fastest, 0 the plain kernel; and why it is not higher. */
export interface DatapathState {
  readonly level: 0 | 1 | 2;
  readonly reasons: readonly string[];
}

/** Names of the original's enum (spec: overlay §1.6). */
type OverlayStatusName = "STATUS_INVALID" | "STATUS_OK" | "STATUS_FAILED" | "STATUS_CONFIGURING";

/** What an agent says of one of its networks. */
export interface OverlayStatus {
  readonly name: string;
  readonly status: OverlayStatusName;
  /** Why it failed; only with STATUS_FAILED. */
  readonly error?: string;
  /** How many leases there are of a network that drains; versions before living networks do not tell. */
  readonly containers?: number;
  /** How full the agent's halves of it are; versions before elastic subnets do not tell. */
  readonly usage?: readonly HalfUsage[];
  /** Which reserved addresses containers of the agent have; absent: none. */
  readonly reserved?: readonly ReservedUse[];
  /**
   * A container was refused for want of an address, and that is not over yet; absent: none was. `runtime` is who started
   * it, empty where that is not known.
   */
  readonly exhausted?: { readonly runtime: string };
}

/** How full one half is. Numbers above 2^53, which only IPv6 has, are rounded. */
export interface HalfUsage {
  readonly half: Cidr;
  /** The prefix that it is a half of. */
  readonly slice: Cidr;
  readonly runtime: "cni" | "docker";
  readonly used: number;
  /** Released a short while ago. */
  readonly resting: number;
  readonly free: number;
  /** The agent leases nothing of it any more. */
  readonly draining?: true;
  /** Nothing of the whole slice has been held for a while (see Elastic). */
  readonly idle?: true;
}

/** What a master says to a report. */
export interface ReportAnswer {
  /** The agent's record is not what it reported: it should register again, at once. */
  readonly reassigned: boolean;
  /** Networks that have no further slice for this agent. */
  readonly exhausted: readonly string[];
}

/** Something that an agent gave back and that nobody gets yet. */
export interface RestingItem {
  /** A VTEP address, or a slice. */
  readonly item: Cidr | IpInterface;
  /** Absent for VTEP addresses. */
  readonly network?: string;
  /** RFC 3339 in UTC to the second, as `Clock.date` writes it. */
  readonly until: string;
  /** Who had it: as long as that agent may not know that it has it no more, nobody gets it. */
  readonly agent?: string;
  /** Its agent was removed, and gets it back if it comes again before somebody else may have it. */
  readonly removed?: true;
}
