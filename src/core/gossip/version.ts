/**
 * Order and hashes of versions. No clock is in them: the member that a fact is about raises them, nobody else.
 */
import type { MemberId, Status } from "./messages.ts";

/** Chance in a gen: two lives that begin at the same count (two halves of a partition, a lost disk) still differ. */
const GEN_CHANCE = 1 << 20;
/** The count has 32 bits, the whole 52: exact in a double. */
export const GEN_MAX = 2 ** 52 - 1;

/** A gen above `seen`. @param fraction chance, in [0, 1) */
export function nextGen(seen: number, fraction: number): number {
  return (Math.floor(seen / GEN_CHANCE) + 1) * GEN_CHANCE + Math.floor(fraction * GEN_CHANCE);
}

/** Whether (gen, version) comes after (ofGen, ofVersion). */
export function isNewer(gen: number, version: number, ofGen: number, ofVersion: number): boolean {
  return gen > ofGen || (gen === ofGen && version > ofVersion);
}

/** inc and status of a member in one number that orders as they do: ALIVE < LEFT < DEAD at one inc. */
export function memberVersion(inc: number, status: Status): number {
  return inc * 4 + status;
}

/** A 64-bit hash as two unsigned halves. */
export interface Hash64 {
  readonly high: number;
  readonly low: number;
}

function mix(h: number, value: number): number {
  let x = Math.imul(h ^ value, 0x9e3779b1);
  x ^= x >>> 15;
  x = Math.imul(x, 0x85ebca6b);
  return (x ^ (x >>> 13)) >>> 0;
}

/** Of numbers that are exact integers up to 2^53. */
export function hashNumbers(seed: number, ...numbers: readonly number[]): Hash64 {
  let high = mix(0x243f6a88, seed);
  let low = mix(0xb7e15162, seed);
  for (const number of numbers) {
    const upper = Math.floor(number / 2 ** 32);
    high = mix(mix(high, number | 0), upper);
    low = mix(mix(low, upper), (number | 0) ^ high);
  }
  return { high, low };
}

export function idNumbers(id: MemberId): readonly [number, number] {
  return [Number.parseInt(id.slice(0, 8), 16), Number.parseInt(id.slice(8), 16)];
}

/** Contribution of a member's state to the digest. */
export function hashMember(id: MemberId, gen: number, version: number): Hash64 {
  return hashNumbers(1, ...idNumbers(id), gen, version);
}

/** Contribution of a member's records, which `state` sums up. */
export function hashRecords(id: MemberId, gen: number, seq: number, state: Hash64): Hash64 {
  return hashNumbers(2, ...idNumbers(id), gen, seq, state.high, state.low);
}

/** Of one entry, as the signed hash of the whole state combines them. */
export function hashEntry(key: string, gen: number, seq: number, isDeleted: boolean): Hash64 {
  let high = 0x811c9dc5;
  for (let at = 0; at < key.length; at += 1) high = Math.imul(high ^ key.charCodeAt(at), 0x01000193);
  return hashNumbers(isDeleted ? 4 : 3, high >>> 0, key.length, gen, seq);
}
