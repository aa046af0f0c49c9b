import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Timers } from "./timers.ts";

describe("timers", () => {
  it("call in the order of their times, and of one time in the order in which they were set", () =>
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(20), fc.boolean())), fc.nat(20), (set, now) => {
        const timers = new Timers();
        const called: number[] = [];
        for (const [n, [dueAt, isCancelled]] of set.entries())
          timers.at(dueAt, () => called.push(n)).isCancelled = isCancelled;
        const live = [...set.entries()].filter(([, [, isCancelled]]) => !isCancelled);
        const due = live.filter(([, [dueAt]]) => dueAt <= now).sort(([, [a]], [, [b]]) => a - b);
        assert.equal(timers.next, live.length === 0 ? undefined : Math.min(...live.map(([, [dueAt]]) => dueAt)));
        timers.run(now);
        assert.deepEqual(
          called,
          due.map(([n]) => n),
        );
      }),
    ));

  it("tell how late they are, and run what is set for now as well", () => {
    const timers = new Timers();
    const seen: number[] = [];
    timers.at(10, (late) => {
      seen.push(late);
      timers.at(50, (again) => seen.push(again));
      timers.at(51, () => seen.push(Number.NaN));
    });
    timers.run(50);
    assert.deepEqual(seen, [40, 0]);
    assert.equal(timers.next, 51);
    timers.clear();
    assert.equal(timers.next, undefined);
  });
});
