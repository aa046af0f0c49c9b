/**
 * One SQLite database in a data directory: opened, locked, checked, and its errors turned into faults.
 *
 * Write-ahead log: a statement that returned survives a kill, and with full sync a power cut; without, a power cut may
 * take the last statements, never the file's consistency (https://www.sqlite.org/pragma.html#pragma_synchronous). The lock is SQLite's own exclusive mode: the kernel holds it
 * for the life of the process and drops it whichever way that ends, so there is no stale lock file.
 */
import { closeSync, constants, existsSync, mkdirSync, openSync, statSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import type { z } from "zod";
import { Fault, messageOf } from "../../model/fault.ts";
import { issuesOf } from "../../model/schemas.ts";
import { refuseOpen } from "../crypto/secret-file.ts";

export interface DatabaseKind {
  /** File name in the data directory: `master.db`. */
  readonly file: string;
  /** SQLite's own mark of whose file it is (`PRAGMA application_id`): 32 bits. */
  readonly applicationId: number;
  readonly schemaVersion: number;
  /** What makes a database of version n one of version n + 1: the last leads to `schemaVersion`. */
  readonly migrations: readonly string[];
  /** Makes the tables of a new database. */
  readonly schema: string;
  /** What an operator can do when the file is damaged: the end of a sentence. */
  readonly remedy: string;
  /** What a statement that returned survives: FULL a power cut, NORMAL the end of the process. */
  readonly synchronous: "FULL" | "NORMAL";
}

/** Primary result codes (https://www.sqlite.org/rescode.html); the low byte of what `errcode` holds. */
const SQLITE = { busy: 5, locked: 6, corrupt: 11, notADatabase: 26 } as const;

export class SqliteDatabase {
  readonly #db: DatabaseSync;
  readonly #path: string;
  readonly #dir: string;
  readonly #kind: DatabaseKind;

  /**
   * Opens the database of this kind in `dir`; makes both if they are not there.
   * @throws Fault in-use, corrupt-store, storage, unsupported-version
   */
  constructor(dir: string, kind: DatabaseKind) {
    this.#dir = dir;
    this.#path = join(dir, kind.file);
    this.#kind = kind;
    prepareFile(dir, this.#path);
    this.#db = this.#guard(() => new DatabaseSync(this.#path));
    try {
      this.#guard(() => this.#initialize());
    } catch (thrown) {
      this.#db.close();
      throw thrown;
    }
  }

  /** The rows of a query. */
  all(sql: string, ...values: SQLInputValue[]): Record<string, unknown>[] {
    return this.#guard(() => this.#db.prepare(sql).all(...values));
  }

  /** Carries out one statement; it survives what `synchronous` says when this returns. */
  run(sql: string, ...values: SQLInputValue[]): void {
    this.#guard(() => this.#db.prepare(sql).run(...values));
  }

  /** Carries out `statements`, which survive a power cut when this returns, with all that was written before. */
  synced(statements: () => void): void {
    this.#guard(() => this.#db.exec("PRAGMA synchronous = FULL"));
    try {
      statements();
    } finally {
      this.#guard(() => this.#db.exec(`PRAGMA synchronous = ${this.#kind.synchronous}`));
    }
  }

  /** Carries out `statements`, which survive the end of the process, and a power cut once something `synced` follows. */
  unsynced(statements: () => void): void {
    this.#guard(() => this.#db.exec("PRAGMA synchronous = NORMAL"));
    try {
      statements();
    } finally {
      this.#guard(() => this.#db.exec(`PRAGMA synchronous = ${this.#kind.synchronous}`));
    }
  }

  get isOpen(): boolean {
    return this.#db.isOpen;
  }

  /** Carries out `statements` together or not at all; as `run`. Inside of another one it is part of that. */
  transaction(statements: () => void): void {
    if (this.#db.isTransaction) {
      statements();
      return;
    }
    this.#guard(() => this.#db.exec("BEGIN IMMEDIATE"));
    try {
      statements();
      this.#guard(() => this.#db.exec("COMMIT"));
    } catch (thrown) {
      // SQLite rolled back by itself where the error left it no choice (disk full).
      if (this.#db.isTransaction) this.#db.exec("ROLLBACK");
      throw thrown;
    }
  }

  /**
   * Decodes JSON that this program once wrote.
   * @throws Fault corrupt-store when it is none, or not of the schema's shape
   */
  decode<T>(text: unknown, schema: z.ZodType<T>, what: string): T {
    let value: unknown;
    try {
      value = JSON.parse(String(text));
    } catch {
      throw this.corrupt(`${what} is not JSON`);
    }
    const parsed = schema.safeParse(value);
    if (parsed.success) return parsed.data;
    throw this.corrupt(`${what}: ${issuesOf(parsed.error)[0]}`);
  }

  corrupt(what: string, cause?: unknown): Fault {
    return new Fault(
      "corrupt-store",
      `the database ${this.#path} is damaged (${what}); ${this.#kind.remedy}`,
      { path: this.#path },
      { cause },
    );
  }

  close(): void {
    this.#db.close();
  }

  #initialize(): void {
    this.#db.exec("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL");
    this.#db.exec(`PRAGMA synchronous = ${this.#kind.synchronous}`);
    // Takes the lock, and holds it until the database is closed.
    this.#db.exec("BEGIN IMMEDIATE; COMMIT");
    const version = this.#pragma("user_version");
    if (version === 0 && this.#pragma("application_id") === 0 && this.#isEmpty()) this.#create();
    if (this.#pragma("application_id") !== this.#kind.applicationId)
      throw this.corrupt(`it was not made by weft as ${this.#kind.file}`);
    const found = this.#migrate(Number(this.#pragma("user_version")));
    if (found !== this.#kind.schemaVersion)
      throw new Fault(
        "unsupported-version",
        `the database ${this.#path} has version ${found}, this program reads version ${this.#kind.schemaVersion}; ` +
          "run the version of weft that wrote it",
        { path: this.#path, version: found },
      );
    const check = this.#pragma("quick_check(1)");
    if (check !== "ok") throw this.corrupt(String(check));
  }

  #create(): void {
    const { applicationId, schemaVersion, schema } = this.#kind;
    this.#db.exec(
      `BEGIN; ${schema}; PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schemaVersion}; COMMIT`,
    );
  }

  /** Brings an older version up to this one, all at once or not at all. @returns the version afterwards */
  #migrate(found: number): number {
    const { schemaVersion, migrations } = this.#kind;
    const steps = migrations.slice(migrations.length - (schemaVersion - found));
    if (found >= schemaVersion || steps.length !== schemaVersion - found) return found;
    this.#db.exec(`BEGIN; ${steps.join("; ")}; PRAGMA user_version = ${schemaVersion}; COMMIT`);
    return schemaVersion;
  }

  #isEmpty(): boolean {
    return this.#db.prepare("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined;
  }

  #pragma(name: string): unknown {
    return Object.values(this.#db.prepare(`PRAGMA ${name}`).get() ?? {})[0];
  }

  #guard<T>(call: () => T): T {
    try {
      return call();
    } catch (thrown) {
      throw this.#explain(thrown);
    }
  }

  /** The fault that an error of SQLite stands for. */
  #explain(thrown: unknown): unknown {
    const code = (thrown as { errcode?: unknown } | null)?.errcode;
    if (typeof code !== "number") return thrown;
    const primary = code & 0xff;
    if (primary === SQLITE.busy || primary === SQLITE.locked)
      return new Fault(
        "in-use",
        `the data directory ${this.#dir} is in use by another process; stop that one, or give another directory with --data-dir`,
        { dir: this.#dir },
        { cause: thrown },
      );
    if (primary === SQLITE.corrupt || primary === SQLITE.notADatabase) return this.corrupt(messageOf(thrown), thrown);
    return storageFault(this.#path, messageOf(thrown), thrown);
  }
}

/** The file is made here and not by SQLite, so that only its owner may read it. */
function prepareFile(dir: string, path: string): void {
  try {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
    if (!existsSync(path)) closeSync(openSync(path, constants.O_CREAT | constants.O_EXCL | constants.O_RDWR, 0o600));
    // It holds keys, too.
    refuseOpen(path, statSync(path).mode);
  } catch (thrown) {
    if (thrown instanceof Fault) throw thrown;
    throw storageFault(path, messageOf(thrown), thrown);
  }
}

function storageFault(path: string, what: string, cause: unknown): Fault {
  return new Fault(
    "storage",
    `the database ${path} cannot be written (${what}); check the disk's space and the permissions, nothing was changed`,
    { path },
    { cause },
  );
}
