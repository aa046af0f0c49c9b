import assert from "node:assert/strict";
import { test } from "node:test";
import { seedAssignment } from "../../../test/support/seed-cluster.ts";
import { membershipFor, newSigner } from "../../../test/support/trust.ts";
import { verifySignature } from "../../io/crypto/keys.ts";
import { memberIdOf } from "../../model/trust/member.ts";
import { ASSIGNMENT_KEY, Directory } from "./directory.ts";

test("an agent is no peer of its own, neither as a change nor in the whole", () => {
  const cluster = newSigner();
  const directory = new Directory(cluster.publicKey, verifySignature, "agent-1");
  const changes = ([1, 2] as const).flatMap((n) => {
    const signer = newSigner();
    const { statement } = membershipFor(seedAssignment(n), signer, cluster);
    const records = {
      keys: () => [ASSIGNMENT_KEY],
      value: (key: string) => (key === ASSIGNMENT_KEY ? statement : undefined),
    };
    return directory.update(memberIdOf(signer.publicKey), records);
  });
  assert.deepEqual(
    changes.map((change) => change.type === "peer" && change.peer.id),
    ["agent-2"],
  );
  assert.deepEqual(
    [...directory.peers()].map(({ id }) => id),
    ["agent-2"],
  );
});
