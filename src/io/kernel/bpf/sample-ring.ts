/**
 * The ring into which the programs write samples (BPF_MAP_TYPE_RINGBUF), read from memory that is shared with the kernel.
 *
 * Its first page holds how far it was read, the second how far it was written, then the data, mapped twice in a row so
 * that no record is cut. A record has a header of eight bytes, whose first four are its length and two flags; the next
 * begins at a multiple of eight. Source: kernel/bpf/ringbuf.c.
 */
import { mapShared, pageSize, type SharedMemory } from "../ffi.ts";

const HEADER_BYTES = 8;
/** Somebody is writing it still. */
const BUSY = 0x8000_0000;
/** It was given up. */
const DISCARDED = 0x4000_0000;

export class SampleRing {
  readonly #size: number;
  readonly #page = pageSize();
  readonly #read: SharedMemory;
  readonly #written: SharedMemory;

  /** @param fd of the map; may be closed afterwards. @param size the map's, in bytes. @throws SystemCallError */
  constructor(fd: number, size: number) {
    this.#size = size;
    this.#read = mapShared(fd, this.#page, 0, true);
    try {
      this.#written = mapShared(fd, this.#page + 2 * size, this.#page, false);
    } catch (error) {
      this.#read.unmap();
      throw error;
    }
  }

  /** Takes out what is there, each record a copy. */
  take(): readonly Buffer[] {
    const records: Buffer[] = [];
    const read = viewOf(this.#read.bytes);
    const written = viewOf(this.#written.bytes);
    let at = read.getBigUint64(0, true);
    const end = written.getBigUint64(0, true);
    while (at < end) {
      const start = this.#page + Number(at % BigInt(this.#size));
      const header = written.getUint32(start, true);
      if ((header & BUSY) !== 0) break;
      const length = header & ~(BUSY | DISCARDED);
      const data = start + HEADER_BYTES;
      if ((header & DISCARDED) === 0) records.push(Buffer.from(this.#written.bytes.slice(data, data + length)));
      at += BigInt((HEADER_BYTES + length + 7) & ~7);
    }
    read.setBigUint64(0, at, true);
    return records;
  }

  close(): void {
    this.#read.unmap();
    this.#written.unmap();
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
