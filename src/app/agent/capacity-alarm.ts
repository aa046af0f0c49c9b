/**
 * Says when addresses run short: one line when a network passes 80 % and one at 100 %, one when it is below again. A
 * network that goes to and fro around a mark says nothing more until it was clearly below it.
 */
import type { Room } from "../../core/ipam/capacity.ts";
import type { Log } from "../../io/log.ts";
import { CAPACITY_MARK_RELEASE, CAPACITY_MARKS } from "../../model/limits.ts";

export class CapacityAlarm {
  readonly #log: Log;
  /** The mark that each room has passed; 0 is left out. */
  #passed: ReadonlyMap<string, number> = new Map();

  constructor(log: Log) {
    this.#log = log;
  }

  /** `all`: every room there is now. */
  note(all: readonly Room[]): void {
    const passed = new Map<string, number>();
    for (const room of all) {
      const before = this.#passed.get(room.what) ?? 0;
      const now = markOf(room, before);
      if (now > 0) passed.set(room.what, now);
      if (now !== before) this.#say(room, before, now);
    }
    this.#passed = passed;
  }

  /** How many rooms have passed the mark, in percent. */
  count(mark: number): number {
    return [...this.#passed.values()].filter((passed) => passed >= mark).length;
  }

  #say({ what, used, size }: Room, before: number, now: number): void {
    const told = `${what}: ${used} of ${size} addresses of this host are held`;
    if (now < before) this.#log.info({ used, size }, `${told}; below ${before} % again`);
    else if (now === 100) this.#log.error({ used, size }, `${told}; containers are refused until some end`);
    else this.#log.warn({ used, size }, `${told}, ${now} % or more; see weft ipam show`);
  }
}

/** A mark that was passed is kept until the room is clearly below it. */
function markOf({ used, size }: Room, before: number): number {
  const percent = size === 0 ? 0 : (used / size) * 100;
  const passed = CAPACITY_MARKS.findLast((mark) => percent >= mark) ?? 0;
  return passed < before && percent > before - CAPACITY_MARK_RELEASE ? before : passed;
}
