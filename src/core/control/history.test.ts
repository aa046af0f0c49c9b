import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { ControlEvent, ControlState } from "../../model/control-event.ts";
import { Rewind, shownEntries, shownEvent } from "./history.ts";

/** The states after each of the changes, and the events between them. */
function historyOf(changes: readonly (readonly [key: string, value: number | undefined])[]) {
  const states: ControlState[] = [{ revision: 0, entries: new Map() }];
  const events: ControlEvent[] = [];
  for (const [key, after] of changes) {
    const { revision, entries } = states.at(-1) as ControlState;
    const before = entries.get(key);
    const change = { key, ...(before !== undefined && { before }), ...(after !== undefined && { after }) };
    events.push({ revision: revision + 1, at: "", who: "", what: "", changes: [change] });
    const next = new Map(entries);
    if (after === undefined) next.delete(key);
    else next.set(key, after);
    states.push({ revision: revision + 1, entries: next });
  }
  return { states, events };
}

/** @param page how many events are added at once */
function stateAt(revision: number, now: ControlState, events: readonly ControlEvent[], page = 2): ControlState {
  const rewind = new Rewind(revision);
  for (let at = 0; at < events.length; at += page) rewind.add(events.slice(at, at + page));
  return rewind.from(now);
}

test("each state of a history is found again from the last one", () => {
  const change = fc.tuple(fc.constantFrom("a", "b", "c"), fc.option(fc.nat(3), { nil: undefined }));
  fc.assert(
    fc.property(fc.array(change), (changes) => {
      const { states, events } = historyOf(changes);
      const now = states.at(-1) as ControlState;
      for (const state of states)
        assert.deepEqual(
          stateAt(
            state.revision,
            now,
            events.filter(({ revision }) => revision > state.revision),
          ),
          state,
        );
    }),
  );
});

test("a revision that is to come, or is forgotten, is refused with those that there are", () => {
  const { states, events } = historyOf([1, 2, 3, 4].map((n) => ["a", n] as const));
  const now = states.at(-1) as ControlState;
  assert.throws(() => stateAt(5, now, []), { code: "bad-request", message: /no revision 5 yet; the last one is 4/ });
  const kept = events.slice(2);
  assert.equal(stateAt(2, now, kept).entries.get("a"), 2);
  assert.throws(() => stateAt(1, now, kept), { code: "bad-request", message: /forgotten; the oldest .* is 2/ });
});

test("secrets are not shown, only that they changed", () => {
  const changes = [
    { key: "token/aaaaaaaa", before: { key: "x" }, after: { key: "y" } },
    { key: "key-ring", after: 1 },
    { key: "network/dcos", after: 2 },
  ];
  const event = { revision: 1, at: "", who: "", what: "", changes };
  assert.deepEqual(shownEvent(event).changes, [
    { key: "token/aaaaaaaa", before: "(secret)", after: "(secret)" },
    { key: "key-ring", after: "(secret)" },
    { key: "network/dcos", after: 2 },
  ]);
  assert.deepEqual(
    shownEntries(
      new Map<string, unknown>([
        ["key-ring", 1],
        ["network/dcos", 2],
        ["token/a", 3],
      ]),
    ),
    {
      "network/dcos": 2,
    },
  );
});
