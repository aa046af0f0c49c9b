/**
 * A member and its records as they lie on disk: the packet with which they would travel, so that what a later version
 * added is kept too. What cannot be read is left out: the others send it again.
 */
import { decodePacket, encodePacket } from "../../core/gossip/codec.ts";
import type { Gossip } from "../../core/gossip/gossip.ts";
import type { Head, MemberId, Message } from "../../core/gossip/messages.ts";
import { applyEntries, deltaSince, type OwnerState, piecesOf } from "../../core/gossip/owner-state.ts";
import { entrySize } from "../../core/gossip/wire-parts.ts";
import type { StoredMember } from "../../io/ports.ts";

/** A message's length is written in 16 bits. */
const PIECE_BYTES = 32_000;

/** @returns `undefined` when the member is not known */
export function blobOf(gossip: Pick<Gossip, "member" | "state">, id: MemberId): Uint8Array | undefined {
  const head = gossip.member(id)?.head;
  if (head === undefined) return undefined;
  const state = gossip.state(id);
  const delta = state && deltaSince(state, state.gen, 0);
  const messages: Message[] = [{ type: "member", head, isAsked: true }];
  const pieces = delta === undefined ? [] : piecesOf(delta, entrySize, PIECE_BYTES);
  for (const piece of pieces) messages.push({ type: "delta", delta: piece, isAsked: true });
  return encodePacket(id, messages);
}

export interface RestoredMember {
  readonly head: Head;
  readonly state: OwnerState | undefined;
}

export function restored(members: readonly StoredMember[]): RestoredMember[] {
  return members.flatMap(({ id, blob }) => {
    const packet = blob && decodePacket(blob);
    const head = packet?.messages.find((message) => message.type === "member")?.head;
    if (head === undefined || head.id !== id) return [];
    const deltas = packet?.messages.flatMap((message) => (message.type === "delta" ? [message.delta] : [])) ?? [];
    const [first] = deltas;
    const entries = deltas.flatMap((delta) => delta.entries);
    return [{ head, state: first && applyEntries(undefined, first, entries) }];
  });
}
