import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { ALIVE, DEAD, LEFT, type Status } from "./messages.ts";
import { GEN_MAX, hashEntry, hashMember, hashRecords, isNewer, memberVersion, nextGen } from "./version.ts";

const gen = fc.oneof(
  fc.nat(),
  fc.maxSafeInteger().map((n) => Math.abs(n) % 2 ** 51),
);

describe("versions", () => {
  it("of a next life are above all of the one before, whatever the chance", () =>
    fc.assert(
      fc.property(gen, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (seen, fraction) => {
        const next = nextGen(seen, fraction);
        assert.ok(next > seen && Number.isSafeInteger(next) && next <= GEN_MAX);
        assert.ok(nextGen(next, 0) > next);
      }),
    ));

  it("order by gen, then inc, then ALIVE before LEFT before DEAD, beyond 32 bits too", () => {
    const rising = [
      [1, 0, ALIVE],
      [1, 0, LEFT],
      [1, 0, DEAD],
      [1, 1, ALIVE],
      [1, 2 ** 32 - 1, DEAD],
      [2, 0, ALIVE],
      [2 ** 32 + 1, 0, ALIVE],
      [2 ** 40, 0, ALIVE],
    ] as const;
    for (const [a, [genA, incA, statusA]] of rising.entries())
      for (const [b, [genB, incB, statusB]] of rising.entries()) {
        const [versionA, versionB] = [memberVersion(incA, statusA as Status), memberVersion(incB, statusB as Status)];
        assert.equal(isNewer(genA, versionA, genB, versionB), a > b, `${a} against ${b}`);
      }
  });

  it("have hashes in which each part counts", () => {
    const id = "0123456789abcdef";
    const state = { high: 1, low: 2 };
    const hashes = [
      hashMember(id, 1, 0),
      hashMember(id, 1, 1),
      hashMember(id, 2, 0),
      hashMember(id, 2 ** 32 + 1, 0),
      hashMember("0123456789abcdee", 1, 0),
      hashRecords(id, 1, 0, state),
      hashRecords(id, 1, 1, state),
      hashRecords(id, 1, 0, { high: 2, low: 1 }),
      hashEntry("a", 1, 1, false),
      hashEntry("a", 1, 1, true),
      hashEntry("b", 1, 1, false),
      hashEntry("a", 2, 1, false),
      hashEntry("a", 1, 2, false),
    ];
    assert.equal(new Set(hashes.map(({ high, low }) => `${high} ${low}`)).size, hashes.length);
    assert.ok(hashes.every(({ high, low }) => high === high >>> 0 && low === low >>> 0));
  });
});
