/**
 * What a program says while it runs, one line an event on stderr: JSON for machines (pino), or text for people. The
 * message is a constant sentence, what varies is in the fields, so that lines can be counted and searched.
 */
import { pino } from "pino";

export const LOG_LEVELS = ["debug", "info", "warn", "error", "silent"] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const LOG_FORMATS = ["text", "json"] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

export interface Log {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

const NUMBERS: Readonly<Record<number, string>> = { 20: "debug", 30: "info", 40: "warn", 50: "error" };
const STDERR = 2;

/** Where lines go, each with its newline. */
export interface LogSink {
  write(line: string): void;
}

/** @param sink standard error, written at once, when it is left out */
export function createLog(level: LogLevel, format: LogFormat, sink?: LogSink): Log {
  const lines: LogSink = sink ?? pino.destination({ dest: STDERR, sync: true });
  const options = { level, base: null, messageKey: "message" };
  return pino(options, format === "json" ? lines : { write: (line) => lines.write(textOf(line)) });
}

/** For tests. */
export const SILENT_LOG: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** `12:03:04.567 info  agent registered  agent=2f0c ip=10.0.0.11`. */
function textOf(line: string): string {
  const { level, time, message, ...fields } = JSON.parse(line) as { level: number; time: number; message?: string };
  const clock = new Date(time).toISOString().slice(11, 23);
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${fieldText(value)}`);
  const text = `${(NUMBERS[level] ?? "").padEnd(5)} ${message ?? ""}${rest.length > 0 ? " " : ""}${rest.join("")}`;
  return `${clock} ${printable(text)}\n`;
}

/** Other hosts have a say in what is logged: none may begin a line of its own, or steer the terminal that shows it. */
function printable(text: string): string {
  return text.replaceAll(
    /[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (character) => `\\u${(character.codePointAt(0) ?? 0).toString(16).padStart(4, "0")}`,
  );
}

function fieldText(value: unknown): string {
  return typeof value === "string" && !/[\s"=]/.test(value) ? value : JSON.stringify(value);
}
