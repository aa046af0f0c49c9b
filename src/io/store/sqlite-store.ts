/**
 * The agent's store on SQLite, and what agent and master both keep for gossip. Values are kept as JSON, one row for each thing that changes by itself; what
 * is read is checked against its schema, so that a damaged file is refused at the start and not met later.
 */
import { z } from "zod";
import type { Attachment, Lease, LeaseKey } from "../../model/attachment.ts";
import type { Assignment } from "../../model/cluster.ts";
import { agentIdSchema, assignmentSchema, dockerNetworkSchema, ipSchema, leaseSchema } from "../../model/schemas.ts";
import { type Membership, membershipJson, membershipSchema } from "../../model/trust/membership.ts";
import { newestWordSchema } from "../../model/trust/standing.ts";
import type { AgentStore, GossipStore } from "../ports.ts";
import { type DatabaseKind, SqliteDatabase } from "./sqlite-database.ts";

/** What both have since they take part in gossip. */
export const GOSSIP_TABLE = `
    CREATE TABLE gossip_member (id TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT`;

/** What came with that: by agent id. */
export const NEWEST_TABLE = `
    CREATE TABLE newest_word (agent_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT`;

/** What came with Docker: by the engine's id of the network. */
const DOCKER_TABLE = `
    CREATE TABLE docker_network (id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT`;

/** "WftA". */
const AGENT: DatabaseKind = {
  file: "agent.db",
  applicationId: 0x57667441,
  schemaVersion: 5,
  migrations: [GOSSIP_TABLE, NEWEST_TABLE, DOCKER_TABLE],
  schema: `
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE lease (
      container_id TEXT NOT NULL, ifname TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (container_id, ifname)
    ) STRICT;
    CREATE TABLE resting (position INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL UNIQUE) STRICT;
    ${GOSSIP_TABLE};
    ${NEWEST_TABLE};
    ${DOCKER_TABLE}`,
  remedy:
    "restore it from a backup; without one move it away: the agent then takes its record over by its address, " +
    "and containers have to be attached again",
  // For leases; see docs/decisions/0019.
  synchronous: "NORMAL",
};

/** Adds the row with this key, or replaces its value in its place. */
function putValue(db: SqliteDatabase, table: string, keyColumn: string, key: string, value: unknown): void {
  db.run(
    `INSERT INTO ${table} (${keyColumn}, value) VALUES (?, ?) ` +
      `ON CONFLICT (${keyColumn}) DO UPDATE SET value = excluded.value`,
    key,
    JSON.stringify(value),
  );
}

/** @throws Fault in-use, corrupt-store, storage, unsupported-version; the store's calls throw `storage` */
export function openAgentStore(dir: string): AgentStore {
  const db = new SqliteDatabase(dir, AGENT);
  return {
    identity: () => readFact<string>(db, "identity", agentIdSchema),
    saveIdentity: (id) => writeFact(db, "identity", id),
    assignment: () => readFact<Assignment>(db, "assignment", assignmentSchema),
    saveAssignment: (assignment) =>
      db.synced(() =>
        db.transaction(() => {
          putValue(db, "fact", "name", "assignment", assignment);
          db.run("DELETE FROM fact WHERE name = 'removed'");
        }),
      ),
    saveRemoval: () =>
      db.synced(() =>
        db.transaction(() => {
          putValue(db, "fact", "name", "removed", true);
          db.run("DELETE FROM fact WHERE name = 'assignment'");
        }),
      ),
    wasRemoved: () => readFact<boolean>(db, "removed", z.boolean()) === true,
    membership: () => readFact<Membership>(db, "membership", membershipSchema),
    saveMembership: (membership) => writeFact(db, "membership", membershipJson(membership)),
    forgetMembership: () =>
      db.synced(() =>
        db.transaction(() => {
          db.run("DELETE FROM fact WHERE name = 'membership'");
          db.run("DELETE FROM gossip_member");
          db.run("DELETE FROM newest_word");
        }),
      ),
    leases: () => loadLeases(db),
    putLease: (lease, instead = []) =>
      instead.length === 0
        ? putLease(db, lease)
        : db.transaction(() => {
            for (const key of instead) deleteLease(db, key);
            putLease(db, lease);
          }),
    deleteLease: (key, resting) =>
      db.transaction(() => {
        deleteLease(db, key);
        for (const address of resting) db.run("INSERT OR REPLACE INTO resting (address) VALUES (?)", address);
      }),
    resting: () =>
      db
        .all("SELECT address FROM resting ORDER BY position")
        .map((row) => db.decode(JSON.stringify(row.address), ipSchema, "an address that rests")),
    forgetResting: (addresses) =>
      db.transaction(() => {
        for (const address of addresses) db.run("DELETE FROM resting WHERE address = ?", address);
      }),
    dockerNetworks: () =>
      db
        .all("SELECT id, value FROM docker_network ORDER BY rowid")
        .map(({ id, value }) => db.decode(value, dockerNetworkSchema, `the Docker network ${id}`)),
    putDockerNetwork: (network) => db.synced(() => putValue(db, "docker_network", "id", network.id, network)),
    deleteDockerNetwork: (id) => db.synced(() => db.run("DELETE FROM docker_network WHERE id = ?", id)),
    ...sqliteGossipStore(db),
    close: () => db.close(),
  };
}

export function sqliteGossipStore(db: SqliteDatabase): GossipStore {
  return {
    gossipGen: () => readFact<number>(db, "gossip-gen", z.int().min(0)) ?? 0,
    saveGossipGen: (gen) => writeFact(db, "gossip-gen", gen),
    gossipMembers: () =>
      db.all("SELECT id, value FROM gossip_member ORDER BY rowid").map(({ id, value }) => ({
        id: String(id),
        blob: value instanceof Uint8Array ? value : undefined,
      })),
    saveGossipMembers: (members) =>
      db.transaction(() => {
        for (const { id, blob } of members)
          if (blob === undefined) db.run("DELETE FROM gossip_member WHERE id = ?", id);
          else
            db.run(
              "INSERT INTO gossip_member (id, value) VALUES (?, ?) " +
                "ON CONFLICT (id) DO UPDATE SET value = excluded.value",
              id,
              blob,
            );
      }),
    newestWords: () =>
      db
        .all("SELECT agent_id, value FROM newest_word ORDER BY rowid")
        .map((row) => db.decode(row.value, newestWordSchema, `the age of the word on agent ${row.agent_id}`)),
    saveNewestWords: (words, gone) =>
      db.transaction(() => {
        for (const word of words) putValue(db, "newest_word", "agent_id", word.agentId, word);
        for (const id of gone) db.run("DELETE FROM newest_word WHERE agent_id = ?", id);
      }),
  };
}

function putLease(db: SqliteDatabase, lease: Lease): void {
  db.run(
    "INSERT INTO lease (container_id, ifname, value) VALUES (?, ?, ?) " +
      "ON CONFLICT (container_id, ifname) DO UPDATE SET value = excluded.value",
    lease.containerId,
    lease.ifname,
    JSON.stringify(lease),
  );
}

function deleteLease(db: SqliteDatabase, { containerId, ifname }: LeaseKey): void {
  db.run("DELETE FROM lease WHERE container_id = ? AND ifname = ?", containerId, ifname);
}

function loadLeases(db: SqliteDatabase): readonly (Lease | Attachment)[] {
  return db
    .all("SELECT container_id, value FROM lease ORDER BY rowid")
    .map((row) => db.decode(row.value, leaseSchema, `the lease of container ${row.container_id}`));
}

function readFact<T>(db: SqliteDatabase, name: string, schema: z.ZodType<T>): T | undefined {
  const [row] = db.all("SELECT value FROM fact WHERE name = ?", name);
  return row && db.decode(row.value, schema, `the ${name}`);
}

/** Unlike leases, what an agent is and has must survive a power cut. */
function writeFact(db: SqliteDatabase, name: string, value: unknown): void {
  db.synced(() => putValue(db, "fact", "name", name, value));
}
