import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SimClock } from "./sim-clock.ts";

test("time stands still until it is advanced", () => {
  const clock = new SimClock();
  const calls: number[] = [];
  clock.after(10, () => calls.push(clock.now()));
  clock.advance(9);
  assert.deepEqual([clock.now(), calls], [9, []]);
  clock.advance(1);
  assert.deepEqual([clock.now(), calls], [10, [10]]);
});

test("timers run in the order of their times, each at its own time and once", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(100)), (delays) => {
      const clock = new SimClock();
      const ran: [number, number][] = [];
      for (const [index, ms] of delays.entries()) clock.after(ms, () => ran.push([clock.now(), index]));
      clock.advance(100);
      const expected = delays.map((ms, index): [number, number] => [ms, index]).sort((a, b) => a[0] - b[0]);
      assert.deepEqual(ran, expected);
      assert.equal(clock.pending, 0);
    }),
  );
});

test("a timer that a timer sets runs in the same advance when it falls due in it", () => {
  const clock = new SimClock();
  const ran: string[] = [];
  clock.after(5, () => {
    ran.push("first");
    clock.after(5, () => ran.push("second"));
    clock.after(6, () => ran.push("late"));
  });
  clock.advance(10);
  assert.deepEqual(ran, ["first", "second"]);
});

test("a cancelled timer does not run, also when another timer of the same time cancels it", () => {
  const clock = new SimClock();
  const ran: string[] = [];
  clock.after(5, () => cancel());
  const cancel = clock.after(5, () => ran.push("cancelled"));
  clock.advance(5);
  cancel();
  assert.deepEqual([ran, clock.pending], [[], 0]);
});
