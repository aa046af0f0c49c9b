/**
 * A clock for tests: its time moves by `advance` only. Timers run in the order of their times (those of one time in the
 * order in which they were set), each at its own time, and those that they set are run too when they fall due.
 */
import { dateOf } from "./clock.ts";
import type { Clock } from "./ports.ts";

interface Timer {
  readonly at: number;
  readonly call: () => void;
}

export class SimClock implements Clock {
  #now = 0;
  /** In the order in which they run. */
  readonly #timers: Timer[] = [];

  now(): number {
    return this.#now;
  }

  date(): string {
    return dateOf(this.#now);
  }

  after(ms: number, call: () => void): () => void {
    const timer: Timer = { at: this.#now + Math.max(0, ms), call };
    const place = this.#timers.findIndex(({ at }) => at > timer.at);
    this.#timers.splice(place === -1 ? this.#timers.length : place, 0, timer);
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index !== -1) this.#timers.splice(index, 1);
    };
  }

  /** Lets `ms` pass. A timer may be due at once: `advance(0)` runs it. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (let next = this.#timers[0]; next !== undefined && next.at <= until; next = this.#timers[0]) {
      this.#timers.shift();
      this.#now = next.at;
      next.call();
    }
    this.#now = until;
  }

  /** Timers that are set: 0 when nothing was left behind. */
  get pending(): number {
    return this.#timers.length;
  }
}
