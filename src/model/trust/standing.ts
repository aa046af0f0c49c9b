/**
 * What still counts of what the cluster once signed: which of two words on one agent is the later one, and whether a word
 * was taken back. No clock decides: an epoch is raised by the master at each removal, a revision at each change.
 */
import { z } from "zod";
import { EPOCH_MAX, REVISION_MAX } from "../limits.ts";
import { agentIdSchema } from "../schemas.ts";
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

export interface Age {
  readonly epoch: number;
  readonly revision: number;
}

/** How old the newest word is that was believed of an agent. */
export interface NewestWord extends Age {
  readonly agentId: string;
}

export const newestWordSchema: z.ZodType<NewestWord> = z.object({
  agentId: agentIdSchema,
  epoch: z.int().min(0).max(EPOCH_MAX),
  revision: z.int().min(0).max(REVISION_MAX),
});

/** Was what names this agent or this member with this epoch taken back? */
export function isRefused(named: Removal, { floor, removals }: Refusals): boolean {
  if (named.epoch < floor) return true;
  return removals.some(
    ({ agentId, memberId, epoch }) =>
      named.epoch <= epoch && (agentId === named.agentId || memberId === named.memberId),
  );
}
