/**
 * A number for each member id, so that a table of ten thousand is a few arrays. Ids are admitted only after their
 * credential held, and never leave: what talk can make is bounded by what the cluster signed.
 *
 * Many members in one process (the simulation) share one roster; whether a member is known is then each table's to say.
 */
import { GOSSIP_MEMBERS_MAX } from "../../model/limits.ts";
import type { MemberId } from "./messages.ts";

export class Roster {
  readonly #numbers = new Map<MemberId, number>();
  readonly #ids: MemberId[] = [];
  /** Numbers by the first byte of their id, each list by rising id: what digests compare. */
  readonly #buckets: number[][] = Array.from({ length: 256 }, () => []);

  get size(): number {
    return this.#ids.length;
  }

  numberOf(id: MemberId): number | undefined {
    return this.#numbers.get(id);
  }

  idOf(number: number): MemberId {
    return this.#ids[number] as MemberId;
  }

  /** @returns the id's number, a new one if need be; `undefined` when GOSSIP_MEMBERS_MAX have one already */
  admit(id: MemberId): number | undefined {
    const known = this.#numbers.get(id);
    if (known !== undefined) return known;
    if (this.#ids.length >= GOSSIP_MEMBERS_MAX) return undefined;
    const number = this.#ids.push(id) - 1;
    this.#numbers.set(id, number);
    const bucket = this.bucket(bucketOf(id));
    const place = bucket.findIndex((other) => this.idOf(other) > id);
    bucket.splice(place === -1 ? bucket.length : place, 0, number);
    return number;
  }

  /** Numbers in a bucket by rising id. */
  bucket(index: number): number[] {
    return this.#buckets[index] as number[];
  }
}

export function bucketOf(id: MemberId): number {
  return Number.parseInt(id.slice(0, 2), 16);
}
