/**
 * What gossip members say to each other (docs/gossip.md). Each fact has one writer, who signs it: a head and an entry by
 * the member they are about, an accusation by its accuser, a testimony by its witness. Everything else here is talk
 * about versions, and changes nothing by itself.
 */

/** The first 8 bytes of SHA-256 of the member's public key, as 16 hex digits. */
export type MemberId = string;

/** Where a member receives datagrams: `10.0.0.11:62501`, `[fd00::11]:62501`. */
export type Address = string;

/** What a member says of itself. Versions of one member are ordered by (gen, inc, hasLeft). */
export interface Head {
  readonly id: MemberId;
  /** Life of the member's memory: raised at each start. The low 20 bits are chance, the rest counts. */
  readonly gen: number;
  /** Raised by the member alone, to contradict who called it dead. Begins at 0 with each gen. */
  readonly inc: number;
  /** It said goodbye. */
  readonly hasLeft: boolean;
  readonly address: Address;
  /** The cluster's word that it may be a member; opaque here. */
  readonly credential: Uint8Array;
  readonly signature: Uint8Array;
}

/** "I had no answer from it either." */
export interface Testimony {
  readonly target: MemberId;
  readonly gen: number;
  readonly inc: number;
  readonly witness: MemberId;
  readonly signature: Uint8Array;
}

/** An accusation: the member did not answer. It holds against the head with this (gen, inc) and older ones. */
export interface Death {
  readonly id: MemberId;
  readonly gen: number;
  readonly inc: number;
  readonly accuser: MemberId;
  readonly signature: Uint8Array;
  /** Of other members than the accuser and the accused, each once. Without any it is a solo accusation. */
  readonly testimonies: readonly Testimony[];
}

/** One record of its owner, or the trace of a deleted one. */
export interface Entry {
  readonly key: string;
  /** The change of the owner's records that wrote it; 1 is the first of a gen. */
  readonly seq: number;
  /** `undefined`: deleted. */
  readonly value: Uint8Array | undefined;
  /** Traces up to this seq are forgotten: who has less needs everything. */
  readonly floor: number;
  /** Hash of all the owner's entries after this change: what is missing or made up shows. Two unsigned 32-bit halves. */
  readonly stateHigh: number;
  readonly stateLow: number;
  readonly signature: Uint8Array;
}

/**
 * The owner's entries with `from < seq ≤ to`, or a piece of them. The whole answer ends at `last`; only then may it be
 * seen. `from` 0 is everything there is.
 */
export interface Delta {
  readonly owner: MemberId;
  readonly gen: number;
  readonly from: number;
  readonly to: number;
  readonly last: number;
  /** By rising seq; the last one has the seq `to`. */
  readonly entries: readonly Entry[];
}

/** ALIVE, LEFT, DEAD as tables and digests know them; SUSPECT exists in beliefs alone. */
export const ALIVE = 0;
export const LEFT = 1;
export const DEAD = 2;
export const SUSPECT = 3;
export type Status = typeof ALIVE | typeof LEFT | typeof DEAD;

/** A version of a head, but for the goodbye. */
export interface HeadVersion {
  readonly gen: number;
  readonly inc: number;
}

/** What the speaker thinks of a member. */
export interface Belief extends HeadVersion {
  readonly status: Status | typeof SUSPECT;
}

/** What the target of a ping is told of the belief: who only suspects keeps it to itself, and the answer ends it. */
export function deathIn(belief: Belief): HeadVersion | undefined {
  return belief.status === DEAD ? belief : undefined;
}

/** Names a version of a member's state or of its records. `version`: inc · 4 + status, or seq. */
export interface Item {
  readonly kind: "member" | "records";
  readonly id: MemberId;
  readonly gen: number;
  readonly version: number;
}

/** All that is compared of one member and its records. */
export interface DigestRow {
  readonly id: MemberId;
  /** Of the head; with `status` DEAD the accusation's. */
  readonly gen: number;
  readonly inc: number;
  readonly status: Status;
  readonly dataGen: number;
  readonly seq: number;
}

export type Message =
  // ---- control: before anything else ---------------------------------------------------------------------------------
  /**
   * `isLink`: you are my neighbour. `dead`: you are held for dead at this version. `about`: tell in the answer whether
   * this member's packets arrive.
   */
  | {
      readonly type: "ping";
      readonly seq: number;
      readonly isLink: boolean;
      readonly dead?: HeadVersion | undefined;
      readonly about?: MemberId | undefined;
    }
  /** `isLink`: and you are mine. */
  | {
      readonly type: "ack";
      readonly seq: number;
      readonly isLink: boolean;
      readonly hasHeard: boolean;
    }
  | {
      readonly type: "ping-request";
      readonly seq: number;
      readonly target: MemberId;
      readonly belief: Belief;
    }
  /** The target answered. `hasHeard`: it hears the asker's own pings. */
  | {
      readonly type: "relayed-ack";
      readonly seq: number;
      readonly target: MemberId;
      readonly hasHeard: boolean;
    }
  | { readonly type: "testimony"; readonly seq: number; readonly testimony: Testimony }
  /** Will you be my neighbour? `isUrgent`: I have none, or my side of the cluster has no other way to yours. */
  | { readonly type: "neighbor"; readonly isUrgent: boolean }
  | { readonly type: "neighbor-accept" }
  | { readonly type: "neighbor-deny" }
  | { readonly type: "disconnect" }
  /** Hash of all that is known, in two halves. */
  | { readonly type: "sync-root"; readonly high: number; readonly low: number }
  | { readonly type: "join"; readonly head: Head }
  /** `known`: the newest that the joiner said of itself before, in its own hand. */
  | { readonly type: "join-reply"; readonly head: Head; readonly known?: Head | undefined }
  // ---- bulk: shaped, and dropped first ---------------------------------------------------------------------------------
  /** `isAsked`: an answer to a pull. */
  | { readonly type: "member"; readonly head: Head; readonly isAsked: boolean }
  | { readonly type: "death"; readonly death: Death; readonly isAsked: boolean }
  | { readonly type: "delta"; readonly delta: Delta; readonly isAsked: boolean }
  | { readonly type: "ihave"; readonly items: readonly Item[] }
  /** Asks for what is newer than (gen, version). `isGraft`: and push to me from now on. */
  | { readonly type: "pull"; readonly item: Item; readonly isGraft: boolean }
  | { readonly type: "prune" }
  /** "I hold these for dead, and you do not: look for yourself." */
  | { readonly type: "doubts"; readonly items: readonly Item[] }
  | { readonly type: "sync-buckets"; readonly buckets: Uint32Array }
  /** All rows of the bucket with `after < id ≤ upTo`, by rising id; "" is open. */
  | {
      readonly type: "sync-rows";
      readonly bucket: number;
      readonly after: MemberId;
      readonly upTo: MemberId;
      readonly rows: readonly DigestRow[];
    };

export type MessageType = Message["type"];

const CONTROL: ReadonlySet<MessageType> = new Set<MessageType>([
  "ping",
  "ack",
  "ping-request",
  "relayed-ack",
  "testimony",
  "neighbor",
  "neighbor-accept",
  "neighbor-deny",
  "disconnect",
  "sync-root",
  "join",
  "join-reply",
]);

/** Whether the message goes before all bulk: what judges who lives must never wait behind what is only copied. */
export function isControl(message: Message): boolean {
  return CONTROL.has(message.type);
}
