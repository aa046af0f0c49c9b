/**
 * What an agent is let in by, read from its flags.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { seedAssignment } from "../../../test/support/seed-cluster.ts";
import { membershipFor, newSigner } from "../../../test/support/trust.ts";
import { openMemoryAgentStore } from "../../io/store/memory-store.ts";
import { credentialsOf } from "./run.ts";

test("a change of cluster that is refused forgets nothing; one that is not forgets the old cluster", (t) => {
  const dataDir = mkdtempSync(join(tmpdir(), "weft-command-"));
  t.after(() => rmSync(dataDir, { recursive: true }));
  const store = openMemoryAgentStore();
  const membership = membershipFor(seedAssignment(1), newSigner(), newSigner());
  store.saveMembership(membership);
  const change = { dataDir, newCluster: true } as const;
  assert.throws(() => credentialsOf({ ...change, joinTokenFile: join(dataDir, "none") }, store), /there is no file/);
  assert.deepEqual(store.membership(), membership);
  credentialsOf(change, store);
  assert.equal(store.membership(), undefined);
});
