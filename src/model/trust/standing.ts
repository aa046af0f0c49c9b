/**
 * What still counts of what the cluster once signed: which of two words on one agent is the later one, and whether a word
 * was taken back. No clock decides: an epoch is raised by the master at each removal, a revision at each change.
 */
import type { Removal } from "./removal.ts";

/** What was taken back. */
export interface Refusals {
  /** What is older than this epoch is void. */
  readonly floor: number;
  readonly removals: readonly Removal[];
}

/** Does `a` replace `b`, both of one agent? Of two that are alike neither does. */
export function isNewer(a: Age, b: Age): boolean {
  return a.epoch === b.epoch ? a.revision > b.revision : a.epoch > b.epoch;
}

interface Age {
  readonly epoch: number;
  readonly revision: number;
}

/** Was what names this agent or this member with this epoch taken back? */
export function isRefused(named: Removal, { floor, removals }: Refusals): boolean {
  if (named.epoch < floor) return true;
  return removals.some(
    ({ agentId, memberId, epoch }) =>
      named.epoch <= epoch && (agentId === named.agentId || memberId === named.memberId),
  );
}
