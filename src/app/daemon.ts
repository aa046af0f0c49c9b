/**
 * What the programs that run until somebody ends them have in common on the command line: how they log, how they end.
 */
import { Option } from "commander";
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from "../io/log.ts";

/** The values of the two options below. */
export interface LogFlags {
  readonly logLevel: LogLevel;
  readonly logFormat: LogFormat;
}

export const LOG_LEVEL_OPTION = new Option("--log-level <level>", "least level that is logged")
  .choices(LOG_LEVELS)
  .default("info");
export const LOG_FORMAT_OPTION = new Option("--log-format <format>", "of the lines on stderr")
  .choices(LOG_FORMATS)
  .default("text");

/** How a program ends. */
export interface Ending {
  /** The first of SIGTERM and SIGINT; rejects when `fail` was called before. */
  readonly signal: Promise<NodeJS.Signals>;
  fail(thrown: unknown): void;
}

/** Signals no longer end the process by themselves from now on. */
export function awaitEnding(): Ending {
  const { promise, resolve, reject } = Promise.withResolvers<NodeJS.Signals>();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, resolve);
  // It may fail while the program still starts, before anybody waits for it.
  promise.catch(() => {});
  return { signal: promise, fail: reject };
}
