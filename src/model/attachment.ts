/**
 * What containers of this host hold: leases of addresses, and attachments, which are leases with the devices that carry
 * them. The agent keeps these on its disk; what the kernel must look like for them follows from them alone.
 */
import { type Ip, ip } from "./ip.ts";
import type { Mac } from "./mac.ts";

/** Identifies a lease. */
export type LeaseKey = Pick<Lease, "containerId" | "ifname">;

/** Addresses given to one interface of one container. Alone, it was made for another plugin, by weft-ipam. */
export interface Lease {
  /** Container and interface together identify a lease (CNI: containerID and ifname). */
  readonly containerId: string;
  readonly ifname: string;
  readonly network: string;
  /** Path of the container's network namespace, and which one it was: `netnsId` is never used for another. */
  readonly netns: string;
  readonly netnsId: string;
  /** At most one address of each family; at least one, except while another IPAM plugin is being asked. */
  readonly ip?: Ip;
  readonly ip6?: Ip;
  /**
   * `pending` from before the kernel is touched until all of it is in place: what a dead agent left in that state is
   * taken back. `attached` is what the runtime was told. `mending` is attached, too, while lost devices are made again: an
   * agent that dies meanwhile leaves devices that look whole from the host.
   */
  readonly state: "pending" | "attached" | "mending";
  /** The name of the network configuration that asked; several may name one network. Absent: it did not say. */
  readonly configName?: string;
  /** Chosen by the caller for one call, so that the same call sent twice gets the same answer. */
  readonly requestId: string;
  /** The program that asked, as the kernel names it: `podman`, `containerd`; empty when it is not known. */
  readonly runtime: string;
  /** When it was made, for people only: RFC 3339 by the wall clock. Nothing is decided by it. */
  readonly since: string;
  /** What the runtime calls the container, and what else it says of it (CNI_ARGS, Mesos' network_info). */
  readonly name?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** The plugin that gave the addresses, when it was not Weft. */
  readonly ipam?: ForeignIpam;
  /** A Docker engine asked for it, which says when it ends. */
  readonly docker?: DockerEndpoint;
}

/**
 * What a Docker engine knows a lease as. It asks for addresses first, without saying for whom, and then makes an endpoint
 * with them, which is the lease's `containerId`; the container is only known from the engine's own lists.
 */
export interface DockerEndpoint {
  /** The engine's id of the network; absent: there is no endpoint yet. */
  readonly networkId?: string;
  /** The interface's MAC, from the endpoint on. */
  readonly mac?: Mac;
  /** The interface's name inside; absent: the engine has not taken the device yet. */
  readonly ifname?: string;
  /** The agent made the device inside by itself; the engine knows of none. */
  readonly isOwn?: true;
  /** Bytes; absent: the cluster's. */
  readonly mtu?: number;
  /** The network has no way out (`--internal`). */
  readonly internal?: true;
  /** The engine's id of the container. */
  readonly containerId?: string;
}

/** A network of a Docker engine that stands for one of the cluster's. */
export interface DockerNetwork {
  /** The engine's, 64 hexadecimal digits; another on each host. */
  readonly id: string;
  /** The cluster's name for it. */
  readonly network: string;
  /** Bytes; absent: the cluster's. */
  readonly mtu?: number;
  /** It has no way out (`--internal`). */
  readonly internal?: true;
}

/** What has to be said to another IPAM plugin to give its addresses back. */
export interface ForeignIpam {
  /** The executable's name: `host-local`. */
  readonly type: string;
  /** Where it is looked for, in this order. */
  readonly cniPath: readonly string[];
  /** CNI_ARGS as they came. */
  readonly args: string;
  /** The network configuration as it came, as JSON. */
  readonly config: string;
  /** Where the container sends what is not for itself; absent where the plugin named none. */
  readonly gateway?: Ip;
  readonly gateway6?: Ip;
  /** The resolver that the plugin named, as a result has it. */
  readonly dns?: { readonly [key: string]: unknown };
}

/** A lease with an interface of ours. */
export interface Attachment extends Lease {
  /** The host's end of the veth. */
  readonly hostIfname: string;
  /** MAC of the container's interface. */
  readonly mac: Mac;
  /**
   * Place among the interfaces of one namespace, unique there: the lowest has the default route, the others send what
   * has their own source address by themselves. Absent: 0.
   */
  readonly rank?: number;
  /** Ports of the host that lead to the container. */
  readonly ports?: readonly PortMapping[];
  readonly bandwidth?: Bandwidth;
  /** Further names of the container in this network. */
  readonly aliases?: readonly string[];
}

export interface PortMapping {
  readonly protocol: "tcp" | "udp";
  readonly hostPort: number;
  readonly containerPort: number;
  /** The one address of the host that is meant, or `ANY_ADDRESS` of a family; absent: all of them, of both families. */
  readonly hostIp?: Ip;
}

/** A port of the host, any one of several, or of 0 … 0 any one that is free for such use. */
export interface PortWish extends Omit<PortMapping, "hostPort"> {
  readonly first: number;
  readonly last: number;
}

/** Every address of the host, of one family. */
export const ANY_ADDRESS = { 4: ip("0.0.0.0"), 6: ip("::") } as const;

/** The one address that is meant, if there is one. */
export function oneAddress({ hostIp }: PortMapping): Ip | undefined {
  return hostIp === ANY_ADDRESS[4] || hostIp === ANY_ADDRESS[6] ? undefined : hostIp;
}

/** Rates in bits per second, bursts in bits (CNI conventions, `bandwidth`). Absent or 0: no limit. */
export interface Bandwidth {
  /** Towards the container. */
  readonly ingressRate?: number;
  readonly ingressBurst?: number;
  /** From the container. */
  readonly egressRate?: number;
  readonly egressBurst?: number;
}

export function isAttachment(lease: Lease): lease is Attachment {
  return "hostIfname" in lease;
}

/** Which of our plugins was asked. While another IPAM plugin is asked, an attachment has no devices yet. */
export function pluginOf(lease: Lease): "weft-cni" | "weft-ipam" | "docker" {
  if (lease.docker !== undefined) return "docker";
  return isAttachment(lease) || lease.ipam !== undefined ? "weft-cni" : "weft-ipam";
}

/** The addresses that are held, IPv4 first. */
export function addressesOf({ ip, ip6 }: Pick<Lease, "ip" | "ip6">): readonly Ip[] {
  return [ip, ip6].filter((address) => address !== undefined);
}
