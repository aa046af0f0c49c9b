/**
 * Datapath operations of the simulated kernel: as strict as the real one about devices that are not there and maps that
 * are full. What a device takes with it when it goes: its program, and with the tunnel's the whole datapath.
 */
import {
  type Datapath,
  type DatapathEntry,
  type DatapathMap,
  type DatapathOp,
  entryFamily,
  entryKey,
} from "../../core/host/datapath.ts";
import * as limits from "../../model/datapath-limits.ts";
import { type FakeNamespace, refuse } from "./fake-kernel-namespace.ts";

const SIZES: Readonly<Record<DatapathMap, number>> = {
  locals: limits.DATAPATH_LOCALS_MAX,
  peers: limits.DATAPATH_PEERS_MAX,
  talk: limits.DATAPATH_TALK_MAX,
  guarded: limits.DATAPATH_GUARDED_MAX,
  special: limits.DATAPATH_SPECIAL_MAX,
};

type Op<K extends DatapathOp["op"]> = Extract<DatapathOp, { readonly op: K }>;

export function replaceDatapath(namespace: FakeNamespace, { datapath }: Op<"datapath.replace">): void {
  namespace.link(datapath.dev);
  namespace.link(datapath.settings.underlay);
  // What is not there is passed over; an entry of it is said.
  const programs = datapath.programs.filter(({ dev }) => namespace.links.has(dev));
  const isHere = (entry: DatapathEntry) => entry.map !== "locals" || namespace.links.has(entry.dev);
  const { kept, full } = stored(datapath.entries.filter(isHere));
  if (full !== undefined) refuseFull(full);
  namespace.datapath = { ...datapath, programs, entries: kept };
  for (const entry of datapath.entries) requireDevice(namespace, entry);
}

export function prepareDevice(namespace: FakeNamespace, { at }: Op<"datapath.prepare">): void {
  namespace.link(at);
}

export function deleteDatapath(namespace: FakeNamespace): void {
  namespace.datapath = undefined;
}

export function setDatapath(namespace: FakeNamespace, { dev, settings }: Op<"datapath.set">): void {
  const datapath = required(namespace, dev);
  namespace.link(settings.underlay);
  namespace.datapath = { ...datapath, settings };
}

export function attachProgram(namespace: FakeNamespace, { dev, program }: Op<"datapath.attach">): void {
  const datapath = required(namespace, dev);
  namespace.link(program.dev);
  const others = datapath.programs.filter((each) => each.dev !== program.dev);
  namespace.datapath = { ...datapath, programs: [...others, program] };
}

export function detachProgram(namespace: FakeNamespace, { from }: Op<"datapath.detach">): void {
  namespace.link(from);
  const { datapath } = namespace;
  if (datapath === undefined) return;
  namespace.datapath = { ...datapath, programs: datapath.programs.filter(({ dev }) => dev !== from) };
}

export function putEntries(namespace: FakeNamespace, { dev, entries }: Op<"datapath.put">): void {
  const datapath = required(namespace, dev);
  const isHere = (entry: DatapathEntry) => entry.map !== "locals" || namespace.links.has(entry.dev);
  const { kept, full } = stored([...datapath.entries, ...entries.filter(isHere)]);
  namespace.datapath = { ...datapath, entries: kept };
  if (full !== undefined) refuseFull(full);
  for (const entry of entries) requireDevice(namespace, entry);
}

export function removeEntries(namespace: FakeNamespace, { dev, entries }: Op<"datapath.remove">): void {
  const datapath = required(namespace, dev);
  const keys = new Set(entries.map(entryKey));
  namespace.datapath = { ...datapath, entries: datapath.entries.filter((entry) => !keys.has(entryKey(entry))) };
}

/** What is there after a device went: entries that name it stay, and lead nowhere. */
export function withoutDevice(datapath: Datapath, name: string): Datapath | undefined {
  const programs = datapath.programs.filter(({ dev }) => dev !== name);
  if (programs.length === 0) return undefined;
  if (name === datapath.dev)
    return {
      ...datapath,
      dev: "",
      code: "",
      programs: programs.map((each) => ({ ...each, isStale: true })),
      entries: [],
    };
  const { settings } = datapath;
  return {
    ...datapath,
    programs,
    settings: settings.underlay === name ? { ...settings, underlay: "" } : settings,
    entries: datapath.entries.map((entry) =>
      entry.map === "locals" && entry.dev === name ? { ...entry, dev: "" } : entry,
    ),
  };
}

function required(namespace: FakeNamespace, dev: string): Datapath {
  namespace.link(dev);
  const { datapath } = namespace;
  if (datapath !== undefined && datapath.dev === dev) return datapath;
  return refuse("ENOENT", `find the datapath of ${dev}: no such file or directory`);
}

function requireDevice(namespace: FakeNamespace, entry: DatapathEntry): void {
  if (entry.map === "locals") namespace.link(entry.dev);
}

/** The last one of a key holds; those that a full map does not take are left out. */
function stored(entries: readonly DatapathEntry[]): {
  readonly kept: readonly DatapathEntry[];
  /** A map that was full. */
  readonly full: string | undefined;
} {
  const byKey = new Map(entries.map((entry) => [entryKey(entry), entry]));
  const counts = new Map<string, number>();
  let full: string | undefined;
  const kept = [...byKey.values()].filter((entry) => {
    const name = `${entry.map}${entryFamily(entry) ?? ""}`;
    const count = counts.get(name) ?? 0;
    if (count === SIZES[entry.map]) full ??= name;
    else counts.set(name, count + 1);
    return count < SIZES[entry.map];
  });
  return { kept, full };
}

function refuseFull(name: string): never {
  refuse("E2BIG", `map ${name}: argument list too long`);
}
