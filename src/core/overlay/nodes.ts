/**
 * How a container reaches another node's own address: inside the tunnel, with the container's source address.
 *
 * Where the kernel can forward at ingress, the chain of every host veth (ingress.ts) looks the destination up in a map
 * from node to VTEP; nothing else on the host pays for it (docs/decisions/0004). Elsewhere it is the original's
 * way: a policy rule per overlay and a table of node addresses, which every lookup of the host pays for.
 */
import type { Family } from "../../model/ip.ts";
import { NODE_TABLE } from "../../model/names.ts";
import type { NftMap, NftRule, Rule } from "../host/host-state.ts";
import { type OverlayContext, overlayPrefixes, servedFamilies } from "./context.ts";
import type { PeerEntries } from "./peers.ts";

/** The node's address, and that of its VTEP. */
export type NodeEntries = Pick<PeerEntries, "nodes4" | "nodes6">;

/** Before the main table's 32766; fixed, so that a rule is recognized whatever others add. */
const NODE_RULE_PRIORITY = 32_042;

/** Of all served families, for the table at ingress; none with the fallback. */
export function nodeMaps(entries: NodeEntries, context: OverlayContext): readonly NftMap[] {
  if (!context.features.ingressForward) return [];
  return servedFamilies(context).map((family) => nodeMap(entries, family));
}

export function nodeMap({ nodes4, nodes6 }: NodeEntries, family: Family): NftMap {
  return family === 4
    ? { name: "nodes4", type: "ipv4_addr : ipv4_addr", elements: nodes4 }
    : { name: "nodes6", type: "ipv6_addr : ipv6_addr", elements: nodes6 };
}

/** The policy rules of the fallback; none where the kernel forwards at ingress. */
export function nodeRules(context: OverlayContext): readonly Rule[] {
  if (context.features.ingressForward) return [];
  return servedFamilies(context)
    .flatMap((family) => overlayPrefixes(context, family))
    .map((src) => ({ src, table: NODE_TABLE, priority: NODE_RULE_PRIORITY }));
}

/** The rule that every container's packets of the family meet; none with the fallback. */
export function toNodes(family: Family, context: OverlayContext): readonly NftRule[] {
  if (!context.features.ingressForward) return [];
  const device = context.assignment.agent.backend.vtepName;
  return family === 4
    ? [[{ kind: "forward", field: "ip daddr", map: "nodes4", device }]]
    : [[{ kind: "forward", field: "ip6 daddr", map: "nodes6", device }]];
}
