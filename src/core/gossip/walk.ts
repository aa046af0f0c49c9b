/**
 * A walk through so many numbers that meets each once before it meets one again, by a stride without a common divisor. Each
 * walk begins and steps by chance: members that walked alike would all look at the same few.
 */
const TRIES = 20;

export class Walk {
  readonly #fraction: () => number;
  /** 0: to be drawn. */
  #stride = 0;
  #at = 0;

  /** @param fraction uniform in [0, 1) */
  constructor(fraction: () => number) {
    this.#fraction = fraction;
  }

  /** The next number below `size`, which may change from step to step. */
  next(size: number): number {
    if (this.#stride === 0) this.#at = Math.floor(this.#fraction() * size);
    if (this.#stride === 0 || this.#at === 0 || !isCoprime(this.#stride, size)) this.#stride = this.#drawn(size);
    this.#at = (this.#at + this.#stride) % size;
    return this.#at;
  }

  #drawn(size: number): number {
    for (let n = 0; n < TRIES; n += 1) {
      const stride = 1 + Math.floor(this.#fraction() * size);
      if (isCoprime(stride, size)) return stride;
    }
    return 1;
  }
}

/** Euclid's algorithm. */
function isCoprime(a: number, b: number): boolean {
  return b === 0 ? a === 1 : isCoprime(b, a % b);
}
