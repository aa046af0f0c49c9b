import assert from "node:assert/strict";
import { test } from "node:test";
import { openControl } from "../../../test/support/control.ts";
import { MemoryDisk, openMemoryMasterDisk } from "../../io/store/memory-store.ts";
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
  // From before they were entries: more than one change may write.
  once(epochsOf(400, 0));
  assert.deepEqual(read(), { found: epochsOf(400, 0), entries: 70 });
  for (let epoch = 401; epoch <= 420; epoch += 1) once(epochsOf(epoch, 0));
  assert.deepEqual(read(), { found: epochsOf(420, 0), entries: 420 });
  // A floor that rises voids all at once, and what it voids is deleted some at a time.
  once(epochsOf(421, 400));
  assert.deepEqual(read(), { found: epochsOf(421, 400), entries: 382 });
  for (let epoch = 422; epoch <= 440; epoch += 1) once(epochsOf(epoch, 400));
  assert.deepEqual(read(), { found: epochsOf(440, 400), entries: 40 });
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
