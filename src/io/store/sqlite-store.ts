/**
 * The stores of master and agent on SQLite. Values are kept as JSON, one row for each thing that changes by itself; what
 * is read is checked against its schema, so that a damaged file is refused at the start and not met later.
 */
import { z } from "zod";
import type { Attachment, Lease } from "../../model/attachment.ts";
import type { AgentRecord, Assignment } from "../../model/cluster.ts";
import {
  agentIdSchema,
  agentRecordSchema,
  assignmentSchema,
  ipSchema,
  leaseSchema,
  restingItemSchema,
} from "../../model/schemas.ts";
import { keyRingSchema } from "../../model/trust/key-ring.ts";
import {
  epochRecordSchema,
  type Membership,
  memberRecordSchema,
  membershipJson,
  membershipSchema,
} from "../../model/trust/membership.ts";
import { tokenRecordSchema } from "../../model/trust/token.ts";
import type { AgentStore, GossipStore, MasterStore, StoredTrust } from "../ports.ts";
import { type DatabaseKind, SqliteDatabase } from "./sqlite-database.ts";

/** What version 2 of the master's database has and version 1 had not. */
const TRUST_TABLES = `
    CREATE TABLE member (agent_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE token (position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, value TEXT NOT NULL) STRICT;
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT`;

/** What both have since they take part in gossip. */
const GOSSIP_TABLE = `
    CREATE TABLE gossip_member (id TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT`;

/** "WftM" and "WftA". */
const MASTER: DatabaseKind = {
  file: "master.db",
  applicationId: 0x5766744d,
  schemaVersion: 3,
  schema: `
    CREATE TABLE network (id INTEGER PRIMARY KEY CHECK (id = 1), source TEXT NOT NULL) STRICT;
    CREATE TABLE agent (position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, record TEXT NOT NULL) STRICT;
    ${TRUST_TABLES};
    ${GOSSIP_TABLE}`,
  migrations: [TRUST_TABLES, GOSSIP_TABLE],
  remedy: "restore it from a backup; without one move it away, and agents get new subnets when they register again",
  synchronous: "FULL",
};

const AGENT: DatabaseKind = {
  file: "agent.db",
  applicationId: 0x57667441,
  schemaVersion: 3,
  migrations: [GOSSIP_TABLE],
  schema: `
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE lease (
      container_id TEXT NOT NULL, ifname TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (container_id, ifname)
    ) STRICT;
    CREATE TABLE resting (position INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL UNIQUE) STRICT;
    ${GOSSIP_TABLE}`,
  remedy:
    "restore it from a backup; without one move it away: the agent then takes its record over by its address, " +
    "and containers have to be attached again",
  // For leases; see docs/decisions/0019.
  synchronous: "NORMAL",
};

/** @throws Fault in-use, corrupt-store, storage, unsupported-version; the store's calls throw `storage` */
export function openMasterStore(dir: string): MasterStore {
  const db = new SqliteDatabase(dir, MASTER);
  return {
    load: () => {
      const resting = readFact(db, "resting", z.array(restingItemSchema));
      return { network: loadNetwork(db), agents: loadAgents(db), ...(resting !== undefined && { resting }) };
    },
    saveResting: (resting) => putValue(db, "fact", "name", "resting", resting),
    saveNetwork: (network) =>
      db.run(
        "INSERT INTO network (id, source) VALUES (1, ?) ON CONFLICT (id) DO UPDATE SET source = excluded.source",
        JSON.stringify(network),
      ),
    putAgent: (record, replaces = record.id) => putAgent(db, record, replaces),
    deleteAgents: (ids) =>
      db.transaction(() => {
        for (const id of ids) db.run("DELETE FROM agent WHERE id = ?", id);
      }),
    loadTrust: () => loadTrust(db),
    putMember: (member) => putValue(db, "member", "agent_id", member.agentId, member),
    deleteMembers: (agentIds) =>
      db.transaction(() => {
        for (const id of agentIds) db.run("DELETE FROM member WHERE agent_id = ?", id);
      }),
    putToken: (token) => putValue(db, "token", "id", token.id, token),
    deleteToken: (id) => db.run("DELETE FROM token WHERE id = ?", id),
    saveEpochs: (epochs) => putValue(db, "fact", "name", "epochs", epochs),
    saveKeyRing: (ring) => putValue(db, "fact", "name", "key-ring", ring),
    ...gossipStore(db),
    atomically: (writes) => db.transaction(writes),
    close: () => db.close(),
  };
}

function loadTrust(db: SqliteDatabase): StoredTrust {
  const epochs = readFact(db, "epochs", epochRecordSchema);
  const keyRing = readFact(db, "key-ring", keyRingSchema);
  return {
    members: db
      .all("SELECT agent_id, value FROM member ORDER BY rowid")
      .map((row) => db.decode(row.value, memberRecordSchema, `the member record of agent ${row.agent_id}`)),
    tokens: db
      .all("SELECT id, value FROM token ORDER BY position")
      .map((row) => db.decode(row.value, tokenRecordSchema, `the token ${row.id}`)),
    ...(epochs !== undefined && { epochs }),
    ...(keyRing !== undefined && { keyRing }),
  };
}

/** Adds the row with this key, or replaces its value in its place. */
function putValue(db: SqliteDatabase, table: string, keyColumn: string, key: string, value: unknown): void {
  db.run(
    `INSERT INTO ${table} (${keyColumn}, value) VALUES (?, ?) ` +
      `ON CONFLICT (${keyColumn}) DO UPDATE SET value = excluded.value`,
    key,
    JSON.stringify(value),
  );
}

function loadNetwork(db: SqliteDatabase): unknown {
  const [row] = db.all("SELECT source FROM network");
  return row && db.decode(row.source, z.unknown(), "the network configuration");
}

function loadAgents(db: SqliteDatabase): readonly AgentRecord[] {
  return db
    .all("SELECT id, record FROM agent ORDER BY position")
    .map((row) => db.decode(row.record, agentRecordSchema, `the record of agent ${row.id}`));
}

function putAgent(db: SqliteDatabase, record: AgentRecord, replaces: string): void {
  const json = JSON.stringify(record);
  const upsert = "INSERT INTO agent (id, record) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET record = excluded.record";
  if (replaces === record.id) {
    db.run(upsert, record.id, json);
    return;
  }
  db.transaction(() => {
    db.run("UPDATE agent SET id = ? WHERE id = ?", record.id, replaces);
    db.run(upsert, record.id, json);
  });
}

/** @throws as `openMasterStore` */
export function openAgentStore(dir: string): AgentStore {
  const db = new SqliteDatabase(dir, AGENT);
  return {
    identity: () => readFact<string>(db, "identity", agentIdSchema),
    saveIdentity: (id) => writeFact(db, "identity", id),
    assignment: () => readFact<Assignment>(db, "assignment", assignmentSchema),
    saveAssignment: (assignment) => writeFact(db, "assignment", assignment),
    membership: () => readFact<Membership>(db, "membership", membershipSchema),
    saveMembership: (membership) => writeFact(db, "membership", membershipJson(membership)),
    forgetMembership: () => db.synced(() => db.run("DELETE FROM fact WHERE name = 'membership'")),
    leases: () => loadLeases(db),
    putLease: (lease) =>
      db.run(
        "INSERT INTO lease (container_id, ifname, value) VALUES (?, ?, ?) " +
          "ON CONFLICT (container_id, ifname) DO UPDATE SET value = excluded.value",
        lease.containerId,
        lease.ifname,
        JSON.stringify(lease),
      ),
    deleteLease: ({ containerId, ifname }, resting) =>
      db.transaction(() => {
        db.run("DELETE FROM lease WHERE container_id = ? AND ifname = ?", containerId, ifname);
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
    ...gossipStore(db),
    close: () => db.close(),
  };
}

function gossipStore(db: SqliteDatabase): GossipStore {
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
  };
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
