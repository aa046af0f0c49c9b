/**
 * The cluster's epochs: a counter that rises with each removal, the removals that are still told, and the floor below which
 * everything is void.
 *
 * A removal voids what its agent was issued up to then; whatever is issued afterwards carries a higher epoch. Removals
 * cannot be kept for ever, so when there are REMOVALS_KEPT of them the floor rises instead: but never past what a living
 * agent still shows, or that agent would be locked out of the gossip. It comes by a newer one when it registers.
 */
import { Fault } from "../../model/fault.ts";
import { EPOCH_MAX, REMOVALS_KEPT, REMOVALS_MAX } from "../../model/limits.ts";
import type { EpochRecord } from "../../model/trust/epoch-record.ts";
import type { Removal } from "../../model/trust/removal.ts";

export const FIRST_EPOCH: EpochRecord = { epoch: 1, floor: 0, removals: [] };

/** An agent that is in the cluster, and the epoch of what it was issued last. */
export interface Issued {
  readonly agentId: string;
  readonly epoch: number;
}

/** Everybody who stays; asked for only when it matters, because there may be thousands. */
export type Living = () => readonly Issued[];

/**
 * @param gone who is removed, without epoch: all of them get the current one
 * @throws Fault exhausted when no more removals can be kept, naming who holds the floor down
 */
export function withRemovals(state: EpochRecord, gone: readonly Omit<Removal, "epoch">[], living: Living): EpochRecord {
  if (gone.length === 0) return state;
  if (state.epoch >= EPOCH_MAX) throw new Fault("exhausted", "this cluster has used up its epochs; begin another one");
  const removals = [...state.removals, ...gone.map((each) => ({ ...each, epoch: state.epoch }))];
  const next = withFloor({ ...state, epoch: state.epoch + 1, removals }, living);
  if (next.removals.length <= REMOVALS_MAX) return next;
  const oldest = living().reduce<Issued | undefined>(
    (a, b) => (a === undefined || b.epoch < a.epoch ? b : a),
    undefined,
  );
  throw new Fault(
    "exhausted",
    `${REMOVALS_MAX} removals are kept, and agent ${oldest?.agentId} has not registered since the first of them; ` +
      "start that agent or remove it first",
    { agent: oldest?.agentId ?? "" },
  );
}

/** Raises the floor as far as living agents let it, when that is due, and drops the removals that it stands for. */
export function withFloor(state: EpochRecord, living: Living): EpochRecord {
  if (state.removals.length <= REMOVALS_KEPT) return state;
  const floor = living().reduce((lowest, { epoch }) => Math.min(lowest, epoch), state.epoch);
  if (floor <= state.floor) return state;
  return { ...state, floor, removals: state.removals.filter(({ epoch }) => epoch >= floor) };
}

/** Whether connected agents should come for newer statements, so that the floor can rise. */
export function isFloorDue({ removals }: EpochRecord): boolean {
  return removals.length > REMOVALS_KEPT;
}
