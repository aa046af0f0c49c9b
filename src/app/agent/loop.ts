/**
 * The agent's loop: the only place that waits for the kernel. It makes passes — observe, desire, diff, apply, report —
 * whenever something may have changed, and at least every RECONCILE_INTERVAL_MS.
 *
 * One thing at a time: a pass and the change of a single peer never overlap. The kernel's notices of our own writes
 * start one more pass, which finds nothing to do and so ends it.
 */
import { diff } from "../../core/host/diff.ts";
import type { HostState, KernelOp } from "../../core/host/host-state.ts";
import { isGone } from "../../core/host/op-device.ts";
import type { Log } from "../../io/log.ts";
import type { Clock, Kernel, OpFailure, Watch } from "../../io/ports.ts";
import { Fault } from "../../model/fault.ts";
import {
  RECONCILE_DEBOUNCE_MS,
  RECONCILE_EVENT_GAP_MAX_MS,
  RECONCILE_EVENT_GAP_MS,
  RECONCILE_GAP_PASSES,
  RECONCILE_INTERVAL_MS,
  RECONCILE_RETRY_FIRST_MS,
  REPAIR_ROUNDS_MAX,
} from "../../model/limits.ts";
import { FailureLog } from "./failure-log.ts";

/** What the loop asks of the agent around it. All of it is decided elsewhere. */
export interface LoopSubject {
  /** `undefined` while the agent has no assignment. */
  plan(): Plan | undefined;
  /** Called before the desired state is computed; returns whether it changed the kernel. */
  repair(observed: HostState): Promise<boolean>;
  report(report: PassReport): void;
}

export interface Plan {
  readonly sysctlPaths: readonly string[];
  /** @throws Fault when the host is not one that can be served */
  desired(observed: HostState): HostState;
}

export interface PassReport {
  readonly failures: readonly OpFailure[];
  /** Why no pass could be made. */
  readonly fault?: Fault;
  readonly operations: number;
  readonly durationMs: number;
}

export interface LoopDependencies {
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly log: Log;
  readonly subject: LoopSubject;
}

export class Loop {
  readonly #kernel: Kernel;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #subject: LoopSubject;
  readonly #failureLog: FailureLog;
  #watch: Watch | undefined;
  /** The end of the queue of everything that touches the kernel through this loop. */
  #tail: Promise<unknown> = Promise.resolve();
  #timer: { readonly at: number; cancel(): void } | undefined;
  #isWaitingForPass = false;
  /** When a pass last began or ended: what is noticed during one waits as long as what is noticed after it. */
  #lastPass = Number.NEGATIVE_INFINITY;
  /** How long the last one took. */
  #passMs = 0;
  #retryMs = RECONCILE_RETRY_FIRST_MS;
  #isStopped = false;

  constructor({ kernel, clock, log, subject }: LoopDependencies) {
    this.#kernel = kernel;
    this.#clock = clock;
    this.#log = log;
    this.#subject = subject;
    this.#failureLog = new FailureLog(log);
  }

  /** Watches the kernel from now on, and makes the first pass. Resolves after that pass. */
  async start(): Promise<void> {
    this.#watch = this.#kernel.watch(({ kind }) => {
      this.#log.debug({ kind }, "the kernel changed");
      this.soon();
    });
    await this.pass();
  }

  /** What a pass is computed from has changed: one is made as soon as the loop is free. */
  changed(): void {
    void this.pass();
  }

  /** A pass; calls that come while one is waiting to begin share it. */
  async pass(): Promise<void> {
    if (this.#isWaitingForPass || this.#isStopped) {
      await this.#tail;
      return;
    }
    this.#isWaitingForPass = true;
    await this.#enqueue(async () => {
      this.#isWaitingForPass = false;
      await this.#pass();
    });
  }

  /** As `changed`, but not at once: a pass that only has to confirm what was done already. */
  soon(): void {
    const now = this.#clock.now();
    const wanted = Math.max(RECONCILE_EVENT_GAP_MS, this.#passMs * RECONCILE_GAP_PASSES);
    const gap = Math.min(wanted, RECONCILE_EVENT_GAP_MAX_MS);
    this.#passBy(Math.max(this.#lastPass + gap, now + RECONCILE_DEBOUNCE_MS));
  }

  /** Work on the kernel that no pass may overlap: between its reading and its writing the kernel must stay the same. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    return this.#enqueue(work);
  }

  /** Operations that are known without reading the kernel. What fails is left to a pass. */
  async applyNow(ops: readonly KernelOp[]): Promise<void> {
    if (ops.length === 0) return;
    await this.#enqueue(async () => {
      if (!this.#isStopped && !(await this.#isDone(ops))) this.changed();
    });
  }

  async #isDone(ops: readonly KernelOp[]): Promise<boolean> {
    try {
      return (await this.#kernel.apply(ops)).length === 0;
    } catch (error) {
      if (error instanceof Fault) return false;
      throw error;
    }
  }

  /** Ends after what runs now. The kernel stays as it is. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#watch?.close();
    this.#timer?.cancel();
    await this.#tail;
  }

  #enqueue<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work);
    // One that throws is its caller's; the next one in the queue begins all the same.
    this.#tail = done.catch(() => {});
    return done;
  }

  async #pass(): Promise<void> {
    if (this.#isStopped) return;
    this.#timer?.cancel();
    this.#timer = undefined;
    const startedAt = this.#clock.now();
    this.#lastPass = startedAt;
    const outcome = await this.#converge();
    this.#lastPass = this.#clock.now();
    this.#passMs = this.#lastPass - startedAt;
    if (outcome !== undefined) {
      this.#failureLog.note(
        outcome.fault ? [outcome.fault.message] : outcome.failures.map(({ error }) => error.message),
      );
      this.#subject.report({ ...outcome, durationMs: this.#lastPass - startedAt });
    }
    this.#passBy(this.#lastPass + this.#pause(outcome));
  }

  /** What failed is tried again soon, then less and less often. */
  #pause(outcome: Omit<PassReport, "durationMs"> | undefined): number {
    const isWell = outcome === undefined || (outcome.fault === undefined && outcome.failures.length === 0);
    const pause = isWell ? RECONCILE_INTERVAL_MS : this.#retryMs;
    this.#retryMs = isWell ? RECONCILE_RETRY_FIRST_MS : Math.min(this.#retryMs * 2, RECONCILE_INTERVAL_MS);
    return pause;
  }

  async #converge(): Promise<Omit<PassReport, "durationMs"> | undefined> {
    const plan = this.#subject.plan();
    if (plan === undefined) return undefined;
    try {
      const observed = await this.#observeRepaired(plan.sysctlPaths);
      const ops = diff(observed, plan.desired(observed));
      const failed = ops.length === 0 ? [] : await this.#kernel.apply(ops);
      const failures = failed.filter(({ op, error }) => !isGone(op, error.code));
      if (ops.length > 0)
        this.#log.debug({ operations: ops.length, failures: failures.length }, "a pass changed the kernel");
      return { failures, operations: ops.length };
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return { failures: [], fault: error, operations: 0 };
    }
  }

  /** While it repairs more may break, so what it leaves is read again, until it found nothing to do. */
  async #observeRepaired(sysctlPaths: readonly string[]): Promise<HostState> {
    let observed = await this.#kernel.observe(sysctlPaths);
    for (let round = 0; round < REPAIR_ROUNDS_MAX && (await this.#subject.repair(observed)); round++)
      observed = await this.#kernel.observe(sysctlPaths);
    return observed;
  }

  /** The next pass comes at `at`, or earlier if it was to come earlier. */
  #passBy(at: number): void {
    if (this.#isStopped || (this.#timer !== undefined && this.#timer.at <= at)) return;
    this.#timer?.cancel();
    this.#timer = { at, cancel: this.#clock.after(Math.max(0, at - this.#clock.now()), () => this.changed()) };
  }
}
