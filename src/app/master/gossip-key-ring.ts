/**
 * The master's gossip keys and their change: drives the rotation's machine, keeps the ring durable, and asks agents to
 * come for the keys. All decisions are the machine's (src/core/trust/key-rotation.ts).
 */
import { KeyRotation, type KeyRotationInput } from "../../core/trust/key-rotation.ts";
import { newSecret } from "../../io/crypto/keys.ts";
import type { Log } from "../../io/log.ts";
import type { Clock } from "../../io/ports.ts";
import { messageOf } from "../../model/fault.ts";
import { KEY_PHASE_MIN_MS } from "../../model/limits.ts";
import { toText } from "../../model/trust/bytes.ts";
import { GOSSIP_KEY_BYTES, type KeyPhase, type KeyRing } from "../../model/trust/key-ring.ts";

import type { ControlRecords } from "./control-records.ts";

export interface GossipKeyRingDeps {
  readonly records: Pick<ControlRecords, "saveKeyRing" | "change" | "whenDurable">;
  readonly clock: Clock;
  readonly log: Log;
}

/** The keys as they may be shown. */
export interface KeyRingView {
  readonly phase: KeyPhase;
  readonly keys: readonly { readonly id: number; readonly use: "sent with" | "next" | "last" }[];
}

export class GossipKeyRing {
  readonly #deps: GossipKeyRingDeps;
  #rotation: KeyRotation;
  #cancel: (() => void) | undefined;
  /** Who is connected, and how they are asked to come; the cluster sets both. */
  connected: () => readonly string[] = () => [];
  announce: () => void = () => {};
  /** Told after the ring has changed, for the master's own part in the gossip. */
  onChange: () => void = () => {};

  constructor(ring: KeyRing, deps: GossipKeyRingDeps) {
    this.#deps = deps;
    this.#rotation = new KeyRotation(ring, deps.clock.now());
    this.#setTimer();
  }

  get ring(): KeyRing {
    return this.#rotation.ring;
  }

  view(): KeyRingView {
    const { phase, current, other } = this.ring;
    const next = phase === "spreading" ? "next" : "last";
    const keys = [{ id: current.id, use: "sent with" as const }];
    return { phase, keys: other === undefined ? keys : [...keys, { id: other.id, use: next }] };
  }

  /** Begins a change of the key. @throws Fault in-use, storage */
  rotate(who: string): KeyRingView {
    this.#step({ type: "rotate", key: toText(newSecret(GOSSIP_KEY_BYTES)), connected: this.connected() }, who);
    return this.view();
  }

  /** An agent was given the keys, came, or went. */
  told(type: "fetched" | "connected" | "disconnected", agentId: string): void {
    this.#step({ type, agentId });
  }

  close(): void {
    this.#cancel?.();
  }

  #step(input: KeyRotationInput, who = "master"): void {
    const { records, clock, log } = this.#deps;
    const before = this.ring;
    for (const effect of this.#rotation.step(input, clock.now())) {
      if (effect.type === "announce") {
        const { phase, current } = this.ring;
        records.whenDurable(() => {
          log.info({ phase, sendingKey: current.id }, "gossip keys changed");
          this.announce();
          this.onChange();
        });
        continue;
      }
      try {
        records.change({ who, what: ringText(effect.ring) }, () => records.saveKeyRing(effect.ring));
      } catch (thrown) {
        this.#rotation = new KeyRotation(before, clock.now());
        throw thrown;
      }
    }
    this.#setTimer();
  }

  #setTimer(): void {
    this.#cancel?.();
    const { clock, log } = this.#deps;
    const deadline = this.#rotation.nextDeadline();
    if (deadline === undefined) return;
    this.#cancel = clock.after(Math.max(0, deadline - clock.now()), () => {
      try {
        this.#step({ type: "tick", connected: this.connected() });
      } catch (thrown) {
        // The disk refused; the phase that is in force goes on.
        log.error({ reason: messageOf(thrown), againInMs: KEY_PHASE_MIN_MS }, "gossip keys not changed");
        this.#setTimer();
      }
    });
  }
}

/** The phase that begins, in the words of the event log. */
function ringText({ phase, current, other }: KeyRing): string {
  if (phase === "spreading") return `change of the gossip's key begins: key ${other?.id} is handed out`;
  if (phase === "retiring") return `gossip is sent with key ${current.id}; key ${other?.id} is still taken`;
  return `change of the gossip's key is over: key ${current.id} alone is taken`;
}
