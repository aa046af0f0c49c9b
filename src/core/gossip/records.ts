/**
 * Records of all owners as they arrive: taken when they go on where the known ones end, pulled when something between is
 * missing, put together when they come in pieces, handed on when they were news. What is not understood is carried like
 * everything else.
 */
import { GOSSIP_OWNER_BYTES_MAX, GOSSIP_OWNER_ENTRIES_MAX, GOSSIP_PACKET_MAX_BYTES } from "../../model/limits.ts";
import { DELTA_FIXED_BYTES, PACKET_HEADER_BYTES } from "./codec.ts";
import type { Context } from "./context.ts";
import type { Delta, Entry, Item, MemberId, Message } from "./messages.ts";
import { applyEntries, deltaSince, type OwnerState, piecesOf } from "./owner-state.ts";
import { entryBytes } from "./signed.ts";
import { Staging } from "./staging.ts";
import { isNewer } from "./version.ts";
import { entrySize } from "./wire-parts.ts";

const PIECE_BYTES = GOSSIP_PACKET_MAX_BYTES - PACKET_HEADER_BYTES - DELTA_FIXED_BYTES;
/** The rest of an answer in pieces is asked for again after this, ms. */
const PIECES_AGAIN_MS = 250;
/** So often without a further piece. */
const PIECES_TRIES = 8;

interface Rest {
  readonly from: MemberId;
  readonly gen: number;
  readonly last: number;
  tries: number;
  reached: number;
}

export class Records {
  readonly #ctx: Context;
  readonly #staging = new Staging();
  /** Answers in pieces of which the rest is asked for, by their owners; bounded as the staging is, and by tries. */
  readonly #resumed = new Map<MemberId, Rest>();

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  /** Hands on what this member wrote. */
  publish(delta: Delta, state: OwnerState): void {
    this.#ctx.table.putState(state);
    this.#ctx.emit({ type: "records", owner: state.owner });
    this.#ctx.broadcast.news(recordsItem(state), messagesOf(delta, false), undefined, false);
  }

  /** What someone with (gen, seq) of the owner lacks. */
  since(owner: MemberId, gen: number, seq: number): Message[] {
    const state = this.#ctx.table.state(owner);
    if (state === undefined || state.gen < gen || (state.gen === gen && state.seq <= seq)) return [];
    const delta = deltaSince(state, gen, seq);
    return delta === undefined ? [] : messagesOf(delta, true);
  }

  onDelta(from: MemberId, delta: Delta, isAsked: boolean): void {
    const { owner, gen, to, last } = delta;
    const { table, self } = this.#ctx;
    if (!isWellFormed(delta)) {
      this.#ctx.refuse("bad-delta");
      return;
    }
    const member = table.member(owner);
    if (member === undefined) {
      // Without its head nothing of it can be checked.
      this.#ctx.broadcast.pull({ kind: "member", id: owner, gen: 0, version: 0 }, from);
      return;
    }
    if (owner === self.id) {
      this.#aboutMyself(delta, member.publicKey);
      return;
    }
    const known = table.state(owner);
    if (known !== undefined && (known.gen > gen || (known.gen === gen && known.seq >= last))) {
      if (!isAsked) this.#ctx.broadcast.duplicate({ kind: "records", id: owner, gen, version: to }, from);
      return;
    }
    const have = known?.gen === gen ? known.seq : 0;
    if (to < last || !this.#isNext(delta, known)) this.#stage(from, delta, have, isAsked);
    else this.#take(from, delta, known, isAsked, [delta]);
  }

  /** Whether pieces of the owner's records come in at the moment: no need to ask somebody else. */
  isArriving(owner: MemberId): boolean {
    return this.#staging.isArriving(owner, this.#ctx.now - PIECES_AGAIN_MS);
  }

  clear(): void {
    this.#resumed.clear();
    this.#staging.clear();
  }

  #isNext({ gen, from }: Delta, known: OwnerState | undefined): boolean {
    return from === 0 || (known !== undefined && known.gen === gen && from <= known.seq);
  }

  #stage(from: MemberId, piece: Delta, have: number, isAsked: boolean): void {
    const { owner, gen, last, from: start } = piece;
    const isPiece = piece.to < last || this.#staging.reach(owner, gen, have) >= start || start === 0;
    const whole = this.#staging.add(piece, have, this.#ctx.now);
    if (whole !== undefined) {
      this.#take(from, whole, this.#ctx.table.state(owner), isAsked, messagesOf(whole, false).flatMap(deltaOf));
      return;
    }
    if (!isPiece) {
      this.#ctx.count("gaps");
      this.#ctx.broadcast.pull({ kind: "records", id: owner, gen, version: have }, from);
    }
    const resumed = this.#resumed.get(owner);
    if (resumed !== undefined && !isNewer(gen, last, resumed.gen, resumed.last)) return;
    const rest: Rest = { from, gen, last, tries: 0, reached: have };
    this.#resumed.set(owner, rest);
    this.#ctx.after(PIECES_AGAIN_MS, () => this.#pullRest(owner, rest));
  }

  /** No piece came for a while: what follows those that are here is asked for, until nothing more comes of it. */
  #pullRest(owner: MemberId, rest: Rest): void {
    if (this.#resumed.get(owner) !== rest) return;
    const { now, table, broadcast } = this.#ctx;
    const { from, gen, last } = rest;
    const known = table.state(owner);
    const have = known?.gen === gen ? known.seq : 0;
    const reached = this.#staging.reach(owner, gen, have);
    rest.tries = reached > rest.reached ? 0 : rest.tries + 1;
    rest.reached = reached;
    const isDone = known !== undefined && !isNewer(gen, last, known.gen, known.seq);
    if (isDone || rest.tries > PIECES_TRIES) {
      this.#resumed.delete(owner);
      return;
    }
    if (!this.#staging.isArriving(owner, now - PIECES_AGAIN_MS))
      broadcast.pull({ kind: "records", id: owner, gen, version: reached }, from);
    this.#ctx.after(PIECES_AGAIN_MS, () => this.#pullRest(owner, rest));
  }

  /** @param pieces what is handed on */
  #take(from: MemberId, delta: Delta, known: OwnerState | undefined, isAsked: boolean, pieces: readonly Delta[]): void {
    const { table, broadcast } = this.#ctx;
    // What begins anew replaces all: an old entry's value is under no signature but its own.
    const isOnTop = delta.from > 0 && known?.gen === delta.gen;
    const fresh = isOnTop ? delta.entries.filter(({ seq }) => seq > known.seq) : delta.entries;
    if (!this.#areSigned(delta, fresh)) {
      this.#ctx.refuse("bad-signature");
      return;
    }
    const next = applyEntries(known, delta, delta.entries);
    if (next === undefined) {
      // Something is missing although the numbers fit: everything is asked for, once.
      this.#ctx.refuse("bad-delta");
      if (delta.from > 0) broadcast.pull({ kind: "records", id: delta.owner, gen: delta.gen, version: 0 }, from);
      return;
    }
    if (isOversized(next)) {
      this.#ctx.refuse("owner-limit");
      return;
    }
    table.putState(next);
    this.#ctx.emit({ type: "records", owner: delta.owner });
    broadcast.news(recordsItem(next), pieces.map(pushed), from, isAsked);
  }

  #areSigned({ owner, gen }: Delta, entries: readonly Entry[]): boolean {
    const publicKey = this.#ctx.table.member(owner)?.publicKey;
    if (publicKey === undefined) return false;
    return entries.every((entry) => this.#ctx.verify(publicKey, entryBytes(owner, gen, entry), entry.signature));
  }

  /** Somebody holds records in this member's own hand that it does not know: it lost its memory. */
  #aboutMyself(delta: Delta, publicKey: Uint8Array): void {
    const mine = this.#ctx.lifecycle.written;
    const newest = delta.entries.at(-1);
    if (!isNewer(delta.gen, delta.to, mine.gen, mine.seq) || newest === undefined) return;
    if (!this.#ctx.verify(publicKey, entryBytes(delta.owner, delta.gen, newest), newest.signature))
      this.#ctx.refuse("bad-signature");
    else this.#ctx.lifecycle.jump(delta.gen);
  }
}

function isWellFormed({ from, to, last, entries }: Delta): boolean {
  const newest = entries.at(-1);
  if (newest === undefined || newest.seq !== to || to > last) return false;
  let seq = from;
  for (const entry of entries) {
    if (entry.seq <= seq) return false;
    seq = entry.seq;
  }
  return true;
}

function isOversized({ entries }: OwnerState): boolean {
  if (entries.size > GOSSIP_OWNER_ENTRIES_MAX) return true;
  let bytes = 0;
  for (const { key, value } of entries.values()) bytes += key.length + (value?.length ?? 0);
  return bytes > GOSSIP_OWNER_BYTES_MAX;
}

function messagesOf(delta: Delta, isAsked: boolean): Message[] {
  return piecesOf(delta, entrySize, PIECE_BYTES).map((piece) => ({ type: "delta", delta: piece, isAsked }));
}

function deltaOf(message: Message): Delta[] {
  return message.type === "delta" ? [message.delta] : [];
}

function pushed(delta: Delta): Message {
  return { type: "delta", delta, isAsked: false };
}

function recordsItem({ owner, gen, seq }: OwnerState): Item {
  return { kind: "records", id: owner, gen, version: seq };
}
