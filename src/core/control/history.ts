/**
 * The control plane as it was: each event says what was there before it, so that going back from now puts the
 * first of these back. What is a secret is in neither, and is not shown, although it is sealed.
 */
import type { ControlEvent, ControlState } from "../../model/control-event.ts";
import { Fault } from "../../model/fault.ts";

/** Entries that hold secrets, sealed: only that they changed is shown. */
const SECRET = /^(token\/|key-ring$)/;
const HIDDEN = "(secret)";

/** Goes back to a revision. Of all that changed since it remembers just what was there before, once for each entry. */
export class Rewind {
  readonly #revision: number;
  readonly #before = new Map<string, unknown>();
  #last: number;

  constructor(revision: number) {
    this.#revision = revision;
    this.#last = revision;
  }

  /**
   * @param events those that follow what was added before, by rising revision; first those that follow the revision
   * @throws Fault bad-request when the first of them are forgotten
   */
  add(events: readonly ControlEvent[]): void {
    for (const { revision, changes } of events) {
      if (revision !== this.#last + 1) throw this.#forgotten(revision - 1);
      this.#last = revision;
      for (const { key, before } of changes) if (!this.#before.has(key)) this.#before.set(key, before);
    }
  }

  /** @param now what all that was added led to @throws Fault bad-request when the revision is still to come, or forgotten */
  from(now: ControlState): ControlState {
    if (this.#revision > now.revision)
      throw new Fault("bad-request", `there is no revision ${this.#revision} yet; the last one is ${now.revision}`);
    if (this.#last !== now.revision) throw this.#forgotten(now.revision);
    const entries = new Map(now.entries);
    for (const [key, before] of this.#before)
      if (before === undefined) entries.delete(key);
      else entries.set(key, before);
    return { revision: this.#revision, entries };
  }

  #forgotten(oldest: number): Fault {
    return new Fault(
      "bad-request",
      `what led away from revision ${this.#revision} is forgotten; the oldest that can be shown is ${oldest}`,
    );
  }
}

/** The event without secrets. */
export function shownEvent(event: ControlEvent): ControlEvent {
  return {
    ...event,
    changes: event.changes.map((change) => {
      const { key, before, after } = change;
      if (!SECRET.test(key)) return change;
      return { key, ...(before !== undefined && { before: HIDDEN }), ...(after !== undefined && { after: HIDDEN }) };
    }),
  };
}

/** The entries without secrets, by key. */
export function shownEntries(entries: ReadonlyMap<string, unknown>): Record<string, unknown> {
  return Object.fromEntries([...entries].filter(([key]) => !SECRET.test(key)).sort(([a], [b]) => (a < b ? -1 : 1)));
}
