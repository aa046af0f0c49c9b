import assert from "node:assert/strict";
import { test } from "node:test";
import { SimClock } from "../../io/sim-clock.ts";
import { MemoryControlPlace, openMemoryControlStore } from "../../io/store/memory-control-store.ts";
import { MemoryDisk, openMemoryMasterDisk } from "../../io/store/memory-store.ts";
import { CHANGES_MAX, CONTROL_EVENT_MAX_BYTES } from "../../model/control-limits.ts";
import { Fault } from "../../model/fault.ts";
import { Book } from "./book.ts";

const SELF = { id: "master-1", url: "http://10.0.0.1:5050" };
const clock = new SimClock();
const many = (count: number, value: unknown) =>
  Array.from({ length: count }, (_, n): readonly [string, unknown] => [`k${n}`, value]);
const text = (bytes: number, letter: string) => letter.repeat(bytes);

function put(book: Book, entries: Iterable<readonly [string, unknown]>, what = "something"): void {
  book.change({ who: "test", what }, () => {
    for (const [key, value] of entries) book.put(key, value);
  });
}

/** A store that several masters share, and the leader after the one before was lost. */
function shared() {
  const place = new MemoryControlPlace();
  const next = async () => {
    place.depose();
    const store = openMemoryControlStore(place);
    const term = await store.lead(SELF, new AbortController().signal);
    return { store, term, book: await Book.open(term, clock) };
  };
  return { place, next };
}

test("a change of any size is made, in events that follow each other", async () => {
  const { next } = shared();
  const { book, term } = await next();
  put(book, many(3 * CHANGES_MAX, 1), "three hundred");
  // Too many bytes for one event, though not too many entries.
  put(book, many(6, text(300_000, "a")));
  put(book, [["k0", text(300_000, "b")]]);
  await book.durable();
  const events = await term.events(0, 100);
  assert.deepEqual(
    events.slice(0, 4).map(({ revision, what }) => [revision, what]),
    [1, 2, 3, 4].map((n) => [n, `three hundred (${n} of 4)`]),
  );
  assert.ok(events.length >= 7 && events.at(-1)?.what === "something", "one that fits is one event");
  assert.equal(events.at(-1)?.changes.length, 1);
  assert.equal(book.revision, events.length);
  assert.deepEqual((await next()).book.state(), book.state());
});

test("a change that breaks off half way is taken back by whoever leads next, and so is the taking back", async () => {
  const { next } = shared();
  const { book } = await next();
  put(book, [...many(250, "before"), ["other", 1]]);
  await book.durable();
  const before = book.state();

  const { store, book: breaking } = await next();
  assert.deepEqual(breaking.state(), before);
  store.failNext(new Fault("storage", "gone"), 2);
  put(breaking, [...many(240, "after"), ["new", 1]], "half done");
  await assert.rejects(breaking.durable(), /gone/);

  // The one who takes it back does not come far either.
  const second = await next();
  assert.deepEqual(second.book.state().entries, before.entries);
  await second.book.durable();
  const third = await next();
  assert.deepEqual([third.book.state().entries, third.book.revision], [before.entries, second.book.revision]);
  put(third.book, [["k0", "later"]]);
  await third.book.durable();
  assert.equal((await next()).book.get("k0"), "later", "and nothing is taken back twice");
});

test("one who cannot finish taking it back leaves that to the next", async () => {
  const { place, next } = shared();
  const { book } = await next();
  put(book, many(350, "before"));
  await book.durable();
  const before = book.state();
  const { store, book: breaking } = await next();
  store.failNext(new Fault("storage", "gone"), 3);
  put(breaking, many(350, "after"));
  await assert.rejects(breaking.durable(), /gone/);
  place.depose();
  const failing = openMemoryControlStore(place);
  const term = await failing.lead(SELF, new AbortController().signal);
  failing.failNext(new Fault("storage", "gone again"), 1);
  await assert.rejects((await Book.open(term, clock)).durable(), /gone again/);
  assert.deepEqual((await next()).book.state().entries, before.entries);
});

test("what a master without this made after a change that broke off is kept", async () => {
  const { place, next } = shared();
  const { store, book } = await next();
  store.failNext(new Fault("storage", "gone"), 1);
  put(book, many(150, 1));
  await assert.rejects(book.durable(), /gone/);
  place.depose();
  const older = await openMemoryControlStore(place).lead(SELF, new AbortController().signal);
  await older.append([{ revision: 2, at: "", who: "", what: "", changes: [{ key: "k149", after: 2 }] }]);
  const { book: after } = await next();
  assert.deepEqual([after.get("k0"), after.get("k149"), after.revision], [1, 2, 2]);
  put(after, many(150, 3));
  await after.durable();
  assert.deepEqual((await next()).book.state(), after.state());
});

test("an entry that no store takes is refused, and nothing of its change has happened, wherever it is kept", async () => {
  const { next } = shared();
  const term = openMemoryMasterDisk(new MemoryDisk()).control.leadNow();
  for (const book of [(await next()).book, await Book.open(term, clock)]) {
    const change = [...many(150, 1), ["large", text(CONTROL_EVENT_MAX_BYTES / 2, "x")] as const];
    assert.throws(() => put(book, change), { code: "bad-request", message: /at most .* bytes|can be stored/ });
    assert.deepEqual(book.state(), { revision: 0, entries: new Map() });
    put(book, change.slice(0, 150));
    await book.durable();
    assert.equal(book.state().entries.size, 150);
  }
});

test("a disk of the master's own takes all of a change or nothing", async () => {
  const disk = new MemoryDisk();
  const term = openMemoryMasterDisk(disk).control.leadNow();
  const book = await Book.open(term, clock);
  disk.full = true;
  assert.throws(() => put(book, many(250, 1)), { code: "storage" });
  assert.deepEqual(book.state(), { revision: 0, entries: new Map() });
  disk.full = false;
  put(book, many(250, 1));
  assert.equal(term.loadNow().entries.size, 250);
});
