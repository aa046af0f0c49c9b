/** Above this a count is shown as a power of two: 2^64. */
const PLAIN_COUNT_MAX = 10_000_000;

/** A count as people read it. */
export function countText(count: number): string {
  return count > PLAIN_COUNT_MAX ? `2^${Math.round(Math.log2(count))}` : String(count);
}
