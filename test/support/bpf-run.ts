/**
 * BPF_PROG_TEST_RUN with more than the product asks of it: a packet that stands for many (GSO), and a network card that
 * tells the checksum of all of it (CHECKSUM_COMPLETE), which the kernel compares after the program.
 *
 * The device is the loopback of the namespace that the thread is in, number 1, whose MAC is all zero.
 */
import { addressOf, bpf, SystemCallError } from "../../src/io/kernel/ffi.ts";

const PROG_TEST_RUN = 10;
const ATTRIBUTES_BYTES = 128;
/** What a program may put before a packet. */
const ROOM_BYTES = 256;
/** struct __sk_buff */
const CONTEXT_BYTES = 192;
const GSO_SEGMENTS_AT = 164;
const GSO_SIZE_AT = 176;
/** linux/bpf.h: BPF_F_TEST_SKB_CHECKSUM_COMPLETE, Linux 6.11. */
const CHECKSUM_COMPLETE = 4;

export interface RunOptions {
  /** Of a packet that stands for many: bytes of payload in each, and how many there are. */
  readonly gso?: { readonly size: number; readonly segments: number };
  /** The kernel knows the checksum of the packet, and fails with EBADMSG when it is not that of the packet after. */
  readonly isChecked?: boolean;
}

export interface Run {
  readonly verdict: number;
  /** As the program left it; valid until the next run. */
  readonly frame: Buffer;
}

/** Makes many runs without many buffers. */
export class ProgramRunner {
  readonly #attributes = Buffer.alloc(ATTRIBUTES_BYTES);
  readonly #context = Buffer.alloc(CONTEXT_BYTES);
  readonly #out = Buffer.alloc(65_536);

  /** Whether this kernel compares checksums. @param program that counts nothing of a frame that is no IP */
  canCheck(program: number): boolean {
    try {
      this.run(program, Buffer.alloc(60), { isChecked: true });
      return true;
    } catch {
      return false;
    }
  }

  /** @param options `isChecked` needs Linux 6.11. @throws SystemCallError EINVAL for a frame that ends within its IP header */
  run(program: number, frame: Uint8Array, { gso, isChecked = false }: RunOptions = {}): Run {
    const attr = this.#attributes.fill(0);
    attr.writeUInt32LE(program, 0);
    attr.writeUInt32LE(frame.length, 8);
    attr.writeUInt32LE(Math.min(this.#out.length, frame.length + ROOM_BYTES), 12);
    attr.writeBigUInt64LE(addressOf(frame), 16);
    attr.writeBigUInt64LE(addressOf(this.#out), 24);
    attr.writeUInt32LE(1, 32);
    if (gso !== undefined) {
      this.#context.fill(0);
      this.#context.writeUInt32LE(gso.segments, GSO_SEGMENTS_AT);
      this.#context.writeUInt32LE(gso.size, GSO_SIZE_AT);
      attr.writeUInt32LE(CONTEXT_BYTES, 40);
      attr.writeBigUInt64LE(addressOf(this.#context), 48);
    }
    if (isChecked) attr.writeUInt32LE(CHECKSUM_COMPLETE, 64);
    const result = bpf(PROG_TEST_RUN, attr);
    if (result < 0) throw new SystemCallError("bpf(test run)", -result);
    return { verdict: attr.readInt32LE(4), frame: this.#out.subarray(0, attr.readUInt32LE(12)) };
  }
}
