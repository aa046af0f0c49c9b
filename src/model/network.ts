/**
 * The cluster's network configuration: what the operator wrote, after validation. Field names follow the seeds'
 * `dcos_overlay_network` in camel case.
 */
import type { Cidr } from "./ip.ts";
import type { Egress, Isolation } from "./isolation.ts";

/** One virtual network. At least one family is present, and each family has its subnet and its slice length. */
export interface Overlay {
  readonly name: string;
  /** The IPv4 space of the network and the length of the slice that each agent gets of it. */
  readonly subnet?: Cidr;
  readonly prefix?: number;
  /** The same for IPv6. */
  readonly subnet6?: Cidr;
  readonly prefix6?: number;
  /** A disabled network gets no new allocations; what agents have of it stays. */
  readonly enabled: boolean;
  /** The halves of an agent's subnet do not lend addresses to each other. Absent: they do. */
  readonly strictHalves?: boolean;
  /** Absent: open. */
  readonly isolation?: Isolation;
  /** Absent: masquerade. */
  readonly egress?: Egress;
}

/** The prefixes of both families, IPv4 first: an overlay's own, or an agent's share of it. */
export function prefixesOf<Prefix extends string>({
  subnet,
  subnet6,
}: {
  readonly subnet?: Prefix | undefined;
  readonly subnet6?: Prefix | undefined;
}): Prefix[] {
  return [subnet, subnet6].filter((prefix) => prefix !== undefined);
}

export interface NetworkConfig {
  /** Pool of VTEP addresses; its length is also theirs. */
  readonly vtepSubnet: Cidr;
  readonly vtepSubnet6?: Cidr;
  /** As the operator wrote it, case kept, for `/overlay-master/state`; six bytes, the last three zero. */
  readonly vtepMacOui: string;
  /** MTU of the VTEP device in bytes; absent: the underlay's less the tunnel's headers. */
  readonly vtepMtu?: number;
  /** In the order of the file. */
  readonly overlays: readonly Overlay[];
}

/** Everything that the master takes from its configuration file. */
export interface ClusterConfig {
  readonly network: NetworkConfig;
  /** `dcos_overlay_mtu`: MTU of the containers' interfaces in bytes; absent: the VTEP's. */
  readonly overlayMtu?: number;
  /** `enable_ipv6`: when false, no agent gets or programs IPv6. */
  readonly enableIpv6: boolean;
  /** `dcos_overlay_network_default_name`, checked to be one of the overlays. */
  readonly defaultNetwork?: string;
}
