/**
 * All records of one owner at one version: immutable, and always one that the owner signed. Each entry carries the hash of
 * the owner's whole state after it, so a delta that leaves something out, or is applied over a gap, does not fit and is
 * refused.
 *
 * Deleted keys leave a trace until the owner raises the floor; who has less than the floor needs everything.
 */
import type { Delta, Entry, MemberId } from "./messages.ts";
import { type Hash64, hashEntry, hashRecords } from "./version.ts";

export interface OwnerState {
  readonly owner: MemberId;
  readonly gen: number;
  /** 0: nothing was ever written in this gen. */
  readonly seq: number;
  readonly floor: number;
  /** By rising seq, traces of deleted keys included. */
  readonly entries: ReadonlyMap<string, Entry>;
  /** Of the entries, as signed in the newest one. */
  readonly state: Hash64;
  /** Contribution to the digest. */
  readonly hash: Hash64;
}

export function emptyState(owner: MemberId, gen: number): OwnerState {
  const state = { high: 0, low: 0 };
  return { owner, gen, seq: 0, floor: 0, entries: new Map(), state, hash: hashRecords(owner, gen, 0, state) };
}

/**
 * The state after the entries. They may begin anew (`from` 0 or another gen) or go on where `before` ends.
 * @param entries by rising seq, at least one; their signatures were checked
 * @returns `undefined` when they do not fit: something is missing or does not belong
 */
export function applyEntries(
  before: OwnerState | undefined,
  { owner, gen, from }: Pick<Delta, "owner" | "gen" | "from">,
  entries: readonly Entry[],
): OwnerState | undefined {
  const isOnTop = from > 0 && before?.gen === gen;
  const map = new Map(isOnTop ? before.entries : []);
  let { high, low } = isOnTop ? before.state : { high: 0, low: 0 };
  const toggle = (entry: Entry) => {
    const hash = hashEntry(entry.key, gen, entry.seq, entry.value === undefined);
    high ^= hash.high;
    low ^= hash.low;
  };
  let seq = isOnTop ? before.seq : 0;
  for (const entry of entries) {
    if (isOnTop && entry.seq <= before.seq) continue;
    if (entry.seq <= seq) return undefined;
    seq = entry.seq;
    const old = map.get(entry.key);
    if (old !== undefined) {
      toggle(old);
      map.delete(entry.key);
    }
    toggle(entry);
    map.set(entry.key, entry);
  }
  const newest = entries.at(-1);
  if (newest === undefined || newest.seq !== seq) return undefined;
  // Traces that one change wrote may be forgotten by its end.
  if (newest.floor > (isOnTop ? before.floor : 0))
    for (const entry of map.values())
      if (entry.seq <= newest.floor && entry.value === undefined) {
        toggle(entry);
        map.delete(entry.key);
      }
  high >>>= 0;
  low >>>= 0;
  if (high !== newest.stateHigh || low !== newest.stateLow) return undefined;
  const state = { high, low };
  return { owner, gen, seq, floor: newest.floor, entries: map, state, hash: hashRecords(owner, gen, seq, state) };
}

/** What someone with `have` of this gen lacks; everything when the traces that they need are gone. */
export function deltaSince(state: OwnerState, gen: number, have: number): Delta | undefined {
  const from = gen === state.gen && have >= state.floor && have <= state.seq ? have : 0;
  const entries: Entry[] = [];
  for (const entry of state.entries.values()) if (entry.seq > from) entries.push(entry);
  if (entries.length === 0) return undefined;
  return { owner: state.owner, gen: state.gen, from, to: state.seq, last: state.seq, entries };
}

/** The delta in pieces of at most `maxBytes` of entries each. */
export function piecesOf(delta: Delta, sizeOf: (entry: Entry) => number, maxBytes: number): Delta[] {
  const pieces: Delta[] = [];
  let entries: Entry[] = [];
  let bytes = 0;
  let from = delta.from;
  const close = () => {
    const to = (entries.at(-1) as Entry).seq;
    pieces.push({ ...delta, from, to, entries });
    from = to;
    entries = [];
    bytes = 0;
  };
  for (const entry of delta.entries) {
    const size = sizeOf(entry);
    if (entries.length > 0 && bytes + size > maxBytes) close();
    entries.push(entry);
    bytes += size;
  }
  close();
  return pieces.length === 1 ? [delta] : pieces;
}
