/**
 * The datapath's part of a difference. What leads somewhere is taken away before the place is, and comes after it: an
 * entry that is missing costs speed, one that is wrong costs packets.
 *
 * Code or maps that differ are replaced whole, which is atomic for each device; all else goes entry by entry.
 */
import {
  type AttachedProgram,
  type Datapath,
  type DatapathEntry,
  type DatapathSettings,
  entryKey,
  isSameEntry,
} from "./datapath.ts";
import type { KernelOp } from "./host-state.ts";

export interface DatapathChanges {
  readonly before: readonly KernelOp[];
  readonly after: readonly KernelOp[];
}

/** @param gone devices that are deleted or made anew, and the programs on them with them */
export function diffDatapath(
  observed: Datapath | undefined,
  desired: Datapath | undefined,
  gone: ReadonlySet<string>,
): DatapathChanges {
  if (desired === undefined)
    return { before: observed === undefined ? [] : [{ op: "datapath.delete", dev: observed.dev }], after: [] };
  if (observed === undefined || mustReplace(observed, desired, gone)) {
    // What is there leads to devices that may go now.
    const before: KernelOp[] = observed === undefined ? [] : outdated(observed, desired, gone);
    return { before, after: [{ op: "datapath.replace", datapath: desired }] };
  }
  const { dev } = desired;
  const there = new Map(observed.programs.map((each) => [each.dev, each]));
  const wanted = new Set(desired.programs.map((each) => each.dev));
  const missing = desired.programs.filter(
    (each) => gone.has(each.dev) || there.get(each.dev)?.program !== each.program,
  );
  const extra = observed.programs.filter((each) => !wanted.has(each.dev) && !gone.has(each.dev));
  const changed = missingEntries(observed, desired, gone);
  return {
    before: [
      ...outdated(observed, desired, gone),
      ...extra.map((each): KernelOp => ({ op: "datapath.detach", dev, from: each.dev })),
    ],
    after: [
      ...missing.map((program): KernelOp => ({ op: "datapath.attach", dev, program })),
      ...(isSameSettings(observed.settings, desired.settings)
        ? []
        : [{ op: "datapath.set", dev, settings: desired.settings } satisfies KernelOp]),
      ...(changed.length === 0 ? [] : [{ op: "datapath.put", dev, entries: changed } satisfies KernelOp]),
    ],
  };
}

function mustReplace(observed: Datapath, desired: Datapath, gone: ReadonlySet<string>): boolean {
  const isUsed = (program: AttachedProgram): boolean =>
    program.isStale === true && desired.programs.some(({ dev }) => dev === program.dev);
  return (
    observed.code !== desired.code ||
    observed.dev !== desired.dev ||
    gone.has(desired.dev) ||
    observed.programs.some(isUsed)
  );
}

/**
 * Entries that nobody wants any more, whose device goes, or whose group changes: two networks that change places would be
 * in one group between the first entry and the last. All else is overwritten in one step.
 */
function outdated(observed: Datapath, desired: Datapath, gone: ReadonlySet<string>): KernelOp[] {
  const wanted = new Map(desired.entries.map((entry) => [entryKey(entry), entry]));
  const entries = observed.entries.filter((entry) => {
    const want = wanted.get(entryKey(entry));
    return want === undefined || hangsOn(gone, entry) || groupOf(want) !== groupOf(entry);
  });
  return entries.length === 0 ? [] : [{ op: "datapath.remove", dev: observed.dev, entries }];
}

function missingEntries(observed: Datapath, desired: Datapath, gone: ReadonlySet<string>): readonly DatapathEntry[] {
  const there = new Map(observed.entries.map((entry) => [entryKey(entry), entry]));
  return desired.entries.filter((entry) => {
    const old = there.get(entryKey(entry));
    return old === undefined || hangsOn(gone, entry) || !isSameEntry(old, entry);
  });
}

function groupOf(entry: DatapathEntry): number | undefined {
  return entry.map === "locals" || entry.map === "peers" ? entry.group : undefined;
}

/** It names the device's number, which the next one of that name does not have. */
function hangsOn(gone: ReadonlySet<string>, entry: DatapathEntry): boolean {
  return entry.map === "locals" && gone.has(entry.dev);
}

function isSameSettings(a: DatapathSettings, b: DatapathSettings): boolean {
  const text = ({ lengths, ...rest }: DatapathSettings) =>
    JSON.stringify([Object.entries(rest).sort(), lengths[4], lengths[6]]);
  return text(a) === text(b);
}
