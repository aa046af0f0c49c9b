/**
 * Waiting for something outside of this process to become so: asks again and again, and says what it waited for when it
 * gives up. Nothing in a lab sleeps for a fixed time.
 */
import { setTimeout as pause } from "node:timers/promises";
import { messageOf } from "../../model/fault.ts";

const POLL_MS = 20;

/**
 * @param probe returns `undefined` (or throws) as long as it is not so
 * @returns what `probe` returned at last
 */
export async function waitFor<T>(what: string, timeoutMs: number, probe: () => Promise<T | undefined>): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last = "";
  for (;;) {
    try {
      const found = await probe();
      if (found !== undefined) return found;
      last = "";
    } catch (error) {
      last = `; last: ${messageOf(error)}`;
    }
    if (performance.now() > deadline) throw new Error(`waited ${timeoutMs / 1000} s in vain: ${what}${last}`);
    await pause(POLL_MS);
  }
}
