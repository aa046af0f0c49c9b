import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { KEY_PHASE_MAX_MS, KEY_PHASE_MIN_MS } from "../../model/limits.ts";
import type { KeyRing } from "../../model/trust/key-ring.ts";
import { KeyRotation } from "./key-rotation.ts";

const STEADY: KeyRing = { phase: "steady", current: { id: 1, key: "one" } };
const shown = ({ phase, current, other }: KeyRing) => [phase, current.id, other?.id];

test("a key is learned by all, then sent with, then the last one goes; each phase when all have come, but not at once", () => {
  const rotation = new KeyRotation(STEADY, 0);
  assert.equal(rotation.nextDeadline(), undefined);
  const effects = rotation.step({ type: "rotate", key: "two", connected: ["a", "b"] }, 1_000);
  assert.deepEqual(
    effects.map(({ type }) => type),
    ["save", "announce"],
    "durable before it is told",
  );
  assert.deepEqual(shown(rotation.ring), ["spreading", 1, 2]);
  rotation.step({ type: "fetched", agentId: "a" }, 1_100);
  assert.equal(rotation.nextDeadline(), 1_000 + KEY_PHASE_MAX_MS, "b has not come");
  rotation.step({ type: "fetched", agentId: "b" }, 1_200);
  assert.equal(rotation.nextDeadline(), 1_000 + KEY_PHASE_MIN_MS);
  assert.deepEqual(rotation.step({ type: "tick", connected: ["a", "b"] }, 1_300), [], "too early");

  const second = 1_000 + KEY_PHASE_MIN_MS;
  rotation.step({ type: "tick", connected: ["a", "b"] }, second);
  assert.deepEqual(shown(rotation.ring), ["retiring", 2, 1]);
  assert.equal(rotation.nextDeadline(), second + KEY_PHASE_MAX_MS, "both must come again");
  for (const agentId of ["a", "b"]) rotation.step({ type: "fetched", agentId }, second);
  const last = rotation.step({ type: "tick", connected: ["a", "b"] }, second + KEY_PHASE_MIN_MS);
  assert.deepEqual(last[0], { type: "save", ring: { phase: "steady", current: { id: 2, key: "two" } } });
  assert.equal(rotation.nextDeadline(), undefined);
});

test("one that stays away holds nobody up for longer than the bound, one that goes for no time", () => {
  const rotation = new KeyRotation(STEADY, 0);
  rotation.step({ type: "rotate", key: "two", connected: ["away", "gone"] }, 0);
  rotation.step({ type: "disconnected", agentId: "gone" }, 1);
  assert.equal(rotation.nextDeadline(), KEY_PHASE_MAX_MS);
  rotation.step({ type: "tick", connected: ["away"] }, KEY_PHASE_MAX_MS);
  assert.equal(rotation.ring.phase, "retiring");
  rotation.step({ type: "disconnected", agentId: "away" }, KEY_PHASE_MAX_MS + 1);
  assert.equal(rotation.nextDeadline(), KEY_PHASE_MAX_MS + KEY_PHASE_MIN_MS);
});

test("one that comes in the middle is waited for until it has the keys, whichever comes first", () => {
  const rotation = new KeyRotation(STEADY, 0);
  rotation.step({ type: "rotate", key: "two", connected: [] }, 0);
  assert.equal(rotation.nextDeadline(), KEY_PHASE_MIN_MS);
  rotation.step({ type: "connected", agentId: "late" }, 10);
  assert.equal(rotation.nextDeadline(), KEY_PHASE_MAX_MS);
  rotation.step({ type: "fetched", agentId: "late" }, 20);
  rotation.step({ type: "fetched", agentId: "early" }, 30);
  rotation.step({ type: "connected", agentId: "early" }, 40);
  assert.equal(rotation.nextDeadline(), KEY_PHASE_MIN_MS);
});

test("a second change waits for the end of the first", () => {
  const rotation = new KeyRotation(STEADY, 0);
  rotation.step({ type: "rotate", key: "two", connected: [] }, 0);
  assert.throws(() => rotation.step({ type: "rotate", key: "three", connected: [] }, 1), { code: "in-use" });
  assert.deepEqual(shown(rotation.ring), ["spreading", 1, 2]);
});

test("a master that starts in the middle of a change goes on with it", () => {
  const other = { id: 2, key: "two" };
  for (const ring of [
    { phase: "spreading", current: STEADY.current, other },
    { phase: "retiring", current: other, other: STEADY.current },
  ] as const) {
    const rotation = new KeyRotation(ring, 500);
    assert.equal(rotation.nextDeadline(), 500 + KEY_PHASE_MIN_MS);
    rotation.step({ type: "tick", connected: [] }, 500 + KEY_PHASE_MIN_MS);
    assert.notEqual(rotation.ring.phase, ring.phase);
  }
});

test("whatever agents do, two that fetched in the same or in neighbouring phases understand each other", () => {
  const input = fc.oneof(
    fc.record({ type: fc.constantFrom("fetched", "connected", "disconnected"), agentId: fc.constantFrom("a", "b") }),
    fc.record({ type: fc.constant("tick"), connected: fc.constant([]) }),
    fc.record({
      type: fc.constant("rotate"),
      key: fc.constant("k"),
      connected: fc.constantFrom([], ["a"], ["a", "b"]),
    }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(input, fc.nat(KEY_PHASE_MAX_MS)), { maxLength: 60 }), (inputs) => {
      const rotation = new KeyRotation(STEADY, 0);
      let now = 0;
      for (const [each, passed] of inputs) {
        now += passed;
        const before = rotation.ring;
        try {
          rotation.step(each as never, now);
        } catch (thrown) {
          assert.equal((thrown as { code?: string }).code, "in-use");
        }
        const after = rotation.ring;
        const taken = (ring: KeyRing) => [ring.current.id, ring.other?.id];
        assert.ok(taken(before).includes(after.current.id), "who has the old ring takes what is sent with the new one");
        assert.ok(taken(after).includes(before.current.id), "and the other way round");
      }
    }),
  );
});
