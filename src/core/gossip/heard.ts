/**
 * Who was heard of last: a packet came straight from it. After a mass crash relays drawn by chance would be among the dead.
 */
import { GOSSIP_HEARD_MAX } from "../../model/limits.ts";
import type { MemberId } from "./messages.ts";

export class Heard {
  /** By rising time. */
  readonly #times = new Map<MemberId, number>();

  note(id: MemberId, now: number): void {
    this.#times.delete(id);
    this.#times.set(id, now);
    if (this.#times.size > GOSSIP_HEARD_MAX) this.#times.delete(this.#times.keys().next().value as MemberId);
  }

  at(id: MemberId): number {
    return this.#times.get(id) ?? Number.NEGATIVE_INFINITY;
  }

  /** Those heard since, the last ones first. */
  since(time: number): MemberId[] {
    const ids: MemberId[] = [];
    for (const [id, at] of this.#times) if (at >= time) ids.push(id);
    return ids.reverse();
  }

  clear(): void {
    this.#times.clear();
  }
}
