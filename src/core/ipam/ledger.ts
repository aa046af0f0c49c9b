/**
 * Which addresses are held, by whom, and which were released and still rest. Kept up to date lease by lease, so that
 * asking costs the same with one container and with thousands.
 *
 * Times are those of a clock that never goes back, in milliseconds; the ledger reads none itself.
 */
import { addressesOf, type Lease } from "../../model/attachment.ts";
import { type Cidr, contains, type Ip } from "../../model/ip.ts";
import { ADDRESS_REST_MS } from "../../model/limits.ts";

export class Ledger {
  readonly #holders = new Map<Ip, Lease>();
  /** Until when each rests; the one that was released first comes first. */
  readonly #resting = new Map<Ip, number>();
  readonly #lastGiven = new Map<Cidr, Ip>();

  /** @param resting released before this ledger was made, oldest first: each rests anew */
  constructor(resting: Iterable<Ip>, leases: Iterable<Lease>, now: number) {
    for (const address of resting) this.#resting.set(address, now + ADDRESS_REST_MS);
    for (const lease of leases) this.hold(lease);
  }

  /** The lease holds its addresses from now on; a lease of the same interface that held them before is replaced. */
  hold(lease: Lease): void {
    for (const address of addressesOf(lease)) {
      this.#holders.set(address, lease);
      this.#resting.delete(address);
    }
  }

  /** The lease's addresses begin to rest; those of another IPAM plugin are that plugin's affair. */
  release(lease: Lease, now: number): void {
    for (const address of addressesOf(lease)) {
      this.#holders.delete(address);
      if (lease.ipam === undefined) this.#resting.set(address, now + ADDRESS_REST_MS);
    }
  }

  holder(address: Ip): Lease | undefined {
    return this.#holders.get(address);
  }

  held(): Iterable<Ip> {
    return this.#holders.keys();
  }

  isResting(address: Ip, now: number): boolean {
    return (this.#resting.get(address) ?? Number.NEGATIVE_INFINITY) > now;
  }

  /** Addresses that rest, the one that was released first first. */
  resting(now: number): readonly Ip[] {
    return [...this.#resting].filter(([, until]) => until > now).map(([address]) => address);
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

  /** The address that the half gave last, as far as it is known. */
  lastGiven(half: Cidr): Ip | undefined {
    const last = this.#lastGiven.get(half);
    if (last !== undefined) return last;
    return [...this.#holders.keys()].findLast((address) => contains(half, address));
  }

  gave(half: Cidr, address: Ip): void {
    this.#lastGiven.set(half, address);
  }
}
