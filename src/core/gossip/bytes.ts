/**
 * Writing and reading of the integers and strings that gossip messages consist of. Big-endian. Reading past the end, and
 * a string that is no UTF-8, make the reader `isBad` instead of throwing: what it gives from then on means nothing.
 */

const TEXT = new TextEncoder();
const STRICT_TEXT = new TextDecoder("utf-8", { fatal: true });

export class ByteWriter {
  #bytes: Uint8Array;
  #view: DataView;
  #at = 0;

  constructor(capacity = 512) {
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#at;
  }

  /** A copy of what was written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#at);
  }

  u8(value: number): this {
    // Taking room may make another view.
    const at = this.#take(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#take(2);
    this.#view.setUint16(at, value);
    return this;
  }

  u32(value: number): this {
    const at = this.#take(4);
    this.#view.setUint32(at, value);
    return this;
  }

  /** An exact integer below 2^48. */
  u48(value: number): this {
    return this.u16(Math.floor(value / 2 ** 32)).u32(value % 2 ** 32);
  }

  /** An exact integer below 2^53. */
  u56(value: number): this {
    return this.u8(Math.floor(value / 2 ** 48)).u48(value % 2 ** 48);
  }

  raw(value: Uint8Array): this {
    const at = this.#take(value.length);
    this.#bytes.set(value, at);
    return this;
  }

  /** At most 255 bytes of UTF-8. */
  text(value: string): this {
    const bytes = TEXT.encode(value);
    return this.u8(bytes.length).raw(bytes);
  }

  /** At most 65,535 bytes. */
  blob(value: Uint8Array): this {
    return this.u16(value.length).raw(value);
  }

  /** 16 hex digits as 8 bytes. */
  id(value: string): this {
    return this.u32(Number.parseInt(value.slice(0, 8), 16)).u32(Number.parseInt(value.slice(8), 16));
  }

  /** Puts a length that was not known at the time to `at`. */
  patchU16(at: number, value: number): void {
    this.#view.setUint16(at, value);
  }

  #take(count: number): number {
    const at = this.#at;
    this.#at += count;
    if (this.#at > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(this.#at, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    return at;
  }
}

export class ByteReader {
  isBad = false;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get left(): number {
    return this.isBad ? 0 : this.#bytes.length - this.#at;
  }

  u8(): number {
    const at = this.#take(1);
    return at < 0 ? 0 : this.#view.getUint8(at);
  }

  u16(): number {
    const at = this.#take(2);
    return at < 0 ? 0 : this.#view.getUint16(at);
  }

  u32(): number {
    const at = this.#take(4);
    return at < 0 ? 0 : this.#view.getUint32(at);
  }

  u48(): number {
    return this.u16() * 2 ** 32 + this.u32();
  }

  u56(): number {
    const high = this.u8();
    if (high >= 16) this.isBad = true; // 52 bits are all that is ever written
    return high * 2 ** 48 + this.u48();
  }

  raw(length: number): Uint8Array {
    const at = this.#take(length);
    return at < 0 ? new Uint8Array() : this.#bytes.slice(at, at + length);
  }

  text(): string {
    const bytes = this.raw(this.u8());
    try {
      return STRICT_TEXT.decode(bytes);
    } catch {
      this.isBad = true;
      return "";
    }
  }

  blob(): Uint8Array {
    return this.raw(this.u16());
  }

  id(): string {
    return this.u32().toString(16).padStart(8, "0") + this.u32().toString(16).padStart(8, "0");
  }

  #take(count: number): number {
    if (this.isBad || this.#at + count > this.#bytes.length) {
      this.isBad = true;
      return -1;
    }
    const at = this.#at;
    this.#at += count;
    return at;
  }
}
