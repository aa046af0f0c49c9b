/**
 * Pings on behalf of others. The asker hears that the target answered and whether it hears the asker, or gets this
 * member's testimony that it had no answer either: no answer at all means that the asker itself is deaf.
 */
import { GOSSIP_RELAYS_MAX } from "../../model/limits.ts";
import type { Context } from "./context.ts";
import { isBehind } from "./local-health.ts";
import { type Belief, deathIn, type MemberId } from "./messages.ts";

interface Relay {
  readonly asker: MemberId;
  readonly askerSeq: number;
  readonly target: MemberId;
  readonly belief: Belief;
}

export class Relays {
  readonly #ctx: Context;
  readonly #relays = new Map<number, Relay>();

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  start(seq: number, relay: Relay): void {
    if (this.#relays.size >= GOSSIP_RELAYS_MAX) {
      this.#ctx.refuse("over-budget");
      return;
    }
    const { timing, table } = this.#ctx;
    // Of one that it cannot ask it has nothing to say.
    if (table.member(relay.target) === undefined) return;
    this.#relays.set(seq, relay);
    this.#ping(seq, relay);
    this.#ctx.after(timing.relaySecondPingMs, () => this.#relays.get(seq) === relay && this.#ping(seq, relay));
    this.#ctx.after(timing.testimonyMs, (late) => this.#giveUp(seq, relay, late));
  }

  /** @returns whether the answer was to a ping of here */
  onAck(from: MemberId, seq: number, hasHeard: boolean): boolean {
    const relay = this.#relays.get(seq);
    if (relay === undefined || relay.target !== from) return false;
    this.#relays.delete(seq);
    const { asker, askerSeq, target } = relay;
    this.#ctx.tell(asker, { type: "relayed-ack", seq: askerSeq, target, hasHeard });
    return true;
  }

  clear(): void {
    this.#relays.clear();
  }

  /** Where this member knows the target to be: nobody can have others write to an address of its choice. */
  #ping(seq: number, { target, belief, asker }: Relay): void {
    this.#ctx.tell(target, { type: "ping", seq, isLink: false, dead: deathIn(belief), about: asker });
  }

  #giveUp(seq: number, relay: Relay, late: number): void {
    if (this.#relays.get(seq) !== relay) return;
    if (isBehind(this.#ctx, late)) {
      this.#ctx.after(this.#ctx.timing.lagMs, (again) => this.#giveUp(seq, relay, again));
      return;
    }
    this.#relays.delete(seq);
    const testimony = this.#ctx.judge.testify(relay.target, relay.belief);
    this.#ctx.tell(relay.asker, { type: "testimony", seq: relay.askerSeq, testimony });
  }
}
