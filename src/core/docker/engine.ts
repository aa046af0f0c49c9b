/**
 * A container engine's networks and containers as values: the nouns of Docker's API, of version 1.41 and later, that Weft
 * looks at. Texts are as the engine has them. Foreign networks may hold anything; what is no address is left out.
 */
import { cidr, type Ip, type IpInterface } from "../../model/ip.ts";
import type { Mac } from "../../model/mac.ts";

/** What an engine knows both drivers of ours by. */
export const DRIVER = "weft";
/** Tells both drivers the cluster's network: an engine tells them neither its name nor its labels. */
export const NETWORK_OPTION = "weft.network";

/** Of a network that is added to the cluster: the lengths of hosts' slices, by family. */
export const PREFIX_OPTIONS = { 4: "weft.prefix", 6: "weft.prefix6" } as const;

/** What an interface is called that no engine has named, with a number after it. */
export const OWN_PREFIX = "weft";

/**
 * Docker knows no network without IPv4: on the cluster's IPv6 networks each of its interfaces has an address of this
 * range, which is on no network (RFC 2544) and which nothing leads to, so that programs go on to IPv6 at once.
 */
export const STAND_IN = cidr("198.18.0.0/15");

/** A driver's options, or labels: by their names. */
export type EngineOptions = Readonly<Record<string, string>>;

export interface EngineInfo {
  /** Of the daemon: `20.10.24+dfsg1`. */
  readonly version: string;
  /** The same as long as the engine keeps its state. */
  readonly id: string;
  /** Whether the engine is a node of a swarm; it is none when `inactive`. */
  readonly swarm: "inactive" | "pending" | "active" | "error" | "locked";
}

/** What a network is made of. */
export interface NetworkSpec {
  readonly name: string;
  readonly driver: string;
  readonly ipamDriver: string;
  readonly ipamOptions: EngineOptions;
  readonly pools: readonly EnginePool[];
  readonly options: EngineOptions;
  readonly labels: EngineOptions;
  readonly internal: boolean;
  readonly enableIpv6: boolean;
}

export interface EnginePool {
  readonly subnet: string;
  readonly gateway?: string;
  /** The part of the subnet that containers get addresses of; absent: all of it. */
  readonly ipRange?: string;
}

export interface EngineNetwork extends NetworkSpec {
  readonly id: string;
  /** `local`; `swarm` is for services. */
  readonly scope: string;
}

export interface AttachedNetwork extends EngineNetwork {
  /** Of running containers alone: a stopped one has none. */
  readonly endpoints: readonly EngineEndpoint[];
}

export interface EngineEndpoint {
  readonly endpointId: string;
  /** Absent: the endpoint outlived its container, or the container is only just being started. */
  readonly containerId?: string;
  /** The container's name. */
  readonly name: string;
  readonly mac?: Mac;
  readonly addresses: readonly IpInterface[];
}

export type Health = "healthy" | "unhealthy" | "starting";

/** A container that runs. */
export interface EngineContainer {
  readonly id: string;
  readonly name: string;
  readonly image: string;
  readonly labels: EngineOptions;
  /** Those that the image or the user exposes, and where they are published by the engine itself. */
  readonly ports: readonly EnginePort[];
  /** Absent where nobody checks. */
  readonly health?: Health;
  readonly networks: readonly ContainerNetwork[];
}

export interface EnginePort {
  readonly protocol: string;
  readonly containerPort: number;
  /** Absent: it is published nowhere, as far as the engine knows; what a driver of ours publishes, it does not know. */
  readonly hostPort?: number;
  /** Absent: every address of the host, or none. */
  readonly hostIp?: Ip;
}

/** A container's part in one network. */
export interface ContainerNetwork {
  readonly network: string;
  readonly networkId: string;
  readonly endpointId: string;
  readonly addresses: readonly Ip[];
}
