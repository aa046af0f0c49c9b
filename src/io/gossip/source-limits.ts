/**
 * How many datagrams are worth opening, by where they claim to come from: buckets of tokens, docs/decisions/0024.
 *
 * A source address can be forged, so an address that floods must not be shut out as such. What a datagram is charged to
 * depends on its session, which only a sender of genuine datagrams, and who listens to it, can name: known ones are
 * charged to their sender, all others to budgets that known sessions never draw from. Addresses enter the table by a right
 * tag only.
 */
import type { Ip } from "../../model/ip.ts";
import {
  NEW_SESSION_BURST,
  NEW_SESSION_RATE,
  NEW_SESSIONS_BURST,
  NEW_SESSIONS_RATE,
  SENDER_BURST,
  SENDER_RATE,
  SENDERS_MAX,
  STRANGERS_BURST,
  STRANGERS_RATE,
} from "../../model/limits.ts";

/** `sender-rate`: under known sessions; `stranger-rate`: under unknown ones. */
export type RateRefusal = "sender-rate" | "stranger-rate";

interface Sender {
  readonly known: TokenBucket;
  readonly newSessions: TokenBucket;
}

export class SourceLimits {
  readonly #max: number;
  /** Those heard longest ago first. */
  readonly #senders = new Map<Ip, Sender>();
  readonly #newSessions = new TokenBucket(NEW_SESSIONS_RATE, NEW_SESSIONS_BURST);
  readonly #strangers = new TokenBucket(STRANGERS_RATE, STRANGERS_BURST);

  constructor(max = SENDERS_MAX) {
    this.#max = max;
  }

  get senders(): number {
    return this.#senders.size;
  }

  /**
   * Charges one datagram.
   * @param isKnown whether its session is known, and was heard from this very address
   * @param now milliseconds of a clock that never goes back
   * @returns why it must not be opened
   */
  refuses(from: Ip, isKnown: boolean, now: number): RateRefusal | undefined {
    const sender = this.#senders.get(from);
    if (isKnown && sender !== undefined) return sender.known.take(now) ? undefined : "sender-rate";
    // An agent that starts anew has a new session at an old address. Someone who forges that address takes this away
    // from it, and it is left with what every stranger has.
    if (sender?.newSessions.take(now) && this.#newSessions.take(now)) return undefined;
    return this.#strangers.take(now) ? undefined : "stranger-rate";
  }

  /** Notes that a datagram from this address had a right tag. */
  proved(from: Ip): void {
    const sender = this.#senders.get(from) ?? {
      known: new TokenBucket(SENDER_RATE, SENDER_BURST),
      newSessions: new TokenBucket(NEW_SESSION_RATE, NEW_SESSION_BURST),
    };
    this.#senders.delete(from);
    this.#senders.set(from, sender);
    if (this.#senders.size <= this.#max) return;
    for (const oldest of this.#senders.keys()) {
      this.#senders.delete(oldest);
      break;
    }
  }
}

/** Full at first. */
class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #at = 0;

  constructor(perSecond: number, burst: number) {
    this.#perMs = perSecond / 1_000;
    this.#burst = burst;
    this.#tokens = burst;
  }

  take(now: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) * this.#perMs);
    this.#at = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
