/**
 * Reservations in force and which agent hosts what of them, in step with the store. Agents come for a change of the
 * reservations as for any other; a claim is one agent's affair, which comes for it by itself.
 *
 * A claim moves an address by one word: it gets the next revision of the whole cluster, and whoever hosted it before is
 * refused by all who hear the newer one. It stays when its container ends, so that the next start on that host needs nobody.
 */
import type { ClaimRequest } from "../../io/ports.ts";
import type { OverlayStatus } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { familyOf, type Ip } from "../../model/ip.ts";
import { HOSTED_MAX, RESERVED_USES_TOLD_MAX } from "../../model/limits.ts";
import type { Claim, Reservation, ReservationBook, ReservedUse } from "../../model/reservation.ts";
import type { ControlRecords, StoredClaim } from "./control-records.ts";
import type { Sightings } from "./sightings.ts";

/** A reserved address in use, as the agent told last, which is or may be connected. */
export interface Use extends ReservedUse {
  readonly agent: string;
}

export interface ReservationsDeps {
  readonly records: ControlRecords;
  readonly sightings: Pick<Sightings, "heard" | "unheard">;
  /** Whether the address lies in a slice of the agent. */
  readonly isOf: (agent: string, address: Ip) => boolean;
  /** The greatest revision that gossip tells of: ahead of what is stored when the store was restored from a backup. */
  readonly newest: () => number;
  /** @throws Fault exhausted when agents could not be told of all of these */
  readonly requireTellable: (reservations: readonly Reservation[]) => void;
}

export class Reservations implements ReservationBook {
  readonly #deps: ReservationsDeps;
  readonly #byKey: Map<string, Reservation>;
  readonly #claims: Map<Ip, StoredClaim>;
  #revision: number;
  /** Told after each change of what is reserved. */
  onChange: () => void = () => {};

  /** @throws Fault corrupt-store */
  constructor(deps: ReservationsDeps) {
    const { reservations, claims, revision } = deps.records.reservations();
    this.#deps = deps;
    this.#byKey = new Map(reservations.map((each) => [keyOf(each.network, each.name), each]));
    this.#claims = new Map(claims.map((claim) => [claim.address, claim]));
    this.#revision = claims.reduce((most, claim) => Math.max(most, claim.revision), revision);
  }

  list(): readonly Reservation[] {
    return [...this.#byKey].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, each]) => each);
  }

  /** What an agent with these networks is told. */
  of(networks: readonly string[]): readonly Reservation[] {
    return this.#byKey.size === 0 ? [] : this.list().filter(({ network }) => networks.includes(network));
  }

  /** What the cluster says that the agent hosts, by address. */
  hostedBy(agent: string): readonly Claim[] {
    return [...this.#claims.values()]
      .filter((claim) => claim.agent === agent)
      .sort((a, b) => (a.address < b.address ? -1 : 1))
      .map(({ agent: _, ...claim }) => claim);
  }

  /** Which reserved addresses containers have, as far as agents told that are there, each of what it has or hosts. */
  uses(): readonly Use[] {
    return this.#deps.sightings
      .heard()
      .flatMap(([agent, statuses]) =>
        statuses
          .flatMap(({ reserved = [] }) => reserved.map((use) => ({ agent, ...use })))
          .filter(({ address }) => this.#hasIt(agent, address)),
      );
  }

  /** What one agent says of another's addresses counts for nothing. */
  #hasIt(agent: string, address: Ip): boolean {
    const claim = this.#claims.get(address);
    return claim === undefined ? this.#deps.isOf(agent, address) : claim.agent === agent;
  }

  /** Another agent than the one that asks that has the address and of which `uses` may not tell all, and why. */
  #unsure(address: Ip, asker?: string): Vague | undefined {
    const { sightings } = this.#deps;
    const unheard = sightings.unheard().map((agent) => ({ agent, why: UNHEARD }));
    const full = sightings
      .heard()
      .flatMap(([agent, statuses]) => (statuses.some(isFull) ? [{ agent, why: FULL }] : []));
    return [...unheard, ...full].find(({ agent }) => agent !== asker && this.#hasIt(agent, address));
  }

  /** @throws Fault in-use when a container of the name has an address that is reserved no more; exhausted, storage */
  put(reservation: Reservation, who: string): void {
    const { network, name, addresses } = reservation;
    const before = this.#byKey.get(keyOf(network, name));
    this.#deps.requireTellable([...this.list().filter((each) => each !== before), reservation]);
    const gone = (before?.addresses ?? []).filter((address) => !addresses.includes(address));
    this.#refuseInUse(name, gone);
    const what = `reservation for ${name} in network ${network} ${before === undefined ? "added" : "changed"}`;
    this.#change(who, what, gone, (records) => records.putReservation(reservation));
    this.#byKey.set(keyOf(network, name), reservation);
    this.onChange();
  }

  /** @throws Fault in-use, storage */
  remove(network: string, name: string, who: string): boolean {
    const before = this.#byKey.get(keyOf(network, name));
    if (before === undefined) return false;
    this.#refuseInUse(name, before.addresses);
    const what = `reservation for ${name} in network ${network} removed`;
    this.#change(who, what, before.addresses, (records) => records.deleteReservation(network, name));
    this.#byKey.delete(keyOf(network, name));
    this.onChange();
    return true;
  }

  /**
   * The network is being removed, and with it all that is reserved and hosted in it, as part of that change.
   * @returns what is to be called when it is written
   */
  dropNetwork(network: string): () => void {
    const { records } = this.#deps;
    const gone = this.of([network]);
    const claims = [...this.#claims.values()].filter((claim) => claim.network === network);
    for (const { name } of gone) records.deleteReservation(network, name);
    for (const { address } of claims) records.deleteClaim(address);
    return () => {
      for (const { name } of gone) this.#byKey.delete(keyOf(network, name));
      for (const { address } of claims) this.#claims.delete(address);
    };
  }

  /**
   * Gives the agent one address of each family that it asks for.
   * @throws Fault bad-request, address-taken, exhausted, storage
   */
  claim({ agentId, network, name, addresses }: Omit<ClaimRequest, "instanceId">): readonly Claim[] {
    const reserved = this.#byKey.get(keyOf(network, name))?.addresses ?? [];
    const strange = addresses.find((address) => !reserved.includes(address));
    if (strange !== undefined)
      throw new Fault("bad-request", `${strange} is not reserved for ${name} in network ${network}`, { ip: strange });
    const picks = ([4, 6] as const).flatMap((family) => {
      const wanted = addresses.filter((address) => familyOf(address) === family);
      return wanted.length === 0 ? [] : [this.#choose(wanted, agentId, name)];
    });
    const fresh = picks.filter((address) => this.#claims.get(address)?.agent !== agentId);
    if (fresh.length > 0) this.#give(agentId, network, name, fresh);
    return this.hostedBy(agentId).filter((claim) => claim.network === network && claim.name === name);
  }

  /** Writes that the agent hosts nothing, as part of a larger change. @returns what is to be called when it is written */
  forget(agent: string, records: ControlRecords): () => void {
    const gone = [...this.#claims.values()].filter((claim) => claim.agent === agent);
    for (const { address } of gone) records.deleteClaim(address);
    return () => {
      for (const { address } of gone) this.#claims.delete(address);
    };
  }

  /**
   * One that is its own already, that nobody hosts, or that nobody uses. What a container of another agent has stays there
   * until it ends, or its agent is gone: else any agent could take what runs elsewhere by asking for it.
   */
  #choose(wanted: readonly Ip[], agentId: string, name: string): Ip {
    const uses = new Map(this.uses().flatMap((use) => (use.agent === agentId ? [] : [[use.address, use] as const])));
    const unused = wanted.filter((address) => !uses.has(address));
    const idle = unused.filter((address) => this.#unsure(address, agentId) === undefined);
    const best =
      idle.find((address) => this.#claims.get(address)?.agent === agentId) ??
      idle.find((address) => !this.#claims.has(address)) ??
      idle[0];
    if (best !== undefined) return best;
    this.#refuseUnsure(unused, agentId);
    const [first = "" as Ip] = wanted;
    const { agent = "", containerId = "", name: called = "without a name" } = uses.get(first) ?? {};
    throw new Fault(
      "address-taken",
      `${wanted.join(", ")}, reserved for ${name}, is held: ${first} by container ${containerId} (${called}) of agent ` +
        `${agent}; end that one first`,
      { ip: wanted, holder: containerId, agent },
    );
  }

  #give(agent: string, network: string, name: string, addresses: readonly Ip[]): void {
    const last = Math.max(this.#revision, this.#deps.newest());
    const given = addresses.map((address, i) => ({ network, name, address, agent, revision: last + 1 + i }));
    const idle = this.#makeRoom(agent, given.length);
    const what = `agent ${agent} hosts ${addresses.join(", ")} for ${name} of network ${network}`;
    this.#change(`agent ${agent}`, what, idle, (records) => {
      for (const claim of given) records.putClaim(claim);
      records.saveClaimRevision(last + given.length);
    });
    this.#revision = last + given.length;
    for (const claim of given) this.#claims.set(claim.address, claim);
  }

  /** The oldest of its claims that no container uses make room. @throws Fault exhausted */
  #makeRoom(agent: string, count: number): readonly Ip[] {
    const own = this.hostedBy(agent);
    const excess = own.length + count - HOSTED_MAX;
    if (excess <= 0) return [];
    const used = new Set(this.uses().flatMap((use) => (use.agent === agent ? [use.address] : [])));
    const unused = own.filter(({ address }) => !used.has(address)).sort((a, b) => a.revision - b.revision);
    const idle = unused.map(({ address }) => address).filter((address) => this.#unsure(address) === undefined);
    if (idle.length >= excess) return idle.slice(0, excess);
    this.#refuseUnsure(unused.map(({ address }) => address));
    throw new Fault("exhausted", `agent ${agent} hosts ${own.length} reserved addresses, the most that one agent can`);
  }

  /** @throws Fault in-use */
  #refuseInUse(name: string, addresses: readonly Ip[]): void {
    const use = this.uses().find((each) => each.name === name && addresses.includes(each.address));
    if (use !== undefined)
      throw new Fault(
        "in-use",
        `${use.address} is held by container ${use.containerId} (${name}) of agent ${use.agent}; end that container first`,
        { ip: use.address, holder: use.containerId, agent: use.agent },
      );
    this.#refuseUnsure(addresses);
  }

  /** @throws Fault in-use */
  #refuseUnsure(addresses: readonly Ip[], asker?: string): void {
    for (const address of addresses) {
      const vague = this.#unsure(address, asker);
      if (vague === undefined) continue;
      const { agent, why } = vague;
      throw new Fault("in-use", `whether ${address} is in use is not known: agent ${agent} ${why}`, {
        ip: address,
        agent,
      });
    }
  }

  /** @param gone addresses that nobody hosts any more */
  #change(who: string, what: string, gone: readonly Ip[], make: (records: ControlRecords) => void): void {
    const { records } = this.#deps;
    const ended = gone.filter((address) => this.#claims.has(address));
    records.change({ who, what }, () => {
      make(records);
      for (const address of ended) records.deleteClaim(address);
    });
    for (const address of ended) this.#claims.delete(address);
  }
}

/** An agent from whose silence about an address nothing follows. */
interface Vague {
  readonly agent: string;
  readonly why: string;
}

const UNHEARD = "has not told this master yet what its containers have; try again in a moment, or stop that agent";
const FULL =
  `tells of ${RESERVED_USES_TOLD_MAX} reserved addresses that its containers have, and cannot tell of more; end some of ` +
  "them first";

function isFull({ reserved = [] }: OverlayStatus): boolean {
  return reserved.length >= RESERVED_USES_TOLD_MAX;
}

function keyOf(network: string, name: string): string {
  return `${network}/${name}`;
}
