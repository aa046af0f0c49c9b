/**
 * This host's own share of the overlays: a bridge without ports for each half, which holds the half's gateway address,
 * and one route per overlay that refuses what nobody has.
 *
 * Without the refusal a packet to an address inside an overlay that no node owns would follow the default route, with
 * its overlay source, out of the host (docs/decisions/0008).
 */
import { gatewayOf } from "../../model/half.ts";
import { type Family, lengthOf, withLength } from "../../model/ip.ts";
import { OWNER } from "../../model/names.ts";
import { type HostState, MAIN_TABLE, type Route } from "../host/host-state.ts";
import { gatewayHolders, type OverlayContext, overlayPrefixes, servedFamilies } from "./context.ts";

/** Above every metric that is chosen elsewhere, so that the refusal never wins over a route of equal length. */
const REFUSAL_METRIC = 0x7fff0000;

/** The default of the kernel's own tools for IPv6, where 0 cannot be had; IPv4 has 0. */
export function plainMetric(family: Family): number {
  return family === 4 ? 0 : 1024;
}

export function ownSubnets(context: OverlayContext): Partial<HostState> {
  const holders = gatewayHolders(context);
  return {
    links: holders.map(({ network, name }) => ({
      kind: "bridge",
      name,
      up: true,
      alias: `${OWNER} ${network}`,
    })),
    addresses: holders.flatMap(({ name, halves }) =>
      halves.map((half) => ({ dev: name, address: withLength(gatewayOf(half), lengthOf(half)) })),
    ),
    routes: refusals(context),
  };
}

function refusals(context: OverlayContext): readonly Route[] {
  return servedFamilies(context)
    .flatMap((family) => overlayPrefixes(context, family))
    .map((dst) => ({ dst, table: MAIN_TABLE, metric: REFUSAL_METRIC, type: "unreachable" }));
}
