/**
 * How many addresses this agent has, per network, family and half: held, resting, free.
 */
import { type Assignment, type HalfUsage, halvesOf } from "../../model/cluster.ts";
import { isLeasable, leasableCount } from "../../model/half.ts";
import { type Cidr, type Family, familyOf } from "../../model/ip.ts";
import type { Ledger } from "./ledger.ts";

/** One half. Numbers above 2^53, which only IPv6 has, are rounded. */
export interface Capacity {
  readonly network: string;
  readonly family: Family;
  /** Whose half it is. The other's containers may borrow from it, unless the halves are strict. */
  readonly runtime: "cni" | "docker";
  readonly half: Cidr;
  /** The prefix of this agent that it is a half of. */
  readonly slice: Cidr;
  /** Nothing of it is given any more. */
  readonly draining?: true;
  /** Addresses for containers: `used` + `resting` + `free`; less those that are kept for names and that nobody has. */
  readonly size: number;
  readonly used: number;
  /** Released a short while ago; given only when no other is free. */
  readonly resting: number;
  readonly free: number;
}

/** In the order of the networks; of each IPv4 first, slice by slice, and the half of CNI before that of Docker. */
export function capacities(assignment: Assignment, ledger: Ledger, now: number): readonly Capacity[] {
  return allHalves(assignment).map((half) => {
    const { held: used, resting } = ledger.taken(half.half, now);
    const size = Number(leasableCount(half.half)) - keptCount(half, assignment, ledger, now);
    return { ...half, size, used, resting: resting.size, free: size - used - resting.size };
  });
}

/** Addresses of the half that nobody can get but who comes with a name, and that nobody has now. */
function keptCount({ network, half }: CountedHalf, assignment: Assignment, ledger: Ledger, now: number): number {
  const kept = (assignment.reservations ?? []).filter((each) => each.network === network);
  return kept
    .flatMap(({ addresses }) => addresses)
    .filter((address) => isLeasable(half, address))
    .filter((address) => ledger.holder(address) === undefined && ledger.restsUntil(address) <= now).length;
}

type CountedHalf = Pick<Capacity, "network" | "family" | "runtime" | "half" | "slice" | "draining">;

function allHalves({ agent, enableIpv6 }: Assignment): readonly CountedHalf[] {
  return agent.overlays.flatMap((overlay) => {
    const of = (name: "mesos" | "docker") =>
      halvesOf(overlay, name).map(({ half, slice, draining }) => ({
        network: overlay.info.name,
        family: familyOf(half),
        runtime: name === "mesos" ? ("cni" as const) : name,
        half,
        slice,
        ...(draining && { draining: true as const }),
      }));
    const all = [...of("mesos"), ...of("docker")];
    return ([4, 6] as const)
      .filter((family) => family === 4 || enableIpv6)
      .flatMap((family) => inSlices(all.filter((half) => half.family === family)));
  });
}

/** Slice by slice. */
function inSlices(halves: readonly CountedHalf[]): readonly CountedHalf[] {
  return [...Map.groupBy(halves, ({ slice }) => slice).values()].flat();
}

/** What a master is told of one network. @param idle prefixes of slices that have been empty for a while */
export function usageOf(network: string, all: readonly Capacity[], idle: ReadonlySet<Cidr>): readonly HalfUsage[] {
  return all
    .filter((each) => each.network === network)
    .map(({ half, slice, runtime, used, resting, free, draining }) => ({
      half,
      slice,
      runtime,
      used,
      resting,
      free,
      ...(draining === true && { draining }),
      ...(idle.has(slice) && { idle: true as const }),
    }));
}

/** How full what one kind of runtime can get of a network is. */
export interface Room {
  /** `IPv4 of network dcos`, with the half where the halves do not lend. */
  readonly what: string;
  readonly used: number;
  readonly size: number;
}

/** One for each network and family; where the halves do not lend, one for each kind of runtime. Less what is draining. */
export function rooms(assignment: Assignment, halves: readonly Capacity[]): readonly Room[] {
  const strict = new Set(
    assignment.agent.overlays.filter(({ info }) => info.strictHalves === true).map(({ info }) => info.name),
  );
  const byName = new Map<string, { what: string; used: number; size: number }>();
  const first = new Map<string, Cidr>();
  for (const { network, family, runtime, half, used, size, draining } of halves) {
    if (draining === true) continue;
    const kind = `${network} ${family} ${runtime}`;
    const firstHalf = first.get(kind) ?? half;
    first.set(kind, firstHalf);
    const what = `network ${network}, IPv${family}${strict.has(network) ? ` in ${firstHalf}` : ""}`;
    const room = byName.get(what) ?? { what, used: 0, size: 0 };
    byName.set(what, { what, used: room.used + used, size: room.size + size });
  }
  return [...byName.values()];
}
