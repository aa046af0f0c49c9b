import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { REPLAY_WINDOW_COUNTERS as WINDOW } from "../../model/limits.ts";
import { ReplayWindow } from "./replay-window.ts";

/** What the window is meant to be: every counter that was ever seen. */
class Everything {
  readonly #seen = new Set<number>();
  #highest = 0;
  judge(counter: number): string {
    if (counter <= this.#highest - WINDOW) return "too-old";
    return this.#seen.has(counter) ? "replay" : "new";
  }
  note(counter: number): void {
    this.#seen.add(counter);
    this.#highest = Math.max(this.#highest, counter);
  }
}

/** Steps that stay, go back inside and just outside the window, and jump by about a window or by far more. */
const STEPS = fc.array(
  fc.oneof(
    fc.integer({ min: -WINDOW - 40, max: 40 }),
    fc.integer({ min: WINDOW - 40, max: WINDOW + 80 }),
    fc.integer({ min: 0, max: 2 ** 40 }),
  ),
  { maxLength: 200 },
);

describe("the replay window", () => {
  it("judges as one does who remembers every counter", () => {
    fc.assert(
      fc.property(STEPS, fc.integer({ min: 1, max: 2 ** 44 }), (steps, first) => {
        const window = new ReplayWindow();
        const everything = new Everything();
        let at = first;
        for (const step of [0, ...steps]) {
          const counter = Math.min(Math.max(1, at + step), 2 ** 48 - 1);
          const verdict = window.judge(counter);
          assert.equal(verdict, everything.judge(counter), `counter ${counter}`);
          if (verdict === "new") {
            window.note(counter);
            everything.note(counter);
          }
          at = Math.max(at, counter);
        }
        assert.equal(window.highest, at);
      }),
    );
  });

  it("takes each counter of the window once, in any order, and the one before it not at all", () => {
    const window = new ReplayWindow();
    const top = 10_000;
    window.note(top);
    for (let counter = top - WINDOW + 1; counter < top; counter++) {
      assert.equal(window.judge(counter), "new");
      window.note(counter);
      assert.equal(window.judge(counter), "replay");
    }
    assert.equal(window.judge(top - WINDOW), "too-old");
  });

  it("begins, where all up to a counter is seen, behind it", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 2 ** 47 }), fc.integer({ min: 0, max: 2 * WINDOW }), (highest, ahead) => {
        const window = new ReplayWindow(highest);
        for (const behind of [0, 1, 31, 32, WINDOW - 1])
          if (highest > behind) assert.equal(window.judge(highest - behind), "replay");
        window.note(highest + 1 + ahead);
        if (ahead > 0) assert.equal(window.judge(highest + ahead), "new");
        if (ahead + 1 < WINDOW) assert.equal(window.judge(highest), "replay");
      }),
    );
  });
});
