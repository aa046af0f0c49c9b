/**
 * The control plane as it was: each event says what was there before it, so that going back from now undoes one after
 * the other. What is a secret is in neither, and is not shown, although it is sealed.
 */
import type { ControlEvent, ControlState } from "../../model/control-event.ts";
import { assert, Fault } from "../../model/fault.ts";

/** Entries that hold secrets, sealed: only that they changed is shown. */
const SECRET = /^(token\/|key-ring$)/;
const HIDDEN = "(secret)";

/**
 * @param now what `events` led to
 * @param events all that are later than `revision`, by rising revision
 * @throws Fault bad-request when the events do not reach back so far, or `revision` is still to come
 */
export function stateAt(revision: number, now: ControlState, events: readonly ControlEvent[]): ControlState {
  const oldest = events[0]?.revision ?? now.revision + 1;
  if (revision > now.revision)
    throw new Fault("bad-request", `there is no revision ${revision} yet; the last one is ${now.revision}`);
  if (oldest > revision + 1)
    throw new Fault(
      "bad-request",
      `what led away from revision ${revision} is forgotten; the oldest that can be shown is ${oldest - 1}`,
    );
  const entries = new Map(now.entries);
  for (const event of events.toReversed()) {
    assert(event.revision > revision, "only later events are undone");
    for (const { key, before } of event.changes)
      if (before === undefined) entries.delete(key);
      else entries.set(key, before);
  }
  return { revision, entries };
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
