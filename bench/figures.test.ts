import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { alternate, inTurns, judge, median, medianRatio, percentile } from "./figures.ts";

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

test("any number of sides takes turns, each second round from the last to the first", async () => {
  const calls: string[] = [];
  const side = (name: string) => () => calls.push(name);
  const samples = await inTurns(2, { a: side("a"), b: side("b"), c: side("c") });
  assert.deepEqual(calls, ["a", "b", "c", "c", "b", "a"]);
  assert.deepEqual(samples, { a: [1, 6], b: [2, 5], c: [3, 4] });
});

test("a ratio of rounds is that of the middle round, whatever load the others had, and is what is judged", () => {
  const [ours, peer] = [
    [20, 200, 30],
    [10, 100, 60],
  ];
  assert.equal(medianRatio(ours, peer), 2);
  const of = (ratio?: number) =>
    judge("x", { figure: "f", unit: "1/s", ours: 30, peer: 60, ...(ratio && { ratio }), target: "ratio>=1.5" });
  assert.deepEqual([of(2).ratio, of(2).ok], [2, true]);
  assert.deepEqual([of().ratio, of().ok], [0.5, false]);
});

test("a percentile is a sample, and the last one at a hundred", () => {
  const samples = Array.from({ length: 200 }, (_, i) => 200 - i);
  assert.equal(percentile(samples, 99), 198);
  assert.equal(percentile(samples, 100), 200);
  assert.equal(percentile([7], 50), 7);
});

test("what was made is removed at Ctrl-C too, the last first, and one that fails stops no other", async () => {
  const program = `
    import { atEnd, bench } from "${import.meta.resolve("./figures.ts")}";
    await bench("x", async () => {
      atEnd(() => console.log("namespace"));
      atEnd(() => { throw new Error("gone already"); });
      atEnd(() => console.log("child"));
      process.kill(process.pid, "SIGINT");
      await new Promise((resolve) => setTimeout(resolve, 10_000));
    });`;
  const child = spawn(process.execPath, ["--input-type=module", "--eval", program, "--", "--json"], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const pieces: Buffer[] = [];
  child.stdout.on("data", (piece: Buffer) => pieces.push(piece));
  assert.deepEqual(await once(child, "close"), [130, null]);
  assert.equal(Buffer.concat(pieces).toString(), "child\nnamespace\n");
});
