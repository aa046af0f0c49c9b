/**
 * The machine's clock behind the Clock port: monotonic, so that a wall clock that is set does not fire or hold up
 * anything. Timers do not keep a process alive; what it listens on does.
 */
import type { Clock } from "./ports.ts";

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  date: () => dateOf(Date.now()),
  after: (ms, call) => {
    const timer = setTimeout(call, ms).unref();
    return () => clearTimeout(timer);
  },
};

/** A time as people read it: RFC 3339 in UTC, to the second. @param ms since 1970 */
export function dateOf(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19)}Z`;
}

/** The time `seconds` after `date`, both as `Clock.date` writes them. */
export function later(date: string, seconds: number): string {
  return dateOf(Date.parse(date) + seconds * 1_000);
}
