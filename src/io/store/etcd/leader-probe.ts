/**
 * Whether the leader gives a sign of life, asked by a standby at `GET /healthz` of the leader's own address. It decides only
 * when a standby tries to take over before the lease has run out; that two masters never both write is decided by etcd. So
 * the answer's certificate is not checked: who forges a sign of life only makes us wait for the lease.
 */
import { LEADER_PROBE_INTERVAL_MS, LEADER_PROBE_TIMEOUT_MS, LEADER_PROBES_FAILED } from "../../../model/limits.ts";
import { bodyOf, parseJson, parseMasterAddress, requestTo } from "../../master-call.ts";
import type { Clock, MasterAddress } from "../../ports.ts";
import { pause } from "./etcd-client.ts";

/** @returns whether this master lives and leads; what is in doubt counts as life */
export type Probe = (leader: MasterAddress, signal: AbortSignal) => Promise<boolean>;

const ANSWER_MAX_BYTES = 4_096;

export const httpProbe: Probe = async ({ id, url }, signal) => {
  const late = AbortSignal.any([signal, AbortSignal.timeout(LEADER_PROBE_TIMEOUT_MS)]);
  try {
    const { promise, resolve, reject } = Promise.withResolvers<boolean>();
    const asked = requestTo(parseMasterAddress(url), {
      method: "GET",
      path: "/healthz",
      signal: late,
      ...({ rejectUnauthorized: false } as object),
    });
    asked.on("error", reject);
    asked.on("response", (answer) => {
      bodyOf(answer, ANSWER_MAX_BYTES).then((text) => resolve(isLife(parseJson(text), id)), reject);
    });
    asked.end();
    return await promise;
  } catch {
    return false;
  }
};

/** A master that says itself that it does not lead, or is another one, is no leader; any other answer is a sign of life. */
function isLife(answer: unknown, id: string): boolean {
  const { role, id: found } = (answer ?? {}) as { role?: unknown; id?: unknown };
  if (role === "standby") return false;
  return found === undefined || found === id;
}

/** Resolves when the leader gave no sign of life several times in a row. @throws the signal's reason */
export async function deathOf(leader: MasterAddress, probe: Probe, clock: Clock, signal: AbortSignal): Promise<void> {
  for (let failed = 0; failed < LEADER_PROBES_FAILED; ) {
    failed = (await probe(leader, signal)) ? 0 : failed + 1;
    signal.throwIfAborted();
    if (failed < LEADER_PROBES_FAILED) await pause(clock, LEADER_PROBE_INTERVAL_MS, signal);
  }
}
