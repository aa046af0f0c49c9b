/**
 * How well this member itself does. Who answers nobody, or wakes late, must doubt itself first: all its probes take
 * longer then, and it accuses less (Lifeguard, arXiv 1707.00788).
 */
import type { Context } from "./context.ts";

export class LocalHealth {
  readonly #max: number;
  #score = 0;

  /** @param max worst score; 0 switches this off */
  constructor(max: number) {
    this.#max = max;
  }

  /** 0: well. */
  get score(): number {
    return this.#score;
  }

  /** What the times of probes are multiplied with. */
  get stretch(): number {
    return 1 + this.#score;
  }

  better(): void {
    this.#score = Math.max(0, this.#score - 1);
  }

  /** @returns whether it just became as bad as can be */
  worse(by = 1): boolean {
    const before = this.#score;
    this.#score = Math.min(this.#max, this.#score + by);
    return before < this.#max && this.#score === this.#max;
  }
}

/**
 * Whether this member is behind: a timer came late, or what arrived waits to be read. A judgement then is none, for what it
 * waits for may be in the process's own queue; timers alone do not tell, they come between two packets of a long queue.
 */
export function isBehind({ timing, unreadMs, count, health }: Context, late: number): boolean {
  const ms = Math.max(late, unreadMs());
  if (ms <= timing.lagMs) return false;
  count("late-judgements");
  health.worse(ms > 1_000 ? 2 : 1);
  return true;
}
