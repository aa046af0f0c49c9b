/**
 * The control plane in the leader's memory: entries by key, and the order in which their changes become durable.
 *
 * A change is made in memory at once and written behind it, so that decisions never wait for a disk far away; no answer
 * leaves, and nothing is told to anybody, before `durable` has resolved. A term that is lost takes the whole book with
 * it: whoever leads next reads what is on the disk. A store of the master's own writes at once, and what it refuses
 * has never happened; it is durable as soon as the disk was waited for.
 */

import type { Clock, LocalTerm, Term } from "../../io/ports.ts";
import { canonicalJson } from "../../model/canonical-json.ts";
import type { ControlEvent, ControlState, EntryChange } from "../../model/control-event.ts";
import { assert, Fault } from "../../model/fault.ts";
import { CHANGES_MAX, EVENTS_AT_ONCE_MAX, EVENTS_KEPT } from "../../model/limits.ts";

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
  /** The change that is being made: values before it, by key. */
  #draft: Map<string, unknown> | undefined;
  #queue: ControlEvent[] = [];
  #writing: Promise<void> | undefined;
  #lost: Fault | undefined;
  readonly #losing = Promise.withResolvers<Fault>();

  constructor({ revision, entries }: ControlState, term: Term | LocalTerm, clock: Clock) {
    this.#revision = revision;
    this.#entries = new Map(entries);
    this.#term = term;
    this.#clock = clock;
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

  /** Durable events later than `after`, the oldest first. @throws Fault storage */
  events(after: number, limit: number): Promise<readonly ControlEvent[]> {
    return this.#term.events(after, limit);
  }

  get(key: string): unknown {
    return this.#entries.get(key);
  }

  /** Keys that begin so, with the rest of the key. */
  *under(prefix: string): Generator<readonly [rest: string, value: unknown]> {
    for (const [key, value] of this.#entries) if (key.startsWith(prefix)) yield [key.slice(prefix.length), value];
  }

  /**
   * Makes all changes of `make` in one piece, under one revision; inside of another one it is part of that. When `make`
   * throws, nothing has changed. No change, no revision.
   * @throws Fault storage when a store of the master's own refuses, and whatever ended the term; nothing has changed then
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

  #commit({ who, what }: Deed, before: ReadonlyMap<string, unknown>): void {
    const changes = [...before].flatMap(([key, was]) => changeOf(key, was, this.#entries.get(key)) ?? []);
    if (changes.length === 0) return;
    assert(changes.length <= CHANGES_MAX, `one change is at most ${CHANGES_MAX} entries, not ${changes.length}`);
    const event = { revision: this.#revision + 1, at: this.#clock.date(), who, what, changes };
    if ("appendNow" in this.#term) {
      this.#term.appendNow([event]);
      this.#revision = event.revision;
      if (this.#term.flushNow !== undefined) this.#writing ??= this.#write(this.#term);
    } else {
      this.#revision = event.revision;
      this.#queue.push(event);
      this.#writing ??= this.#write(this.#term);
    }
    // What cannot be forgotten now is forgotten with the next ones.
    if (event.revision % FORGET_EVERY === 0) this.#term.forget(event.revision - EVENTS_KEPT).catch(() => {});
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
  return { key, ...(before !== undefined && { before }), ...(after !== undefined && { after }) };
}
