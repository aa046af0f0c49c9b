/**
 * Which of the addresses that are reserved for a container's name it gets: one that this agent hosts by the cluster's
 * word, else one of its own slices that nobody else hosts. For any other the cluster has to be asked first, because only
 * its word moves an address from one host to another (docs/decisions/0035).
 */
import type { Lease } from "../../model/attachment.ts";
import type { Assignment } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { isLeasable } from "../../model/half.ts";
import type { Hosting } from "../../model/hosting.ts";
import { type Cidr, type Family, familyOf, type Ip } from "../../model/ip.ts";
import { type Reservation, reservedNames } from "../../model/reservation.ts";
import type { Ledger } from "./ledger.ts";
import type { Pick as PickedAddress } from "./pick-address.ts";

/** The cluster has to say first that this agent hosts one of the addresses. */
export class Unclaimed extends Fault {
  readonly wanted: readonly Ip[];

  constructor(containerId: string, name: string, wanted: readonly Ip[]) {
    super(
      "not-ready",
      `container ${containerId}: ${wanted.join(", ")} is reserved for ${name}, and lies or is hosted on another agent; a ` +
        "master must move it here first; see `weft reservations`",
      { containerId, wanted },
    );
    this.wanted = wanted;
  }
}

/** Whether the address is kept for some name. */
export function isReserved({ reservations }: Assignment, address: Ip): boolean {
  return reservations !== undefined && reservedNames(reservations).has(address);
}

/** @throws Fault address-taken when the address is kept for another name, or another network */
export function refuseReserved({ reservations = [] }: Assignment, who: Who, address: Ip): void {
  const holder = reservedNames(reservations).get(address);
  if (holder === undefined || isFor(holder, who)) return;
  throw new Fault(
    "address-taken",
    `container ${who.containerId}: ${address} is reserved for ${holder.name} on network ${holder.network}; ask for another ` +
      "one, or none",
    { ip: address, reservedFor: holder.name },
  );
}

export type Who = Pick<Lease, "containerId" | "network" | "name">;

/** Those of one family that are kept for the container, in their order; mostly none. */
export function reservedFor({ reservations = [] }: Assignment, who: Who, family: Family): readonly Ip[] {
  if (who.name === undefined) return [];
  const all = reservations.find((each) => isFor(each, who))?.addresses ?? [];
  return all.filter((address) => familyOf(address) === family);
}

export interface ReservedWorld {
  readonly agentId: string;
  /** Of the family, the container's own kind first; at least one. */
  readonly halves: readonly Cidr[];
  readonly ledger: Ledger;
  readonly hosting: Hosting;
  /** For a device that another plugin makes: those know their own subnet alone. */
  readonly isLone: boolean;
}

/**
 * @param addresses of one family; at least one
 * @throws Fault address-taken when all are held here; Unclaimed
 */
export function pickReserved(addresses: readonly Ip[], who: Who, world: ReservedWorld): PickedAddress {
  const { agentId, halves, ledger, hosting, isLone } = world;
  const halfOf = (address: Ip) => halves.find((half) => isLeasable(half, address));
  // It rests for its name, so it is given again at once.
  const free = addresses.filter((address) => ledger.holder(address) === undefined);
  const isHere = (address: Ip): boolean => {
    const host = hosting.get(address);
    if (host !== undefined && host.agentId !== agentId) return false;
    return halfOf(address) !== undefined || (host !== undefined && !isLone);
  };
  const address = free.find((each) => hosting.has(each) && isHere(each)) ?? free.find(isHere);
  if (address !== undefined)
    return { address, half: halfOf(address) ?? (halves[0] as Cidr), isEarly: false, isReserved: true };
  const [first] = addresses;
  const holder = first === undefined ? undefined : ledger.holder(first);
  if (free.length === 0 && first !== undefined && holder !== undefined) throw allHeld(addresses, who, holder);
  if (isLone)
    throw new Fault(
      "bad-request",
      `container ${who.containerId}: ${free.join(", ")} is reserved for ${who.name ?? ""} and lies on another agent; weft-ipam ` +
        "gives addresses of this host's own subnet only",
      { wanted: free },
    );
  throw new Unclaimed(who.containerId, who.name ?? "", free);
}

function allHeld(addresses: readonly Ip[], who: Who, holder: Lease): Fault {
  const called = holder.name === undefined || holder.name === who.name ? "" : ` (${holder.name})`;
  const which = addresses.length === 1 ? `${addresses[0]} is` : `all ${addresses.length} addresses of its family are`;
  return new Fault(
    "address-taken",
    `container ${who.containerId}: what is reserved for ${who.name ?? ""} is held: ${which} taken by container ` +
      `${holder.containerId}${called}; end that one first`,
    { ip: addresses, holder: holder.containerId },
  );
}

function isFor(reservation: Reservation, { network, name }: Who): boolean {
  return reservation.network === network && reservation.name === name;
}
