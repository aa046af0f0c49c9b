/**
 * What the parts of one member share. Each part is a class that holds its own state; they call each other through here,
 * so that each can be read, and tested, alone.
 */
import type { Broadcast } from "./broadcast.ts";
import type { Judge } from "./judge.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { Links } from "./links.ts";
import type { LocalHealth } from "./local-health.ts";
import type { Address, Head, MemberId, Message } from "./messages.ts";
import type { Outbox } from "./outbox.ts";
import type { Prober } from "./prober.ts";
import type { Records } from "./records.ts";
import type { Sign, Verify } from "./signed.ts";
import type { Sync } from "./sync.ts";
import type { Table } from "./table.ts";
import type { Timer, Timers } from "./timers.ts";
import type { Timing } from "./timing.ts";

/** Who this member is. */
export interface Self {
  readonly id: MemberId;
  readonly address: Address;
  readonly credential: Uint8Array;
  readonly sign: Sign;
}

export type GossipEffect =
  | {
      readonly type: "send";
      readonly to: Address;
      readonly messages: readonly Message[];
      /** Of the packet before it is sealed. */
      readonly bytes: number;
      readonly isControl: boolean;
    }
  /** Must be on disk before the next start; until then a crash costs one more jump. */
  | { readonly type: "gen"; readonly gen: number }
  /** What is known of the member changed: status, address, or it was expelled. */
  | { readonly type: "member"; readonly id: MemberId }
  /** The owner's records changed. */
  | { readonly type: "records"; readonly owner: MemberId }
  | { readonly type: "event"; readonly event: GossipEvent };

/** What an operator wants to read in the log. */
export type GossipEvent =
  | { readonly type: "joined"; readonly members: number }
  | { readonly type: "suspect"; readonly id: MemberId }
  | { readonly type: "accused"; readonly id: MemberId; readonly testimonies: number }
  | { readonly type: "refuted"; readonly inc: number }
  | { readonly type: "one-way"; readonly id: MemberId; readonly direction: "to" | "from" | "unknown" }
  | { readonly type: "deaf" }
  | { readonly type: "paused"; readonly ms: number }
  | { readonly type: "healed"; readonly id: MemberId }
  | { readonly type: "gen-jumped"; readonly gen: number };

/** Why something that arrived was not taken, or something queued was dropped. */
export type Refusal =
  | "unknown-sender"
  | "bad-credential"
  | "bad-signature"
  | "bad-delta"
  | "no-testimonies"
  | "unproven-link"
  | "owner-limit"
  | "queue-overflow"
  | "over-budget"
  | "table-full";

export type Count =
  | "pulls"
  | "duplicates"
  | "gaps"
  | "probes"
  | "suspicions"
  | "accusations"
  | "refutations"
  | "vetoes"
  | "late-judgements"
  | "sync-rounds";

export interface Context {
  now: number;
  readonly self: Self;
  readonly timing: Timing;
  readonly table: Table;
  readonly timers: Timers;
  readonly outbox: Outbox;
  readonly health: LocalHealth;
  /** How long the oldest of what arrived has waited to be received, ms. */
  readonly unreadMs: () => number;
  readonly links: Links;
  readonly broadcast: Broadcast;
  readonly prober: Prober;
  readonly judge: Judge;
  readonly records: Records;
  readonly sync: Sync;
  readonly lifecycle: Lifecycle;
  /** Uniform in [0, 1). */
  fraction(): number;
  readonly verify: Verify;
  /** The public key that the cluster admits under this id; `undefined` when the credential does not hold. */
  admit(head: Head): Uint8Array | undefined;
  emit(effect: GossipEffect): void;
  refuse(why: Refusal): void;
  count(what: Count): void;
  /** Sends now, before all bulk. */
  tell(to: MemberId, message: Message): void;
  /** Sends as the budget allows. */
  push(to: MemberId, message: Message): void;
  after(ms: number, call: (late: number) => void): Timer;
  /** `ms` spread by ±`share`. */
  spread(ms: number, share: number): number;
}
