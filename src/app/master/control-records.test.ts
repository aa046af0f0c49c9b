import assert from "node:assert/strict";
import { test } from "node:test";
import { openControl } from "../../../test/support/control.ts";
import { MemoryDisk, openMemoryMasterDisk } from "../../io/store/memory-store.ts";
import type { RestingItem } from "../../model/cluster.ts";
import { cidr } from "../../model/ip.ts";
import { RESTING_MAX } from "../../model/limits.ts";
import type { EpochRecord } from "../../model/trust/epoch-record.ts";

const removal = (epoch: number) => ({
  agentId: `agent-${epoch}`,
  memberId: epoch.toString(16).padStart(16, "0"),
  epoch,
});
const removals = (from: number, to: number) => Array.from({ length: to - from }, (_, n) => removal(from + n));
const epochsOf = (epoch: number, floor: number): EpochRecord => ({ epoch, floor, removals: removals(floor, epoch) });

test("removals are entries of their own, whatever their number, and are read as they were", () => {
  const disk = new MemoryDisk();
  const once = (epochs: EpochRecord) => {
    const { write, close } = openControl(openMemoryMasterDisk(disk));
    write((records) => records.saveEpochs(epochs));
    close();
  };
  const read = () => {
    const { records, book, close } = openControl(openMemoryMasterDisk(disk));
    const found = records.trust().epochs;
    const entries = [...book.under("removal/")].length;
    close();
    return { found, entries };
  };
  for (let epoch = 1; epoch <= 30; epoch += 1) once(epochsOf(epoch, 0));
  assert.deepEqual(read(), { found: epochsOf(30, 0), entries: 30 });
  once(epochsOf(420, 0));
  assert.deepEqual(read(), { found: epochsOf(420, 0), entries: 420 });
  // A floor that rises voids many at once.
  once(epochsOf(421, 400));
  assert.deepEqual(read(), { found: epochsOf(421, 400), entries: 21 });
});

test("removals of a version that wrote some of them inside of the epochs' entry are read, and become entries", () => {
  const { records, book, write, close } = openControl(openMemoryMasterDisk());
  const { removals: all, ...epochs } = epochsOf(10, 2);
  write(() => {
    for (const each of removals(0, 5)) book.put(`removal/${each.epoch}-${each.memberId}`, each);
    book.put("epochs", { ...epochs, removals: removals(5, 10) });
  });
  assert.deepEqual(records.trust().epochs, { ...epochs, removals: all });
  write(() => records.saveEpochs(epochsOf(11, 2)));
  assert.deepEqual(book.get("epochs"), { epoch: 11, floor: 2, removals: [] });
  assert.deepEqual([[...book.under("removal/")].length, records.trust().epochs], [9, epochsOf(11, 2)]);
  close();
});

test("a change that is taken back takes its removals back", () => {
  const { records, write, close } = openControl(openMemoryMasterDisk());
  write(() => records.saveEpochs(epochsOf(3, 0)));
  assert.throws(() =>
    write(() => {
      records.saveEpochs(epochsOf(5, 2));
      throw new Error("no");
    }),
  );
  assert.deepEqual(records.trust().epochs, epochsOf(3, 0));
  write(() => records.saveEpochs(epochsOf(6, 2)));
  assert.deepEqual(records.trust().epochs, epochsOf(6, 2));
  close();
});

const items = (from: number, to: number): RestingItem[] =>
  Array.from({ length: to - from }, (_, at) => ({
    item: cidr(`9.${(from + at) >> 8}.${(from + at) & 255}.0/24`),
    network: "dcos",
    until: "2026-11-21T08:10:00Z",
    agent: `agent-${from + at}`,
  }));

test("as much rests as may, in its order, and each item comes and goes by itself", async () => {
  const disk = new MemoryDisk();
  const { records, write, close } = openControl(openMemoryMasterDisk(disk));
  const all = items(0, RESTING_MAX).reverse();
  write(() => records.saveResting(all));
  write(() => records.saveResting([...all.slice(1), ...items(RESTING_MAX, RESTING_MAX + 1)]));
  close();
  const open = openMemoryMasterDisk(disk);
  const again = openControl(open);
  const found = again.records.resting();
  assert.deepEqual(found, [...all.slice(1), ...items(RESTING_MAX, RESTING_MAX + 1)]);
  const { revision } = again.book;
  again.write(() => again.records.saveResting(found.slice(1)));
  const [last, ...none] = await open.control.leadNow().events(revision, 10);
  assert.deepEqual([last?.changes.map(({ key }) => key), none], [[`resting/${found[0]?.item}`], []]);
  again.close();
});

test("what rested in one entry is read, and becomes entries with the first change", () => {
  const disk = new MemoryDisk();
  const { book, records, write, close } = openControl(openMemoryMasterDisk(disk));
  const all = items(0, 3_000);
  write(() => book.put("resting", JSON.parse(JSON.stringify(all))));
  assert.deepEqual(records.resting(), all);
  write(() => records.saveResting(all.slice(1)));
  assert.deepEqual([book.get("resting"), [...book.under("resting/")].length], [undefined, all.length - 1]);
  close();
  const again = openControl(openMemoryMasterDisk(disk));
  assert.deepEqual(again.records.resting(), all.slice(1));
  again.close();
});

test("what was saved inside of a change that failed is saved again by the next one", () => {
  const disk = new MemoryDisk();
  const { write, close } = openControl(openMemoryMasterDisk(disk));
  const items = [1, 2].map(
    (n): RestingItem => ({ item: cidr(`9.0.${n}.0/24`), network: "dcos", until: "2026-11-21T00:00:00Z" }),
  );
  const epochs = epochsOf(3, 0);
  write((to) => to.saveResting(items.slice(0, 1)));
  const broken = () =>
    write((to) => {
      to.saveResting(items);
      to.saveEpochs(epochs);
      throw new Error("the disk is full");
    });
  assert.throws(broken, /the disk is full/);
  write((to) => {
    to.saveResting(items);
    to.saveEpochs(epochs);
  });
  close();
  const again = openControl(openMemoryMasterDisk(disk));
  assert.deepEqual(again.records.resting(), items);
  assert.deepEqual(again.records.trust().epochs, epochs);
  again.close();
});
