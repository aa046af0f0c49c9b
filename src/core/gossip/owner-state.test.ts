import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { GOSSIP_TRACES_MAX } from "../../model/limits.ts";
import { applyEntries, deltaSince, emptyState, type OwnerState, piecesOf } from "./owner-state.ts";
import { Publisher } from "./publisher.ts";
import { Staging } from "./staging.ts";

const OWNER = "00000000000000aa";
const sign = () => new Uint8Array(64);

/** Changes of an owner: keys that are written and deleted, some of them many at once. */
const change = fc.oneof(
  fc.record({ keys: fc.array(fc.nat(11), { minLength: 1, maxLength: 4 }), isDelete: fc.boolean() }),
  fc.record({ keys: fc.constant(Array.from({ length: 90 }, (_, n) => 100 + n)), isDelete: fc.boolean() }),
);
const history = fc.array(change, { minLength: 1, maxLength: 30 });

/** The owner's state after each change. */
function statesOf(changes: readonly { readonly keys: readonly number[]; readonly isDelete: boolean }[]): OwnerState[] {
  const publisher = new Publisher(OWNER, 7, sign);
  const states: OwnerState[] = [];
  for (const [n, { keys, isDelete }] of changes.entries()) {
    publisher.write(new Map(keys.map((key) => [`k${key}`, isDelete ? undefined : Uint8Array.of(n, key)])));
    if (publisher.state.seq > (states.at(-1)?.seq ?? 0)) states.push(publisher.state);
  }
  return states;
}

describe("an owner's records", () => {
  it("are the same for whoever saw which of the changes, in whatever pieces", () =>
    fc.assert(
      fc.property(history, fc.array(fc.nat()), fc.integer({ min: 1, max: 400 }), (changes, seen, pieceBytes) => {
        const states = statesOf(changes);
        let mine: OwnerState | undefined;
        for (const state of [...seen.map((n) => states[n % Math.max(1, states.length)]), states.at(-1)]) {
          if (state === undefined || (mine !== undefined && state.seq <= mine.seq)) continue;
          const delta = deltaSince(state, mine?.gen ?? 0, mine?.seq ?? 0);
          assert.ok(delta !== undefined);
          const staging = new Staging();
          const pieces = piecesOf(delta, () => 100, pieceBytes).reverse();
          const whole = pieces.length === 1 ? delta : pieces.map((p) => staging.add(p, mine?.seq ?? 0, 0)).at(-1);
          assert.ok(whole !== undefined, "the last piece completes it");
          mine = applyEntries(mine, whole, whole.entries);
          assert.deepEqual(mine, state);
        }
      }),
    ));

  it("are refused when an entry is missing, changed places or was deleted by somebody else", () =>
    fc.assert(
      fc.property(history, fc.nat(), (changes, place) => {
        const state = statesOf(changes).at(-1);
        const delta = state && deltaSince(state, 0, 0);
        if (delta === undefined || delta.entries.length < 2) return;
        const at = place % (delta.entries.length - 1);
        const without = delta.entries.filter((_, n) => n !== at);
        assert.equal(applyEntries(undefined, delta, without), undefined);
        const undone = delta.entries.map((entry, n) =>
          n === at ? { ...entry, value: entry.value === undefined ? sign() : undefined } : entry,
        );
        assert.equal(applyEntries(undefined, delta, undone), undefined);
      }),
    ));

  it("are refused over a gap", () => {
    const [first, , third] = statesOf([1, 2, 3].map((n) => ({ keys: [n], isDelete: false })));
    assert.ok(first !== undefined && third !== undefined);
    const late = deltaSince(third, 7, 2);
    assert.ok(late !== undefined);
    assert.equal(applyEntries(first, { ...late, from: 1 }, late.entries), undefined);
  });

  it("go as a whole to who has less than the floor, to who has another gen, and to who has more", () => {
    const keys = Array.from({ length: GOSSIP_TRACES_MAX + 10 }, (_, n) => n);
    const [, state] = statesOf([
      { keys: [...keys, 900], isDelete: false },
      { keys, isDelete: true },
    ]);
    assert.ok(state !== undefined && state.floor > 0);
    const from = (gen: number, have: number) => deltaSince(state, gen, have)?.from;
    assert.deepEqual(
      [from(7, state.floor), from(7, state.floor - 1), from(6, state.seq - 1), from(7, state.seq + 1)],
      [state.floor, 0, 0, 0],
    );
    assert.equal(deltaSince(state, 7, state.seq), undefined, "who has all lacks nothing");
  });

  it("that never were have the digest of nothing, and of their gen", () => {
    assert.notDeepEqual(emptyState(OWNER, 1).hash, emptyState(OWNER, 2).hash);
    assert.deepEqual(emptyState(OWNER, 1).hash, emptyState(OWNER, 1).hash);
  });
});

describe("answers in pieces", () => {
  const states = statesOf(Array.from({ length: 20 }, (_, n) => ({ keys: [n], isDelete: false })));
  const piecesFrom = (have: number, state = states.at(-1) as OwnerState) => {
    const delta = deltaSince(state, 7, have);
    return delta === undefined ? [] : piecesOf(delta, () => 100, 500);
  };

  it("say how far they reach, and the rest of a newer answer goes on there", () => {
    const staging = new Staging();
    const [first, second] = piecesFrom(0, states[14]);
    assert.ok(first !== undefined && second !== undefined);
    assert.equal(staging.add(first, 0, 0), undefined);
    assert.equal(staging.add(second, 0, 0), undefined);
    assert.equal(staging.reach(OWNER, 7, 0), 10);
    const whole = piecesFrom(10)
      .map((piece) => staging.add(piece, 0, 0))
      .at(-1);
    assert.equal(whole?.to, 20);
    assert.equal(whole?.entries.length, 20);
  });

  it("of an older gen or answer disturb nothing", () => {
    const staging = new Staging();
    const [first, ...others] = piecesFrom(0);
    assert.ok(first !== undefined);
    staging.add(first, 0, 0);
    for (const piece of piecesFrom(0, states[9])) assert.equal(staging.add(piece, 0, 0), undefined);
    for (const piece of others.slice(0, -1)) assert.equal(staging.add({ ...piece, gen: 6 }, 0, 0), undefined);
    assert.ok(others.map((piece) => staging.add(piece, 0, 0)).at(-1) !== undefined);
  });

  it("are forgotten after a while without another piece", () => {
    const staging = new Staging();
    const pieces = piecesFrom(0);
    const whole = pieces.map((piece, n) => staging.add(piece, 0, n === 0 ? 0 : 10_000)).at(-1);
    assert.equal(whole, undefined);
    assert.equal(staging.size, 1);
  });
});
