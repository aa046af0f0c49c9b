import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { IntervalSet } from "./interval-set.ts";

const FIRST = 3n;
const LAST = 40n;
const index = fc.bigInt({ min: FIRST, max: LAST });
const operation = fc.record({ op: fc.constantFrom("add", "remove", "take"), index });

test("it behaves as a set of numbers that knows its lowest one", () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
      const set = new IntervalSet(FIRST, LAST);
      const model = new Set(Array.from({ length: Number(LAST - FIRST) + 1 }, (_, i) => FIRST + BigInt(i)));
      for (const { op, index } of operations) {
        if (op === "add") {
          assert.equal(set.add(index), !model.has(index));
          model.add(index);
        } else if (op === "remove") assert.equal(set.remove(index), model.delete(index));
        else {
          const lowest = [...model].reduce<bigint | undefined>((a, b) => (a === undefined || b < a ? b : a), undefined);
          assert.equal(set.takeLowest(), lowest);
          if (lowest !== undefined) model.delete(lowest);
        }
        assert.equal(set.count, BigInt(model.size));
        assert.equal(set.has(index), model.has(index));
      }
      const listed = set.intervals().flatMap(({ first, last }) => {
        assert.ok(first <= last);
        return Array.from({ length: Number(last - first) + 1 }, (_, i) => first + BigInt(i));
      });
      assert.deepEqual(listed, [...model].sort(compare));
      const starts = set.intervals().map(({ first }) => first);
      const ends = set.intervals().map(({ last }) => last);
      for (const [i, end] of ends.slice(0, -1).entries())
        assert.ok(end + 1n < (starts[i + 1] ?? 0n), "neighbours are joined");
    }),
    { numRuns: 500 },
  );
});

test("a pool of 2 to the 64 is one interval, and an empty range is empty", () => {
  const set = new IntervalSet(1n, (1n << 64n) - 2n);
  assert.equal(set.takeLowest(), 1n);
  assert.equal(set.count, (1n << 64n) - 3n);
  assert.ok(set.add(1n));
  assert.deepEqual(set.intervals(), [{ first: 1n, last: (1n << 64n) - 2n }]);
  assert.equal(new IntervalSet(2n, 1n).takeLowest(), undefined);
});

function compare(a: bigint, b: bigint): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
