/** The control plane of one master on its disk, without the master. */
import { Book } from "../../src/app/master/book.ts";
import { ControlRecords } from "../../src/app/master/control-records.ts";
import type { MasterDisk } from "../../src/io/ports.ts";
import { SimClock } from "../../src/io/sim-clock.ts";

export interface OpenControl {
  readonly book: Book;
  readonly records: ControlRecords;
  /** Makes a change of its own. */
  write(make: (records: ControlRecords) => void): void;
  close(): void;
}

/** @throws Fault as opening the disk's records does */
export function openControl(disk: MasterDisk, storeKey: Uint8Array = Buffer.alloc(32, 1)): OpenControl {
  const term = disk.control.leadNow();
  const book = new Book(term.loadNow(), term, new SimClock());
  const records = new ControlRecords(book, storeKey);
  return {
    book,
    records,
    write: (make) => records.change({ who: "test", what: "something" }, () => make(records)),
    close: () => disk.close(),
  };
}
