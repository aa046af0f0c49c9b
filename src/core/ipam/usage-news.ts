/**
 * What of the use of its addresses an agent tells its master soon, and what can wait: soon is what the master may do
 * something about (growth.ts).
 */
import type { HalfUsage, OverlayStatus } from "../../model/cluster.ts";
import type { Cidr } from "../../model/ip.ts";
import { SLICE_IDLE_S } from "../../model/limits.ts";
import type { Capacity } from "./capacity.ts";
import { isTight } from "./growth.ts";

/** Since when each slice has been empty, as far as this process has seen. */
export class IdleSlices {
  readonly #since = new Map<Cidr, number>();

  /** @returns the prefixes that have been empty for so many seconds */
  note(all: readonly Capacity[], now: number, seconds = SLICE_IDLE_S): ReadonlySet<Cidr> {
    const empty = new Set(all.map(({ slice }) => slice));
    for (const { slice, used } of all) if (used > 0) empty.delete(slice);
    for (const slice of this.#since.keys()) if (!empty.has(slice)) this.#since.delete(slice);
    for (const slice of empty) if (!this.#since.has(slice)) this.#since.set(slice, now);
    return new Set([...this.#since].filter(([, since]) => now - since >= seconds * 1_000).map(([slice]) => slice));
  }
}

/** `soon`: the master may have something to do; `later`: only the numbers are others. */
export type UsageNews = "soon" | "later" | "none";

/**
 * @param told what the master was told last
 * @param strict names of networks whose halves do not lend
 */
export function usageNews(
  told: readonly OverlayStatus[],
  now: readonly OverlayStatus[],
  threshold: number | undefined,
  strict: ReadonlySet<string>,
): UsageNews {
  const before = new Map(told.map(({ name, usage = [] }) => [name, usage]));
  const pairs = now.map(({ name, usage = [] }) => ({ name, before: before.get(name) ?? [], after: usage }));
  if (pairs.some((pair) => markOf(pair.name, pair.before) !== markOf(pair.name, pair.after))) return "soon";
  return pairs.some((pair) => JSON.stringify(pair.before) !== JSON.stringify(pair.after)) ? "later" : "none";

  function markOf(name: string, usage: readonly HalfUsage[]): string {
    const tight = ([4, 6] as const).map(
      (family) => threshold !== undefined && isTight(usage, family, strict.has(name), threshold),
    );
    const halves = usage.map(
      ({ half, used, draining = false, idle = false }) => [half, draining, idle, draining && used === 0] as const,
    );
    return JSON.stringify([tight, halves]);
  }
}
