/**
 * Which of a sender's counters were seen: the sliding window of RFC 4303 §3.4.3, kept as RFC 6479 does it, as a ring of
 * words of which one more is there than the window needs, so that moving it clears whole words and shifts nothing.
 */
import { REPLAY_WINDOW_COUNTERS } from "../../model/limits.ts";

const WORD_BITS = 32;
const WORDS = REPLAY_WINDOW_COUNTERS / WORD_BITS + 1;

export class ReplayWindow {
  readonly #words = new Uint32Array(WORDS);
  #highest: number;

  /** @param highest this counter, and all below it, count as seen. Counters are integers from 1 to 2⁴⁸ − 1. */
  constructor(highest = 0) {
    this.#highest = highest;
    if (highest > 0) this.#words.fill(0xffff_ffff);
    // Bits above the highest, in its own word, are of counters to come.
    for (let next = highest + 1; next % WORD_BITS !== 0; next++) this.#words[wordOf(next)] = this.#wordWithout(next);
  }

  /** The highest counter seen, 0 when there was none. */
  get highest(): number {
    return this.#highest;
  }

  /** Whether a datagram with this counter may still be accepted. Changes nothing: anyone can write any counter. */
  judge(counter: number): "new" | "replay" | "too-old" {
    if (counter > this.#highest) return "new";
    if (counter + REPLAY_WINDOW_COUNTERS <= this.#highest) return "too-old";
    return (this.#word(counter) & bitOf(counter)) === 0 ? "new" : "replay";
  }

  /** Notes a counter that `judge` calls new, once its datagram is known to be genuine. */
  note(counter: number): void {
    if (counter > this.#highest) {
      const words = Math.floor(counter / WORD_BITS) - Math.floor(this.#highest / WORD_BITS);
      for (let i = 0; i < Math.min(words, WORDS); i++) this.#words[wordOf(counter - i * WORD_BITS)] = 0;
      this.#highest = counter;
    }
    this.#words[wordOf(counter)] = this.#word(counter) | bitOf(counter);
  }

  #word(counter: number): number {
    return this.#words[wordOf(counter)] ?? 0;
  }

  #wordWithout(counter: number): number {
    return this.#word(counter) & ~bitOf(counter);
  }
}

/** Counters have 48 bits, and JavaScript's shifts 32. */
function wordOf(counter: number): number {
  return Math.floor(counter / WORD_BITS) % WORDS;
}

function bitOf(counter: number): number {
  return 1 << (counter % WORD_BITS);
}
