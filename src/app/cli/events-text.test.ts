import assert from "node:assert/strict";
import { test } from "node:test";
import { type Event, eventsTitle, eventText } from "./events-text.ts";

const EVENT: Event = {
  revision: 17,
  at: "2026-11-21T17:02:05Z",
  who: "agent 0688065a-6d6a-48e6-92e9-e91949d33271",
  what: "agent 0688065a-6d6a-48e6-92e9-e91949d33271 (host1, 10.0.0.11) gets 9.0.4.0/24 of dcos",
  changes: [
    { key: "resting", before: [], after: [1] },
    { key: "new", after: {} },
  ],
};

test("an event has a line, and what does not fit goes on below it, within 80 columns", () => {
  assert.equal(
    [eventsTitle(), eventText(EVENT, true)].join("\n"),
    `  REV  TIME                  WHO                WHAT
   17  2026-11-21T17:02:05Z  agent 0688065a…    agent 0688065a… (host1,
                                                10.0.0.11) gets 9.0.4.0/24 of
                                                dcos
  - resting []
  + resting [1]
  + new {}`,
  );
});

test("whoever made it and however long a word is, nothing is lost and no line is longer", () => {
  const text = eventText({ ...EVENT, who: "operator token ab12cd34", what: `${"x".repeat(70)} y` }, false);
  assert.ok(
    text.split("\n").every((line) => line.length <= 80),
    text,
  );
  assert.equal(text.replaceAll(/\s/g, "").match(/x/g)?.length, 70);
});
