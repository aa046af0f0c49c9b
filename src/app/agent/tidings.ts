/**
 * What an agent tells its master of its networks: how each is, how full, who is still in what drains, which reserved
 * addresses are in use, and where containers are refused for want of an address.
 */
import type { Lease } from "../../model/attachment.ts";
import type { Assignment, HalfUsage, OverlayStatus } from "../../model/cluster.ts";

export interface TidingsInput {
  readonly assignment: Assignment | undefined;
  readonly leases: readonly Lease[];
  readonly usage: (network: string) => readonly HalfUsage[];
  /** Reserved addresses in use, by network. */
  readonly uses: ((network: string) => NonNullable<OverlayStatus["reserved"]>) | undefined;
  /** Networks in which containers are refused for want of an address. */
  readonly short: ReadonlyMap<string, NonNullable<OverlayStatus["exhausted"]>>;
}

export function tidings(statuses: readonly OverlayStatus[], input: TidingsInput): readonly OverlayStatus[] {
  return statuses.map((status) => {
    const { name } = status;
    const reserved = input.uses?.(name) ?? [];
    const usage = input.usage(name);
    const exhausted = input.short.get(name);
    return {
      ...status,
      ...containersIn(name, input),
      usage,
      ...(reserved.length > 0 && { reserved }),
      ...(exhausted !== undefined && { exhausted }),
    };
  });
}

/** Of a network or a host that drains the master waits for the last one. */
function containersIn(network: string, { assignment, leases }: TidingsInput): Pick<OverlayStatus, "containers"> {
  const { phase, overlays = [] } = assignment?.agent ?? {};
  const overlay = overlays.find(({ info }) => info.name === network);
  if (phase !== "draining" && overlay?.info.phase !== "draining") return {};
  return { containers: leases.filter((lease) => lease.network === network).length };
}
