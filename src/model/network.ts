/**
 * The cluster's network configuration: what the operator wrote, after validation. Field names follow the seeds'
 * `dcos_overlay_network` in camel case.
 */
import type { Cidr } from "./ip.ts";
import type { Egress, Isolation } from "./isolation.ts";

/** An address space of a network. At least one family is present, and each has its subnet and its slice length. */
export interface Space {
  /** IPv4, and the length of the slices that agents get of it. */
  readonly subnet?: Cidr;
  readonly prefix?: number;
  /** The same for IPv6. */
  readonly subnet6?: Cidr;
  readonly prefix6?: number;
  /** Nobody gets anything new of it, and agents give back what they have of it. */
  readonly draining?: true;
}

/** One virtual network. The fields of a space are those of its first one; ask `spacesOf`. */
export interface Overlay extends Space {
  readonly name: string;
  /** Further address spaces. */
  readonly more?: readonly Space[];
  /** A disabled network gets no new allocations; what agents have of it stays. */
  readonly enabled: boolean;
  /** It is on its way out: no new containers; those in it stay. */
  readonly phase?: "draining";
  /** The halves of an agent's subnet do not lend addresses to each other. Absent: they do. */
  readonly strictHalves?: boolean;
  /** Absent: open. */
  readonly isolation?: Isolation;
  /** Absent: masquerade. */
  readonly egress?: Egress;
}

/** A network that is asked for: one address space, and all else as by default. */
export type NewNetwork = Pick<Overlay, "name" | "subnet" | "prefix" | "subnet6" | "prefix6">;

/** All address spaces of the network, the first one first. */
export function spacesOf({ subnet, prefix, subnet6, prefix6, draining, more = [] }: Overlay): readonly Space[] {
  const first: Space = {
    ...(subnet !== undefined && prefix !== undefined && { subnet, prefix }),
    ...(subnet6 !== undefined && prefix6 !== undefined && { subnet6, prefix6 }),
    ...(draining === true && { draining }),
  };
  return [first, ...more];
}

interface Prefixes<Prefix extends string> {
  readonly subnet?: Prefix | undefined;
  readonly subnet6?: Prefix | undefined;
}

/** All prefixes of an overlay, or of an agent's share of it: the first space or slice first, of each IPv4 first. */
export function prefixesOf<Prefix extends string>({
  subnet,
  subnet6,
  more = [],
}: Prefixes<Prefix> & { readonly more?: readonly Prefixes<Prefix>[] | undefined }): Prefix[] {
  return [subnet, subnet6, ...more.flatMap((each) => [each.subnet, each.subnet6])].filter(
    (prefix) => prefix !== undefined,
  );
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

/** An agent whose slices of a network fill up gets a further one, and gives it back when it is left empty. */
export interface Elastic {
  /** The share of an agent's addresses that is held when it gets a further slice: above 0, at most 1. */
  readonly threshold: number;
  /** Seconds that a further slice must have been empty before it goes back; absent: SLICE_IDLE_S. */
  readonly emptySeconds?: number;
  /** Seconds that it then rests before another agent gets it; absent: SLICE_REST_S. */
  readonly restSeconds?: number;
}

/** What agents may do, and what becomes of those that are gone. */
export interface AgentRules {
  /** Seconds out of contact after which an agent is removed; absent: never. */
  readonly removeAfterSeconds?: number;
  /** Seconds for which what a removed agent had is given to nobody else; absent: AGENT_REST_S. */
  readonly restSeconds?: number;
  /** Each agent may add networks to the cluster, for its host's users. Absent: operators alone do. */
  readonly mayAddNetworks?: true;
}

/** Everything that the master takes from its configuration file. */
export interface ClusterConfig {
  readonly network: NetworkConfig;
  /** `dcos_overlay_mtu`: MTU of the containers' interfaces in bytes; absent: the VTEP's. */
  readonly overlayMtu?: number;
  /** `enable_ipv6`: when false, no agent gets or programs IPv6. */
  readonly enableIpv6: boolean;
  /** Absent: an agent has one slice of each network, and gets no further ones. */
  readonly elastic?: Elastic;
  readonly agents?: AgentRules;
  /** `dcos_overlay_network_default_name`, checked to be one of the overlays. */
  readonly defaultNetwork?: string;
}
