/**
 * The parts that gossip messages are made of, as bytes: each with what it takes, how it is written and how it is read.
 * Reading never throws: a bad reader gives values that mean nothing, and says that it is bad.
 */
import { GOSSIP_KEY_MAX_BYTES, GOSSIP_PIECE_MAX_BYTES } from "../../model/limits.ts";
import type { ByteReader, ByteWriter } from "./bytes.ts";
import type { Belief, Death, Delta, DigestRow, Entry, Head, HeadVersion, Item, Testimony } from "./messages.ts";

export const SIGNATURE_BYTES = 64;
export const HEAD_VERSION_BYTES = 11;
export const BELIEF_BYTES = HEAD_VERSION_BYTES + 1;
export const ITEM_BYTES = 22;
export const ROW_BYTES = 33;
export const TESTIMONY_BYTES = 8 + 7 + 4 + 8 + SIGNATURE_BYTES;
const ENTRY_FIXED_BYTES = 6 + 6 + 8 + 1 + SIGNATURE_BYTES;

/** Addresses are ASCII; a key counts its UTF-8. */
export function textBytes(text: string): number {
  return 1 + Buffer.byteLength(text);
}

export function headSize({ address, credential }: Head): number {
  return 8 + 7 + 4 + 1 + textBytes(address) + 2 + credential.length + SIGNATURE_BYTES;
}

/** Bytes of one entry in a delta. */
export function entrySize({ key, value }: Entry): number {
  return textBytes(key) + ENTRY_FIXED_BYTES + (value === undefined ? 0 : 2 + value.length);
}

export function deltaSize({ entries }: Delta): number {
  let bytes = 8 + 7 + 18 + 2;
  for (const entry of entries) bytes += entrySize(entry);
  return bytes;
}

export function writeHeadVersion(writer: ByteWriter, { gen, inc }: HeadVersion): void {
  writer.u56(gen).u32(inc);
}

export function readHeadVersion(reader: ByteReader): HeadVersion {
  return { gen: reader.u56(), inc: reader.u32() };
}

export function writeBelief(writer: ByteWriter, belief: Belief): void {
  writeHeadVersion(writer, belief);
  writer.u8(belief.status);
}

export function readBelief(reader: ByteReader): Belief {
  return { ...readHeadVersion(reader), status: (reader.u8() & 3) as Belief["status"] };
}

export function writeHead(writer: ByteWriter, head: Head): void {
  writer.id(head.id).u56(head.gen).u32(head.inc).u8(Number(head.hasLeft)).text(head.address);
  writer.blob(head.credential).raw(head.signature);
}

export function readHead(reader: ByteReader): Head {
  const [id, gen, inc, hasLeft] = [reader.id(), reader.u56(), reader.u32(), reader.u8() === 1];
  return {
    id,
    gen,
    inc,
    hasLeft,
    address: reader.text(),
    credential: reader.blob(),
    signature: reader.raw(SIGNATURE_BYTES),
  };
}

export function writeTestimony(writer: ByteWriter, { target, gen, inc, witness, signature }: Testimony): void {
  writer.id(target).u56(gen).u32(inc).id(witness).raw(signature);
}

export function readTestimony(reader: ByteReader): Testimony {
  const [target, gen, inc, witness] = [reader.id(), reader.u56(), reader.u32(), reader.id()];
  return { target, gen, inc, witness, signature: reader.raw(SIGNATURE_BYTES) };
}

export function writeDeath(writer: ByteWriter, { id, gen, inc, accuser, signature, testimonies }: Death): void {
  writer.id(id).u56(gen).u32(inc).id(accuser).raw(signature).u8(testimonies.length);
  for (const testimony of testimonies) writeTestimony(writer, testimony);
}

export function readDeath(reader: ByteReader): Death {
  const [id, gen, inc, accuser, signature] = [
    reader.id(),
    reader.u56(),
    reader.u32(),
    reader.id(),
    reader.raw(SIGNATURE_BYTES),
  ];
  const count = reader.u8();
  const testimonies: Testimony[] = [];
  for (let n = 0; n < count && !reader.isBad; n += 1) testimonies.push(readTestimony(reader));
  return { id, gen, inc, accuser, signature, testimonies };
}

export function writeDelta(writer: ByteWriter, { owner, gen, from, to, last, entries }: Delta): void {
  writer.id(owner).u56(gen).u48(from).u48(to).u48(last).u16(entries.length);
  for (const { key, seq, floor, stateHigh, stateLow, value, signature } of entries) {
    writer
      .text(key)
      .u48(seq)
      .u48(floor)
      .u32(stateHigh)
      .u32(stateLow)
      .u8(Number(value !== undefined));
    if (value !== undefined) writer.blob(value);
    writer.raw(signature);
  }
}

export function readDelta(reader: ByteReader): Delta | undefined {
  const [owner, gen, from, to, last] = [reader.id(), reader.u56(), reader.u48(), reader.u48(), reader.u48()];
  const entries = readMany(reader, 65_535, readEntry);
  if (entries === undefined || entries.some(isOutOfBounds)) return undefined;
  return { owner, gen, from, to, last, entries };
}

function readEntry(reader: ByteReader): Entry {
  const [key, seq, floor, stateHigh, stateLow] = [
    reader.text(),
    reader.u48(),
    reader.u48(),
    reader.u32(),
    reader.u32(),
  ];
  const value = reader.u8() === 1 ? reader.blob() : undefined;
  return { key, seq, value, floor, stateHigh, stateLow, signature: reader.raw(SIGNATURE_BYTES) };
}

function isOutOfBounds({ key, value }: Entry): boolean {
  return Buffer.byteLength(key) > GOSSIP_KEY_MAX_BYTES || (value?.length ?? 0) > GOSSIP_PIECE_MAX_BYTES;
}

export function writeItem(writer: ByteWriter, { kind, id, gen, version }: Item): void {
  writer
    .u8(Number(kind === "records"))
    .id(id)
    .u56(gen)
    .u48(version);
}

export function readItem(reader: ByteReader): Item {
  const kind = reader.u8() === 1 ? "records" : "member";
  return { kind, id: reader.id(), gen: reader.u56(), version: reader.u48() };
}

export function writeRow(writer: ByteWriter, { id, gen, inc, status, dataGen, seq }: DigestRow): void {
  writer.id(id).u56(gen).u32(inc).u8(status).u56(dataGen).u48(seq);
}

export function readRow(reader: ByteReader): DigestRow {
  const [id, gen, inc] = [reader.id(), reader.u56(), reader.u32()];
  return { id, gen, inc, status: reader.u8() as DigestRow["status"], dataGen: reader.u56(), seq: reader.u48() };
}

/** A count and so many things; `undefined` when there are more than `max`. */
export function readMany<T>(reader: ByteReader, max: number, read: (reader: ByteReader) => T): T[] | undefined {
  const count = reader.u16();
  if (count > max) return undefined;
  const things: T[] = [];
  for (let n = 0; n < count && !reader.isBad; n += 1) things.push(read(reader));
  return things;
}
