import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Fault } from "../../model/fault.ts";
import { GOSSIP_OWNER_BYTES_MAX, GOSSIP_OWNER_ENTRIES_MAX, GOSSIP_PIECE_MAX_BYTES } from "../../model/limits.ts";
import { applyEntries } from "./owner-state.ts";
import { keysOf, Publisher, recordValue } from "./publisher.ts";

const OWNER = "00000000000000aa";
const publisher = () => new Publisher(OWNER, 1, () => new Uint8Array(64));
const value = (length: number, fill = 1) => new Uint8Array(length).fill(fill);

describe("a publisher", () => {
  it("gives back what was written, whatever was there before and however long it is", () =>
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom("a", "b", "c"), fc.option(fc.nat(4_000), { nil: undefined })), {
          maxLength: 12,
        }),
        (writes) => {
          const own = publisher();
          const wanted = new Map<string, Uint8Array>();
          for (const [n, [key, length]] of writes.entries()) {
            const written = length === undefined ? undefined : value(length, n);
            own.write(new Map([[key, written]]));
            if (written === undefined) wanted.delete(key);
            else wanted.set(key, written);
          }
          assert.deepEqual(keysOf(own.state).sort(), [...wanted.keys()].sort());
          for (const [key, written] of wanted) assert.deepEqual(recordValue(own.state, key), written);
        },
      ),
    ));

  it("writes nothing when nothing changes", () => {
    const own = publisher();
    assert.equal(own.write(new Map([["a", value(10)]]))?.to, 1);
    assert.equal(own.write(new Map([["a", value(10)]])), undefined);
    assert.equal(own.write(new Map([["b", undefined]])), undefined);
    assert.equal(own.write(new Map([["a", value(2 * GOSSIP_PIECE_MAX_BYTES)]]))?.entries.length, 2);
  });

  for (const count of [64, 65, 200])
    it(`deletes ${count} keys in one change`, () => {
      const own = publisher();
      const keys = Array.from({ length: count }, (_, n) => `k${n}`);
      own.write(new Map([...keys, "stays"].map((key) => [key, value(1)])));
      const before = own.state;
      const delta = own.write(new Map(keys.map((key) => [key, undefined])));
      assert.deepEqual(keysOf(own.state), ["stays"]);
      assert.ok(delta !== undefined);
      assert.deepEqual(applyEntries(before, delta, delta.entries), own.state);
    });

  it("says that it has nothing, in each life", () => {
    const own = publisher();
    const nothing = own.whole();
    assert.equal(nothing.entries.length, 1);
    assert.deepEqual(keysOf(applyEntries(undefined, nothing, nothing.entries)), []);
    assert.equal(own.restart(2).entries.length, 1);
    own.write(new Map([["a", value(1)]]));
    const anew = own.restart(3);
    assert.deepEqual([anew.gen, anew.from, keysOf(own.state)], [3, 0, ["a"]]);
  });

  it("refuses what is too much, and writes nothing of it", () => {
    const many = new Map(Array.from({ length: GOSSIP_OWNER_ENTRIES_MAX + 1 }, (_, n) => [`k${n}`, value(1)]));
    const cases: readonly ReadonlyMap<string, Uint8Array>[] = [
      new Map([["a", value(GOSSIP_OWNER_BYTES_MAX)]]),
      many,
      new Map([["", value(1)]]),
      new Map([["a\u0000b", value(1)]]),
      new Map([["k".repeat(61), value(1)]]),
    ];
    for (const changes of cases) {
      const own = publisher();
      const before = own.state;
      assert.throws(
        () => own.write(changes),
        (error) => error instanceof Fault && error.code === "bad-request",
      );
      assert.equal(own.state, before);
    }
    assert.ok(publisher().write(new Map([["a", value(GOSSIP_OWNER_BYTES_MAX - 4_000)]])) !== undefined);
    assert.ok(publisher().write(new Map([["k".repeat(60), value(1)]])) !== undefined);
  });
});
