/**
 * What `weft token list` prints.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { tokensTable } from "./trust-command.ts";

test("tokens fit a terminal, and say when they end or why they have", () => {
  const token = {
    kind: "join",
    note: "",
    created: "2026-11-21T17:02:06Z",
    used: 3,
    revoked: false,
    state: "valid",
  } as const;
  const table = tokensTable([
    { ...token, id: "tulkabae", note: "first start" },
    { ...token, id: "s4f6mdbb", kind: "operator", expires: "2026-11-22T17:02:43Z", note: "the night shift" },
    { ...token, id: "vkpqpxpg", uses: 1, used: 0, revoked: true, state: "was revoked" },
    { ...token, id: "27fndbhl", uses: 3, state: "is used up (3 of 3)" },
    { ...token, id: "upzofdb4", state: "has expired (2026-11-21T18:00:00Z)" },
  ]);
  assert.equal(
    table,
    `
ID        FOR       USED    MADE               STATE                 NOTE
tulkabae  join      3       2026-11-21 17:02Z  valid                 first start
s4f6mdbb  operator  3       2026-11-21 17:02Z  to 2026-11-22 17:02Z  the night …
vkpqpxpg  join      0 of 1  2026-11-21 17:02Z  revoked
27fndbhl  join      3 of 3  2026-11-21 17:02Z  used up
upzofdb4  join      3       2026-11-21 17:02Z  expired`.slice(1),
  );
});
