/**
 * Work that is done again whenever a container engine may have changed: after its events, after whatever else the caller
 * says, and every ENGINE_INTERVAL_MS. While the engine is away it is asked again and again, and nobody is told more than
 * once. One pass at a time, and nobody waits for one: the engine may call the agent before a pass can end.
 */
import type { Log } from "../../../io/log.ts";
import type { Clock, DockerEngine, EngineChange, Watch } from "../../../io/ports.ts";
import {
  ENGINE_DEBOUNCE_MS,
  ENGINE_INTERVAL_MS,
  ENGINE_RETRY_FIRST_MS,
  ENGINE_RETRY_MAX_MS,
} from "../../../model/engine-limits.ts";
import { Fault } from "../../../model/fault.ts";
import { FailureLog } from "../failure-log.ts";

export interface EngineLoopDeps {
  readonly engine: DockerEngine;
  readonly clock: Clock;
  readonly log: Log;
}

export interface EnginePass {
  /** What concerns the pass; absent: all changes. */
  readonly only?: EngineChange;
  /**
   * Compares and repairs; between two calls of the engine's it looks whether the signal has ended it.
   * @returns whether all is as it should be; if not, another pass comes soon
   * @throws Fault as the engine does
   */
  readonly run: (signal: AbortSignal) => Promise<boolean>;
  /** The engine is not there, or what it says is of no use. */
  readonly away: (reason: Fault) => void;
}

export class EngineLoop {
  readonly #deps: EngineLoopDeps;
  readonly #pass: EnginePass;
  readonly #failureLog: FailureLog;
  readonly #end = new AbortController();
  #watch: Watch | undefined;
  #timer: { readonly at: number; cancel(): void } | undefined;
  #isRunning = false;
  /** Something changed while a pass ran. */
  #isOutdated = false;
  #isAway = false;
  #retryMs = ENGINE_RETRY_FIRST_MS;

  constructor(deps: EngineLoopDeps, pass: EnginePass) {
    this.#deps = deps;
    this.#pass = pass;
    this.#failureLog = new FailureLog(deps.log);
  }

  /** What a pass works from has changed: one begins at once, or when the one that runs has ended. */
  changed(): void {
    if (this.#end.signal.aborted) return;
    if (this.#isRunning) this.#isOutdated = true;
    else void this.#run();
  }

  /** A pass that waits for an answer of the engine's does nothing any more when it comes. */
  stop(): void {
    this.#end.abort();
    this.#watch?.close();
    this.#timer?.cancel();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    this.#timer?.cancel();
    this.#timer = undefined;
    const isWell = await this.#attempt();
    this.#isRunning = false;
    if (this.#end.signal.aborted) return;
    if (isWell) this.#retryMs = ENGINE_RETRY_FIRST_MS;
    this.#after(isWell ? ENGINE_INTERVAL_MS : this.#retryMs);
    if (!isWell) this.#retryMs = Math.min(2 * this.#retryMs, ENGINE_RETRY_MAX_MS);
    if (this.#isOutdated) this.#after(ENGINE_DEBOUNCE_MS);
    this.#isOutdated = false;
  }

  /** @returns whether all is well */
  async #attempt(): Promise<boolean> {
    const { signal } = this.#end;
    try {
      // First of all: what changes while the pass looks is told then.
      this.#watch ??= await this.#watchEngine();
      if (signal.aborted) this.#watch.close();
      const isWell = !signal.aborted && (await this.#pass.run(signal));
      this.#failureLog.note([]);
      if (this.#isAway) this.#deps.log.debug({}, "Docker is there again");
      this.#isAway = false;
      return isWell;
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown;
      if (!signal.aborted) this.#noteAway(thrown);
      return false;
    }
  }

  #watchEngine(): Promise<Watch> {
    const { only } = this.#pass;
    return this.#deps.engine.watch(
      (change) => {
        if (only === undefined || change === only) this.#noteChange();
      },
      (reason) => {
        this.#watch = undefined;
        this.#deps.log.debug({ reason: reason.message }, "Docker's events ended");
        this.#noteChange();
      },
    );
  }

  #noteChange(): void {
    if (this.#isRunning) this.#isOutdated = true;
    else this.#after(ENGINE_DEBOUNCE_MS);
  }

  /** A host without Docker is none that anybody has to look after. */
  #noteAway(reason: Fault): void {
    if (reason.code !== "not-ready") this.#failureLog.note([reason.message]);
    else if (!this.#isAway) this.#deps.log.debug({ reason: reason.message }, "Docker is not there");
    this.#isAway = true;
    this.#pass.away(reason);
  }

  /** The next pass begins so much later, or earlier if it was to begin earlier. */
  #after(ms: number): void {
    const at = this.#deps.clock.now() + ms;
    if (this.#timer !== undefined && this.#timer.at <= at) return;
    this.#timer?.cancel();
    this.#timer = { at, cancel: this.#deps.clock.after(ms, () => this.changed()) };
  }
}
