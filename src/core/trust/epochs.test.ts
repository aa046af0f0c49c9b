import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { REMOVALS_KEPT, REMOVALS_MAX } from "../../model/limits.ts";
import type { EpochRecord } from "../../model/trust/epoch-record.ts";
import { isRefused } from "../../model/trust/standing.ts";
import { FIRST_EPOCH, type Issued, isFloorDue, withFloor, withRemovals } from "./epochs.ts";

const memberIdOf = (agentId: string) => agentId.padStart(16, "0");
const removalOf = (agentId: string) => ({ agentId, memberId: memberIdOf(agentId) });
const named = ({ agentId, epoch }: Issued) => ({ ...removalOf(agentId), epoch });

test("a removal takes the epoch that was, and what comes afterwards is above it", () => {
  const next = withRemovals(FIRST_EPOCH, [removalOf("a"), removalOf("b")], () => []);
  assert.deepEqual(next, {
    epoch: 2,
    floor: 0,
    removals: [
      { ...removalOf("a"), epoch: 1 },
      { ...removalOf("b"), epoch: 1 },
    ],
  });
  assert.equal(
    withRemovals(next, [], () => []),
    next,
  );
});

/** A cluster in which agents join, come back and are removed, in any order. */
interface History {
  state: EpochRecord;
  living: Map<string, number>;
  removed: Issued[];
}

type Step = { readonly type: "join" | "return" | "remove"; readonly pick: number };
const steps = fc.array(
  fc.record({ type: fc.constantFrom("join", "join", "return", "remove", "remove"), pick: fc.nat() }),
  { maxLength: 1_400, minLength: 1_000 },
) as fc.Arbitrary<Step[]>;

function play(history: History, { type, pick }: Step, n: number): void {
  const ids = [...history.living.keys()];
  const id = ids[pick % Math.max(1, ids.length)];
  const issued = () => [...history.living].map(([agentId, epoch]) => ({ agentId, epoch }));
  if (type === "join") history.living.set(`agent${n}`, history.state.epoch);
  if (id === undefined || type === "join") return;
  if (type === "return") {
    history.living.set(id, history.state.epoch);
    history.state = withFloor(history.state, issued);
    return;
  }
  history.removed.push({ agentId: id, epoch: history.living.get(id) as number });
  history.living.delete(id);
  history.state = withRemovals(history.state, [removalOf(id)], issued);
}

test("whatever happens, who lives is never refused, and who was removed always is", () => {
  fc.assert(
    fc.property(steps, (all) => {
      const history: History = { state: FIRST_EPOCH, living: new Map(), removed: [] };
      for (const [n, step] of all.entries()) play(history, step, n);
      for (const [agentId, epoch] of history.living)
        assert.ok(!isRefused(named({ agentId, epoch }), history.state), `${agentId} lives`);
      for (const each of history.removed) assert.ok(isRefused(named(each), history.state), `${each.agentId} is gone`);
      assert.ok(history.state.removals.length <= REMOVALS_MAX);
    }),
    { numRuns: 20 },
  );
});

function manyRemovals(count: number, living: readonly Issued[]): EpochRecord {
  let state = FIRST_EPOCH;
  for (let n = 0; n < count; n++) state = withRemovals(state, [removalOf(`gone${n}`)], () => living);
  return state;
}

test("when removals are many, the floor rises as far as the one who came back last lets it", () => {
  const stale = { agentId: "stale", epoch: 100 };
  const state = manyRemovals(REMOVALS_KEPT + 1, [stale]);
  assert.deepEqual([state.floor, state.removals[0]?.epoch], [100, 100]);
  assert.ok(!isRefused(named(stale), state));
  const fresh = withFloor(manyRemovals(REMOVALS_KEPT + 1, [{ agentId: "stale", epoch: 1 }]), () => [
    { agentId: "stale", epoch: REMOVALS_KEPT + 2 },
  ]);
  assert.deepEqual([fresh.floor, fresh.removals], [REMOVALS_KEPT + 2, []]);
});

test("an agent that never comes back holds the floor down until removals are refused, and its own removal is not", () => {
  const stale = { agentId: "stale", epoch: 1 };
  const state = manyRemovals(REMOVALS_MAX, [stale]);
  assert.ok(isFloorDue(state));
  assert.equal(state.removals.length, REMOVALS_MAX);
  assert.throws(() => withRemovals(state, [removalOf("more")], () => [stale]), {
    code: "exhausted",
    message: /agent stale has not registered since/,
  });
  const after = withRemovals(state, [removalOf("stale")], () => []);
  assert.deepEqual([after.floor, after.removals], [REMOVALS_MAX + 2, []]);
  assert.ok(isRefused(named(stale), after));
});
