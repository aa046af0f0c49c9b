/**
 * When an agent registers with its master: at its start, and when a master announces something new: that its record
 * may have changed, or that the master itself is a new process, which may not know it.
 *
 * At most one call is on its way, so an answer always belongs to the last one. All waits are jittered, also the one
 * before a call that nothing failed for: what makes one agent register often makes all of them (a master that was
 * restarted). Only "identity taken" ends it, and only when the master still says so after
 * REGISTRATION_IDENTITY_GRACE_MS without another answer in between: after a crash the agent's own last instance may
 * still look alive. (spec: overlay §3.2; the chains of timers that pile up there cannot arise here.)
 */
import { type Backoff, backoffMs } from "../../model/backoff.ts";
import type { Fault } from "../../model/fault.ts";
import {
  REGISTRATION_BACKOFF_FIRST_MS,
  REGISTRATION_BACKOFF_MAX_MS,
  REGISTRATION_IDENTITY_GRACE_MS,
  REGISTRATION_SPREAD_MS,
} from "../../model/limits.ts";

export type RegistrationInput =
  | { readonly type: "start" }
  | { readonly type: "registered" }
  | { readonly type: "register-failed"; readonly fault: Fault }
  /** The agent's record changed on the master, or the master wants a sign of life. */
  | { readonly type: "reassigned" }
  /** The master said to this agent alone that its record changed: there is no crowd to stay out of. */
  | { readonly type: "called" }
  /** The deadline has come. */
  | { readonly type: "tick" };

export type RegistrationEffect =
  /** Call the master; its outcome comes back as `registered` or `register-failed`. */
  | { readonly type: "register" }
  /** Another live agent has this identity: this one must end. */
  | { readonly type: "give-up"; readonly fault: Fault };

type Phase =
  | { readonly type: "idle" }
  | { readonly type: "calling"; readonly since: number; readonly again: boolean }
  | { readonly type: "waiting"; readonly until: number }
  | { readonly type: "registered" }
  | { readonly type: "given-up" };

const BACKOFF: Backoff = { firstMs: REGISTRATION_BACKOFF_FIRST_MS, maxMs: REGISTRATION_BACKOFF_MAX_MS };

export class Registration {
  readonly #fraction: () => number;
  readonly #crowd: () => number;
  #phase: Phase = { type: "idle" };
  #attempts = 0;
  #failures = 0;
  /** When the master first said "identity taken", if it has said nothing else since. */
  #takenSince: number | undefined;

  /**
   * @param fraction uniform in [0, 1)
   * @param crowd how many agents may have been called at the same moment: a few need no long time to come one by one
   */
  constructor(fraction: () => number, crowd: () => number = () => Number.POSITIVE_INFINITY) {
    this.#fraction = fraction;
    this.#crowd = crowd;
  }

  step(input: RegistrationInput, nowMs: number): RegistrationEffect[] {
    switch (input.type) {
      case "start":
        return this.#phase.type === "idle" ? this.#register(nowMs) : [];
      case "tick":
        return this.#phase.type === "waiting" && this.#phase.until <= nowMs ? this.#register(nowMs) : [];
      case "registered":
        this.#registered(nowMs);
        return [];
      case "register-failed":
        return this.#failed(input.fault, nowMs);
      case "reassigned":
        this.#reassigned(nowMs);
        return [];
      case "called":
        if (this.#phase.type === "registered") return this.#register(nowMs);
        this.#reassigned(nowMs);
        return [];
    }
  }

  /** When the next `tick` is due, on the clock of `nowMs`. */
  nextDeadline(): number | undefined {
    return this.#phase.type === "waiting" ? this.#phase.until : undefined;
  }

  state(): "registering" | "registered" {
    return this.#phase.type === "registered" ? "registered" : "registering";
  }

  /** Calls since it last began to register; when registered, how many that took. */
  attempts(): number {
    return this.#attempts;
  }

  #register(nowMs: number): RegistrationEffect[] {
    this.#phase = { type: "calling", since: nowMs, again: false };
    this.#attempts += 1;
    return [{ type: "register" }];
  }

  #registered(nowMs: number): void {
    if (this.#phase.type !== "calling") return;
    const { again } = this.#phase;
    this.#failures = 0;
    this.#takenSince = undefined;
    this.#phase = { type: "registered" };
    // The record may have changed after this answer was made.
    if (again) this.#registerAfresh(nowMs);
  }

  #failed(fault: Fault, nowMs: number): RegistrationEffect[] {
    if (this.#phase.type !== "calling") return [];
    const { since } = this.#phase;
    this.#takenSince = fault.code === "identity-taken" ? (this.#takenSince ?? nowMs) : undefined;
    const graceEnd = this.#takenSince === undefined ? undefined : this.#takenSince + REGISTRATION_IDENTITY_GRACE_MS;
    // What counts is when the master was asked, not when its answer came.
    if (graceEnd !== undefined && since >= graceEnd) {
      this.#phase = { type: "given-up" };
      return [{ type: "give-up", fault }];
    }
    const until = nowMs + this.#wait(this.#failures);
    this.#failures += 1;
    // The call that decides comes at the end of the grace, not a long wait after it.
    const decisive = graceEnd !== undefined && nowMs < graceEnd ? graceEnd : Number.POSITIVE_INFINITY;
    this.#phase = { type: "waiting", until: Math.min(until, decisive) };
    return [];
  }

  #reassigned(nowMs: number): void {
    if (this.#phase.type === "calling") this.#phase = { ...this.#phase, again: true };
    else if (this.#phase.type === "registered") this.#registerAfresh(nowMs);
    // The master spoke, so it is there: no need to sit out a wait that grew while it was not.
    else if (this.#phase.type === "waiting")
      this.#phase = { type: "waiting", until: Math.min(this.#phase.until, nowMs + this.#wait(0)) };
  }

  #registerAfresh(nowMs: number): void {
    this.#attempts = 0;
    const spread = Math.min(REGISTRATION_BACKOFF_FIRST_MS, this.#crowd() * REGISTRATION_SPREAD_MS);
    this.#phase = { type: "waiting", until: nowMs + this.#fraction() * spread };
  }

  #wait(retry: number): number {
    return backoffMs(BACKOFF, retry, this.#fraction());
  }
}
