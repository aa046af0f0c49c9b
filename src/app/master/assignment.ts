/**
 * What an agent is told when it registers: its own record, and of the cluster what its kernel must know.
 */
import type { AgentRecord, Assignment } from "../../model/cluster.ts";
import { type ClusterConfig, type Overlay, prefixesOf } from "../../model/network.ts";
import type { Policy } from "../../model/policy.ts";

export function assignmentOf(
  agent: AgentRecord,
  { network, overlayMtu, enableIpv6, elastic }: ClusterConfig,
  policies: readonly Policy[],
  { reservations = [], hosted = [] }: Pick<Assignment, "reservations" | "hosted"> = {},
): Assignment {
  return {
    agent,
    overlaySubnets: network.overlays.flatMap(prefixesOf),
    ...networkRules(network.overlays),
    vtepSubnets: [network.vtepSubnet, network.vtepSubnet6].filter((pool) => pool !== undefined),
    ...(policies.length > 0 && { policies }),
    ...(reservations.length > 0 && { reservations }),
    ...(hosted.length > 0 && { hosted }),
    ...(overlayMtu !== undefined && { overlayMtu }),
    enableIpv6,
    ...(elastic !== undefined && { elastic }),
  };
}

/** Nothing where all is as by default: older agents and most clusters never see it. */
function networkRules(overlays: readonly Overlay[]): Pick<Assignment, "networks"> {
  if (overlays.every(({ isolation, egress }) => isolation === undefined && egress === undefined)) return {};
  const networks = overlays.map((overlay) => ({
    name: overlay.name,
    prefixes: prefixesOf(overlay),
    ...(overlay.isolation !== undefined && { isolation: overlay.isolation }),
    ...(overlay.egress !== undefined && { egress: overlay.egress }),
  }));
  return { networks };
}
