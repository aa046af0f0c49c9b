/**
 * The whole control plane out of a master's database, and into one, while no master has it open.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { ControlDump } from "../../core/control/dump.ts";
import type { ControlEvent } from "../../model/control-event.ts";
import { EVENTS_SHOWN_MAX } from "../../model/control-limits.ts";
import { Fault } from "../../model/fault.ts";
import type { LocalTerm } from "../ports.ts";
import { MASTER, openMasterDisk, writeEvent } from "./sqlite-control-store.ts";
import { SqliteDatabase } from "./sqlite-database.ts";
import { notEmpty } from "./transfer.ts";

/** @throws Fault bad-request when there is none; in-use, corrupt-store, storage, unsupported-version */
export async function readSqliteStore(dir: string): Promise<ControlDump> {
  const path = join(dir, MASTER.file);
  if (!existsSync(path))
    throw new Fault("bad-request", `there is no ${path}; name the data directory of a master with --data-dir`, {
      path,
    });
  const disk = openMasterDisk(dir);
  try {
    const term: LocalTerm = disk.control.leadNow();
    const events: ControlEvent[] = [];
    for (let more = await term.events(0, EVENTS_SHOWN_MAX); more.length > 0; ) {
      events.push(...more);
      more = await term.events(events.at(-1)?.revision ?? 0, EVENTS_SHOWN_MAX);
    }
    return { ...term.loadNow(), events };
  } finally {
    disk.close();
  }
}

/** All of it or nothing. @throws Fault bad-request when something is there and `isReplacing` is not said; as above */
export function writeSqliteStore(dir: string, { entries, events }: ControlDump, isReplacing: boolean): void {
  const db = new SqliteDatabase(dir, MASTER);
  try {
    const [found] = db.all("SELECT (SELECT count(*) FROM entry) + (SELECT count(*) FROM event) AS count");
    if (Number(found?.count) > 0 && !isReplacing) throw notEmpty(join(dir, MASTER.file));
    db.transaction(() => {
      db.run("DELETE FROM entry");
      db.run("DELETE FROM event");
      for (const [key, value] of entries)
        db.run("INSERT INTO entry (key, value) VALUES (?, ?)", key, JSON.stringify(value));
      for (const event of events) writeEvent(db, event);
    });
  } finally {
    db.close();
  }
}
