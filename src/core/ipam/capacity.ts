/**
 * How many addresses this agent has, per network, family and half: held, resting, free.
 */
import type { Assignment } from "../../model/cluster.ts";
import { leasableCount } from "../../model/half.ts";
import { type Cidr, type Family, familyOf } from "../../model/ip.ts";
import type { Ledger } from "./ledger.ts";

/** One half. Numbers above 2^53, which only IPv6 has, are rounded. */
export interface Capacity {
  readonly network: string;
  readonly family: Family;
  /** Whose half it is. The other's containers may borrow from it, unless the halves are strict. */
  readonly runtime: "cni" | "docker";
  readonly half: Cidr;
  /** Addresses for containers: `used` + `resting` + `free`. */
  readonly size: number;
  readonly used: number;
  /** Released a short while ago; given only when no other is free. */
  readonly resting: number;
  readonly free: number;
}

/** In the order of the networks; of each IPv4 first, and the half of CNI before that of Docker. */
export function capacities(assignment: Assignment, ledger: Ledger, now: number): readonly Capacity[] {
  return halvesOf(assignment).map((half) => {
    const size = Number(leasableCount(half.half));
    const { held: used, resting } = ledger.taken(half.half, now);
    return { ...half, size, used, resting: resting.size, free: size - used - resting.size };
  });
}

function halvesOf({
  agent,
  enableIpv6,
}: Assignment): readonly Pick<Capacity, "network" | "family" | "runtime" | "half">[] {
  return agent.overlays.flatMap(({ info, mesosBridge, dockerBridge }) =>
    [mesosBridge?.ip, dockerBridge?.ip, mesosBridge?.ip6, dockerBridge?.ip6].flatMap((half, i) => {
      if (half === undefined || (familyOf(half) === 6 && !enableIpv6)) return [];
      return [{ network: info.name, family: familyOf(half), runtime: i % 2 === 0 ? "cni" : "docker", half } as const];
    }),
  );
}

/** How full what one kind of runtime can get of a network is. */
export interface Room {
  /** `IPv4 of network dcos`, with the half where the halves do not lend. */
  readonly what: string;
  readonly used: number;
  readonly size: number;
}

/** One for each network and family; where the halves do not lend, one for each half. */
export function rooms(assignment: Assignment, halves: readonly Capacity[]): readonly Room[] {
  const strict = new Set(
    assignment.agent.overlays.filter(({ info }) => info.strictHalves === true).map(({ info }) => info.name),
  );
  const byName = new Map<string, { what: string; used: number; size: number }>();
  for (const { network, family, half, used, size } of halves) {
    const what = `network ${network}, IPv${family}${strict.has(network) ? ` in ${half}` : ""}`;
    const room = byName.get(what) ?? { what, used: 0, size: 0 };
    byName.set(what, { what, used: room.used + used, size: room.size + size });
  }
  return [...byName.values()];
}
