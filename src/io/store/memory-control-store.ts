/**
 * The twin of the control stores, for tests: several handles on one place in memory, as several masters have on one etcd.
 * It refuses what those refuse, keeps values as the JSON that they keep, and can be told to fail, to hang, and to let
 * another one lead.
 */
import { firstWithin } from "../../core/control/pieces.ts";
import type { ControlEvent, ControlState } from "../../model/control-event.ts";
import { EVENTS_READ_MAX_BYTES } from "../../model/control-limits.ts";
import { assert, Fault } from "../../model/fault.ts";
import type { ControlStore, MasterAddress, Term } from "../ports.ts";
import { checkEvents } from "./control-bounds.ts";

/** What outlives the handles. */
export class MemoryControlPlace {
  readonly entries = new Map<string, string>();
  readonly events = new Map<number, string>();
  revision = 0;
  #terms = 0;
  #leading: MemoryTerm | undefined;
  readonly #waiting: (() => void)[] = [];

  get leading(): MemoryTerm | undefined {
    return this.#leading;
  }

  /** Ends the term that lasts, as when its lease ran out; who waits leads. Its handle hears of it when it is not paused. */
  depose(): void {
    const term = this.#leading;
    this.#leading = undefined;
    this.#waiting.shift()?.();
    term?.hear();
  }

  /** Waits until nobody leads. */
  async enter(store: MemoryControlStore, self: MasterAddress, signal: AbortSignal): Promise<MemoryTerm> {
    while (this.#leading !== undefined) {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const stop = () => {
        this.#waiting.splice(this.#waiting.indexOf(resolve) >>> 0, 1);
        reject(new Fault("not-leader", "this master was ended while it waited for the lead"));
      };
      this.#waiting.push(resolve);
      signal.addEventListener("abort", stop);
      await promise.finally(() => signal.removeEventListener("abort", stop));
    }
    this.#terms += 1;
    this.#leading = new MemoryTerm(this, store, self, this.#terms);
    return this.#leading;
  }
}

export class MemoryControlStore implements ControlStore {
  readonly place: MemoryControlPlace;
  readonly #failures: { readonly afterEvents: number; readonly fault: Fault }[] = [];
  #term: MemoryTerm | undefined;
  #paused: PromiseWithResolvers<void> | undefined;
  #closed = new AbortController();

  constructor(place: MemoryControlPlace) {
    this.place = place;
  }

  async lead(self: MasterAddress, signal: AbortSignal): Promise<MemoryTerm> {
    if (signal.aborted) throw new Fault("not-leader", "this master was ended while it waited for the lead");
    this.#term = await this.place.enter(this, self, AbortSignal.any([signal, this.#closed.signal]));
    return this.#term;
  }

  leader(): MasterAddress | undefined {
    return this.place.leading?.self;
  }

  async close(): Promise<void> {
    this.resume();
    this.#closed.abort();
    await this.#term?.resign();
  }

  /** The next `append` writes so many events, and then is refused so. */
  failNext(fault: Fault, afterEvents = 0): void {
    this.#failures.push({ afterEvents, fault });
  }

  nextFailure(): { readonly afterEvents: number; readonly fault: Fault } | undefined {
    return this.#failures.shift();
  }

  /** Calls hang until `resume`, and nothing is heard, as in a process that was stopped. */
  pause(): void {
    this.#paused ??= Promise.withResolvers<void>();
  }

  resume(): void {
    this.#paused?.resolve();
    this.#paused = undefined;
    if (this.#term !== this.place.leading) this.#term?.hear();
  }

  get isPaused(): boolean {
    return this.#paused !== undefined;
  }

  async awake(): Promise<void> {
    await this.#paused?.promise;
  }
}

class MemoryTerm implements Term {
  readonly number: number;
  readonly self: MasterAddress;
  readonly lost: Promise<Fault>;
  readonly #place: MemoryControlPlace;
  readonly #store: MemoryControlStore;
  readonly #lose: (fault: Fault) => void;
  #isWriting = false;

  constructor(place: MemoryControlPlace, store: MemoryControlStore, self: MasterAddress, number: number) {
    this.#place = place;
    this.#store = store;
    this.self = self;
    this.number = number;
    const { promise, resolve } = Promise.withResolvers<Fault>();
    this.lost = promise;
    this.#lose = resolve;
  }

  /** That it is over. */
  hear(): void {
    if (!this.#store.isPaused) this.#lose(this.#refusal());
  }

  async load(): Promise<ControlState> {
    await this.#store.awake();
    this.#requireLead();
    const { revision, entries } = this.#place;
    return { revision, entries: new Map([...entries].map(([key, text]) => [key, JSON.parse(text) as unknown])) };
  }

  async append(events: readonly ControlEvent[]): Promise<void> {
    assert(!this.#isWriting, "one append at a time");
    this.#isWriting = true;
    try {
      await this.#store.awake();
      this.#requireLead();
      checkEvents(events, this.#place.revision);
      const failure = this.#store.nextFailure();
      for (const event of events.slice(0, failure?.afterEvents ?? events.length)) this.#write(event);
      if (failure !== undefined) throw failure.fault;
    } finally {
      this.#isWriting = false;
    }
  }

  async events(after: number, limit: number): Promise<readonly ControlEvent[]> {
    await this.#store.awake();
    const revisions = [...this.#place.events.keys()].filter((revision) => revision > after).sort((a, b) => a - b);
    const texts = revisions.slice(0, limit).map((revision) => this.#place.events.get(revision) ?? "");
    return firstWithin(texts, Buffer.byteLength, EVENTS_READ_MAX_BYTES).map((text) => JSON.parse(text) as ControlEvent);
  }

  async forget(upTo: number): Promise<void> {
    await this.#store.awake();
    this.#requireLead();
    for (const revision of this.#place.events.keys()) if (revision <= upTo) this.#place.events.delete(revision);
  }

  async resign(): Promise<void> {
    if (this.#place.leading === this) this.#place.depose();
    this.hear();
  }

  #write(event: ControlEvent): void {
    for (const { key, after } of event.changes)
      if (after === undefined) this.#place.entries.delete(key);
      else this.#place.entries.set(key, JSON.stringify(after));
    this.#place.events.set(event.revision, JSON.stringify(event));
    this.#place.revision = event.revision;
  }

  #requireLead(): void {
    if (this.#place.leading !== this) throw this.#refusal();
  }

  #refusal(): Fault {
    const leader = this.#place.leading?.self;
    return leader === undefined
      ? new Fault("not-leader", "this master does not lead any more, and no other one does yet; try again in a moment")
      : new Fault("not-leader", `another master leads: ${leader.url}`, { leader: leader.url });
  }
}

export function openMemoryControlStore(place: MemoryControlPlace): MemoryControlStore {
  return new MemoryControlStore(place);
}
