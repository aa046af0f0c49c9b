/**
 * The bytes under each signature. Every kind begins with its own words, so that none can be taken for another.
 */
import { ByteWriter } from "./bytes.ts";
import type { Death, Entry, Head, MemberId, Testimony } from "./messages.ts";

/** @returns the signature, 64 bytes */
export type Sign = (bytes: Uint8Array) => Uint8Array;
export type Verify = (publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array) => boolean;

export function headBytes({ id, gen, inc, hasLeft, address, credential }: Omit<Head, "signature">): Uint8Array {
  const writer = new ByteWriter(384).text("weft head v1").id(id).u56(gen).u32(inc).u8(Number(hasLeft));
  return writer.text(address).blob(credential).finish();
}

export function testimonyBytes({ target, gen, inc, witness }: Omit<Testimony, "signature">): Uint8Array {
  return new ByteWriter(64).text("weft testimony v1").id(target).u56(gen).u32(inc).id(witness).finish();
}

/** The testimonies are not under the accuser's signature: each has its own. */
export function deathBytes({ id, gen, inc, accuser }: Omit<Death, "signature" | "testimonies">): Uint8Array {
  return new ByteWriter(64).text("weft death v1").id(id).u56(gen).u32(inc).id(accuser).finish();
}

export function entryBytes(owner: MemberId, gen: number, entry: Omit<Entry, "signature">): Uint8Array {
  const { key, seq, value, floor, stateHigh, stateLow } = entry;
  const writer = new ByteWriter(256).text("weft entry v1").id(owner).u56(gen).text(key).u48(seq).u48(floor);
  writer
    .u32(stateHigh)
    .u32(stateLow)
    .u8(Number(value !== undefined));
  return writer.raw(value ?? new Uint8Array()).finish();
}
