import assert from "node:assert/strict";
import { test } from "node:test";
import type { ControlEvent } from "../../model/control-event.ts";
import { Fault } from "../../model/fault.ts";
import { type ControlDump, dumpText, parseDump } from "./dump.ts";

const event = (revision: number, key: string, after?: unknown): ControlEvent => ({
  revision,
  at: "2026-01-02T03:04:05Z",
  who: "operator",
  what: `change ${revision}`,
  changes: [{ key, ...(after !== undefined && { after }) }],
});
const dump: ControlDump = {
  revision: 4,
  entries: new Map<string, unknown>([
    ["network/b", { prefix: 24 }],
    ["agent/a", [1, "ü\n"]],
  ]),
  events: [event(2, "network/b", { prefix: 24 }), event(3, "gone"), event(4, "agent/a", [1, "ü\n"])],
};

test("what is written is read again, and the same state is the same bytes", () => {
  const text = dumpText(dump);
  const read = parseDump(text);
  assert.deepEqual([read.revision, read.events], [dump.revision, dump.events]);
  assert.deepEqual(new Map([...read.entries].sort()), new Map([...dump.entries].sort()));
  assert.equal(dumpText(read), text);
  const empty = { revision: 0, entries: new Map(), events: [] };
  assert.deepEqual(parseDump(dumpText(empty)), empty);
  // A store from before there were events.
  assert.equal(parseDump(dumpText({ ...empty, entries: dump.entries })).entries.size, 2);
});

test("what is no export, or was damaged, is refused with one reason", () => {
  const cases: readonly [text: string, code: string, reason: RegExp][] = [
    ["", "undecodable", /no JSON/],
    [dumpText(dump).slice(0, -20), "undecodable", /no JSON/],
    ["[]", "undecodable", /no export/],
    ['{"weft": "lease"}', "undecodable", /no export/],
    [dumpText(dump).replace('"version": 1', '"version": 2'), "unsupported-version", /version 2.*version 1/],
    [dumpText({ ...dump, revision: 9 }), "undecodable", /revision is 9.*last event has 4/],
    [dumpText({ ...dump, events: dump.events.toSpliced(1, 1) }), "undecodable", /event 3 is missing/],
    [dumpText({ ...dump, entries: new Map([["agent/a", 2]]) }), "undecodable", /agent\/a.*event 4/],
    [dumpText({ ...dump, entries: new Map([...dump.entries, ["gone", 1]]) }), "undecodable", /gone.*event 3/],
    [dumpText(dump).replace('"who"', '"why"'), "undecodable", /events/],
  ];
  for (const [text, code, reason] of cases)
    assert.throws(
      () => parseDump(text),
      (thrown: unknown) => {
        assert.ok(thrown instanceof Fault && thrown.code === code, String(thrown));
        assert.match(thrown.message, reason);
        return true;
      },
    );
});
