/**
 * Bytes as the codecs of trust read and write them: fields in network order, and base64url (RFC 4648 §5, no padding) where
 * bytes travel as text. A reader past the end gives `undefined` for all that follows, so a decoder asks once, at its end.
 */

/** Reads fields in their order; `isWhole` tells at the end whether they were there, and nothing else was. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #offset = 0;
  #isShort = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** The next `length` bytes as a copy; zeros when there are fewer. */
  take(length: number): Uint8Array {
    const end = this.#offset + length;
    if (end > this.#bytes.length) {
      this.#isShort = true;
      return new Uint8Array(length);
    }
    const taken = new Uint8Array(this.#bytes.subarray(this.#offset, end));
    this.#offset = end;
    return taken;
  }

  u8(): number {
    return this.take(1)[0] as number;
  }

  u32(): number {
    return new DataView(this.take(4).buffer).getUint32(0);
  }

  /** A byte that tells the length, and so many characters of Latin-1. */
  text(): string {
    return Buffer.from(this.take(this.u8())).toString("latin1");
  }

  /** Everything that was read so far. */
  soFar(): Uint8Array {
    return this.#bytes.subarray(0, this.#offset);
  }

  /** What was not read yet; nothing is left then. */
  rest(): Uint8Array {
    return this.take(Math.max(0, this.#bytes.length - this.#offset));
  }

  get isWhole(): boolean {
    return !this.#isShort && this.#offset === this.#bytes.length;
  }
}

export function u8(value: number): Uint8Array {
  return Uint8Array.of(value);
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

/** As `ByteReader.text` reads it: at most 255 characters. */
export function shortText(text: string): Uint8Array {
  const bytes = Buffer.from(text, "latin1");
  return concat(u8(bytes.length), bytes);
}

/** Each part with its length before it in four bytes: no two lists of parts give the same bytes. */
export function framed(...parts: readonly Uint8Array[]): Uint8Array {
  return concat(...parts.flatMap((part) => [u32(part.length), part]));
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

export function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}

/** @returns `undefined` for what is not exactly what `toText` writes */
export function fromText(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, "base64url");
  return bytes.toString("base64url") === text ? new Uint8Array(bytes) : undefined;
}
