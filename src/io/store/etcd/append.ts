/**
 * Events as transactions of etcd: as many events in one as its bounds allow, each event in one piece. All of it happens or
 * nothing, only while the term is in force and only once, because the revision moves with it.
 */
import type { ControlEvent } from "../../../model/control-event.ts";
import { CONTROL_EVENT_MAX_BYTES } from "../../../model/control-limits.ts";
import {
  type Compare,
  compareValue,
  compareWritten,
  type Operation,
  put,
  range,
  remove,
  type Txn,
} from "./etcd-messages.ts";
import { eventText, type Layout } from "./layout.ts";

/** etcd's own bound is 128 (--max-txn-ops). */
const OPERATIONS_MAX = 128;

export interface Piece {
  /** The revision of its last event. */
  readonly last: number;
  /** What stands at that event's key when the piece was written. */
  readonly lastText: string;
  readonly txn: Txn;
}

/**
 * @param bytes of each event, as `checkEvents` counts them
 * @param head the revision that the first event follows
 */
export function piecesOf(
  events: readonly ControlEvent[],
  bytes: readonly number[],
  { layout, term, head }: { readonly layout: Layout; readonly term: number; readonly head: number },
): readonly Piece[] {
  const pieces: Piece[] = [];
  for (let from = 0; from < events.length; ) {
    const count = countThatFits(events, bytes, from);
    const before = head + from;
    pieces.push(pieceOf(events.slice(from, from + count), layout, term, before));
    from += count;
  }
  return pieces;
}

/** At least one: an event alone always fits. */
function countThatFits(events: readonly ControlEvent[], bytes: readonly number[], from: number): number {
  // Besides the events and entries there is the revision.
  let operations = 1;
  let sum = 0;
  let count = 0;
  for (const [index, event] of events.entries()) {
    if (index < from) continue;
    operations += 1 + event.changes.length;
    sum += bytes[index] ?? 0;
    if (count > 0 && (operations > OPERATIONS_MAX || sum > CONTROL_EVENT_MAX_BYTES)) break;
    count += 1;
  }
  return count;
}

function pieceOf(events: readonly ControlEvent[], layout: Layout, term: number, head: number): Piece {
  // etcd takes each key once in a transaction; what one event wrote and the next one wrote over was never there.
  const writes = new Map<string, Operation>();
  for (const { changes } of events)
    for (const { key, after } of changes) {
      const at = layout.entry(key);
      writes.set(at, after === undefined ? remove(at) : put(at, JSON.stringify(after)));
    }
  const texts = events.map((event) => eventText(event, term));
  const last = head + events.length;
  const revision: Compare =
    head === 0 ? compareWritten(layout.revision, 0) : compareValue(layout.revision, String(head));
  return {
    last,
    lastText: texts.at(-1) ?? "",
    txn: {
      compare: [compareWritten(layout.leader, term), revision],
      success: [
        put(layout.revision, String(last)),
        ...events.map((event, index) => put(layout.event(event.revision), texts[index] ?? "")),
        ...writes.values(),
      ],
      failure: [range(layout.leader), range(layout.revision), range(layout.event(last))],
    },
  };
}
