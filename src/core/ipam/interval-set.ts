/**
 * The free indexes of a pool as sorted intervals that neither touch nor overlap. A pool of 2⁶⁴ addresses is one
 * interval, and two sets with the same indexes are equal by value.
 *
 * Every operation finds its place by binary search. Intervals are kept from the highest to the lowest, so that taking
 * the lowest index, which is what allocation does, works at the end of the array.
 */
import { assert } from "../../model/fault.ts";

/** Both ends included. */
export interface Interval {
  readonly first: bigint;
  readonly last: bigint;
}

export class IntervalSet {
  /** Highest first. */
  readonly #intervals: Interval[];
  #count: bigint;

  /** All indexes from `first` to `last`; none when `first` is greater. */
  constructor(first: bigint, last: bigint) {
    this.#intervals = first <= last ? [{ first, last }] : [];
    this.#count = first <= last ? last - first + 1n : 0n;
  }

  get count(): bigint {
    return this.#count;
  }

  /** Lowest first. */
  intervals(): readonly Interval[] {
    return this.#intervals.toReversed();
  }

  has(index: bigint): boolean {
    return (this.#intervals[this.#place(index)]?.last ?? -1n) >= index;
  }

  /** Removes the lowest index and returns it; `undefined` when the set is empty. */
  takeLowest(): bigint | undefined {
    const lowest = this.#intervals.at(-1)?.first;
    if (lowest !== undefined) this.remove(lowest);
    return lowest;
  }

  /** @returns false when the index is not in the set */
  remove(index: bigint): boolean {
    const at = this.#place(index);
    const found = this.#intervals[at];
    if (found === undefined || found.last < index) return false;
    const rest: Interval[] = [];
    if (index < found.last) rest.push({ first: index + 1n, last: found.last });
    if (found.first < index) rest.push({ first: found.first, last: index - 1n });
    this.#intervals.splice(at, 1, ...rest);
    this.#count -= 1n;
    return true;
  }

  /** @returns false when the index is in the set already */
  add(index: bigint): boolean {
    const at = this.#place(index);
    const below = this.#intervals[at];
    if (below !== undefined && below.last >= index) return false;
    const above = this.#intervals[at - 1];
    const joinsBelow = below?.last === index - 1n;
    const joinsAbove = above?.first === index + 1n;
    const first = joinsBelow ? below.first : index;
    const last = joinsAbove ? above.last : index;
    const from = joinsAbove ? at - 1 : at;
    this.#intervals.splice(from, Number(joinsAbove) + Number(joinsBelow), { first, last });
    this.#count += 1n;
    return true;
  }

  /** Place of the interval that begins at `index` or nearest below it; the array's length when there is none. */
  #place(index: bigint): number {
    let low = 0;
    let high = this.#intervals.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const interval = this.#intervals[middle];
      assert(interval !== undefined, "the search stays inside the array");
      if (interval.first > index) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
