import assert from "node:assert/strict";
import { test } from "node:test";
import type { MemberRecord } from "../../model/trust/membership.ts";
import type { TokenRecord } from "../../model/trust/token.ts";
import { type Applicant, isMember, type KnownMembers, refuseSecondId, type Voucher } from "./admission.ts";

const APPLICANT: Applicant = { agentId: "a", publicKey: "key-a", memberId: "aaaaaaaaaaaaaaaa" };
const MEMBER: MemberRecord = { agentId: "a", publicKey: "key-a", epoch: 1, revision: 1, content: "" };
const NOBODY_KNOWN: KnownMembers = { ofAgent: undefined, ofKey: undefined, removals: [], date: "2026-11-21T12:00:00Z" };
const REMOVED = { ...NOBODY_KNOWN, removals: [{ agentId: "a", memberId: "bbbbbbbbbbbbbbbb", epoch: 4 }] };
const token = (delta: Partial<TokenRecord> = {}): Voucher => ({
  type: "token",
  token: {
    id: "abcdefgh",
    kind: "join",
    key: "",
    note: "",
    created: "2026-11-20T12:00:00Z",
    used: 0,
    epoch: 1,
    revoked: false,
    ...delta,
  },
});

test("who is let in: a known key by itself, another one by whom it brings", () => {
  const rows: [string, Voucher, KnownMembers, boolean][] = [
    ["a member by its key", { type: "nobody" }, { ...NOBODY_KNOWN, ofAgent: MEMBER }, true],
    ["a member with a dead token", token({ revoked: true }), { ...NOBODY_KNOWN, ofAgent: MEMBER }, true],
    ["a newcomer by a token", token(), NOBODY_KNOWN, false],
    ["by one with uses left", token({ uses: 2, used: 1 }), NOBODY_KNOWN, false],
    ["by one that ends in a second", token({ expires: "2026-11-21T12:00:01Z" }), NOBODY_KNOWN, false],
    ["by the socket", { type: "socket" }, NOBODY_KNOWN, false],
    ["by a certificate", { type: "certificate" }, NOBODY_KNOWN, false],
    ["who was removed, by a newer token", token({ epoch: 5 }), REMOVED, false],
    ["who was removed, by root of the master", { type: "socket" }, REMOVED, false],
  ];
  for (const [what, voucher, known, expected] of rows)
    assert.equal(isMember(APPLICANT, voucher, known), expected, what);
});

test("who is not, and what to do about it", () => {
  const rows: [string, Voucher, KnownMembers, RegExp][] = [
    ["nobody", { type: "nobody" }, NOBODY_KNOWN, /not known here.*--join-token-file/],
    ["another key", token(), { ...NOBODY_KNOWN, ofAgent: { ...MEMBER, publicKey: "other" } }, /another identity key/],
    ["revoked", token({ revoked: true }), NOBODY_KNOWN, /abcdefgh was revoked; make another/],
    ["expired", token({ expires: "2026-11-21T12:00:00Z" }), NOBODY_KNOWN, /has expired \(2026-11-21T12:00:00Z\)/],
    ["used up", token({ uses: 2, used: 2 }), NOBODY_KNOWN, /is used up \(2 of 2\)/],
    ["an operator's", token({ kind: "operator" }), NOBODY_KNOWN, /is an operator's/],
    ["removed, old token", token({ epoch: 4 }), REMOVED, /was removed .* made now/],
    ["removed, certificate", { type: "certificate" }, REMOVED, /was removed/],
    ["removed, nothing", { type: "nobody" }, REMOVED, /was removed/],
    [
      "removed under another id, same key",
      token(),
      { ...NOBODY_KNOWN, removals: [{ agentId: "b", memberId: APPLICANT.memberId, epoch: 4 }] },
      /was removed/,
    ],
  ];
  for (const [what, voucher, known, message] of rows)
    assert.throws(() => isMember(APPLICANT, voucher, known), { code: "not-admitted", message }, what);
});

test("a key has one id, unless it takes its own record over", () => {
  const ofKey = { ...MEMBER, agentId: "before" };
  refuseSecondId(APPLICANT, undefined, undefined);
  refuseSecondId(APPLICANT, MEMBER, undefined);
  refuseSecondId(APPLICANT, ofKey, "before");
  for (const replaced of [undefined, "other"])
    assert.throws(() => refuseSecondId(APPLICANT, ofKey, replaced), { code: "not-admitted", message: /agent before/ });
});
