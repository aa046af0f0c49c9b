/**
 * What the masters decide and agents carry out: who has which VTEP and which subnets.
 */
import type { Cidr, Ip, IpInterface } from "./ip.ts";
import type { NetworkRules } from "./isolation.ts";
import type { Mac } from "./mac.ts";
import type { Overlay } from "./network.ts";
import type { Policy } from "./policy.ts";

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

/** An agent's share of one overlay. No subnet at all when the agent asked for none. */
export interface AgentOverlay {
  readonly info: Overlay;
  readonly subnet?: Cidr;
  readonly subnet6?: Cidr;
  readonly mesosBridge?: Bridge;
  readonly dockerBridge?: Bridge;
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
  /** MTU of the containers' interfaces; absent: the VTEP's. */
  readonly overlayMtu?: number;
  readonly enableIpv6: boolean;
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
}

/** Names of the original's enum (spec: overlay §1.6). */
type OverlayStatusName = "STATUS_INVALID" | "STATUS_OK" | "STATUS_FAILED" | "STATUS_CONFIGURING";

/** What an agent says of one of its networks. */
export interface OverlayStatus {
  readonly name: string;
  readonly status: OverlayStatusName;
  /** Why it failed; only with STATUS_FAILED. */
  readonly error?: string;
}
