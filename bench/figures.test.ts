import assert from "node:assert/strict";
import { test } from "node:test";
import { alternate, judge, median } from "./figures.ts";

test("a figure is reached or missed as its target says, and one without both sides has no ratio", () => {
  const of = (ours: number | null, peer: number | null, target: string) =>
    judge("x", { figure: "f", unit: "ms", ours, peer, target });
  assert.equal(of(20, null, "ours<=20").ok, true);
  assert.equal(of(20.1, null, "ours<=20").ok, false);
  assert.equal(of(110, 100, "ratio>=1.1").ok, true);
  assert.equal(of(109, 100, "ratio>=1.1").ok, false);
  assert.equal(of(null, 100, "ratio>=1.1").ok, false);
  assert.equal(of(1, null, "").ratio, null);
  assert.throws(() => of(1, 1, "at most 3"), /at most 3/);
});

test("the two sides take turns in who goes first", async () => {
  const calls: string[] = [];
  const side = (name: string) => () => calls.push(name);
  await alternate(3, side("ours"), side("peer"));
  assert.deepEqual(calls, ["ours", "peer", "peer", "ours", "ours", "peer"]);
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
});
