/**
 * A member's own records: it alone writes them, and each change gets the next seq and a signature. A value that is longer
 * than one packet takes is cut into pieces under keys of their own; they change in one step, and are seen in one step.
 */

import { Fault } from "../../model/fault.ts";
import {
  GOSSIP_KEY_MAX_BYTES,
  GOSSIP_OWNER_BYTES_MAX,
  GOSSIP_OWNER_ENTRIES_MAX,
  GOSSIP_PIECE_MAX_BYTES,
  GOSSIP_TRACES_MAX,
} from "../../model/limits.ts";
import type { Delta, Entry, MemberId } from "./messages.ts";
import { applyEntries, deltaSince, emptyState, type OwnerState } from "./owner-state.ts";
import { entryBytes, type Sign } from "./signed.ts";
import { hashEntry } from "./version.ts";

/** Between a key and the number of a further piece of its value. */
const PIECE = "\u0000";
/** No record has this key. Its trace says that the owner has nothing: else the records of its last life would stay. */
const NOTHING = PIECE;

export class Publisher {
  readonly #owner: MemberId;
  readonly #sign: Sign;
  #state: OwnerState;

  constructor(owner: MemberId, gen: number, sign: Sign) {
    this.#owner = owner;
    this.#sign = sign;
    this.#state = emptyState(owner, gen);
  }

  get state(): OwnerState {
    return this.#state;
  }

  /**
   * Writes the records and deletes those that are `undefined`; what does not change costs nothing.
   * @returns what the others need; `undefined` when nothing changed
   * @throws Fault bad-request: a key or the whole is too large; nothing is written then
   */
  write(changes: ReadonlyMap<string, Uint8Array | undefined>): Delta | undefined {
    const wanted = new Map<string, Uint8Array | undefined>();
    for (const [key, value] of changes) {
      checkKey(key);
      for (const [pieceKey, piece] of this.#pieces(key, value)) wanted.set(pieceKey, piece);
    }
    const changed = [...wanted].filter(([key, value]) => !isSame(this.#state.entries.get(key)?.value, value));
    if (changed.length === 0) return undefined;
    this.#checkSize(changed);
    const before = this.#state;
    this.#append(changed);
    return deltaSince(this.#state, before.gen, before.seq);
  }

  /** All of it, for who has nothing; that there is nothing, if so. */
  whole(): Delta {
    if (this.#state.seq === 0) this.#append([[NOTHING, undefined]]);
    return deltaSince(this.#state, this.#state.gen, 0) as Delta;
  }

  /** Everything again under another gen: somebody knows more of this owner than it does itself. */
  restart(gen: number): Delta {
    const live = [...this.#state.entries.values()].filter(({ value }) => value !== undefined);
    this.#state = emptyState(this.#owner, gen);
    if (live.length > 0) this.#append(live.map(({ key, value }) => [key, value]));
    return this.whole();
  }

  #append(changed: readonly (readonly [string, Uint8Array | undefined])[]): void {
    const { gen } = this.#state;
    const from = this.#state.seq;
    const entries = new Map(this.#state.entries);
    let { high, low } = this.#state.state;
    const toggle = (entry: Pick<Entry, "key" | "seq" | "value">) => {
      const hash = hashEntry(entry.key, gen, entry.seq, entry.value === undefined);
      high = (high ^ hash.high) >>> 0;
      low = (low ^ hash.low) >>> 0;
    };
    let { seq, floor } = this.#state;
    const written: Entry[] = [];
    for (const [key, value] of changed) {
      seq += 1;
      const old = entries.get(key);
      if (old !== undefined) toggle(old);
      entries.delete(key);
      toggle({ key, seq, value });
      const isLast = written.length === changed.length - 1;
      if (isLast) floor = this.#forgetTraces(entries, floor, toggle);
      const unsigned = { key, seq, value, floor, stateHigh: high, stateLow: low };
      const entry = { ...unsigned, signature: this.#sign(entryBytes(this.#owner, gen, unsigned)) };
      entries.set(key, entry);
      written.push(entry);
    }
    const isAnew = from === 0;
    const next = applyEntries(isAnew ? undefined : this.#state, { owner: this.#owner, gen, from }, written);
    if (next === undefined) throw new Error(`records of ${this.#owner} do not fit what was signed`);
    this.#state = next;
  }

  /** Drops the oldest traces beyond the limit. @returns the floor below which there are none */
  #forgetTraces(entries: Map<string, Entry>, floor: number, toggle: (entry: Entry) => void): number {
    const traces = [...entries.values()].filter(({ value }) => value === undefined);
    const surplus = traces.slice(0, Math.max(0, traces.length - GOSSIP_TRACES_MAX));
    for (const trace of surplus) {
      toggle(trace);
      entries.delete(trace.key);
    }
    return surplus.at(-1)?.seq ?? floor;
  }

  /** The value's pieces, and `undefined` for those that it needs no more. */
  #pieces(key: string, value: Uint8Array | undefined): Map<string, Uint8Array | undefined> {
    const pieces = new Map<string, Uint8Array | undefined>();
    const count = value === undefined ? 0 : Math.max(1, Math.ceil(value.length / GOSSIP_PIECE_MAX_BYTES));
    for (let n = 0; n < count; n += 1)
      pieces.set(pieceKey(key, n), value?.subarray(n * GOSSIP_PIECE_MAX_BYTES, (n + 1) * GOSSIP_PIECE_MAX_BYTES));
    for (let n = count; this.#state.entries.get(pieceKey(key, n))?.value !== undefined; n += 1)
      pieces.set(pieceKey(key, n), undefined);
    return pieces;
  }

  #checkSize(changed: readonly (readonly [string, Uint8Array | undefined])[]): void {
    const sizes = new Map(
      [...this.#state.entries.values()].map((entry) => [entry.key, sizeOf(entry.key, entry.value)]),
    );
    for (const [key, value] of changed) sizes.set(key, sizeOf(key, value));
    const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
    if (bytes <= GOSSIP_OWNER_BYTES_MAX && sizes.size <= GOSSIP_OWNER_ENTRIES_MAX) return;
    throw new Fault(
      "bad-request",
      `this host's records would be ${sizes.size} entries with ${bytes} bytes; gossip carries ` +
        `${GOSSIP_OWNER_ENTRIES_MAX} entries with ${GOSSIP_OWNER_BYTES_MAX} bytes for one host; publish less`,
    );
  }
}

/** The owner's value under the key, put together; `undefined` when there is none. */
export function recordValue(state: OwnerState | undefined, key: string): Uint8Array | undefined {
  const first = state?.entries.get(key)?.value;
  if (state === undefined || first === undefined) return undefined;
  const pieces: Uint8Array[] = [];
  for (let piece: Uint8Array | undefined = first; piece !== undefined; ) {
    pieces.push(piece);
    piece = state.entries.get(pieceKey(key, pieces.length))?.value;
  }
  return pieces.length === 1 ? first : new Uint8Array(Buffer.concat(pieces));
}

/** The keys of all values. */
export function keysOf(state: OwnerState | undefined): string[] {
  if (state === undefined) return [];
  const live = [...state.entries.values()].filter(({ key, value }) => value !== undefined && !key.includes(PIECE));
  return live.map(({ key }) => key);
}

function pieceKey(key: string, n: number): string {
  return n === 0 ? key : `${key}${PIECE}${n}`;
}

function checkKey(key: string): void {
  // Room for the number of a piece.
  if (key !== "" && !key.includes(PIECE) && Buffer.byteLength(key) <= GOSSIP_KEY_MAX_BYTES - 4) return;
  throw new Fault(
    "bad-request",
    `"${key}" is no key of a record; use 1 to ${GOSSIP_KEY_MAX_BYTES - 4} bytes without NUL`,
  );
}

function sizeOf(key: string, value: Uint8Array | undefined): number {
  return Buffer.byteLength(key) + (value?.length ?? 0);
}

function isSame(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.length === b.length && a.every((byte, n) => byte === b[n]);
}
