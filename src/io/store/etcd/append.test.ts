import assert from "node:assert/strict";
import { test } from "node:test";
import type { ControlEvent } from "../../../model/control-event.ts";
import { CHANGES_MAX, CONTROL_EVENT_MAX_BYTES } from "../../../model/control-limits.ts";
import { checkEvents } from "../control-bounds.ts";
import { piecesOf } from "./append.ts";
import { Layout } from "./layout.ts";

const layout = new Layout("/weft");
const event = (revision: number, keys: readonly string[], after?: unknown): ControlEvent => ({
  revision,
  at: "",
  who: "",
  what: "",
  changes: keys.map((key) => ({ key, ...(after !== undefined && { after }) })),
});
const pieces = (events: readonly ControlEvent[], head: number) =>
  piecesOf(events, checkEvents(events, head), { layout, term: 7, head });

test("every piece names the term, and the revision that it follows", () => {
  const many = (from: number) => Array.from({ length: 60 }, (_, at) => `k${from + at}`);
  const found = pieces([event(1, many(0), 1), event(2, many(60), 1), event(3, many(0), 1), event(4, [], 1)], 0);
  assert.deepEqual(
    found.map(({ last }) => last),
    [2, 4],
  );
  const text64 = (text: string) => Buffer.from(text).toString("base64");
  const leader = { key: text64("/weft/v1/leader"), target: "MOD", result: "EQUAL", mod_revision: "7" };
  const revision = { key: text64("/weft/v1/revision"), result: "EQUAL" };
  assert.deepEqual(
    found.map(({ txn }) => txn.compare),
    [
      [leader, { ...revision, target: "MOD", mod_revision: "0" }],
      [leader, { ...revision, target: "VALUE", value: text64("2") }],
    ],
  );
});

test("no piece is more than etcd takes at once, and each key is in it once", () => {
  const keys = Array.from({ length: CHANGES_MAX }, (_, at) => `k${at}`);
  const busy = Array.from({ length: 100 }, (_, n) =>
    event(n + 1, n % 10 === 0 ? keys : ["k1", "k2"], n % 3 ? n : undefined),
  );
  const large = Array.from({ length: 5 }, (_, n) => event(n + 101, ["l"], "x".repeat(300_000)));
  const found = pieces([...busy, ...large], 0);
  for (const { txn } of found) {
    assert.ok(txn.success.length <= 128);
    assert.ok(JSON.stringify(txn.success).length < (CONTROL_EVENT_MAX_BYTES * 4) / 3 + 20_000);
    const written = txn.success.map((operation) => {
      const [{ key = "" } = {}] = Object.values(operation) as { key?: string }[];
      return key;
    });
    assert.equal(new Set(written).size, written.length);
  }
  assert.equal(found.at(-1)?.last, 105);
});
