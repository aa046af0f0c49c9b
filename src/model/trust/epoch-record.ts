/**
 * The cluster's epoch as its master keeps it: a counter that rises with each removal, and what was taken back so far
 * (src/core/trust/epochs.ts decides how it goes on).
 */
import type { Refusals } from "./standing.ts";

export interface EpochRecord extends Refusals {
  /** What is issued now carries this epoch. */
  readonly epoch: number;
}
