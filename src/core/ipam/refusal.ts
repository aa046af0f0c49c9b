/**
 * A pool that has nothing left, as a value: the registration goes on without the item, and the operator is told which
 * pool it was and how full it is.
 */
import type { Usage } from "./carve.ts";

/** Named as the original's counters `overlay/master/…_allocation_failures` (spec: overlay §2.8). */
export type PoolKind = "ip" | "ip6" | "subnet" | "subnet6";

export interface Refusal {
  readonly kind: PoolKind;
  /** The network; absent for VTEP addresses. */
  readonly network?: string;
  readonly usage: Usage;
}

export function refusal(kind: PoolKind, usage: Usage, network?: string): Refusal {
  return { kind, ...(network !== undefined && { network }), usage };
}

/** `network dcos has no free agent subnet in 9.0.0.0/8 (65536 of 65536 given out); …`. */
export function refusalMessage({ kind, network, usage }: Refusal): string {
  const what =
    network === undefined
      ? `there is no free VTEP ${kind === "ip" ? "IPv4" : "IPv6"} address`
      : `network ${network} has no free ${kind === "subnet" ? "IPv4" : "IPv6"} agent subnet`;
  return `${what} in ${usage.pool} (${usage.used} of ${usage.size} given out); delete agents that are gone, or give it a larger space`;
}
