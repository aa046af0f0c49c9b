/**
 * A change of any size as events that every store takes: one, or several that follow each other. Each of several but the
 * last leaves an entry behind that says since when the change is unfinished. Whoever finds it after the last event of all
 * takes back what is later; so the change is made as a whole or not at all, wherever a master or its store breaks off.
 */
import { z } from "zod";
import type { ControlEvent, ControlState, EntryChange } from "../../model/control-event.ts";
import { CHANGES_MAX, CONTROL_EVENT_MAX_BYTES } from "../../model/control-limits.ts";

/** The entry that says so. */
export const UNFINISHED = "unfinished";

const unfinishedSchema = z.object({
  /** The revision before the change. */
  since: z.int().min(0),
  /** Of the event that wrote this: when others follow it, a master that does not know this entry went on from there. */
  last: z.int().min(1),
});

/** What etcd's encoding adds to each key and value that is written. */
const OVERHEAD_BYTES = 64;
/** The entry above, and what the text of an event gets to say which of how many it is. */
const MARK_BYTES = 512;

/** What all events of a change have in common. */
export type Occasion = Pick<ControlEvent, "at" | "who" | "what">;

/** The revision to which `state` is to be taken back, or `undefined` when its last change was finished. */
export function unfinishedSince({ revision, entries }: ControlState): number | undefined {
  const { data } = unfinishedSchema.safeParse(entries.get(UNFINISHED));
  return data?.last === revision ? data.since : undefined;
}

/**
 * @param head the revision that the first event follows
 * @param mark what UNFINISHED holds at `head`; the last event deletes it
 * @param since the revision before the change
 * @returns one event when it fits; one that holds a single entry may still be too large for a store
 */
export function eventsOf(
  occasion: Occasion,
  changes: readonly EntryChange[],
  head: number,
  mark: unknown,
  since = head,
): readonly ControlEvent[] {
  const pieces = piecesOf(changes, CONTROL_EVENT_MAX_BYTES - eventBytes({ revision: head, ...occasion, changes: [] }));
  return pieces.map((piece, index) => {
    const revision = head + 1 + index;
    const before = index === 0 ? mark : { since, last: revision - 1 };
    const after = index === pieces.length - 1 ? undefined : { since, last: revision };
    const marked = before !== undefined || after !== undefined ? [changeFrom(UNFINISHED, before, after)] : [];
    const what = pieces.length === 1 ? occasion.what : `${occasion.what} (${index + 1} of ${pieces.length})`;
    return { revision, ...occasion, what, changes: [...marked, ...piece] };
  });
}

export function changeFrom(key: string, before: unknown, after: unknown): EntryChange {
  return { key, ...(before !== undefined && { before }), ...(after !== undefined && { after }) };
}

/** What a store is given: the event itself, and the entries that it writes. */
export function eventBytes({ changes, ...event }: ControlEvent): number {
  return changes.reduce(
    (sum, change) => sum + changeBytes(change),
    OVERHEAD_BYTES + jsonBytes({ ...event, changes: [] }),
  );
}

/** The first of them that have no more bytes together; one at least, so that whoever goes on from there gets on. */
export function firstWithin<T>(items: readonly T[], bytesOf: (item: T) => number, max: number): readonly T[] {
  let bytes = 0;
  const end = items.findIndex((item, index) => {
    bytes += bytesOf(item);
    return index > 0 && bytes > max;
  });
  return end < 0 ? items : items.slice(0, end);
}

function changeBytes(change: EntryChange): number {
  const { key, after } = change;
  return OVERHEAD_BYTES + jsonBytes(change) + Buffer.byteLength(key) + (after === undefined ? 0 : jsonBytes(after));
}

function jsonBytes(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

/** At least one change in each. @param bytes of a piece */
function piecesOf(changes: readonly EntryChange[], bytes: number): readonly (readonly EntryChange[])[] {
  const pieces: EntryChange[][] = [];
  let room = 0;
  for (const change of changes) {
    const needed = changeBytes(change);
    const piece = pieces.at(-1);
    room -= needed;
    // One change of those is for UNFINISHED.
    if (piece !== undefined && room >= 0 && piece.length < CHANGES_MAX - 1) piece.push(change);
    else {
      pieces.push([change]);
      room = bytes - MARK_BYTES - needed;
    }
  }
  return pieces;
}
