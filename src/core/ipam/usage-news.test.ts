import assert from "node:assert/strict";
import { test } from "node:test";
import type { HalfUsage, OverlayStatus } from "../../model/cluster.ts";
import { cidr } from "../../model/ip.ts";
import type { Capacity } from "./capacity.ts";
import { IdleSlices, usageNews } from "./usage-news.ts";

const half = (used: number, delta: Partial<HalfUsage> = {}): HalfUsage => ({
  half: cidr("9.0.0.0/28"),
  slice: cidr("9.0.0.0/27"),
  runtime: "cni",
  used,
  resting: 0,
  free: 10 - used,
  ...delta,
});
const told = (...usage: HalfUsage[]): OverlayStatus[] => [{ name: "dcos", status: "STATUS_OK", usage }];

test("soon is told what the master may act on, later all else", () => {
  const rows: [HalfUsage[], HalfUsage[], string][] = [
    [[half(3)], [half(3)], "none"],
    [[half(3)], [half(7)], "later"],
    [[half(7)], [half(8)], "soon"],
    [[half(8)], [half(10)], "later"],
    [[half(8)], [half(7)], "soon"],
    [[half(0)], [half(0, { idle: true })], "soon"],
    [[half(1, { draining: true })], [half(0, { draining: true })], "soon"],
    [[half(2, { draining: true })], [half(1, { draining: true })], "later"],
    [[half(1)], [half(1), half(0, { half: cidr("9.0.1.0/28"), slice: cidr("9.0.1.0/27") })], "soon"],
  ];
  for (const [before, after, news] of rows) {
    assert.equal(usageNews(told(...before), told(...after), 0.8, new Set()), news, JSON.stringify([before, after]));
  }
  assert.equal(usageNews(told(half(7)), told(half(8)), undefined, new Set()), "later", "nobody grows");
});

test("a slice is idle when nothing of either half was held for a while", () => {
  const idle = new IdleSlices();
  const both = (used: number): Capacity[] =>
    (["cni", "docker"] as const).map((runtime, n) => ({
      ...half(n === 0 ? 0 : used),
      runtime,
      network: "dcos",
      family: 4,
      size: 10,
    }));
  assert.deepEqual([...idle.note(both(0), 0)], []);
  assert.deepEqual([...idle.note(both(0), 59_999)], []);
  assert.deepEqual([...idle.note(both(0), 60_000)], ["9.0.0.0/27"]);
  assert.deepEqual([...idle.note(both(1), 70_000)], []);
  assert.deepEqual([...idle.note(both(0), 80_000)], []);
  assert.deepEqual([...idle.note(both(0), 90_000, 10)], ["9.0.0.0/27"]);
});
