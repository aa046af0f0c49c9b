/**
 * How well this member itself does. Who answers nobody, or wakes late, must doubt itself first: all its probes take
 * longer then, and it accuses less (Lifeguard, arXiv 1707.00788).
 */
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
