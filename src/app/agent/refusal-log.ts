/**
 * Logs why a master refused when that is news: the first time in a row, and when the reason changes. A master that is
 * away for a day would otherwise fill the log with one sentence.
 */
import type { Log } from "../../io/log.ts";
import type { Fault } from "../../model/fault.ts";

export class RefusalLog {
  readonly #log: Log;
  readonly #what: string;
  #last: string | undefined;

  /** @param what was refused: `not registered` */
  constructor(log: Log, what: string) {
    this.#log = log;
    this.#what = what;
  }

  note({ code, message }: Fault): void {
    const level = message === this.#last ? "debug" : "warn";
    this.#last = message;
    this.#log[level]({ code }, `${this.#what}: ${message}`);
  }

  /** It was not refused any more: the next refusal is news again. */
  over(): void {
    this.#last = undefined;
  }
}
