/**
 * What every recorded version kept is opened, brought to this version, and has the values that it had; and the layout of
 * the files is the recorded one for as long as the number of their version is (docs/decisions/0036).
 */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it, type TestContext } from "node:test";
import { gunzipSync } from "node:zlib";
import { restored } from "../../src/app/gossip/member-blob.ts";
import { secretsIn } from "../../src/app/master/secrets.ts";
import { parseNetworkSource } from "../../src/core/config/cluster-config.ts";
import { Directory } from "../../src/core/trust/directory.ts";
import { verifySignature } from "../../src/io/crypto/keys.ts";
import type { StoredMember } from "../../src/io/ports.ts";
import { openMasterDisk } from "../../src/io/store/sqlite-control-store.ts";
import { openAgentStore } from "../../src/io/store/sqlite-store.ts";
import { type Membership, membershipJson } from "../../src/model/trust/membership.ts";
import { openControl } from "../support/control.ts";

type Row = Readonly<Record<string, unknown>>;

/** The newest one, which is what this program writes as long as it raises no version. */
const NEWEST = "0.2.0";
const VERSIONS = readdirSync(import.meta.dirname, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name);

/** A data directory as the version left it. */
function directory(context: TestContext, version: string): string {
  const dir = mkdtempSync(join(tmpdir(), "weft-test-recorded-"));
  context.after(() => rmSync(dir, { recursive: true }));
  const folder = join(import.meta.dirname, version);
  for (const file of ["master.db", "agent.db"])
    writeFileSync(join(dir, file), gunzipSync(readFileSync(join(folder, `${file}.gz`))), { mode: 0o600 });
  writeFileSync(join(dir, "cluster.key"), readFileSync(join(folder, "cluster.key")), { mode: 0o600 });
  return dir;
}

/** What a statement finds in a file that no program of ours has open. */
function rows(dir: string, file: string, sql: string): readonly Row[] {
  const database = new DatabaseSync(join(dir, file));
  try {
    return database.prepare(sql).all();
  } finally {
    database.close();
  }
}

function parsed(value: unknown): unknown {
  return JSON.parse(String(value));
}

/** What the tables of before the entries hold, by the keys of entries. */
function keptBefore(dir: string): ReadonlyMap<string, unknown> {
  const table = (prefix: string, sql: string) =>
    rows(dir, "master.db", sql).map(({ key, value }) => [prefix + String(key), parsed(value)] as const);
  const [network] = table("", "SELECT '' AS key, source AS value FROM network");
  return new Map([
    ["network", network?.[1]],
    ...table("agent/", "SELECT id AS key, record AS value FROM agent ORDER BY position"),
    ...table("member/", "SELECT agent_id AS key, value FROM member"),
    ...table("token/", "SELECT id AS key, value FROM token ORDER BY position"),
    ...table("", "SELECT name AS key, value FROM fact"),
  ]);
}

/** Entries and facts; secrets in them are sealed. */
function keptNow(dir: string): ReadonlyMap<string, unknown> {
  const entries = rows(dir, "master.db", "SELECT key, value FROM entry ORDER BY rowid");
  const facts = rows(dir, "master.db", "SELECT name AS key, value FROM fact");
  return new Map([...entries, ...facts].map(({ key, value }) => [String(key), parsed(value)]));
}

function under(kept: ReadonlyMap<string, unknown>, prefix: string): readonly unknown[] {
  return [...kept].flatMap(([key, value]) => (key.startsWith(prefix) ? [value] : []));
}

/** The members that gossip knew, each let in by the cluster and with the records that it had. */
function assertMembers(members: readonly StoredMember[], clusterKey: Uint8Array, count: number): void {
  const known = restored(members);
  assert.equal(known.length, count);
  const directory = new Directory(clusterKey, verifySignature);
  for (const { head } of known) assert.ok(directory.admit(head.id, head.credential) !== undefined, head.id);
  const keys = known.map(({ state }) => [...(state?.entries.keys() ?? [])].sort().join(" "));
  assert.ok(
    keys.some((text) => /^assignment.* instance$/.test(text)),
    keys.join("; "),
  );
}

for (const version of VERSIONS)
  describe(`what ${version} kept`, () => {
    const isBefore = version === "before-entries";

    it("of a control plane is all there", (context) => {
      const dir = directory(context, version);
      const kept = isBefore ? keptBefore(dir) : keptNow(dir);
      const { cluster, storeKey } = secretsIn(dir, false);
      const disk = openMasterDisk(dir);
      const { records, close } = openControl(disk, storeKey);
      context.after(close);
      const agents = records.agents();
      const stored = under(kept, "agent/");
      assert.deepEqual(agents, isBefore ? stored : stored.map((entry) => (entry as { record: unknown }).record));
      assert.equal(agents.length, 2);
      const { members, tokens, epochs, keyRing } = records.trust();
      assert.deepEqual(members, under(kept, "member/"));
      assert.deepEqual(epochs, kept.get("epochs"));
      assert.deepEqual([keyRing?.phase, keyRing?.current.id, keyRing?.other?.id], ["spreading", 1, 2]);
      assert.deepEqual(
        tokens.map(({ kind, note, uses, used }) => [kind, note, uses, used]),
        [
          ["join", isBefore ? "made at the first start" : "first start", undefined, 2],
          ["join", "recorded", 3, 0],
        ],
      );
      const source = records.network();
      assert.ok(source !== undefined);
      if (isBefore) {
        assert.deepEqual(keyRing, kept.get("key-ring"));
        assert.deepEqual(tokens, under(kept, "token/"));
        assert.deepEqual(source, parseNetworkSource(kept.get("network")));
      } else {
        assert.equal(records.policies().length, 1);
        assert.deepEqual(
          source.overlays.map(({ more, isolation, egress }) => [more?.length, isolation, egress]),
          [
            [1, { allow: ["dcos6"] }, undefined],
            [undefined, undefined, "none"],
          ],
        );
      }
      assert.deepEqual(
        source.overlays.map(({ name }) => name),
        ["dcos", "dcos6"],
      );
      assert.deepEqual(records.policies(), under(kept, "policy/"));
      assert.deepEqual(records.settings(), kept.get("cluster"));
      assert.deepEqual(records.resting(), kept.get("resting") ?? []);
      assert.ok(disk.gossip.gossipGen() > 0);
      assert.equal(disk.gossip.gossipGen(), kept.get("gossip-gen"));
      assertMembers(disk.gossip.gossipMembers(), cluster.publicKey, 2);
    });

    it("of an agent is all there", (context) => {
      const dir = directory(context, version);
      const facts = new Map(
        rows(dir, "agent.db", "SELECT name, value FROM fact").map(({ name, value }) => [name, parsed(value)]),
      );
      const leases = rows(dir, "agent.db", "SELECT value FROM lease ORDER BY rowid").map(({ value }) => parsed(value));
      const resting = rows(dir, "agent.db", "SELECT address FROM resting ORDER BY position");
      const store = openAgentStore(dir);
      context.after(() => store.close());
      const membership = store.membership() as Membership;
      assert.equal(store.identity(), facts.get("identity"));
      assert.deepEqual(store.assignment(), facts.get("assignment"));
      assert.deepEqual(membershipJson(membership), facts.get("membership"));
      assert.deepEqual(store.leases(), leases);
      const hasDocker = version !== "before-entries" && version !== "0.1.0";
      assert.equal(leases.length, hasDocker ? 3 : 2);
      assert.deepEqual(
        store.dockerNetworks().map(({ network }) => network),
        hasDocker ? ["dcos"] : [],
      );
      assert.deepEqual(
        store.resting(),
        resting.map(({ address }) => address),
      );
      assert.equal(resting.length, 1);
      assert.equal(store.gossipGen(), facts.get("gossip-gen"));
      assertMembers(store.gossipMembers(), membership.clusterKey, 2);
    });
  });

it("the layout of a file is the recorded one, or its version is another", (context) => {
  const recorded = directory(context, NEWEST);
  const fresh = mkdtempSync(join(tmpdir(), "weft-test-recorded-"));
  context.after(() => rmSync(fresh, { recursive: true }));
  openMasterDisk(fresh).close();
  openAgentStore(fresh).close();
  for (const file of ["master.db", "agent.db"]) {
    const layout = (dir: string) => ({
      version: rows(dir, file, "PRAGMA user_version"),
      tables: rows(dir, file, "SELECT name, sql FROM sqlite_schema ORDER BY name"),
    });
    assert.deepEqual(
      layout(fresh),
      layout(recorded),
      `${file}: record this version as well, see test/recorded/README.md`,
    );
  }
});
