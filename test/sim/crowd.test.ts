/**
 * Forty members that start at once on two processors which others use as well: those who are asked answer seconds late, and
 * each suspicion costs all of them more time. What is wrongly believed then must not keep itself alive.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { crowd } from "../../sim/crowd.ts";
import { TIMING } from "../../src/core/gossip/timing.ts";

const MEMBERS = 40;
const SHAPE = { members: MEMBERS, busy: 4, busyMs: 20_000, packetMs: 0.8, signatureMs: 0.3, ms: 60_000 };
/** Pairs of one who lives and one who holds it for dead: the three seeds, which all join by, are late once or twice. */
const WRONG_MAX = 300;
/** Packets a second of all at rest: a neighbour every 400 ms, one by chance every 2 s, there and back, and a little. */
const REST_PACKETS_MAX = MEMBERS * 10;

describe("a crowd on one machine", () => {
  for (const seed of [1, 2])
    it(`comes to rest by itself, seed ${seed}`, () => {
      const { wrong, wrongAtEnd, packetsAtEnd, known } = crowd({ ...SHAPE, seed });
      assert.equal(known, MEMBERS * MEMBERS, "all know all");
      assert.equal(wrongAtEnd, 0, "nobody who lives is held for dead");
      assert.ok(wrong <= WRONG_MAX, `${wrong} wrong deaths on the way`);
      assert.ok(packetsAtEnd <= REST_PACKETS_MAX, `${packetsAtEnd} packets in the last second`);
    });

  it("does not where members judge by what they have not read", () => {
    const { wrongAtEnd, packetsAtEnd } = crowd({
      ...SHAPE,
      seed: 1,
      timing: { ...TIMING, lagMs: Number.POSITIVE_INFINITY },
    });
    assert.ok(wrongAtEnd > MEMBERS && packetsAtEnd > 5 * REST_PACKETS_MAX, `${wrongAtEnd}, ${packetsAtEnd}`);
  });
});
