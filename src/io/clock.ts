/**
 * The process's monotonic clock.
 */
import type { Clock } from "./ports.ts";

export const systemClock: Clock = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
};
