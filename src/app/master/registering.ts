/**
 * Small parts of what happens when an agent registers or reports: whom the cluster speaks of then, what is undone when the
 * disk refuses, what is said when a pool is empty, and how long an agent's texts may be.
 */
import { type PoolUsage, shortageMessage } from "../../core/ipam/pool.ts";
import type { Log } from "../../io/log.ts";
import type { RegisterRequest } from "../../io/ports.ts";
import type { AgentRecord, OverlayStatus } from "../../model/cluster.ts";
import { assert, Fault } from "../../model/fault.ts";
import { STATUS_ERROR_MAX_LENGTH } from "../../model/limits.ts";
import type { Hosted } from "../../model/reservation.ts";
import type { Caller } from "./callers.ts";
import type { MasterMetrics } from "./metrics.ts";
import { peerOf } from "./peer.ts";

/** The agent that registers, as the cluster's word on it says it. */
export function subjectOf(record: AgentRecord, hosted: readonly Hosted[], { publicKey }: Caller) {
  assert(publicKey !== undefined, "who was let in has signed");
  return { record, peer: peerOf(record, hosted), hostname: record.hostname, publicKey };
}

/** What was allocated is given back when `commit` fails. */
export function undoing(undo: () => void, commit: () => void): void {
  try {
    commit();
  } catch (thrown) {
    undo();
    throw thrown;
  }
}

export function exhausted({ agentId, ip }: RegisterRequest, shortages: readonly PoolUsage[]): Fault {
  return new Fault("exhausted", `agent ${agentId} (${ip}): ${shortages.map(shortageMessage).join("; ")}`, {
    agent: agentId,
    pools: shortages.map(({ pool }) => pool),
  });
}

/** Says what of its wishes the agent does not get. */
export function reportShortages(
  { agentId, ip }: RegisterRequest,
  shortages: readonly PoolUsage[],
  { log, metrics }: { readonly log: Log; readonly metrics: MasterMetrics },
): void {
  for (const shortage of shortages) {
    metrics.allocationFailed(shortage.kind);
    log.warn({ agent: agentId, ip, reason: shortageMessage(shortage) }, "agent did not get all it asked for");
  }
}

export function withBoundedError(status: OverlayStatus): OverlayStatus {
  const { error } = status;
  return error === undefined ? status : { ...status, error: error.slice(0, STATUS_ERROR_MAX_LENGTH) };
}
