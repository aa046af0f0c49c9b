/**
 * One that stole the cluster's key, and the keys of two members: what it says arrives, under whatever sender it likes. It
 * lies about a member; nobody may believe a word of it, and nothing that it repeats may change anything.
 */

import { messageBytes, PACKET_HEADER_BYTES } from "../src/core/gossip/codec.ts";
import type { Delta, MemberId, Message } from "../src/core/gossip/messages.ts";
import type { OwnerState } from "../src/core/gossip/owner-state.ts";
import { piecesOf } from "../src/core/gossip/owner-state.ts";
import { deathBytes, headBytes, testimonyBytes } from "../src/core/gossip/signed.ts";
import { entrySize } from "../src/core/gossip/wire-parts.ts";
import type { GossipCluster } from "./gossip-cluster.ts";
import type { SimMember } from "./member.ts";
import type { Forgery } from "./scenario.ts";

const ADDRESS = "10.255.255.254:62501";
const REPLAYED_MAX = 200;
const PIECE_BYTES = 1_100;

export class Forger {
  readonly #cluster: GossipCluster;
  readonly #overheard: { readonly sender: MemberId; readonly messages: readonly Message[] }[] = [];

  constructor(cluster: GossipCluster) {
    this.#cluster = cluster;
  }

  /** Keeps some of what is sent, for later. */
  overhear({ id }: SimMember, messages: readonly Message[]): void {
    const isOfUse = messages.some(({ type }) => type === "member" || type === "death" || type === "delta");
    if (isOfUse && this.#overheard.length < REPLAYED_MAX) this.#overheard.push({ sender: id, messages });
  }

  lie(kind: Forgery, victim: SimMember): void {
    const { up } = this.#cluster;
    const sender = up[Math.floor(this.#cluster.fraction() * up.length)];
    if (sender === undefined) return;
    if (kind === "replay") {
      for (const { sender: from, messages } of this.#overheard) this.#sayToAll(from, messages);
      return;
    }
    for (const message of this.#lies(kind, victim)) this.#sayToAll(sender.id, [message]);
  }

  #lies(kind: Exclude<Forgery, "replay">, victim: SimMember): readonly Message[] {
    const head = victim.gossip?.member(victim.id)?.head;
    const state = victim.gossip?.state(victim.id);
    if (head === undefined) return [];
    const [accuser, witness, second] = this.#cluster.members.filter((member) => member !== victim);
    if (accuser === undefined || witness === undefined || second === undefined) return [];
    const { gen, inc } = head;
    switch (kind) {
      case "head":
        return [false, true].map((isAsked) => ({
          type: "member",
          head: { ...head, inc: inc + 1, address: ADDRESS },
          isAsked,
        }));
      case "stranger": {
        const { id, credential, sign } = this.#cluster.trust.stranger();
        const unsigned = { id, gen, inc, hasLeft: false, address: ADDRESS, credential };
        return [{ type: "member", head: { ...unsigned, signature: sign(headBytes(unsigned)) }, isAsked: true }];
      }
      case "death":
        return [this.#death(victim, gen, inc, accuser, [witness, second], false)];
      case "one-witness":
        return [this.#death(victim, gen, inc, accuser, [witness, witness], true)];
      case "own-witness":
        return [this.#death(victim, gen, inc, accuser, [accuser, witness], true)];
      case "value":
        return state === undefined ? [] : deltas({ ...state, entries: forged(state) });
      case "omission":
        return state === undefined ? [] : deltas({ ...state, entries: halved(state) });
    }
  }

  /** @param isSigned by those keys that it has; else with noise */
  #death(
    victim: SimMember,
    gen: number,
    inc: number,
    accuser: SimMember,
    witnesses: readonly SimMember[],
    isSigned: boolean,
  ): Message {
    const stranger = this.#cluster.trust.stranger();
    const signed = (member: SimMember, bytes: Uint8Array) => (isSigned ? member.identity : stranger).sign(bytes);
    const unsigned = { id: victim.id, gen, inc, accuser: accuser.id };
    const testimonies = witnesses.map((witness) => {
      const testimony = { target: victim.id, gen, inc, witness: witness.id };
      return { ...testimony, signature: signed(witness, testimonyBytes(testimony)) };
    });
    const signature = accuser.identity.sign(deathBytes(unsigned));
    return { type: "death", death: { ...unsigned, signature, testimonies }, isAsked: true };
  }

  #sayToAll(sender: MemberId, messages: readonly Message[]): void {
    const bytes = messages.reduce((sum, message) => sum + messageBytes(message), PACKET_HEADER_BYTES);
    for (const { address } of this.#cluster.up) this.#cluster.network.send(ADDRESS, sender, address, messages, bytes);
  }
}

/** Other values under the old signatures; the newest entry, which all look at, is left as it was. */
function forged({ entries, seq }: OwnerState): OwnerState["entries"] {
  return new Map(
    [...entries].map(([key, entry]) => [
      key,
      entry.seq === seq || entry.value === undefined ? entry : { ...entry, value: Uint8Array.of(6, 6, 6) },
    ]),
  );
}

/** Every second entry is missing; the newest one is there. */
function halved({ entries, seq }: OwnerState): OwnerState["entries"] {
  return new Map([...entries].filter(([, entry], n) => entry.seq === seq || n % 2 === 0));
}

export function deltas({ owner, gen, seq, entries }: OwnerState): Message[] {
  const delta: Delta = { owner, gen, from: 0, to: seq, last: seq, entries: [...entries.values()] };
  if (delta.entries.length === 0) return [];
  return piecesOf(delta, entrySize, PIECE_BYTES).map((piece) => ({ type: "delta", delta: piece, isAsked: true }));
}
