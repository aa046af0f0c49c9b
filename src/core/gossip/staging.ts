/**
 * Answers that come in several packets, until they are whole. Nothing of them may be seen before: a value in pieces, or
 * an owner that began anew, would show half of what it says.
 */
import { GOSSIP_OWNER_BYTES_MAX, GOSSIP_STAGED_MAX, GOSSIP_STAGED_MS } from "../../model/limits.ts";
import type { Delta, Entry, MemberId } from "./messages.ts";

interface Staged {
  readonly gen: number;
  /** Where the newest answer ends. */
  last: number;
  /** By where they begin. */
  readonly pieces: Map<number, Delta>;
  /** When the last piece came. */
  at: number;
  bytes: number;
}

export class Staging {
  readonly #staged = new Map<MemberId, Staged>();

  get size(): number {
    return this.#staged.size;
  }

  /**
   * Takes a piece. @param have what of this gen is here already
   * @returns the whole, when this piece completes it
   */
  add(piece: Delta, have: number, now: number): Delta | undefined {
    const staged = this.#of(piece, now);
    const before = staged?.pieces.get(piece.from);
    if (staged === undefined || (before !== undefined && before.last >= piece.last)) return undefined;
    staged.at = now;
    staged.bytes += sizeOf(piece) - (before === undefined ? 0 : sizeOf(before));
    if (staged.bytes > 2 * GOSSIP_OWNER_BYTES_MAX) {
      this.#staged.delete(piece.owner);
      return undefined;
    }
    staged.pieces.set(piece.from, piece);
    const whole = (isOnTop(staged.pieces.values(), have) ? chain(staged, have) : undefined) ?? chain(staged, 0);
    if (whole === undefined) return undefined;
    this.#staged.delete(piece.owner);
    return { ...piece, from: whole.from, to: staged.last, entries: whole.entries };
  }

  /** How far the pieces of this gen go on from `have`: the rest is still to be asked for. */
  reach(owner: MemberId, gen: number, have: number): number {
    const staged = this.#staged.get(owner);
    if (staged === undefined || staged.gen !== gen) return have;
    let at = isOnTop(staged.pieces.values(), have) ? have : 0;
    for (let piece = staged.pieces.get(at); piece !== undefined; piece = staged.pieces.get(at)) at = piece.to;
    return at;
  }

  /** Whether a piece came a moment ago. */
  isArriving(owner: MemberId, since: number): boolean {
    return (this.#staged.get(owner)?.at ?? Number.NEGATIVE_INFINITY) >= since;
  }

  clear(): void {
    this.#staged.clear();
  }

  #of({ owner, gen, from, last }: Delta, now: number): Staged | undefined {
    const staged = this.#staged.get(owner);
    if (staged !== undefined && now - staged.at <= GOSSIP_STAGED_MS) {
      if (staged.gen > gen || (staged.gen === gen && staged.last > last)) return undefined;
      // A newer answer goes on where the pieces of an older one end, unless it is one to who has nothing.
      if (staged.gen === gen && (staged.last === last || from > 0)) {
        staged.last = last;
        return staged;
      }
    }
    if (staged === undefined && this.#staged.size >= GOSSIP_STAGED_MAX) this.#dropOldest();
    const fresh: Staged = { gen, last, pieces: new Map(), at: now, bytes: 0 };
    this.#staged.set(owner, fresh);
    return fresh;
  }

  #dropOldest(): void {
    const [oldest] = [...this.#staged].sort(([, a], [, b]) => a.at - b.at);
    if (oldest !== undefined) this.#staged.delete(oldest[0]);
  }
}

/** What begins at 0 leaves out forgotten traces: a part of it says nothing to who has less than the floor. */
function isOnTop(pieces: Iterable<Delta>, have: number): boolean {
  for (const { entries } of pieces) if ((entries.at(-1)?.floor ?? 0) > have) return false;
  return true;
}

function chain({ pieces, last }: Staged, from: number): { from: number; entries: Entry[] } | undefined {
  const entries: Entry[] = [];
  let at = from;
  while (at < last) {
    const piece = pieces.get(at);
    if (piece === undefined) return undefined;
    entries.push(...piece.entries);
    at = piece.to;
  }
  return { from, entries };
}

function sizeOf({ entries }: Delta): number {
  return entries.reduce((sum, { value }) => sum + 150 + (value?.length ?? 0), 0);
}
