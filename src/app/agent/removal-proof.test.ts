import assert from "node:assert/strict";
import { test } from "node:test";
import { newSigner } from "../../../test/support/trust.ts";
import { Fault, type FaultFacts } from "../../model/fault.ts";
import { toText } from "../../model/trust/bytes.ts";
import { issueCredential } from "../../model/trust/credential.ts";
import { memberIdOf } from "../../model/trust/member.ts";
import type { Membership } from "../../model/trust/membership.ts";
import { issueEpochFloor, issueRemoval } from "../../model/trust/removal.ts";
import { provesRemoval } from "./removal-proof.ts";

const [cluster, agent, stranger] = [newSigner(), newSigner(), newSigner()];
const memberId = memberIdOf(agent.publicKey);
const AGENT = "agent-1";

function memberAt(epoch: number): Membership {
  const { publicKey } = agent;
  return {
    clusterKey: cluster.publicKey,
    credential: issueCredential({ role: "agent", publicKey, agentId: AGENT, epoch }, cluster),
  } as Membership;
}

const refusal = (facts: FaultFacts) => new Fault("not-admitted", "no", facts);
const removal = (epoch: number, by = cluster, agentId = AGENT, id = memberId) => ({
  removal: toText(issueRemoval({ agentId, memberId: id, epoch }, by)),
});

test("a refusal proves a removal by what the cluster signed, and by nothing else", () => {
  const rows: [string, Fault, boolean][] = [
    ["the cluster's word", refusal(removal(3)), true],
    ["a floor above it", refusal({ epochFloor: toText(issueEpochFloor(4, cluster)) }), true],
    ["a mere refusal", refusal({}), false],
    ["what somebody else signed", refusal(removal(3, stranger)), false],
    ["one from before it was let in again", refusal(removal(2)), false],
    ["that of another agent", refusal(removal(3, cluster, "agent-2", memberIdOf(stranger.publicKey))), false],
    ["a floor that it stands on", refusal({ epochFloor: toText(issueEpochFloor(3, cluster)) }), false],
    ["noise", refusal({ removal: "noise", epochFloor: "-" }), false],
    ["the word on another fault", new Fault("not-ready", "no", removal(3)), false],
  ];
  for (const [what, fault, expected] of rows) assert.equal(provesRemoval(fault, memberAt(3)), expected, what);
  assert.equal(provesRemoval(refusal(removal(3)), undefined), false, "who is no member has nothing to lose");
});
