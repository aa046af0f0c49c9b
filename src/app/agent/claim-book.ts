/**
 * What this agent knows of reserved addresses: who hosts which, as its peers' signed words say, and which of them its own
 * containers use. It asks the master for an address that a container needs here and that another agent has.
 */
import type { Log } from "../../io/log.ts";
import type { Clock } from "../../io/ports.ts";
import { addressesOf, isAttachment, type Lease, pluginOf } from "../../model/attachment.ts";
import type { Assignment, Peer } from "../../model/cluster.ts";
import { type Hosting, hostingOf, NO_HOSTING } from "../../model/hosting.ts";
import type { Ip } from "../../model/ip.ts";
import { RESERVED_USES_TOLD_MAX } from "../../model/limits.ts";
import { type Claim, type Reservation, type ReservedUse, reservedNames } from "../../model/reservation.ts";
import { FailureLog } from "./failure-log.ts";

/** A container that needs an address here. */
export interface Wanted {
  readonly network: string;
  readonly name: string;
  readonly addresses: readonly Ip[];
}

/** An address of a lease that another agent hosts. */
export interface Elsewhere {
  readonly address: Ip;
  readonly to: string;
}

export interface ClaimBookDeps {
  readonly clock: Clock;
  readonly log: Log;
  /** Asks the master, and comes for what it then says. @throws Fault as the master refused, not-ready */
  readonly ask?: (wanted: Wanted) => Promise<readonly Claim[]>;
}

const NOTHING: readonly Reservation[] = [];

export class ClaimBook {
  readonly #deps: ClaimBookDeps;
  readonly #log: FailureLog;
  /** Peers that host anything, by id. */
  readonly #peers = new Map<string, Peer>();
  /** The newest revision that was seen of each reserved address. */
  readonly #seen = new Map<Ip, number>();
  readonly #waiting = new Set<() => void>();
  #known: { readonly assignment: Assignment; readonly hosting: Hosting } | undefined;

  constructor(deps: ClaimBookDeps) {
    this.#deps = deps;
    this.#log = new FailureLog(deps.log);
  }

  /** All peers are known anew. */
  peersAre(peers: readonly Peer[]): void {
    this.#peers.clear();
    for (const peer of peers) if (peer.hosted !== undefined) this.#peers.set(peer.id, peer);
    this.#known = undefined;
  }

  /** @returns whether that changes what a peer says that it hosts */
  peerIs(id: string, peer: Peer | undefined): boolean {
    const before = this.#peers.get(id)?.hosted;
    if (before === undefined && peer?.hosted === undefined) return false;
    if (peer?.hosted === undefined) this.#peers.delete(id);
    else this.#peers.set(id, peer);
    this.#known = undefined;
    return JSON.stringify(before) !== JSON.stringify(peer?.hosted);
  }

  hosting(assignment: Assignment | undefined): Hosting {
    if (assignment?.reservations === undefined) return NO_HOSTING;
    if (this.#known?.assignment === assignment) return this.#known.hosting;
    const hosting = hostingOf(assignment, this.#peers.values(), this.#seen);
    const reserved = reservedNames(assignment.reservations);
    for (const address of this.#seen.keys()) if (!reserved.has(address)) this.#seen.delete(address);
    for (const [address, { revision }] of hosting) this.#seen.set(address, revision);
    this.#known = { assignment, hosting };
    return hosting;
  }

  /** Whether others host what the assignment, which is older then, says that this agent does. */
  isOutdated(assignment: Assignment | undefined): boolean {
    const hosting = this.hosting(assignment);
    return (assignment?.hosted ?? []).some(({ address }) => {
      const host = hosting.get(address);
      return host !== undefined && host.agentId !== assignment?.agent.id;
    });
  }

  /** The agent that hosts an address of this attachment now, if that is another one. */
  lostTo(lease: Lease, assignment: Assignment | undefined): Elsewhere | undefined {
    return isAttachment(lease) && lease.ipam === undefined ? this.#elsewhere(lease, assignment) : undefined;
  }

  /** Whether an address of the lease is reserved. */
  concerns(lease: Lease, assignment: Assignment | undefined): boolean {
    const reserved = reservedNames(assignment?.reservations ?? NOTHING);
    return addressesOf(lease).some((address) => reserved.has(address));
  }

  /**
   * Reserved addresses that containers of a network have. Logged once: what a container of another name has, and what
   * another agent hosts although a device of another plugin has it here, which is not ours to take away.
   */
  uses(assignment: Assignment, leases: readonly Lease[]): (network: string) => readonly ReservedUse[] {
    if (assignment.reservations === undefined) return () => [];
    const reserved = reservedNames(assignment.reservations);
    const uses = leases.flatMap((lease) =>
      addressesOf(lease).flatMap((address) => {
        const holder = reserved.get(address);
        return holder === undefined ? [] : [{ address, lease, holder }];
      }),
    );
    const hadBefore = uses.flatMap(({ address, lease: { containerId, name }, holder }) =>
      name === holder.name
        ? []
        : [`${address} is reserved for ${holder.name}, and container ${containerId} had it before; end that one`],
    );
    const hasToo = leases.flatMap((lease) => {
      const lost = pluginOf(lease) === "weft-ipam" ? this.#elsewhere(lease, assignment) : undefined;
      if (lost === undefined) return [];
      const who = `container ${lease.containerId}, whose device another plugin made`;
      return [`${lost.address} is hosted by agent ${lost.to} now, and ${who}, has it too; end that one`];
    });
    this.#log.note([...hadBefore, ...hasToo]);
    return (network) =>
      uses
        .filter(({ holder }) => holder.network === network)
        .slice(0, RESERVED_USES_TOLD_MAX)
        .map(({ address, lease: { containerId, name } }) => ({
          address,
          containerId,
          ...(name !== undefined && { name }),
        }));
  }

  /**
   * Asks for the addresses, and waits until this host is programmed as one that hosts them, at most until `deadline`.
   * @returns whether the master could be asked. @throws Fault as the master refused, not-ready
   */
  async claim(wanted: Wanted, deadline: number): Promise<boolean> {
    const { clock, ask } = this.#deps;
    if (ask === undefined) return false;
    const { promise, resolve } = Promise.withResolvers<void>();
    const wake = () => resolve();
    // From now on, because the assignment may be here before the answer is.
    this.#waiting.add(wake);
    const cancel = clock.after(Math.max(0, deadline - clock.now()), wake);
    try {
      await ask(wanted);
      await promise;
    } finally {
      cancel();
      this.#waiting.delete(wake);
    }
    return true;
  }

  /** The host carries a new assignment. */
  programmed(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  #elsewhere(lease: Lease, assignment: Assignment | undefined): Elsewhere | undefined {
    const hosting = this.hosting(assignment);
    for (const address of addressesOf(lease)) {
      const host = hosting.get(address);
      if (host !== undefined && host.agentId !== assignment?.agent.id) return { address, to: host.agentId };
    }
    return undefined;
  }
}
