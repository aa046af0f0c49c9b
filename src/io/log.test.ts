import assert from "node:assert/strict";
import { test } from "node:test";
import { textLine } from "./log.ts";

test("a record is one line of text, whatever its fields hold", () => {
  const record = {
    level: 40,
    time: "2026-01-02T03:04:05.678Z",
    network: "dcos",
    error: "a\nb",
    said: 'a "quote"',
    failures: 3,
    list: ["x"],
    msg: "left out",
  };
  assert.equal(
    textLine(JSON.stringify(record)),
    '03:04:05 warn  left out network=dcos error="a\\nb" said="a \\"quote\\"" failures=3 list=["x"]\n',
  );
});
