import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { GOSSIP_MEMBERS_MAX } from "../../model/limits.ts";
import { ALIVE, DEAD, type Death, type Head, LEFT } from "./messages.ts";
import { emptyState } from "./owner-state.ts";
import { bucketOf, Roster } from "./roster.ts";
import { Table } from "./table.ts";
import { hashMember } from "./version.ts";

const NOTHING = new Uint8Array();
const idOf = (n: number) => `${((n * 37) % 256).toString(16).padStart(2, "0")}${n.toString(16).padStart(14, "0")}`;

function head(n: number, gen: number, inc: number, hasLeft = false): Head {
  return { id: idOf(n), gen, inc, hasLeft, address: `10.0.0.${n}:1`, credential: NOTHING, signature: NOTHING };
}

function death(n: number, gen: number, inc: number): Death {
  return { id: idOf(n), gen, inc, accuser: idOf(99), signature: NOTHING, testimonies: [] };
}

type Step = readonly ["head" | "left" | "death" | "records" | "expel", number, number, number];
const step: fc.Arbitrary<Step> = fc.tuple(
  fc.constantFrom("head", "left", "death", "records", "expel"),
  fc.nat(4),
  fc.integer({ min: 1, max: 3 }),
  fc.nat(3),
);

function take(table: Table, [what, n, gen, inc]: Step): void {
  if (what === "head" || what === "left") table.putHead(head(n, gen, inc, what === "left"), NOTHING, 0);
  else if (what === "death") table.putDeath(death(n, gen, inc), 0);
  else if (what === "records") table.putState({ ...emptyState(idOf(n), gen), seq: inc });
  else table.expel(idOf(n));
}

describe("a table", () => {
  it("has the digest of what it knows, after whatever happened", () =>
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const table = new Table(new Roster());
        for (const each of steps) take(table, each);
        let [high, low] = [0, 0];
        const buckets = new Uint32Array(256);
        for (const { head: known, gen, version } of table.members()) {
          const state = table.state(known.id);
          const hashes = [hashMember(known.id, gen, version), ...(state === undefined ? [] : [state.hash])];
          for (const hash of hashes) {
            [high, low] = [(high ^ hash.high) >>> 0, (low ^ hash.low) >>> 0];
            buckets[bucketOf(known.id)] = (buckets[bucketOf(known.id)] as number) ^ hash.low;
          }
        }
        assert.deepEqual(table.root, { high, low });
        assert.deepEqual(table.buckets(), buckets);
        const dead = [...table.members()].filter(({ status }) => status === DEAD).length;
        assert.equal(table.dead, dead);
        assert.equal([...table.members()].length, table.size);
      }),
    ));

  it("knows the same in the end, in whatever order heads and deaths came", () =>
    fc.assert(
      fc.property(fc.array(step.filter(([what]) => what === "head" || what === "death")), fc.nat(), (steps, turn) => {
        // Each member is known from a first head on: before that nothing is said about it.
        const first: Step[] = [0, 1, 2, 3, 4].map((n) => ["head", n, 1, 0]);
        const rotated = steps.map((_, n) => steps[(n + turn) % steps.length] as Step);
        const [one, other] = [steps, rotated].map((order) => {
          const table = new Table(new Roster());
          for (const each of [...first, ...order]) take(table, each);
          return [...table.members()].map(({ head: { id }, gen, version }) => `${id} ${gen} ${version}`).sort();
        });
        // LEFT ends its gen: a death of that gen counts only if it came first, and neither is wrong.
        const isSame = (a: string, b: string) => a === b || steps.some(([what]) => what === "left");
        for (const [n, text] of (one ?? []).entries()) assert.ok(isSame(text, other?.[n] ?? ""));
      }),
    ));

  it("holds who left for gone, until a later life of it dies", () => {
    const table = new Table(new Roster());
    table.putHead(head(1, 1, 0), NOTHING, 0);
    assert.ok(table.putHead(head(1, 1, 1, true), NOTHING, 0));
    assert.equal(table.putDeath(death(1, 1, 5), 0), false);
    assert.equal(table.member(idOf(1))?.status, LEFT);
    assert.ok(table.putDeath(death(1, 2, 0), 0));
    assert.equal(table.member(idOf(1))?.status, DEAD);
    assert.ok(table.putHead(head(1, 2, 1), NOTHING, 0));
    assert.equal(table.member(idOf(1))?.status, ALIVE);
  });

  it("takes an older head of one that is dead, which stays dead", () => {
    const table = new Table(new Roster());
    table.putHead(head(1, 1, 0), NOTHING, 0);
    table.putDeath(death(1, 1, 4), 0);
    table.putHead(head(1, 1, 3), NOTHING, 0);
    assert.deepEqual([table.member(idOf(1))?.status, table.member(idOf(1))?.head.inc], [DEAD, 3]);
  });

  it("draws the dead, and each of them", () => {
    const table = new Table(new Roster());
    assert.equal(table.someDead(0.5), undefined);
    for (let n = 0; n < 4; n += 1) {
      table.putHead(head(n, 1, 0), NOTHING, 0);
      table.putDeath(death(n, 1, 0), 0);
    }
    const drawn = [0, 0.25, 0.5, 0.99].map((fraction) => table.someDead(fraction)?.head.id);
    assert.deepEqual(drawn, [0, 1, 2, 3].map(idOf));
  });

  it("has copies that know the same and then go their own way", () =>
    fc.assert(
      fc.property(fc.array(step), fc.array(step), (before, after) => {
        const table = new Table(new Roster());
        for (const each of before) take(table, each);
        table.measured(idOf(0), 7);
        const then = contents(table);
        const copy = table.copy();
        assert.deepEqual(contents(copy), then);
        for (const each of after) take(copy, each);
        copy.measured(idOf(0), 70);
        assert.deepEqual(contents(table), then);
        for (const each of after) take(table, each);
        table.measured(idOf(0), 70);
        assert.deepEqual(contents(table), contents(copy));
      }),
    ));
});

function contents(table: Table): unknown {
  const members = [...table.members()].map((member) => ({
    member,
    state: table.state(member.head.id),
    rtt: table.rtt(member.head.id),
  }));
  const inBuckets = Array.from({ length: 256 }, (_, n) => [...table.inBucket(n)].map(({ head }) => head.id));
  const { root, dead, size } = table;
  return { members, inBuckets, root, dead, size, buckets: table.buckets(), some: table.someDead(0.5)?.head.id };
}

describe("a roster", () => {
  it("lists each part of the digest by rising id, and gives a number once", () => {
    const roster = new Roster();
    for (const id of ["aa03", "aa01", "ab00", "aa02", "aa01"]) roster.admit(`${id}000000000000`);
    assert.deepEqual(
      roster.bucket(0xaa).map((number) => roster.idOf(number).slice(0, 4)),
      ["aa01", "aa02", "aa03"],
    );
    assert.equal(roster.size, 4);
  });

  it("has a bound", () => {
    const roster = new Roster();
    for (let n = 0; n < GOSSIP_MEMBERS_MAX; n += 1) roster.admit(idOf(n));
    assert.equal(roster.admit("ffffffffffffffff"), undefined);
    assert.equal(roster.admit(idOf(3)), 3);
  });
});
