/**
 * What `create` makes of a network that somebody asked Podman for: the same network with what is true of it in the
 * cluster, so that `podman network inspect` says how it is. Podman keeps it in a file and sends it with every call.
 *
 * The gateway is this host's: every host has its own, and Podman would write down the first address of the subnet.
 */
import { type AgentOverlay, halvesOf } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { type JsonObject, listed } from "../../model/foreign-json.ts";
import { gatewayOf } from "../../model/half.ts";
import { addressOf, type Cidr, contains, familyOf, type Ip } from "../../model/ip.ts";
import { prefixesOf } from "../../model/network.ts";
import { type AskedNetwork, IPAM_DRIVER, NETWORK_OPTION, SOCKET_OPTION } from "./network.ts";

/** What this host knows of the network that is meant. */
export interface KnownNetwork {
  readonly overlay: AgentOverlay;
  /** Whether containers get addresses of IPv6. */
  readonly enableIpv6: boolean;
  /** The agent's unix socket. */
  readonly socketPath: string;
}

/** @throws Fault bad-request for what was asked for and is not so, all of it at once */
export function createdNetwork(asked: AskedNetwork, known: KnownNetwork): JsonObject {
  const { overlay, enableIpv6, socketPath } = known;
  const isInternal = overlay.info.egress === "none";
  const prefixes = prefixesOf(overlay.info).filter((prefix) => enableIpv6 || familyOf(prefix) === 4);
  const subnets = prefixes.map((subnet) => {
    const gateway = gatewayIn(overlay, subnet);
    return { subnet, ...(gateway !== undefined && { gateway }) };
  });
  const problems = [...subnetProblems(asked, subnets), ...promiseProblems(asked, prefixes, isInternal)];
  if (problems.length > 0)
    throw new Fault("bad-request", `network ${asked.network} cannot be had as asked: ${listed(problems)}`, {
      problems,
    });
  return {
    ...asked.json,
    subnets,
    ipv6_enabled: prefixes.some((prefix) => familyOf(prefix) === 6),
    internal: isInternal,
    // netavark's own resolver serves its bridges only.
    dns_enabled: false,
    options: { ...asked.options, [NETWORK_OPTION]: asked.network, [SOCKET_OPTION]: socketPath },
    ipam_options: { driver: IPAM_DRIVER },
  };
}

/** Where containers of this host that have an address of the prefix send what is not for themselves. */
function gatewayIn(overlay: AgentOverlay, prefix: Cidr): Ip | undefined {
  const own = halvesOf(overlay, "mesos").find(({ half }) => contains(prefix, addressOf(half)));
  return own === undefined ? undefined : gatewayOf(own.half);
}

function subnetProblems(
  { network, subnets }: AskedNetwork,
  had: readonly { readonly subnet: Cidr; readonly gateway?: Ip }[],
): string[] {
  const all = had.map(({ subnet }) => subnet).join(", ");
  return subnets.flatMap(({ at, subnet, gateway }) => {
    const same = had.find((one) => one.subnet === subnet);
    if (same === undefined)
      return [`${at}.subnet: ${subnet} is not ${network}'s, which has ${all}; leave --subnet out`];
    return gateway === undefined || gateway === same.gateway
      ? []
      : [`${at}.gateway: ${gateway} is not this host's, which is ${same.gateway ?? "none"}; leave --gateway out`];
  });
}

function promiseProblems(
  { network, isIpv6, isInternal }: AskedNetwork,
  had: readonly Cidr[],
  isClosed: boolean,
): string[] {
  return [
    ...(isIpv6 && !had.some((prefix) => familyOf(prefix) === 6)
      ? ["ipv6_enabled: it has no IPv6 on this host; leave --ipv6 out"]
      : []),
    ...(isInternal && !isClosed
      ? [
          `internal: it reaches the outside; leave --internal out, or close it with 'weft network set ${network} --egress none'`,
        ]
      : []),
  ];
}
