import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { cidr, ip, nthAddress } from "../../model/ip.ts";
import {
  NEW_SESSION_BURST,
  NEW_SESSIONS_BURST,
  NEW_SESSIONS_RATE,
  SENDER_BURST,
  SENDER_RATE,
  STRANGERS_BURST,
  STRANGERS_RATE,
} from "../../model/limits.ts";
import { SourceLimits } from "./source-limits.ts";

const [A, B, C] = [ip("10.0.0.1"), ip("10.0.0.2"), ip("10.0.0.3")];

/** How many of `tries` datagrams are admitted at one instant. */
function admitted(limits: SourceLimits, from: typeof A, isKnown: boolean, now: number, tries = 10_000): number {
  return Array.from({ length: tries }, () => limits.refuses(from, isKnown, now)).filter((no) => no === undefined)
    .length;
}

describe("what is worth opening", () => {
  it("is a burst, then a rate, for each sender by itself", () => {
    const limits = new SourceLimits();
    for (const from of [A, B]) limits.proved(from);
    assert.equal(admitted(limits, A, true, 0), SENDER_BURST);
    assert.equal(limits.refuses(A, true, 0), "sender-rate");
    assert.equal(admitted(limits, A, true, 1_000), SENDER_RATE);
    assert.equal(admitted(limits, B, true, 1_000), SENDER_BURST);
    assert.equal(admitted(limits, A, true, 3_600_000), SENDER_BURST, "what was not used does not add up");
  });

  it("is little for strangers, all together, whatever addresses they give", () => {
    const limits = new SourceLimits();
    const addresses = Array.from({ length: 5_000 }, (_, i) => nthAddress(cidr("10.0.0.0/8"), BigInt(i)));
    const taken = (now: number) => addresses.filter((from) => limits.refuses(from, false, now) === undefined).length;
    assert.equal(taken(0), STRANGERS_BURST);
    assert.equal(taken(1_000), STRANGERS_RATE);
    assert.equal(
      limits.refuses(C, true, 1_000),
      "stranger-rate",
      "no session makes up for an address that proved nothing",
    );
    assert.equal(limits.senders, 0, "and none of them is remembered");
  });

  it("is not changed for a known session by who else writes under its address", () => {
    const limits = new SourceLimits();
    limits.proved(A);
    assert.equal(
      admitted(limits, A, false, 0),
      NEW_SESSION_BURST + STRANGERS_BURST,
      "the forger has what strangers have",
    );
    assert.equal(limits.refuses(A, false, 0), "stranger-rate");
    assert.equal(admitted(limits, A, true, 0), SENDER_BURST);
  });

  it("includes a new session of an address that proved itself, while strangers use up what they have", () => {
    const limits = new SourceLimits();
    limits.proved(A);
    admitted(limits, C, false, 0);
    assert.equal(limits.refuses(B, false, 0), "stranger-rate", "one that never proved itself must wait");
    assert.equal(admitted(limits, A, false, 0), NEW_SESSION_BURST);
  });

  it("is bounded when every address that proved itself is forged", () => {
    const limits = new SourceLimits();
    const addresses = Array.from({ length: 1_000 }, (_, i) => nthAddress(cidr("10.0.0.0/8"), BigInt(i)));
    for (const from of addresses) limits.proved(from);
    const taken = (now: number) => addresses.reduce((sum, from) => sum + admitted(limits, from, false, now, 50), 0);
    assert.equal(taken(0), NEW_SESSIONS_BURST + STRANGERS_BURST);
    assert.equal(taken(1_000), NEW_SESSIONS_RATE + STRANGERS_RATE);
  });

  it("forgets the sender that was heard longest ago, and no more senders than it may keep", () => {
    const limits = new SourceLimits(2);
    for (const from of [A, B, A, C]) limits.proved(from);
    assert.equal(limits.senders, 2);
    admitted(limits, ip("10.9.9.9"), false, 0);
    assert.deepEqual(
      [A, B, C].map((from) => limits.refuses(from, true, 0)),
      [undefined, "stranger-rate", undefined],
    );
  });
});
