/**
 * How a container reaches another node's own address: inside the tunnel, with the container's source address.
 *
 * Where the kernel can forward at ingress, every host veth has a base chain of its own that looks the destination up in
 * a map from node to VTEP; nothing else on the host pays for it (docs/decisions/0004). Elsewhere it is the original's
 * way: a policy rule per overlay and a table of node addresses, which every lookup of the host pays for.
 */
import { NODE_TABLE, OWNER } from "../../model/names.ts";
import type { NftChain, NftMap, NftTable, Rule } from "../host/host-state.ts";
import { type OverlayContext, overlayPrefixes, servedFamilies } from "./context.ts";
import type { PeerEntries } from "./peers.ts";

/** Before the main table's 32766; fixed, so that a rule is recognized whatever others add. */
const NODE_RULE_PRIORITY = 32_042;

const TO_NODES = "to-nodes";

/** The table at the veths' ingress; none with the fallback. */
export function nodeTables(
  entries: Pick<PeerEntries, "nodes4" | "nodes6">,
  hostIfnames: readonly string[],
  context: OverlayContext,
): readonly NftTable[] {
  if (!context.features.ingressForward) return [];
  const chains = [toNodes(context), ...hostIfnames.map(ingressChain)];
  return [{ family: "netdev", name: OWNER, chains, maps: nodeMaps(entries, context) }];
}

export function nodeMaps(entries: Pick<PeerEntries, "nodes4" | "nodes6">, context: OverlayContext): readonly NftMap[] {
  const map4: NftMap = { name: "nodes4", type: "ipv4_addr : ipv4_addr", elements: entries.nodes4 };
  const map6: NftMap = { name: "nodes6", type: "ipv6_addr : ipv6_addr", elements: entries.nodes6 };
  return servedFamilies(context).includes(6) ? [map4, map6] : [map4];
}

/** The chain of one host veth, named like it. */
export function ingressChain(hostIfname: string): NftChain {
  return {
    name: hostIfname,
    hook: { type: "filter", hook: "ingress", priority: 0, device: hostIfname, policy: "accept" },
    rules: [[{ kind: "jump", chain: TO_NODES }]],
  };
}

/** The policy rules of the fallback; none where the kernel forwards at ingress. */
export function nodeRules(context: OverlayContext): readonly Rule[] {
  if (context.features.ingressForward) return [];
  return servedFamilies(context)
    .flatMap((family) => overlayPrefixes(context, family))
    .map((src) => ({ src, table: NODE_TABLE, priority: NODE_RULE_PRIORITY }));
}

function toNodes(context: OverlayContext): NftChain {
  const device = context.assignment.agent.backend.vtepName;
  const rule4: NftChain["rules"][number] = [{ kind: "forward", field: "ip daddr", map: "nodes4", device }];
  const rule6: NftChain["rules"][number] = [{ kind: "forward", field: "ip6 daddr", map: "nodes6", device }];
  return { name: TO_NODES, rules: servedFamilies(context).includes(6) ? [rule4, rule6] : [rule4] };
}
