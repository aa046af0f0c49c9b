/**
 * Which addresses are held, by whom, and which were released and still rest. Counted per half and kept up to date lease
 * by lease, so that asking costs the same with one container and with thousands, and in a half of 2^47 addresses.
 *
 * Times are those of a clock that never goes back, in milliseconds; the ledger reads none itself.
 */
import { addressesOf, type Lease } from "../../model/attachment.ts";
import { isLeasable } from "../../model/half.ts";
import { type Cidr, type Family, familyOf, type Ip, lengthOf, networkOf, withLength } from "../../model/ip.ts";
import { ADDRESS_REST_MS } from "../../model/limits.ts";

/** What of one half is taken. Addresses that no container can get of it are not counted. */
export interface Taken {
  readonly held: number;
  /** The one that was released first first. */
  readonly resting: ReadonlySet<Ip>;
  /** The address that the half gave last, as far as it is known. */
  readonly last: Ip | undefined;
}

interface Tally {
  held: number;
  readonly resting: Set<Ip>;
  last: Ip | undefined;
}

export class Ledger {
  readonly #holders = new Map<Ip, Lease>();
  /** Until when each rests; the one that was released first comes first. */
  readonly #resting = new Map<Ip, number>();
  readonly #tallies = new Map<Cidr, Tally>();
  /** Lengths of the halves that were asked for: the half of an address follows from it and a length. */
  readonly #lengths: Readonly<Record<Family, Set<number>>> = { 4: new Set(), 6: new Set() };

  /** @param resting released before this ledger was made, oldest first: each rests anew */
  constructor(resting: Iterable<Ip>, leases: Iterable<Lease>, now: number) {
    for (const address of resting) this.#resting.set(address, now + ADDRESS_REST_MS);
    for (const lease of leases) this.hold(lease);
  }

  /** The lease holds its addresses from now on. */
  hold(lease: Lease): void {
    for (const address of addressesOf(lease)) {
      if (!this.#holders.has(address))
        for (const tally of this.#talliesOf(address)) {
          tally.held++;
          tally.resting.delete(address);
        }
      this.#holders.set(address, lease);
      this.#resting.delete(address);
    }
  }

  /** What the lease holds begins to rest; addresses of another IPAM plugin are that plugin's affair. */
  release(lease: Lease, now: number): void {
    for (const address of addressesOf(lease)) {
      const holder = this.#holders.get(address);
      if (holder?.containerId !== lease.containerId || holder.ifname !== lease.ifname) continue;
      this.#holders.delete(address);
      const rests = lease.ipam === undefined;
      if (rests) this.#resting.set(address, now + ADDRESS_REST_MS);
      for (const tally of this.#talliesOf(address)) {
        tally.held--;
        if (rests) tally.resting.add(address);
      }
    }
  }

  holder(address: Ip): Lease | undefined {
    return this.#holders.get(address);
  }

  /** When the address has rested; -∞ for one that does not rest. */
  restsUntil(address: Ip): number {
    return this.#resting.get(address) ?? Number.NEGATIVE_INFINITY;
  }

  taken(half: Cidr, now: number): Taken {
    this.#learn(half);
    const tally = this.#tally(half);
    for (const address of tally.resting) {
      if (this.restsUntil(address) > now) break;
      tally.resting.delete(address);
    }
    return tally;
  }

  /** Forgets those that have rested. @returns them */
  wake(now: number): readonly Ip[] {
    const awake: Ip[] = [];
    for (const [address, until] of this.#resting) {
      if (until > now) break;
      awake.push(address);
    }
    for (const address of awake) this.#resting.delete(address);
    return awake;
  }

  /** They rest no more, and nobody gets them: this host does not have them any more. */
  forget(addresses: readonly Ip[]): void {
    for (const address of addresses) {
      if (!this.#resting.delete(address)) continue;
      for (const tally of this.#talliesOf(address)) tally.resting.delete(address);
    }
  }

  /** What rests, the one that was released first first. */
  resting(): readonly Ip[] {
    return [...this.#resting.keys()];
  }

  gave(half: Cidr, address: Ip): void {
    this.#learn(half);
    this.#tally(half).last = address;
  }

  /** Counts what is there already, the first time that a half of this length is asked for. */
  #learn(half: Cidr): void {
    const family = familyOf(half);
    const lengths = this.#lengths[family];
    const length = lengthOf(half);
    if (lengths.has(length)) return;
    lengths.add(length);
    const tallyOf = (address: Ip) => (familyOf(address) === family ? this.#tallyAt(address, length) : undefined);
    for (const address of this.#holders.keys()) {
      const tally = tallyOf(address);
      if (tally === undefined) continue;
      tally.held++;
      tally.last = address;
    }
    for (const address of this.#resting.keys()) tallyOf(address)?.resting.add(address);
  }

  #talliesOf(address: Ip): readonly Tally[] {
    return [...this.#lengths[familyOf(address)]].flatMap((length) => this.#tallyAt(address, length) ?? []);
  }

  /** `undefined` for an address that no container can get of such a half. */
  #tallyAt(address: Ip, length: number): Tally | undefined {
    const half = networkOf(withLength(address, length));
    return isLeasable(half, address) ? this.#tally(half) : undefined;
  }

  #tally(half: Cidr): Tally {
    const known = this.#tallies.get(half);
    if (known !== undefined) return known;
    const tally: Tally = { held: 0, resting: new Set(), last: undefined };
    this.#tallies.set(half, tally);
    return tally;
  }
}
