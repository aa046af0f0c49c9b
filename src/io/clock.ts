/**
 * The machine's clock behind the Clock port: monotonic, so that a wall clock that is set does not fire or hold up
 * anything. Timers do not keep a process alive; what it listens on does.
 */
import type { Clock } from "./ports.ts";

export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  date: () => `${new Date().toISOString().slice(0, 19)}Z`,
  after: (ms, call) => {
    const timer = setTimeout(call, ms).unref();
    return () => clearTimeout(timer);
  },
};
