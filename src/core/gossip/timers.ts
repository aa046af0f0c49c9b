/**
 * Calls that are due at some time, in the order of their times; those of one time in the order in which they were set.
 * A binary heap; a cancelled call stays in it until its time.
 */

export interface Timer {
  readonly dueAt: number;
  isCancelled: boolean;
}

interface Entry extends Timer {
  readonly order: number;
  /** @param late how long after its time it comes, ms */
  readonly call: (late: number) => void;
}

export class Timers {
  readonly #heap: Entry[] = [];
  #order = 0;

  /** Calls at `dueAt` or as soon after as `run` is called. */
  at(dueAt: number, call: (late: number) => void): Timer {
    const entry: Entry = { dueAt, order: this.#order, call, isCancelled: false };
    this.#order += 1;
    this.#heap.push(entry);
    this.#rise(this.#heap.length - 1);
    return entry;
  }

  /** When the next call is due. */
  get next(): number | undefined {
    this.#dropCancelled();
    return this.#heap[0]?.dueAt;
  }

  /** Calls what is due at `now`, what that sets for `now` included. */
  run(now: number): void {
    for (;;) {
      this.#dropCancelled();
      const first = this.#heap[0];
      if (first === undefined || first.dueAt > now) return;
      this.#pop();
      first.call(now - first.dueAt);
    }
  }

  clear(): void {
    this.#heap.length = 0;
  }

  #dropCancelled(): void {
    while (this.#heap[0]?.isCancelled) this.#pop();
  }

  #rise(start: number): void {
    let at = start;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!this.#isBefore(at, parent)) return;
      this.#swap(at, parent);
      at = parent;
    }
  }

  #pop(): void {
    const last = this.#heap.pop() as Entry;
    if (this.#heap.length === 0) return;
    this.#heap[0] = last;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const right = left + 1;
      let least = at;
      if (left < this.#heap.length && this.#isBefore(left, least)) least = left;
      if (right < this.#heap.length && this.#isBefore(right, least)) least = right;
      if (least === at) return;
      this.#swap(at, least);
      at = least;
    }
  }

  #isBefore(a: number, b: number): boolean {
    const [first, second] = [this.#heap[a] as Entry, this.#heap[b] as Entry];
    return first.dueAt < second.dueAt || (first.dueAt === second.dueAt && first.order < second.order);
  }

  #swap(a: number, b: number): void {
    const [first, second] = [this.#heap[a] as Entry, this.#heap[b] as Entry];
    this.#heap[a] = second;
    this.#heap[b] = first;
  }
}
