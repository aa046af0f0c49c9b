import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createLog, type LogFormat, type LogLevel } from "./log.ts";

function capture(level: LogLevel, format: LogFormat): { log: ReturnType<typeof createLog>; lines: string[] } {
  const lines: string[] = [];
  return { log: createLog(level, format, { write: (line) => lines.push(line) }), lines };
}

/** A record as text, without its time of day. */
function textOf(fields: object, message: string): string {
  const { log, lines } = capture("info", "text");
  log.warn(fields, message);
  assert.equal(lines.length, 1);
  const [, rest] = /^\d\d:\d\d:\d\d\.\d{3} (.*)\n$/s.exec(lines[0] ?? "") ?? [];
  assert(rest !== undefined, `a time of day, the record, a newline: ${lines[0]}`);
  return rest;
}

test("text: time, level, message, then the fields, quoted where they would not end", () => {
  const fields = { agent: "2f0c", peers: 3, reason: "no answer", expression: "a=b", empty: undefined, list: ["x"] };
  assert.equal(
    textOf(fields, "registered"),
    'warn  registered  agent=2f0c peers=3 reason="no answer" expression="a=b" list=["x"]',
  );
  assert.equal(textOf({}, "agent ends"), "warn  agent ends");
});

test("what another host says cannot pretend to be a record, or steer the terminal", () => {
  assert.equal(
    textOf({ reason: "a\u001b[2Jb" }, "not registered: x\n12:00:00.000 info  all is well\u001b[31m\u202e"),
    "warn  not registered: x\\u000a12:00:00.000 info  all is well\\u001b[31m\\u202e  reason=a\\u001b[2Jb",
  );
});

test("any text is one line without control characters, in either format", () => {
  const strings = fc.string({ unit: "binary" });
  fc.assert(
    fc.property(strings, fc.dictionary(strings, strings), (message, extra) => {
      assert.doesNotMatch(textOf({ extra }, message), /[\p{Cc}\u2028\u2029]/u);
      assert.doesNotMatch(textOf({ [`k${message}`]: message }, ""), /[\p{Cc}\u2028\u2029]/u);
      const { log, lines } = capture("info", "json");
      log.info({ extra }, message);
      assert.equal(lines.join("").split("\n").length, 2);
    }),
  );
});

test("json: one object a line, with level, time and message", () => {
  const { log, lines } = capture("info", "json");
  log.info({ peers: 3 }, "snapshot");
  const { time, ...rest } = JSON.parse(lines.join("")) as Record<string, unknown>;
  assert.deepEqual(rest, { level: 30, peers: 3, message: "snapshot" });
  assert.equal(typeof time, "number");
});

test("what is below the level is not said", () => {
  for (const [level, count] of [
    ["debug", 4],
    ["warn", 2],
    ["error", 1],
    ["silent", 0],
  ] as const) {
    const { log, lines } = capture(level, "text");
    for (const say of ["debug", "info", "warn", "error"] as const) log[say]({}, "said");
    assert.equal(lines.length, count, level);
  }
});
