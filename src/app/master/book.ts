/**
 * The control plane in the leader's memory: entries by key, and the order in which their changes become durable.
 *
 * A change is made in memory at once and written behind it, so that decisions never wait for a disk far away; no answer
 * leaves, and nothing is told to anybody, before `durable` has resolved. A term that is lost takes the whole book with
 * it: whoever leads next reads what is on the disk. A store of the master's own writes at once, and what it refuses
 * has never happened; it is durable as soon as the disk was waited for.
 */

import { Rewind } from "../../core/control/history.ts";
import { changeFrom, eventsOf, UNFINISHED, unfinishedSince } from "../../core/control/pieces.ts";
import type { Clock, LocalTerm, Term } from "../../io/ports.ts";
import { checkEvents } from "../../io/store/control-bounds.ts";
import { canonicalJson } from "../../model/canonical-json.ts";
import type { ControlEvent, ControlState, EntryChange } from "../../model/control-event.ts";
import { EVENTS_AT_ONCE_MAX, EVENTS_KEPT, EVENTS_SHOWN_MAX } from "../../model/control-limits.ts";
import { assert, Fault } from "../../model/fault.ts";

/** Who changes what: for people. */
export interface Deed {
  /** `operator (socket)`, `operator token ab12cd34`, `agent 5b…`, `master`. */
  readonly who: string;
  /** One line: `agent 5b… registered`. */
  readonly what: string;
}

const FORGET_EVERY = 1_000;

export class Book {
  readonly #term: Term | LocalTerm;
  readonly #clock: Clock;
  readonly #entries: Map<string, unknown>;
  #revision: number;
  /** What UNFINISHED holds, which is none of the entries here; and since when the change is that it speaks of. */
  #mark: unknown;
  #since: number | undefined;
  /** The change that is being made: values before it, by key. */
  #draft: Map<string, unknown> | undefined;
  #queue: ControlEvent[] = [];
  #writing: Promise<void> | undefined;
  #lost: Fault | undefined;
  readonly #losing = Promise.withResolvers<Fault>();

  constructor(state: ControlState, term: Term | LocalTerm, clock: Clock) {
    this.#revision = state.revision;
    this.#entries = new Map(state.entries);
    this.#mark = state.entries.get(UNFINISHED);
    this.#since = unfinishedSince(state);
    this.#entries.delete(UNFINISHED);
    this.#term = term;
    this.#clock = clock;
  }

  /** What the term begins with; a change that whoever led before could not finish is taken back. @throws as `Term` */
  static async open(term: Term | LocalTerm, clock: Clock): Promise<Book> {
    const book = new Book(await term.load(), term, clock);
    if (book.#since !== undefined) await book.#takeBack(book.#since);
    return book;
  }

  /** Resolves when a write failed: what is in memory is not what is stored, and nothing more can be changed. */
  get lost(): Promise<Fault> {
    return this.#losing.promise;
  }

  /** Of the last change, durable or not. */
  get revision(): number {
    return this.#revision;
  }

  /** All entries, as of `revision`. */
  state(): ControlState {
    return { revision: this.#revision, entries: new Map(this.#entries) };
  }

  /** Durable events later than `after`, as `Term.events`. */
  events(after: number, limit: number): Promise<readonly ControlEvent[]> {
    return this.#term.events(after, limit);
  }

  /** Durable events later than `after` and up to `last`, the oldest first, some at a time. @throws Fault storage */
  async *eventsBetween(after: number, last: number): AsyncGenerator<readonly ControlEvent[]> {
    for (let at = after; at < last; ) {
      const found = await this.#term.events(at, Math.min(last - at, EVENTS_SHOWN_MAX));
      yield found;
      at = found.at(-1)?.revision ?? last;
    }
  }

  /** All entries as of an earlier revision. @throws Fault bad-request when there is none such, or it is forgotten; storage */
  async stateAt(revision: number): Promise<ControlState> {
    const now = this.state();
    const rewind = new Rewind(revision);
    for await (const events of this.eventsBetween(revision, now.revision)) rewind.add(events);
    return rewind.from(now);
  }

  get(key: string): unknown {
    return this.#entries.get(key);
  }

  /** Keys that begin so, with the rest of the key. */
  *under(prefix: string): Generator<readonly [rest: string, value: unknown]> {
    for (const [key, value] of this.#entries) if (key.startsWith(prefix)) yield [key.slice(prefix.length), value];
  }

  /**
   * Makes all changes of `make` as a whole, however many; inside of another one it is part of that. When `make` throws,
   * nothing has changed. It has one revision, or several that follow each other when it is large; no change, no revision.
   * @throws Fault storage when a store of the master's own refuses, bad-request when one entry is too large, and whatever
   *   ended the term; nothing has changed then
   */
  change(deed: Deed, make: () => void): void {
    if (this.#lost !== undefined) throw this.#lost;
    if (this.#draft !== undefined) {
      make();
      return;
    }
    this.#draft = new Map();
    try {
      make();
      this.#commit(deed, this.#draft);
    } catch (thrown) {
      for (const [key, before] of this.#draft) this.#set(key, before);
      throw thrown;
    } finally {
      this.#draft = undefined;
    }
  }

  /** Inside of `change`. A value is JSON, and nobody's to change any more. */
  put(key: string, value: unknown): void {
    assert(value !== undefined, "an entry has a value");
    this.#note(key);
    this.#entries.set(key, value);
  }

  /** Inside of `change`. */
  delete(key: string): void {
    this.#note(key);
    this.#entries.delete(key);
  }

  /**
   * Resolves when all that was changed until now is durable.
   * @throws Fault the reason for which it will never be known to be
   */
  async durable(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
    if (this.#lost !== undefined) throw this.#lost;
  }

  /** Calls when all that was changed until now is durable; never when the term is lost before. */
  whenDurable(call: () => void): void {
    if (this.#writing === undefined && this.#lost === undefined) call();
    else this.durable().then(call, () => {});
  }

  #note(key: string): void {
    assert(this.#draft !== undefined, "entries change inside of a change");
    if (!this.#draft.has(key)) this.#draft.set(key, this.#entries.get(key));
  }

  #set(key: string, value: unknown): void {
    if (value === undefined) this.#entries.delete(key);
    else this.#entries.set(key, value);
  }

  #commit(deed: Deed, before: ReadonlyMap<string, unknown>): void {
    const changes = [...before].flatMap(([key, was]) => changeOf(key, was, this.#entries.get(key)) ?? []);
    if (changes.length === 0) return;
    const head = this.#revision;
    const events = eventsOf({ at: this.#clock.date(), ...deed }, changes, head, this.#mark, this.#since);
    if ("appendNow" in this.#term) {
      this.#term.appendNow(events);
      if (this.#term.flushNow !== undefined) this.#writing ??= this.#write(this.#term);
    } else {
      // Such a store would refuse it after it has happened here, and the term with it.
      checkEvents(events, head);
      this.#queue.push(...events);
      this.#writing ??= this.#write(this.#term);
    }
    this.#revision += events.length;
    this.#mark = undefined;
    this.#since = undefined;
    // What cannot be forgotten now is forgotten with the next ones.
    const isDue = Math.floor(this.#revision / FORGET_EVERY) > Math.floor(head / FORGET_EVERY);
    if (isDue) this.#term.forget(this.#revision - EVENTS_KEPT).catch(() => {});
  }

  async #takeBack(since: number): Promise<void> {
    const { entries } = await this.stateAt(since);
    const what = `what followed revision ${since} taken back: it was not finished`;
    this.change({ who: "master", what }, () => {
      for (const key of new Set([...entries.keys(), ...this.#entries.keys()])) {
        if (key === UNFINISHED) continue;
        this.#note(key);
        this.#set(key, entries.get(key));
      }
    });
  }

  /**
   * Writes until nothing waits: what is changed during one write goes with the next one. Nothing is awaited between the last
   * look and the end, or what is changed then would wait for the next change.
   */
  async #write(term: Term | LocalTerm): Promise<void> {
    try {
      if ("appendNow" in term) {
        // One wait for the disk for all that is asked in this turn: a cluster that comes up asks a lot at once.
        await new Promise(setImmediate);
        term.flushNow?.();
      } else {
        // All that is changed in this turn of the loop goes together.
        await undefined;
        while (this.#queue.length > 0) await term.append(this.#queue.splice(0, EVENTS_AT_ONCE_MAX));
      }
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown;
      this.#lost = thrown;
      this.#queue = [];
      this.#losing.resolve(thrown);
    } finally {
      this.#writing = undefined;
    }
  }
}

function changeOf(key: string, before: unknown, after: unknown): EntryChange | undefined {
  if (
    before === after ||
    (before !== undefined && after !== undefined && canonicalJson(before) === canonicalJson(after))
  )
    return undefined;
  return changeFrom(key, before, after);
}
