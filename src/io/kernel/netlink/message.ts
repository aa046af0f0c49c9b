/**
 * The frame that all of netlink shares: messages with a 16-byte header, and nested type-length-value attributes.
 *
 * Numbers are in the machine's order (little-endian, asserted in ffi.ts) except where an attribute says otherwise;
 * everything is padded to 4 bytes. What is read came from outside: each length is checked before it is used, and
 * garbage is a Fault, never another error. Source: linux/netlink.h.
 */
import { assert, Fault } from "../../../model/fault.ts";

export const HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;
/** An attribute's length is a 16-bit number that counts its header. */
const ATTRIBUTE_MAX_BYTES = 0xffff;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;

/** Flags of a request; their meaning beside REQUEST and ACK depends on whether it reads or writes. */
export const NLM_F_REQUEST = 0x1;
export const NLM_F_MULTI = 0x2;
const NLM_F_ACK = 0x4;
export const NLM_F_DUMP = 0x300;
export const NLM_F_REPLACE = 0x100;
export const NLM_F_EXCL = 0x200;
export const NLM_F_CREATE = 0x400;
export const NLM_F_APPEND = 0x800;
/** Of an answer: what is dumped changed meanwhile, so something may be missing or there twice. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

const aligned = (length: number) => (length + 3) & ~3;

// ---- writing -----------------------------------------------------------------------------------------------------

/** Builds datagrams of one or more messages. Its bytes are valid until the next `clear`. */
export class MessageWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #length = 0;
  #sequence: number;
  /** Where the last message begins. */
  #last = 0;

  /** `firstSequence`: the sequence number of the first message; each further one has the next. */
  constructor(firstSequence = 1, capacity = 4_096) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
    this.#sequence = firstSequence;
  }

  /** The datagram so far, not a copy. */
  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  /** The sequence number that the next message will have. */
  get nextSequence(): number {
    return this.#sequence;
  }

  /** Forgets the datagram; the sequence goes on. */
  clear(): void {
    this.#length = 0;
  }

  /** Writes one message whose payload `body` writes. */
  message(type: number, flags: number, body: () => void): void {
    const start = this.#reserve(HEADER_BYTES);
    this.#last = start;
    body();
    this.#view.setUint32(start, this.#length - start, true);
    this.#view.setUint16(start + 4, type, true);
    this.#view.setUint16(start + 6, flags, true);
    this.#view.setUint32(start + 8, this.#sequence, true);
    this.#view.setUint32(start + 12, 0, true);
    this.#sequence = (this.#sequence + 1) >>> 0;
  }

  /** Asks for an answer to the last message even if it succeeds. */
  acknowledgeLast(): void {
    this.#view.setUint16(this.#last + 6, readU16(this.#bytes, this.#last + 6) | NLM_F_ACK, true);
  }

  /** Bytes as they are, padded: the fixed part that a message's payload begins with. */
  raw(bytes: ArrayLike<number>): void {
    const at = this.#reserve(aligned(bytes.length));
    this.#bytes.set(bytes, at);
  }

  u8(value: number): void {
    const at = this.#grow(1);
    this.#view.setUint8(at, value);
  }

  u16(value: number): void {
    const at = this.#grow(2);
    this.#view.setUint16(at, value, true);
  }

  u32(value: number): void {
    const at = this.#grow(4);
    this.#view.setUint32(at, value, true);
  }

  attribute(type: number, value: ArrayLike<number>): void {
    const length = ATTRIBUTE_HEADER_BYTES + value.length;
    assert(length <= ATTRIBUTE_MAX_BYTES, `attribute ${type} of ${length} bytes fits a 16-bit length`);
    const at = this.#reserve(aligned(length));
    this.#view.setUint16(at, length, true);
    this.#view.setUint16(at + 2, type, true);
    this.#bytes.set(value, at + ATTRIBUTE_HEADER_BYTES);
  }

  attributeU8(type: number, value: number): void {
    this.attribute(type, [value]);
  }

  attributeU32(type: number, value: number): void {
    const at = this.#reserve(8);
    this.#view.setUint16(at, 8, true);
    this.#view.setUint16(at + 2, type, true);
    this.#view.setUint32(at + 4, value, true);
  }

  attributeU16BigEndian(type: number, value: number): void {
    this.attribute(type, [value >> 8, value & 0xff]);
  }

  attributeU32BigEndian(type: number, value: number): void {
    const at = this.#reserve(8);
    this.#view.setUint16(at, 8, true);
    this.#view.setUint16(at + 2, type, true);
    this.#view.setUint32(at + 4, value, false);
  }

  /** A text with its closing zero. */
  attributeString(type: number, text: string): void {
    this.attribute(type, Buffer.from(`${text}\0`));
  }

  /** An attribute that holds what `body` writes. */
  nested(type: number, body: () => void): void {
    const start = this.#reserve(ATTRIBUTE_HEADER_BYTES);
    body();
    const length = this.#length - start;
    assert(length <= ATTRIBUTE_MAX_BYTES, `nested attribute ${type} of ${length} bytes fits a 16-bit length`);
    this.#view.setUint16(start, length, true);
    this.#view.setUint16(start + 2, type | NLA_F_NESTED, true);
  }

  /** Room for `count` zero bytes at the end; where it begins. */
  #reserve(count: number): number {
    const at = this.#grow(count);
    this.#bytes.fill(0, at, at + count);
    return at;
  }

  #grow(count: number): number {
    const at = this.#length;
    if (at + count > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.#bytes.length, at + count));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    this.#length = at + count;
    return at;
  }
}

// ---- reading -----------------------------------------------------------------------------------------------------

/** One message of a datagram. `payload` is a view into the datagram, not a copy. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly payload: Uint8Array;
}

/** The kernel answered what cannot be read. */
export function malformed(what: string): Fault {
  return new Fault("kernel-refused", `cannot read the kernel's netlink answer: ${what}; is this kernel supported?`);
}

/** @throws Fault kernel-refused when a length does not fit */
export function* readMessages(datagram: Uint8Array): Generator<Message> {
  let at = 0;
  while (at < datagram.length) {
    if (datagram.length - at < HEADER_BYTES) throw malformed(`${datagram.length - at} bytes where a header was due`);
    const length = readU32(datagram, at);
    if (length < HEADER_BYTES || length > datagram.length - at) throw malformed(`message length ${length}`);
    yield {
      type: readU16(datagram, at + 4),
      flags: readU16(datagram, at + 6),
      sequence: readU32(datagram, at + 8),
      payload: datagram.subarray(at + HEADER_BYTES, at + length),
    };
    at += aligned(length);
  }
}

/** The attributes of one level, looked up by type; the last one of a type counts, as in the kernel. */
export class Attributes {
  readonly #bytes: Uint8Array;
  readonly #start: number;

  /**
   * @param start where the first attribute begins: behind the message's fixed part
   * @throws Fault kernel-refused when a length does not fit
   */
  constructor(bytes: Uint8Array, start = 0) {
    if (start > bytes.length) throw malformed(`${bytes.length} bytes, where ${start} are the least`);
    this.#bytes = bytes;
    this.#start = start;
    for (let at = start; at < bytes.length; ) {
      const length = bytes.length - at >= ATTRIBUTE_HEADER_BYTES ? readU16(bytes, at) : 0;
      if (length < ATTRIBUTE_HEADER_BYTES || length > bytes.length - at) throw malformed(`attribute length ${length}`);
      at += aligned(length);
    }
  }

  /** The value's bytes, a view; `undefined` when the attribute is absent. */
  bytes(type: number): Uint8Array | undefined {
    let found: Uint8Array | undefined;
    for (let at = this.#start; at < this.#bytes.length; ) {
      const length = readU16(this.#bytes, at);
      if ((readU16(this.#bytes, at + 2) & NLA_TYPE_MASK) === type)
        found = this.#bytes.subarray(at + ATTRIBUTE_HEADER_BYTES, at + length);
      at += aligned(length);
    }
    return found;
  }

  /** Every attribute in order. */
  *entries(): Generator<readonly [type: number, value: Uint8Array]> {
    for (let at = this.#start; at < this.#bytes.length; ) {
      const length = readU16(this.#bytes, at);
      yield [
        readU16(this.#bytes, at + 2) & NLA_TYPE_MASK,
        this.#bytes.subarray(at + ATTRIBUTE_HEADER_BYTES, at + length),
      ];
      at += aligned(length);
    }
  }

  u8(type: number): number | undefined {
    return this.#fixed(type, 1)?.[0];
  }

  u32(type: number): number | undefined {
    const bytes = this.#fixed(type, 4);
    return bytes === undefined ? undefined : readU32(bytes, 0);
  }

  u16BigEndian(type: number): number | undefined {
    const bytes = this.#fixed(type, 2);
    return bytes === undefined ? undefined : byteOf(bytes, 0) * 256 + byteOf(bytes, 1);
  }

  u32BigEndian(type: number): number | undefined {
    const bytes = this.#fixed(type, 4);
    return bytes === undefined ? undefined : readU32(bytes.toReversed(), 0);
  }

  /** The text up to its first zero byte. */
  string(type: number): string | undefined {
    const bytes = this.bytes(type);
    if (bytes === undefined) return undefined;
    const end = bytes.indexOf(0);
    return Buffer.from(end < 0 ? bytes : bytes.subarray(0, end)).toString();
  }

  nested(type: number): Attributes | undefined {
    const bytes = this.bytes(type);
    return bytes === undefined ? undefined : new Attributes(bytes);
  }

  #fixed(type: number, length: number): Uint8Array | undefined {
    const bytes = this.bytes(type);
    if (bytes !== undefined && bytes.length !== length)
      throw malformed(`attribute ${type} has ${bytes.length} bytes, not ${length}`);
    return bytes;
  }
}

const byteOf = (bytes: Uint8Array, at: number) => bytes[at] ?? 0;

export function readU16(bytes: Uint8Array, at: number): number {
  return byteOf(bytes, at) | (byteOf(bytes, at + 1) << 8);
}

export function readU32(bytes: Uint8Array, at: number): number {
  return (readU16(bytes, at) | (readU16(bytes, at + 2) << 16)) >>> 0;
}
