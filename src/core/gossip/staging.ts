/**
 * Answers that come in several packets, until they are whole. Nothing of them may be seen before: a value in pieces, or
 * an owner that began anew, would show half of what it says.
 */
import { GOSSIP_OWNER_BYTES_MAX, GOSSIP_STAGED_MAX, GOSSIP_STAGED_MS } from "../../model/limits.ts";
import type { Delta, Entry, MemberId } from "./messages.ts";

interface Staged {
  readonly gen: number;
  readonly last: number;
  readonly pieces: Map<number, Delta>;
  readonly since: number;
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
    if (staged === undefined || staged.pieces.has(piece.from)) return undefined;
    staged.bytes += sizeOf(piece);
    if (staged.bytes > 2 * GOSSIP_OWNER_BYTES_MAX) {
      this.#staged.delete(piece.owner);
      return undefined;
    }
    staged.pieces.set(piece.from, piece);
    const whole = chain(staged, have) ?? (have === 0 ? undefined : chain(staged, 0));
    if (whole === undefined) return undefined;
    this.#staged.delete(piece.owner);
    return { ...piece, from: whole.from, to: staged.last, entries: whole.entries };
  }

  /** How far the pieces of this gen go on from `have`: the rest is still to be asked for. */
  reach(owner: MemberId, gen: number, have: number): number {
    const staged = this.#staged.get(owner);
    if (staged === undefined || staged.gen !== gen) return have;
    let at = have;
    for (let piece = staged.pieces.get(at); piece !== undefined; piece = staged.pieces.get(at)) at = piece.to;
    return at;
  }

  clear(): void {
    this.#staged.clear();
  }

  #of({ owner, gen, last }: Delta, now: number): Staged | undefined {
    const staged = this.#staged.get(owner);
    const isStale = staged !== undefined && now - staged.since > GOSSIP_STAGED_MS;
    if (staged !== undefined && !isStale && staged.gen === gen && staged.last === last) return staged;
    // Pieces of an older answer fit no newer one: the state is another.
    if (staged !== undefined && !isStale && (staged.gen > gen || (staged.gen === gen && staged.last > last)))
      return undefined;
    if (staged === undefined && this.#staged.size >= GOSSIP_STAGED_MAX) this.#dropOldest();
    const fresh: Staged = { gen, last, pieces: new Map(), since: now, bytes: 0 };
    this.#staged.set(owner, fresh);
    return fresh;
  }

  #dropOldest(): void {
    const [oldest] = [...this.#staged].sort(([, a], [, b]) => a.since - b.since);
    if (oldest !== undefined) this.#staged.delete(oldest[0]);
  }
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
