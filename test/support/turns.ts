/**
 * Who goes next, when several are at work: each step of theirs waits for its turn, and one waiting step at a time is let
 * go, drawn by a seed. So calls, passes and deaths meet in many orders, and in the same ones for the same seed. When no
 * step waits and the work is not done, its parts wait for each other: a deadlock.
 */
import assert from "node:assert/strict";
import { setImmediate } from "node:timers/promises";

export class Turns {
  readonly #fraction: () => number;
  readonly #waiting: (() => void)[] = [];
  #isOn = false;

  constructor(fraction: () => number) {
    this.#fraction = fraction;
  }

  /** A step is about to be taken. Returns at once while nobody gives turns. */
  take(): Promise<void> {
    return this.#isOn ? new Promise((go) => this.#waiting.push(go)) : Promise.resolve();
  }

  /** Gives turns until all of the work is done. Nothing in it may wait for anything but turns and itself. */
  async give(work: () => readonly Promise<unknown>[]): Promise<void> {
    this.#isOn = true;
    let isDone = false;
    const all = Promise.all(work()).finally(() => {
      isDone = true;
    });
    all.catch(() => {}); // thrown below
    while (true) {
      await setImmediate();
      if (isDone) break;
      const [go] = this.#waiting.splice(Math.floor(this.#fraction() * this.#waiting.length), 1);
      assert(go !== undefined, "calls and passes wait for each other for ever");
      go();
    }
    this.#isOn = false;
    for (const go of this.#waiting.splice(0)) go();
    await all;
  }
}
