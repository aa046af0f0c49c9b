/**
 * The control plane's store of a cluster with one master: a database in its data directory, which nobody else can open. So
 * who has it leads. What gossip remembers of members lies beside it, and is this host's own, whichever store the control
 * plane is in.
 */
import { z } from "zod";
import { firstWithin } from "../../core/control/pieces.ts";
import type { ControlEvent, ControlState } from "../../model/control-event.ts";
import { EVENTS_READ_MAX_BYTES } from "../../model/control-limits.ts";
import type { Fault } from "../../model/fault.ts";
import type { LocalControlStore, LocalTerm, MasterDisk } from "../ports.ts";
import { checkEvents } from "./control-bounds.ts";
import { type DatabaseKind, SqliteDatabase } from "./sqlite-database.ts";
import { GOSSIP_TABLE, NEWEST_TABLE, sqliteGossipStore } from "./sqlite-store.ts";

/** What version 2 had and version 1 had not. */
const TRUST_TABLES = `
    CREATE TABLE member (agent_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE token (position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, value TEXT NOT NULL) STRICT;
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT`;

const ENTRY_TABLES = `
    CREATE TABLE entry (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE event (revision INTEGER PRIMARY KEY, value TEXT NOT NULL) STRICT`;

/** Version 5 keeps entries and events; the tables of before become the entries of revision 0. */
const TO_ENTRIES = `${ENTRY_TABLES};
    INSERT INTO entry SELECT 'settings', json_remove(source, '$.overlays') FROM network;
    INSERT INTO entry
      SELECT 'network/' || json_extract(each.value, '$.name'), json_set(each.value, '$.order', each.key)
      FROM network, json_each(network.source, '$.overlays') AS each;
    INSERT INTO entry SELECT 'agent/' || id, json_object('order', position, 'record', json(record)) FROM agent;
    INSERT INTO entry SELECT 'member/' || agent_id, value FROM member;
    INSERT INTO entry SELECT 'token/' || id, json_set(value, '$.order', position) FROM token;
    INSERT INTO entry SELECT name, value FROM fact WHERE name IN ('epochs', 'key-ring');
    DELETE FROM fact WHERE name IN ('epochs', 'key-ring');
    DROP TABLE network; DROP TABLE agent; DROP TABLE member; DROP TABLE token`;

/** "WftM". */
export const MASTER: DatabaseKind = {
  file: "master.db",
  applicationId: 0x5766744d,
  schemaVersion: 5,
  schema: `${ENTRY_TABLES};
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
    ${GOSSIP_TABLE};
    ${NEWEST_TABLE}`,
  migrations: [TRUST_TABLES, GOSSIP_TABLE, NEWEST_TABLE, TO_ENTRIES],
  remedy: "restore it from a backup; without one move it away, and agents get new subnets when they register again",
  synchronous: "FULL",
};

const changeSchema = z.object({ key: z.string(), before: z.unknown().optional(), after: z.unknown().optional() });
const eventSchema: z.ZodType<ControlEvent> = z.object({
  revision: z.int(),
  at: z.string(),
  who: z.string(),
  what: z.string(),
  changes: z.array(changeSchema),
});

/** @throws Fault in-use, corrupt-store, storage, unsupported-version */
export function openMasterDisk(dir: string): MasterDisk {
  const db = new SqliteDatabase(dir, MASTER);
  const term = new SqliteTerm(db);
  const control: LocalControlStore = {
    lead: () => Promise.resolve(term),
    leadNow: () => term,
    leader: () => undefined,
    close: () => Promise.resolve(),
  };
  return { gossip: sqliteGossipStore(db), control, close: () => db.close() };
}

class SqliteTerm implements LocalTerm {
  readonly number = 1;
  readonly lost = new Promise<Fault>(() => {});
  readonly #db: SqliteDatabase;
  /** So that each flush writes something: SQLite syncs for nothing else. */
  #flushes = 0;

  constructor(db: SqliteDatabase) {
    this.#db = db;
  }

  loadNow(): ControlState {
    const rows = this.#db.all("SELECT key, value FROM entry ORDER BY rowid");
    const entries = rows.map(
      ({ key, value }) => [String(key), this.#db.decode(value, z.unknown(), String(key))] as const,
    );
    return { revision: this.#revision(), entries: new Map(entries) };
  }

  appendNow(events: readonly ControlEvent[]): void {
    const last = this.#revision();
    checkEvents(events, last);
    this.#db.unsynced(() =>
      this.#db.transaction(() => {
        for (const event of events) this.#write(event);
      }),
    );
  }

  /** A commit that is synced takes all that was committed before it to the disk: they lie in one log. */
  flushNow(): void {
    // Closing has done it.
    if (!this.#db.isOpen) return;
    this.#flushes += 1;
    this.#db.synced(() =>
      this.#db.run(
        "INSERT INTO fact (name, value) VALUES ('flush', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        String(this.#flushes),
      ),
    );
  }

  load(): Promise<ControlState> {
    return settled(() => this.loadNow());
  }

  append(events: readonly ControlEvent[]): Promise<void> {
    return settled(() => {
      this.appendNow(events);
      this.flushNow();
    });
  }

  events(after: number, limit: number): Promise<readonly ControlEvent[]> {
    return settled(() => {
      const sizes =
        "SELECT revision, octet_length(value) AS bytes FROM event WHERE revision > ? ORDER BY revision LIMIT ?";
      const rows = firstWithin(this.#db.all(sizes, after, limit), ({ bytes }) => Number(bytes), EVENTS_READ_MAX_BYTES);
      const last = Number(rows.at(-1)?.revision ?? after);
      return this.#db
        .all("SELECT revision, value FROM event WHERE revision > ? AND revision <= ? ORDER BY revision", after, last)
        .map(({ revision, value }) => this.#db.decode(value, eventSchema, `event ${revision}`));
    });
  }

  forget(upTo: number): Promise<void> {
    // The last one tells the revision.
    return settled(() =>
      this.#db.run("DELETE FROM event WHERE revision <= ? AND revision < ?", upTo, this.#revision()),
    );
  }

  resign(): Promise<void> {
    return Promise.resolve();
  }

  #revision(): number {
    const [row] = this.#db.all("SELECT max(revision) AS revision FROM event");
    return Number(row?.revision ?? 0);
  }

  #write(event: ControlEvent): void {
    for (const { key, after } of event.changes)
      if (after === undefined) this.#db.run("DELETE FROM entry WHERE key = ?", key);
      else
        this.#db.run(
          "INSERT INTO entry (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
          key,
          JSON.stringify(after),
        );
    writeEvent(this.#db, event);
  }
}

export function writeEvent(db: SqliteDatabase, event: ControlEvent): void {
  db.run("INSERT INTO event (revision, value) VALUES (?, ?)", event.revision, JSON.stringify(event));
}

/** What is thrown rejects. */
function settled<T>(call: () => T): Promise<T> {
  return new Promise((resolve) => resolve(call()));
}
