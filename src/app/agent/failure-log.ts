/**
 * Logs a failure when it appears and when it is over, not on every pass in between.
 */
import type { Log } from "../../io/log.ts";
import { FAILURES_LOGGED_MAX } from "../../model/limits.ts";

export class FailureLog {
  readonly #log: Log;
  #known: ReadonlySet<string> = new Set();

  constructor(log: Log) {
    this.#log = log;
  }

  /** `messages`: everything that is failing now. */
  note(messages: readonly string[]): void {
    const now = new Set(messages);
    const fresh = [...now].filter((message) => !this.#known.has(message));
    for (const message of fresh.slice(0, FAILURES_LOGGED_MAX)) this.#log.error({}, message);
    if (fresh.length > FAILURES_LOGGED_MAX)
      this.#log.error({ more: fresh.length - FAILURES_LOGGED_MAX }, "more operations failed");
    if (now.size === 0 && this.#known.size > 0)
      this.#log.info({ failures: this.#known.size }, "what had failed is in place now");
    this.#known = now;
  }
}
