/**
 * The items of one prefix that a master gives to agents: VTEP addresses (vtep.ts) or agent subnets (carve.ts), the lowest
 * free one first. Items are numbers inside and text outside; this file turns one into the other.
 *
 * A pool knows what it is a pool of, because an operator must be told which one is short.
 */
import { addressOf, type Cidr, familyOf, type IpInterface, ipToBigInt, lengthOf } from "../../model/ip.ts";
import { IntervalSet } from "./interval-set.ts";

/** Named as the original's counters `overlay/master/…_allocation_failures` (spec: overlay §2.8). */
export type PoolKind = "ip" | "ip6" | "subnet" | "subnet6";

/** Which pool it is, and how much of it is given out. */
export interface PoolUsage {
  readonly kind: PoolKind;
  /** The network; absent for VTEP addresses. */
  readonly network?: string;
  readonly pool: Cidr;
  readonly used: bigint;
  /** Given back and not to be given yet; absent: none. */
  readonly resting?: bigint;
  readonly size: bigint;
}

export type PoolItem = Cidr | IpInterface;

export interface PoolForm<Item extends PoolItem> {
  readonly kind: PoolKind;
  readonly network?: string;
  readonly space: Cidr;
  /** Of each item. */
  readonly length: number;
  /** From one item to the next, as a power of two. */
  readonly stepBits: number;
  /** Indexes, both ends included. */
  readonly first: bigint;
  readonly last: bigint;
  itemAt(index: bigint): Item;
}

export class Pool<Item extends PoolItem> {
  readonly #form: PoolForm<Item>;
  readonly #base: bigint;
  readonly #free: IntervalSet;
  /** Neither free nor given out. */
  readonly #resting = new Set<bigint>();

  constructor(form: PoolForm<Item>) {
    this.#form = form;
    this.#base = ipToBigInt(addressOf(form.space));
    this.#free = new IntervalSet(form.first, form.last);
  }

  /** The lowest free item; `undefined` when all are given out. */
  take(): Item | undefined {
    const index = this.#free.takeLowest();
    return index === undefined ? undefined : this.#form.itemAt(index);
  }

  get hasFree(): boolean {
    return this.#free.count > 0n;
  }

  /** Whether `item` is one of this pool. */
  has(item: PoolItem): boolean {
    return this.#indexOf(item) !== undefined;
  }

  /** @returns false when `item` is none of this pool, or is given out already */
  reserve(item: PoolItem): boolean {
    const index = this.#indexOf(item);
    return index !== undefined && this.#free.remove(index);
  }

  /** @returns false when `item` is none of this pool, or is free already */
  release(item: PoolItem): boolean {
    const index = this.#indexOf(item);
    return index !== undefined && !this.#resting.has(index) && this.#free.add(index);
  }

  /** What is given out comes back, and is not free before it is woken. @returns false when it is not given out */
  rest(item: PoolItem): boolean {
    const index = this.#indexOf(item);
    if (index === undefined || this.#resting.has(index) || this.#free.has(index)) return false;
    this.#resting.add(index);
    return true;
  }

  /** What rests is given out again, to whom it was of, or free. @returns false when it does not rest */
  wake(item: PoolItem, to: "holder" | "free"): boolean {
    const index = this.#indexOf(item);
    if (index === undefined || !this.#resting.delete(index)) return false;
    if (to === "free") this.#free.add(index);
    return true;
  }

  usage(): PoolUsage {
    const { kind, network, space, first, last } = this.#form;
    const size = last - first + 1n;
    const resting = BigInt(this.#resting.size);
    return {
      kind,
      ...(network !== undefined && { network }),
      pool: space,
      used: size - this.#free.count - resting,
      ...(resting > 0n && { resting }),
      size,
    };
  }

  /** A restart asks it for every item of the cluster, so the prefix's own address is converted once. */
  #indexOf(item: PoolItem): bigint | undefined {
    const { space, length, stepBits, first, last } = this.#form;
    if (lengthOf(item) !== length || familyOf(item) !== familyOf(space)) return undefined;
    const index = (ipToBigInt(addressOf(item)) - this.#base) >> BigInt(stepBits);
    return index >= first && index <= last ? index : undefined;
  }
}

/** `network dcos has no free IPv4 agent subnet in 9.0.0.0/8 (65536 of 65536 given out); …`. */
export function shortageMessage({ kind, network, pool, used, resting, size }: PoolUsage): string {
  const family = kind.endsWith("6") ? "IPv6" : "IPv4";
  const what =
    network === undefined
      ? `there is no free VTEP ${family} address`
      : `network ${network} has no free ${family} agent subnet`;
  const rest = resting === undefined ? "" : `, ${resting} at rest`;
  return `${what} in ${pool} (${used} of ${size} given out${rest}); delete agents that are gone, or give it a larger space`;
}
