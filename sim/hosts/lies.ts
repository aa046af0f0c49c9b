/**
 * What a compromised agent may say in place of its assignment, with its own key and all that it ever heard: every word of
 * it is to be refused by hosts that know better.
 */
import { ASSIGNMENT_KEY, FLOOR_KEY, REMOVAL_KEY } from "../../src/core/trust/directory.ts";
import { ip } from "../../src/model/ip.ts";
import { issueAssignmentStatement } from "../../src/model/trust/assignment-statement.ts";
import type { Signer } from "../../src/model/trust/member.ts";
import { issueEpochFloor, issueRemoval } from "../../src/model/trust/removal.ts";
import type { SimIdentity } from "../trust.ts";
import type { Issued, MasterRecords } from "./master-records.ts";

export const LIES = ["unsigned", "own-signature", "stolen", "stale", "removal", "floor", "removed"] as const;
export type Lie = (typeof LIES)[number];

/** Of somewhere that no host is. */
const NOWHERE = ip("10.254.0.1");

/**
 * @param own the liar's latest assignment
 * @param other whom it concerns
 * @returns the records that it publishes; nothing when there is nothing to lie with
 */
export function liesRecords(
  kind: Exclude<Lie, "removed">,
  identity: SimIdentity,
  own: Issued,
  other: Issued,
  records: MasterRecords,
): ReadonlyMap<string, Uint8Array> {
  const { publicKey } = identity;
  const { epoch, revision, peer } = own;
  const claim = { ...peer, ip: NOWHERE, subnets: other.peer.subnets };
  const claimed = { peer: claim, hostname: peer.id, publicKey, epoch: epoch + 1, revision: revision + 1 };
  switch (kind) {
    case "unsigned":
      return assignment(issueAssignmentStatement(claimed, { publicKey, sign: () => new Uint8Array(64) }));
    case "own-signature":
      return assignment(issueAssignmentStatement(claimed, identity));
    case "stolen":
      return assignment(other.statement);
    case "stale": {
      const oldest = records.issued.get(own.agentId)?.find(({ memberId }) => memberId === own.memberId);
      return oldest === undefined || oldest === own ? new Map() : assignment(oldest.statement);
    }
    case "removal": {
      const removal = { agentId: other.agentId, memberId: other.memberId, epoch: other.epoch };
      return new Map([[REMOVAL_KEY + other.memberId, issueRemoval(removal, identity satisfies Signer)]]);
    }
    case "floor":
      return new Map([[FLOOR_KEY, issueEpochFloor(epoch + 100, identity)]]);
  }
}

function assignment(statement: Uint8Array): ReadonlyMap<string, Uint8Array> {
  return new Map([[ASSIGNMENT_KEY, statement]]);
}
