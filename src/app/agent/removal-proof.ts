/**
 * Whether a master's refusal proves that the cluster removed this agent. A refusal by itself proves nothing: whoever sits
 * on the way could write one. What it carries with it the cluster signed, and it counts only against what this agent was
 * issued before it.
 */
import { verifySignature } from "../../io/crypto/keys.ts";
import type { Fault } from "../../model/fault.ts";
import { fromText } from "../../model/trust/bytes.ts";
import { verifyCredential } from "../../model/trust/credential.ts";
import { memberIdOf } from "../../model/trust/member.ts";
import type { Membership } from "../../model/trust/membership.ts";
import { verifyEpochFloor, verifyRemoval } from "../../model/trust/removal.ts";
import { isRefused } from "../../model/trust/standing.ts";

/** @param membership what the agent was issued last; without one it has nothing to lose */
export function provesRemoval({ code, facts }: Fault, membership: Membership | undefined): boolean {
  if (code !== "not-admitted" || membership === undefined) return false;
  const { clusterKey, credential } = membership;
  const own = verifyCredential(credential, clusterKey, verifySignature);
  if (own === undefined) return false;
  const [removalBytes, floorBytes] = [bytesOf(facts.removal), bytesOf(facts.epochFloor)];
  const removal = removalBytes && verifyRemoval(removalBytes, clusterKey, verifySignature);
  const floor = (floorBytes && verifyEpochFloor(floorBytes, clusterKey, verifySignature)) ?? 0;
  const named = { agentId: own.agentId, memberId: memberIdOf(own.publicKey), epoch: own.epoch };
  return isRefused(named, { floor, removals: removal === undefined ? [] : [removal] });
}

function bytesOf(fact: unknown): Uint8Array | undefined {
  return typeof fact === "string" ? fromText(fact) : undefined;
}
