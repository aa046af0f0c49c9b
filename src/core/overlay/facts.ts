/**
 * The few facts about a host that its desired state depends on, and that only its kernel knows.
 */
import { Fault } from "../../model/fault.ts";
import { addressOf, type Cidr, type Ip, networkOf } from "../../model/ip.ts";
import type { Mac } from "../../model/mac.ts";
import type { HostState, Link } from "../host/host-state.ts";
import { ownsLink } from "../host/ownership.ts";

export interface HostFacts {
  /** The device that holds the agent's own address, and its MTU in bytes. */
  readonly underlayDev: string;
  readonly underlayMtu: number;
  /** Absent: it is no Ethernet device. */
  readonly underlayMac?: Mac;
  /** What is reached by it without a router. */
  readonly underlayPrefix?: Cidr;
  /** Nodes that the kernel reaches otherwise, whatever the prefix says. */
  readonly elsewhere?: ReadonlySet<Ip>;
  /** The kernel encrypts some of what it sends (IPsec). */
  readonly isEncrypted?: boolean;
  /**
   * Devices of other people that may learn routes from router advertisements. Once the host forwards IPv6 they keep
   * doing so only with accept_ra=2; without it the host would lose its default route.
   */
  readonly foreignDevs: readonly string[];
  /**
   * Devices of other people that lead away from this host: the underlay, and what is no bridge, no port of one, no pair
   * and no tunnel. In the kernel's order.
   */
  readonly uplinks: readonly string[];
}

/** @throws Fault bad-request when no device holds `agentIp` */
export function readFacts(observed: HostState, agentIp: Ip): HostFacts {
  const holder = observed.addresses.find((address) => addressOf(address.address) === agentIp);
  const underlay = observed.links.find((link) => link.name === holder?.dev);
  if (underlay?.mtu === undefined)
    throw new Fault(
      "bad-request",
      `no device of this host holds the address ${agentIp}; give one that it has with --ip ADDRESS`,
      { ip: agentIp },
    );
  const foreign = observed.links.filter((link) => link.name !== "lo" && !ownsLink(link));
  const leadsAway = (link: Link) => link === underlay || (link.kind === "device" && link.isPort !== true);
  return {
    underlayDev: underlay.name,
    underlayMtu: underlay.mtu,
    ...(underlay.mac !== undefined && { underlayMac: underlay.mac }),
    ...(holder !== undefined && { underlayPrefix: networkOf(holder.address) }),
    ...(observed.elsewhere !== undefined && { elsewhere: new Set(observed.elsewhere) }),
    ...(observed.encrypts === true && { isEncrypted: true }),
    foreignDevs: foreign.map(({ name }) => name),
    uplinks: foreign.filter(leadsAway).map(({ name }) => name),
  };
}
