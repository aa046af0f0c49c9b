/**
 * How long to wait before a retry: uniform in [0, min(max, first · 2ⁿ)]. The whole interval is random ("full jitter"),
 * so that thousands of agents that lost one master at the same moment do not come back at the same moment.
 */

export interface Backoff {
  readonly firstMs: number;
  readonly maxMs: number;
}

/**
 * Milliseconds.
 * @param retry n: 0 for the first wait
 * @param fraction uniform in [0, 1)
 */
export function backoffMs({ firstMs, maxMs }: Backoff, retry: number, fraction: number): number {
  return fraction * Math.min(maxMs, firstMs * 2 ** retry);
}
