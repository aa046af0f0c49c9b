/**
 * What an agent is told when it registers: its own record, and of the cluster what its kernel must know.
 */
import type { AgentRecord, Assignment } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { ASSIGNMENT_COMMON_MAX_BYTES } from "../../model/limits.ts";
import { type ClusterConfig, type Overlay, prefixesOf } from "../../model/network.ts";
import type { Policy } from "../../model/policy.ts";
import type { Claim, Reservation } from "../../model/reservation.ts";

/** What all agents are told alike, unless one lacks a network. */
export interface Common {
  readonly config: ClusterConfig;
  readonly policies: readonly Policy[];
  readonly reservations: readonly Reservation[];
}

/** @param common with the reservations of the agent's own networks */
export function assignmentOf(agent: AgentRecord, common: Common, hosted: readonly Claim[]): Assignment {
  return { agent, ...commonOf(common), ...(hosted.length > 0 && { hosted }) };
}

/**
 * Agents read no more than MASTER_ANSWER_MAX_BYTES: whoever is told more cannot register. What is too much already may
 * become less.
 * @throws Fault exhausted
 */
export function requireTellable(before: Common, change: Partial<Common>): void {
  const bytes = bytesOf({ ...before, ...change });
  if (bytes <= ASSIGNMENT_COMMON_MAX_BYTES || bytes <= bytesOf(before)) return;
  throw new Fault(
    "exhausted",
    `what every agent is told of networks, policies and reservations would be ${bytes} bytes; at most ` +
      `${ASSIGNMENT_COMMON_MAX_BYTES} reach all of them: remove some ('weft policy ls', 'weft reservations') first`,
    { bytes, max: ASSIGNMENT_COMMON_MAX_BYTES },
  );
}

function bytesOf(common: Common): number {
  return Buffer.byteLength(JSON.stringify(commonOf(common)));
}

function commonOf({ config, policies, reservations }: Common): Omit<Assignment, "agent" | "hosted"> {
  const { network, overlayMtu, enableIpv6, elastic } = config;
  return {
    overlaySubnets: network.overlays.flatMap(prefixesOf),
    ...networkRules(network.overlays),
    vtepSubnets: [network.vtepSubnet, network.vtepSubnet6].filter((pool) => pool !== undefined),
    ...(policies.length > 0 && { policies }),
    ...(reservations.length > 0 && { reservations }),
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
