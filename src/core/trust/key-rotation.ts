/**
 * How the key of the gossip is changed while everybody goes on talking: first all agents learn the next key, then all
 * send with it, then the last one is dropped. Each phase ends when every connected agent has come for the keys since it
 * began, but not before KEY_PHASE_MIN_MS, in which who is just reconnecting comes back; and after KEY_PHASE_MAX_MS in
 * any case, because one that stays away must not hold up the others, and gets the keys when it registers.
 *
 * The ring is durable before it is told. A master that starts in the middle of a change begins its phase anew.
 */
import { assert, Fault } from "../../model/fault.ts";
import { KEY_PHASE_MAX_MS, KEY_PHASE_MIN_MS } from "../../model/limits.ts";
import type { KeyRing } from "../../model/trust/key-ring.ts";

export type KeyRotationInput =
  /** Begin a change, with this key (base64url of 32 random bytes) as the next one. */
  | { readonly type: "rotate"; readonly key: string; readonly connected: readonly string[] }
  /** The agent was given the keys as they are now. */
  | { readonly type: "fetched"; readonly agentId: string }
  | { readonly type: "connected"; readonly agentId: string }
  | { readonly type: "disconnected"; readonly agentId: string }
  | { readonly type: "tick"; readonly connected: readonly string[] };

export type KeyRotationEffect =
  /** Make this durable; then, and not before, it is in force. */
  | { readonly type: "save"; readonly ring: KeyRing }
  /** Ask all connected agents to come for the keys. */
  | { readonly type: "announce" };

export class KeyRotation {
  #ring: KeyRing;
  #began: number;
  readonly #waiting = new Set<string>();
  readonly #fetched = new Set<string>();

  constructor(ring: KeyRing, nowMs: number) {
    this.#ring = ring;
    this.#began = nowMs;
  }

  get ring(): KeyRing {
    return this.#ring;
  }

  /** @throws Fault in-use when a change is under way and another one is to begin */
  step(input: KeyRotationInput, nowMs: number): KeyRotationEffect[] {
    switch (input.type) {
      case "rotate": {
        const { phase, current } = this.#ring;
        if (phase !== "steady")
          throw new Fault(
            "in-use",
            "the gossip key is being changed; look at 'weft gossip keys', and wait for its end",
          );
        return this.#begin(
          { phase: "spreading", current, other: { id: current.id + 1, key: input.key } },
          input.connected,
          nowMs,
        );
      }
      case "fetched":
        if (this.#ring.phase !== "steady") this.#fetched.add(input.agentId);
        this.#waiting.delete(input.agentId);
        return [];
      case "connected":
        if (this.#ring.phase !== "steady" && !this.#fetched.has(input.agentId)) this.#waiting.add(input.agentId);
        return [];
      case "disconnected":
        // It comes for the keys again when it is back.
        this.#fetched.delete(input.agentId);
        this.#waiting.delete(input.agentId);
        return [];
      case "tick": {
        const deadline = this.nextDeadline();
        return deadline !== undefined && deadline <= nowMs ? this.#next(input.connected, nowMs) : [];
      }
    }
  }

  /** When the next `tick` is due, on the clock of `nowMs`; other inputs may bring it nearer. */
  nextDeadline(): number | undefined {
    if (this.#ring.phase === "steady") return undefined;
    return this.#began + (this.#waiting.size === 0 ? KEY_PHASE_MIN_MS : KEY_PHASE_MAX_MS);
  }

  #next(connected: readonly string[], nowMs: number): KeyRotationEffect[] {
    const { phase, current, other } = this.#ring;
    assert(other !== undefined, "a ring in change has two keys");
    const next: KeyRing =
      phase === "spreading" ? { phase: "retiring", current: other, other: current } : { phase: "steady", current };
    return this.#begin(next, connected, nowMs);
  }

  #begin(ring: KeyRing, connected: readonly string[], nowMs: number): KeyRotationEffect[] {
    this.#ring = ring;
    this.#began = nowMs;
    this.#fetched.clear();
    this.#waiting.clear();
    // In the steady state nobody is waited for.
    if (ring.phase !== "steady") for (const agentId of connected) this.#waiting.add(agentId);
    return [{ type: "save", ring }, { type: "announce" }];
  }
}
