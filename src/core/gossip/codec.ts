/**
 * Gossip packets as bytes (what is sealed): the sender's id, then messages, each with its type and length. A type that is
 * not known is skipped, and so are bytes behind the fields of one that is: members of two versions understand each other.
 * Decoding never throws.
 */
import { GOSSIP_IHAVE_MAX, GOSSIP_SYNC_ROWS_MAX } from "../../model/limits.ts";
import { ByteReader, ByteWriter } from "./bytes.ts";
import type { DigestRow, MemberId, Message, MessageType } from "./messages.ts";
import {
  BELIEF_BYTES,
  deltaSize,
  HEAD_VERSION_BYTES,
  headSize,
  ITEM_BYTES,
  ROW_BYTES,
  readBelief,
  readDeath,
  readDelta,
  readHead,
  readHeadVersion,
  readItem,
  readMany,
  readRow,
  readTestimony,
  SIGNATURE_BYTES,
  TESTIMONY_BYTES,
  writeBelief,
  writeDeath,
  writeDelta,
  writeHead,
  writeHeadVersion,
  writeItem,
  writeRow,
  writeTestimony,
} from "./wire-parts.ts";

export const BUCKETS = 256;
/** Sender's id before the messages. */
export const PACKET_HEADER_BYTES = 8;
/** Type and length before each message. */
const FRAME_BYTES = 3;
/** What a message with a delta takes besides the entries. */
export const DELTA_FIXED_BYTES = FRAME_BYTES + 1 + 8 + 7 + 18 + 2;
const NO_ID = "0000000000000000";

interface Codec<M extends Message> {
  /** The first byte. A new message takes the next free one; none is ever used again for something else. */
  readonly code: number;
  /** What the fields take. */
  readonly bytes: (message: M) => number;
  readonly write: (writer: ByteWriter, message: M) => void;
  /** @returns `undefined` when it is out of bounds */
  readonly read: (reader: ByteReader) => M | undefined;
}

type CodecOf<T extends MessageType> = Codec<Extract<Message, { type: T }>>;

const CODECS: { readonly [T in MessageType]: CodecOf<T> } = {
  ping: {
    code: 1,
    bytes: ({ dead, about }) => 5 + (dead === undefined ? 0 : HEAD_VERSION_BYTES) + (about === undefined ? 0 : 8),
    write: (writer, { seq, isLink, dead, about }) => {
      writer.u32(seq).u8(flags(isLink, dead !== undefined, about !== undefined));
      if (dead !== undefined) writeHeadVersion(writer, dead);
      if (about !== undefined) writer.id(about);
    },
    read: (reader) => {
      const [seq, bits] = [reader.u32(), reader.u8()];
      const dead = isSet(bits, 1) && { dead: readHeadVersion(reader) };
      return { type: "ping", seq, isLink: isSet(bits, 0), ...dead, ...(isSet(bits, 2) && { about: reader.id() }) };
    },
  },
  ack: {
    code: 2,
    bytes: () => 5,
    write: (writer, { seq, isLink, hasHeard }) => {
      writer.u32(seq).u8(flags(isLink, hasHeard));
    },
    read: (reader) => {
      const [seq, bits] = [reader.u32(), reader.u8()];
      return { type: "ack", seq, isLink: isSet(bits, 0), hasHeard: isSet(bits, 1) };
    },
  },
  "ping-request": {
    code: 3,
    bytes: () => 12 + BELIEF_BYTES,
    write: (writer, { seq, target, belief }) => writeBelief(writer.u32(seq).id(target), belief),
    read: (reader) => {
      const [seq, target] = [reader.u32(), reader.id()];
      return { type: "ping-request", seq, target, belief: readBelief(reader) };
    },
  },
  "relayed-ack": {
    code: 4,
    bytes: () => 13,
    write: (writer, { seq, target, hasHeard }) => {
      writer.u32(seq).id(target).u8(flags(hasHeard));
    },
    read: (reader) => {
      const [seq, target, bits] = [reader.u32(), reader.id(), reader.u8()];
      return { type: "relayed-ack", seq, target, hasHeard: isSet(bits, 0) };
    },
  },
  testimony: {
    code: 5,
    bytes: () => 4 + TESTIMONY_BYTES,
    write: (writer, { seq, testimony }) => writeTestimony(writer.u32(seq), testimony),
    read: (reader) => ({ type: "testimony", seq: reader.u32(), testimony: readTestimony(reader) }),
  },
  neighbor: {
    code: 6,
    bytes: () => 1,
    write: (writer, { isUrgent }) => {
      writer.u8(flags(isUrgent));
    },
    read: (reader) => ({ type: "neighbor", isUrgent: isSet(reader.u8(), 0) }),
  },
  "neighbor-accept": bare("neighbor-accept", 7),
  "neighbor-deny": bare("neighbor-deny", 8),
  disconnect: bare("disconnect", 9),
  "sync-root": {
    code: 10,
    bytes: () => 8,
    write: (writer, { high, low }) => {
      writer.u32(high).u32(low);
    },
    read: (reader) => ({ type: "sync-root", high: reader.u32(), low: reader.u32() }),
  },
  join: {
    code: 11,
    bytes: ({ head }) => headSize(head),
    write: (writer, { head }) => writeHead(writer, head),
    read: (reader) => ({ type: "join", head: readHead(reader) }),
  },
  "join-reply": {
    code: 12,
    bytes: ({ head, known }) => 1 + headSize(head) + (known === undefined ? 0 : headSize(known)),
    write: (writer, { head, known }) => {
      writeHead(writer.u8(flags(known !== undefined)), head);
      if (known !== undefined) writeHead(writer, known);
    },
    read: (reader) => {
      const isKnown = isSet(reader.u8(), 0);
      return { type: "join-reply", head: readHead(reader), ...(isKnown && { known: readHead(reader) }) };
    },
  },
  member: {
    code: 13,
    bytes: ({ head }) => 1 + headSize(head),
    write: (writer, { isAsked, head }) => writeHead(writer.u8(flags(isAsked)), head),
    read: (reader) => ({ type: "member", isAsked: isSet(reader.u8(), 0), head: readHead(reader) }),
  },
  death: {
    code: 14,
    bytes: ({ death }) => 1 + 8 + 7 + 4 + 8 + SIGNATURE_BYTES + 1 + death.testimonies.length * TESTIMONY_BYTES,
    write: (writer, { isAsked, death }) => writeDeath(writer.u8(flags(isAsked)), death),
    read: (reader) => ({ type: "death", isAsked: isSet(reader.u8(), 0), death: readDeath(reader) }),
  },
  delta: {
    code: 15,
    bytes: ({ delta }) => 1 + deltaSize(delta),
    write: (writer, { isAsked, delta }) => writeDelta(writer.u8(flags(isAsked)), delta),
    read: (reader) => {
      const isAsked = isSet(reader.u8(), 0);
      const delta = readDelta(reader);
      return delta && { type: "delta", isAsked, delta };
    },
  },
  ihave: items("ihave", 16),
  pull: {
    code: 17,
    bytes: () => 1 + ITEM_BYTES,
    write: (writer, { isGraft, item }) => writeItem(writer.u8(flags(isGraft)), item),
    read: (reader) => ({ type: "pull", isGraft: isSet(reader.u8(), 0), item: readItem(reader) }),
  },
  prune: bare("prune", 18),
  "sync-buckets": {
    code: 19,
    bytes: () => BUCKETS * 4,
    write: (writer, { buckets }) => {
      for (const bucket of buckets) writer.u32(bucket);
    },
    read: (reader) => ({
      type: "sync-buckets",
      buckets: Uint32Array.from({ length: BUCKETS }, () => reader.u32()),
    }),
  },
  "sync-rows": {
    code: 20,
    bytes: ({ rows }) => 1 + 1 + 16 + 2 + rows.length * ROW_BYTES,
    write: (writer, { bucket, after, upTo, rows }) => {
      writer.u8(bucket).u8(flags(after !== "", upTo !== ""));
      writer
        .id(after || NO_ID)
        .id(upTo || NO_ID)
        .u16(rows.length);
      for (const row of rows) writeRow(writer, row);
    },
    read: (reader) => {
      const [bucket, bounds, after, upTo] = [reader.u8(), reader.u8(), reader.id(), reader.id()];
      const rows: DigestRow[] | undefined = readMany(reader, GOSSIP_SYNC_ROWS_MAX, readRow);
      if (rows === undefined || rows.some(({ status }) => status > 2)) return undefined;
      return {
        type: "sync-rows",
        bucket,
        after: isSet(bounds, 0) ? after : "",
        upTo: isSet(bounds, 1) ? upTo : "",
        rows,
      };
    },
  },
  doubts: items("doubts", 21),
};

const BY_CODE = new Map(Object.values(CODECS).map((codec) => [codec.code, codec as Codec<Message>]));

export interface Packet {
  readonly sender: MemberId;
  readonly messages: readonly Message[];
}

export function encodePacket(sender: MemberId, messages: readonly Message[]): Uint8Array {
  const writer = new ByteWriter(1_232).id(sender);
  for (const message of messages) {
    const codec = codecOf(message);
    writer.u8(codec.code).u16(0);
    const start = writer.length;
    codec.write(writer, message);
    writer.patchU16(start - 2, writer.length - start);
  }
  return writer.finish();
}

/** @returns `undefined` when the packet is cut off; else what of it could be read, and how many messages could not */
export function decodePacket(bytes: Uint8Array): (Packet & { readonly malformed: number }) | undefined {
  const reader = new ByteReader(bytes);
  const sender = reader.id();
  const messages: Message[] = [];
  let malformed = 0;
  while (reader.left > 0) {
    const codec = BY_CODE.get(reader.u8());
    const body = new ByteReader(reader.blob());
    if (reader.isBad) break;
    if (codec === undefined) continue;
    const message = codec.read(body);
    if (body.isBad || message === undefined) malformed += 1;
    else messages.push(message);
  }
  return reader.isBad ? undefined : { sender, messages, malformed };
}

/** Bytes that the message takes in a packet. */
export function messageBytes(message: Message): number {
  return FRAME_BYTES + codecOf(message).bytes(message);
}

function codecOf(message: Message): Codec<Message> {
  return CODECS[message.type] as Codec<Message>;
}

/** A message without fields. */
function bare<T extends "neighbor-accept" | "neighbor-deny" | "disconnect" | "prune">(
  type: T,
  code: number,
): CodecOf<T> {
  const codec: Codec<BareMessage> = { code, bytes: () => 0, write: () => {}, read: () => ({ type }) };
  return codec as unknown as CodecOf<T>;
}

function items<T extends "ihave" | "doubts">(type: T, code: number): CodecOf<T> {
  const codec: Codec<ItemsMessage> = {
    code,
    bytes: (message) => 2 + message.items.length * ITEM_BYTES,
    write: (writer, message) => {
      writer.u16(message.items.length);
      for (const item of message.items) writeItem(writer, item);
    },
    read: (reader) => {
      const read = readMany(reader, GOSSIP_IHAVE_MAX, readItem);
      return read && { type, items: read };
    },
  };
  return codec as unknown as CodecOf<T>;
}

type BareMessage = Extract<Message, { type: "neighbor-accept" | "neighbor-deny" | "disconnect" | "prune" }>;
type ItemsMessage = Extract<Message, { type: "ihave" | "doubts" }>;

/** One bit each, the first one lowest. */
function flags(...bits: readonly boolean[]): number {
  return bits.reduce((sum, bit, n) => sum + (bit ? 1 << n : 0), 0);
}

function isSet(bits: number, n: number): boolean {
  return (bits & (1 << n)) !== 0;
}
