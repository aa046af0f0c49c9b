import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { CHALLENGE_LIFE_MS, CHALLENGES_ANSWERED_MAX, NONCE_BYTES } from "../../model/limits.ts";
import { u32 } from "../../model/trust/bytes.ts";
import { Challenges } from "./challenges.ts";

const EPHEMERAL = new Uint8Array(32).fill(9);
const chance = (n: number) => new Uint8Array(16).fill(1, 4).fill(n, 0, 4);
const newChallenges = () => new Challenges(new Uint8Array(32).fill(7));

test("a challenge is answered once, until it ends", () => {
  const challenges = newChallenges();
  const [one, two, three] = [1, 2, 3].map((n) => challenges.give(chance(n), EPHEMERAL, 1_000));
  assert.ok(one && two && three);
  assert.equal(one.length, NONCE_BYTES);
  assert.ok(challenges.isOurs(one, EPHEMERAL));
  challenges.answer(one, 1_000);
  assert.throws(() => challenges.answer(one, 1_001), { code: "unauthorized", message: /was answered before/ });
  challenges.answer(two, 1_000 + CHALLENGE_LIFE_MS - 1);
  assert.throws(() => challenges.answer(three, 1_000 + CHALLENGE_LIFE_MS), { message: /has ended/ });
  assert.throws(
    () => challenges.answer(one, 1_000 + CHALLENGE_LIFE_MS),
    { message: /has ended/ },
    "also when forgotten",
  );
});

test("nobody else makes one: not another master, not for another key, not by changing it", () => {
  const challenges = newChallenges();
  const nonce = challenges.give(chance(1), EPHEMERAL, 0);
  assert.ok(challenges.isOurs(nonce, EPHEMERAL));
  assert.ok(!challenges.isOurs(nonce, new Uint8Array(32)));
  assert.ok(!new Challenges(new Uint8Array(32)).isOurs(nonce, EPHEMERAL));
  fc.assert(
    fc.property(fc.nat(NONCE_BYTES * 8 - 1), (bit) => {
      const changed = new Uint8Array(nonce);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      assert.ok(!challenges.isOurs(changed, EPHEMERAL));
    }),
  );
  fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (noise) => !challenges.isOurs(noise, EPHEMERAL)));
});

test("answers are remembered up to a bound, and make room when they end", () => {
  const challenges = newChallenges();
  const give = (n: number, now: number) =>
    challenges.give(new Uint8Array([...u32(n), ...new Uint8Array(12)]), EPHEMERAL, now);
  for (let n = 0; n < CHALLENGES_ANSWERED_MAX; n++) challenges.answer(give(n, 0), 0);
  const more = give(CHALLENGES_ANSWERED_MAX, 1);
  assert.throws(() => challenges.answer(more, 1), { code: "not-ready" });
  challenges.answer(more, CHALLENGE_LIFE_MS);
});
