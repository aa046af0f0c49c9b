/**
 * Virtual time: what is to happen, in the order of its times, and of one time in the order in which it was set. The only
 * clock of a simulation; a run with the same seed is the same run.
 */

interface Happening {
  readonly at: number;
  readonly order: number;
  readonly call: () => void;
}

export class Engine {
  readonly #heap: Happening[] = [];
  #order = 0;
  #now = 0;
  /** Things that happened. */
  happened = 0;

  /** Milliseconds since the run began. */
  get now(): number {
    return this.#now;
  }

  at(time: number, call: () => void): void {
    const heap = this.#heap;
    const item: Happening = { at: Math.max(time, this.#now), order: this.#order, call };
    this.#order += 1;
    let at = heap.length;
    heap.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = heap[parent] as Happening;
      if (above.at < item.at || (above.at === item.at && above.order < item.order)) break;
      heap[at] = above;
      at = parent;
    }
    heap[at] = item;
  }

  after(ms: number, call: () => void): void {
    this.at(this.#now + ms, call);
  }

  /** Lets all happen until the time. */
  runUntil(time: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.at <= time; next = this.#heap[0]) {
      this.#pop();
      this.#now = next.at;
      this.happened += 1;
      next.call();
    }
    this.#now = Math.max(this.#now, time);
  }

  runFor(ms: number): void {
    this.runUntil(this.#now + ms);
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop() as Happening;
    const length = heap.length;
    if (length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= length) break;
      const right = child + 1;
      if (right < length && isBefore(heap[right] as Happening, heap[child] as Happening)) child = right;
      const below = heap[child] as Happening;
      if (!isBefore(below, last)) break;
      heap[at] = below;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Happening, b: Happening): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}
