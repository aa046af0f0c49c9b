/**
 * The master's challenges: whoever proves a call must have asked this master a moment ago, and may answer once.
 *
 * Nothing is kept for a challenge that is given out, so a flood of questions fills nothing: the nonce carries its own end
 * and a mark that only this master can make, over the ephemeral key that goes with it. What is kept, until it ends, is
 * which ones were answered, and only proven calls count as answers. All of it is gone with the process: an old answer
 * is then no answer to anything.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { Fault } from "../../model/fault.ts";
import { CHALLENGE_LIFE_MS, CHALLENGES_ANSWERED_MAX, NONCE_BYTES } from "../../model/limits.ts";
import { concat, toText } from "../../model/trust/bytes.ts";

const END_BYTES = 8;
const CHANCE_BYTES = 16;
const MARK_BYTES = NONCE_BYTES - END_BYTES - CHANCE_BYTES;

export class Challenges {
  readonly #key: Uint8Array;
  /** Answered nonces and when they end. */
  readonly #answered = new Map<string, number>();

  /** @param key 32 random bytes, of this process alone */
  constructor(key: Uint8Array) {
    this.#key = key;
  }

  /** @param chance 16 random bytes @param ephemeral the public key that goes with the nonce */
  give(chance: Uint8Array, ephemeral: Uint8Array, nowMs: number): Uint8Array {
    const end = Buffer.alloc(END_BYTES);
    end.writeDoubleBE(nowMs + CHALLENGE_LIFE_MS);
    const head = concat(end, chance);
    return concat(head, this.#mark(head, ephemeral));
  }

  /** Is the nonce one of ours, given with this key? Says nothing of its time. */
  isOurs(nonce: Uint8Array, ephemeral: Uint8Array): boolean {
    if (nonce.length !== NONCE_BYTES) return false;
    const head = nonce.subarray(0, NONCE_BYTES - MARK_BYTES);
    return timingSafeEqual(this.#mark(head, ephemeral), nonce.subarray(NONCE_BYTES - MARK_BYTES));
  }

  /**
   * Takes the answer to a challenge that is ours; the call that it is for must have been proven.
   * @throws Fault unauthorized when it has ended or was answered before; not-ready when too many were
   */
  answer(nonce: Uint8Array, nowMs: number): void {
    this.#forgetEnded(nowMs);
    const end = Buffer.from(nonce).readDoubleBE(0);
    if (!(end > nowMs)) throw stale("has ended");
    const text = toText(nonce);
    if (this.#answered.has(text)) throw stale("was answered before");
    if (this.#answered.size >= CHALLENGES_ANSWERED_MAX)
      throw new Fault("not-ready", "more calls come than this master can tell apart; try again in a moment");
    this.#answered.set(text, end);
  }

  #mark(head: Uint8Array, ephemeral: Uint8Array): Uint8Array {
    return createHmac("sha256", this.#key).update(head).update(ephemeral).digest().subarray(0, MARK_BYTES);
  }

  #forgetEnded(nowMs: number): void {
    // They were answered in about the order in which they were given.
    for (const [text, end] of this.#answered) {
      if (end > nowMs) return;
      this.#answered.delete(text);
    }
  }
}

/** For a challenge that does not count: a call with it may be an old one that somebody recorded. */
export function stale(what: string): Fault {
  return new Fault("unauthorized", `the challenge that this call answers ${what}; ask for another one and call again`);
}
