import assert from "node:assert/strict";
import { test } from "node:test";
import type { LocalTerm } from "../../io/ports.ts";
import { SimClock } from "../../io/sim-clock.ts";
import { Fault } from "../../model/fault.ts";
import { Book } from "./book.ts";

/** A store of the master's own that notes what it is asked. */
function fake(onFlush: () => void = () => {}): { readonly term: LocalTerm; readonly log: string[] } {
  const log: string[] = [];
  const term: Partial<LocalTerm> = {
    appendNow: (events) => void log.push(...events.map(({ revision }) => `append ${revision}`)),
    flushNow: () => {
      log.push("flush");
      onFlush();
    },
  };
  return { term: term as LocalTerm, log };
}

const deed = { who: "test", what: "something" };
const bookOn = (term: LocalTerm) => new Book({ revision: 0, entries: new Map() }, term, new SimClock());
const put = (book: Book, key: string) => book.change(deed, () => book.put(key, 1));

test("changes of one turn wait for the disk once, and none is told as durable before", async () => {
  const { term, log } = fake();
  const book = bookOn(term);
  put(book, "a");
  const waits = [book.durable(), book.durable()];
  put(book, "b");
  book.whenDurable(() => log.push("told"));
  assert.deepEqual(log, ["append 1", "append 2"]);
  await Promise.all(waits);
  assert.deepEqual(log, ["append 1", "append 2", "flush", "told"]);
  // What is changed by whoever was told is flushed as well.
  put(book, "c");
  await book.durable();
  assert.deepEqual(log.slice(4), ["append 3", "flush"]);
  await book.durable();
  assert.equal(log.length, 6);
});

test("each of many changes that follow each other closely is flushed before it counts as durable", async () => {
  const { term, log } = fake();
  const book = bookOn(term);
  const lane = async (n: number) => {
    for (let k = 0; k < 20; k += 1) {
      put(book, `${n}-${k}`);
      const { revision } = book;
      await book.durable();
      assert.ok(log.indexOf("flush", log.indexOf(`append ${revision}`)) > 0, `${revision} is flushed`);
    }
  };
  await Promise.all(Array.from({ length: 10 }, (_, n) => lane(n)));
  assert.ok(log.filter((each) => each === "flush").length <= 40, "and they share the waits");
});

test("a disk that cannot be waited for takes the book with it", async () => {
  const { term } = fake(() => {
    throw new Fault("storage", "the disk is gone");
  });
  const book = bookOn(term);
  put(book, "a");
  await assert.rejects(book.durable(), /the disk is gone/);
  assert.equal((await book.lost).code, "storage");
  assert.throws(() => put(book, "b"), /the disk is gone/);
});
