/**
 * The datapath of one network namespace: reads it from the devices that its programs are on, and changes it.
 *
 * Nothing is pinned and nothing is remembered but descriptors: the maps that were open last are used again as long as the
 * same program is still on the same device.
 */
import { readFileSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import {
  type AttachedProgram,
  type Datapath,
  type DatapathOp,
  type DatapathProgram,
  type DatapathSettings,
  type FlowSample,
  PATHS,
  type PairKey,
  type PairTraffic,
  type Traffic,
} from "../../../core/host/datapath.ts";
import { familyOf } from "../../../model/ip.ts";

import { mac } from "../../../model/mac.ts";
import { closeFd, SystemCallError } from "../ffi.ts";
import type { NameOf, NumberedLink } from "../netlink/link-messages.ts";
import { programById, programInfo } from "./bpf-calls.ts";
import { DatapathSet, type KnownProgram, knownProgram, programName } from "./datapath-set.ts";
import type { Hooked, Hooks } from "./hooks.ts";
import {
  COUNT_BYTES,
  decodePairKey,
  decodeSample,
  decodeSettings,
  encodePairKey,
  encodeSettings,
  type IndexOf,
  pathNumber,
  sumCounts,
} from "./layout.ts";
import { datapathObject } from "./object.ts";

const ENOENT = 2;
const ENODEV = 19;

const NO_MAC = mac("00:00:00:00:00:00");

/** Of a datapath whose maps cannot be read: it equals none that is desired. */
const UNKNOWN_SETTINGS: DatapathSettings = {
  underlay: "",
  vni: 0,
  mac: NO_MAC,
  gatewayMac: NO_MAC,
  mtu: 0,
  sampleEvery: 0,
  lengths: { 4: [], 6: [] },
  hasGuarded: false,
  hasSpecial: false,
  decapsulatesIpv6: false,
};

export class DatapathKernel {
  readonly #hooks: Hooks;
  /** The program that a container got last: another one gets the same. */
  #containerProgram: number | undefined;
  #open: (Hooked & { readonly dev: string; readonly ifindex: number; readonly set: DatapathSet }) | undefined;

  constructor(hooks: Hooks) {
    this.#hooks = hooks;
  }

  // ---- reading -----------------------------------------------------------------------------------------------------

  observe(links: readonly NumberedLink[], nameOf: NameOf): readonly Datapath[] {
    const known = new Map<number, KnownProgram | undefined>();
    const found = links.flatMap(({ ifindex, link }) =>
      this.#ours(ifindex, known).map((program) => ({ ifindex, dev: link.name, ...program })),
    );
    if (found.length === 0) return [];
    const home =
      found.find(({ program, ifindex }) => program === "tunnel" && ifindex === this.#open?.ifindex) ??
      found.find(({ program }) => program === "tunnel");
    const isCurrent = home?.code === datapathObject().digest;
    const ids = new Set(home?.mapIds);
    const programs = found.map(({ dev, program, hook, code, mapIds }): AttachedProgram => {
      const isPart = code === home?.code && hook === this.#hooks.of(program) && mapIds.every((id) => ids.has(id));
      return { dev, program, ...(isPart ? {} : { isStale: true }) };
    });
    const set = home === undefined || !isCurrent ? undefined : this.#openSet(home.dev, home.ifindex);
    return [
      {
        dev: home?.dev ?? "",
        code: home?.code ?? "",
        settings: set === undefined ? UNKNOWN_SETTINGS : decodeSettings(set.settings(), nameOf),
        programs,
        entries: set === undefined ? [] : set.entries(nameOf),
      },
    ];
  }

  /** The maps of the program that is on the device; `undefined` when it has none, or one of other code. */
  #openSet(dev: string, ifindex: number): DatapathSet | undefined {
    const known = this.#stillOpen(dev);
    if (known !== undefined) return known;
    this.close();
    const home = this.#ours(ifindex).find(
      ({ program, code }) => program === "tunnel" && code === datapathObject().digest,
    );
    const set = home && DatapathSet.open(home.mapIds);
    if (home !== undefined && set !== undefined) this.#open = { dev, ifindex, id: home.id, hook: home.hook, set };
    return set;
  }

  /** No device has the number of another, and no program; so the device need not be looked up again. */
  #stillOpen(dev: string): DatapathSet | undefined {
    const open = this.#open;
    return open?.dev === dev && this.#hooks.has(open.ifindex, open) ? open.set : undefined;
  }

  /** At whichever hook. */
  #ours(ifindex: number, known = new Map<number, KnownProgram | undefined>()): (KnownProgram & Hooked)[] {
    return this.#hooks.programs(ifindex).flatMap(({ id, hook }) => {
      if (!known.has(id)) known.set(id, knownProgram(id));
      const program = known.get(id);
      return program === undefined ? [] : [{ ...program, hook }];
    });
  }

  // ---- traffic -----------------------------------------------------------------------------------------------------

  /** What was counted; `undefined` where there is no datapath. */
  traffic(links: readonly NumberedLink[]): Traffic | undefined {
    const set = this.#home(links);
    if (set === undefined) return undefined;
    const perProcessor = possibleProcessors() * COUNT_BYTES;
    const paths = PATHS.flatMap((path) => {
      const count = sumCounts(set.countOf(pathNumber(path), perProcessor));
      return count.packets === 0 ? [] : [[path, count] as const];
    });
    const pairs = ([4, 6] as const).flatMap((family) => {
      const read = set.read(`pairs${family}`, perProcessor);
      const keyBytes = read.keys.length / Math.max(1, read.count);
      return Array.from({ length: read.count }, (_, i): PairTraffic | undefined => {
        const { path, ...pair } = decodePairKey(read.keys.subarray(i * keyBytes, (i + 1) * keyBytes), family);
        const count = sumCounts(read.values.subarray(i * perProcessor, (i + 1) * perProcessor));
        return path === undefined ? undefined : { ...pair, path, ...count };
      }).filter((pair) => pair !== undefined);
    });
    return { paths: Object.fromEntries(paths), pairs };
  }

  /** Counts of these begin anew when they talk again. */
  forgetPairs(links: readonly NumberedLink[], pairs: readonly PairKey[]) {
    const set = this.#home(links);
    for (const pair of pairs) set?.forget(`pairs${familyOf(pair.source)}`, encodePairKey(pair));
  }

  /** What was sampled since the last call. */
  samples(links: readonly NumberedLink[], nameOf: NameOf): readonly FlowSample[] {
    const set = this.#home(links);
    return (set?.takeSamples() ?? []).flatMap((bytes) => decodeSample(bytes, nameOf) ?? []);
  }

  #home(links: readonly NumberedLink[]): DatapathSet | undefined {
    const known = this.#open === undefined ? undefined : this.#stillOpen(this.#open.dev);
    if (known !== undefined) return known;
    const home = links.find(({ ifindex }) => this.#ours(ifindex).some(({ program }) => program === "tunnel"));
    return home === undefined ? undefined : this.#openSet(home.link.name, home.ifindex);
  }

  // ---- changing ----------------------------------------------------------------------------------------------------

  /**
   * Carries out one operation.
   * @param ifindexes of all devices, asked for where all have to be looked at
   * @throws SystemCallError; what was done so far stays
   */
  async carryOut(op: DatapathOp, indexOf: IndexOf, ifindexes: () => readonly number[]): Promise<void> {
    switch (op.op) {
      case "datapath.replace":
        await this.#replace(op.datapath, indexOf, ifindexes());
        break;
      case "datapath.prepare":
        this.#hooks.prepare(required(op.at, indexOf));
        break;
      case "datapath.delete":
        await this.#delete(ifindexes());
        break;
      case "datapath.attach":
        this.#attach(op.program, this.#required(op.dev, indexOf), indexOf);
        break;
      case "datapath.detach":
        this.#detach(required(op.from, indexOf));
        break;
      case "datapath.set":
        this.#required(op.dev, indexOf).writeSettings(settingsBytes(op, indexOf));
        break;
      case "datapath.put":
        this.#required(op.dev, indexOf).put(op.entries, indexOf);
        break;
      case "datapath.remove":
        this.#required(op.dev, indexOf).remove(op.entries);
        break;
    }
  }

  #required(dev: string, indexOf: IndexOf): DatapathSet {
    const set = this.#stillOpen(dev) ?? this.#openSet(dev, required(dev, indexOf));
    if (set === undefined) throw new SystemCallError(`find the datapath of ${dev}`, ENOENT);
    return set;
  }

  /**
   * All of it is there before the first device gets its program, so that none works with half. That one device is not
   * there, or refuses, is no reason to leave the others: it is said at the end. What does not fit is refused before.
   */
  async #replace(datapath: Datapath, indexOf: IndexOf, ifindexes: readonly number[]): Promise<void> {
    const home = required(datapath.dev, indexOf);
    const settings = settingsBytes(datapath, indexOf);
    const errors = new FirstError();
    const set = DatapathSet.make();
    let before: DatapathSet | undefined;
    const loaded = new Map<string, number>();
    try {
      before = this.#mapsOf(home);
      set.writeSettings(settings);
      errors.note(() => set.put(datapath.entries, indexOf), ["ENODEV"]);
      if (before !== undefined) set.remember(before);
      const wanted = new Set<number>();
      // The tunnel's first: by it the others are found.
      for (const { dev, program } of datapath.programs.toSorted((a, b) => rankOf(a) - rankOf(b))) {
        const ifindex = indexOf(dev);
        if (ifindex === undefined) continue;
        wanted.add(ifindex);
        const fd = loaded.get(program) ?? set.load(program);
        loaded.set(program, fd);
        errors.note(() => this.#put(ifindex, program, fd));
        await setImmediate();
      }
      for (const ifindex of ifindexes) if (!wanted.has(ifindex)) errors.note(() => this.#detach(ifindex));
      // Whoever was noted meanwhile by programs that had not been replaced yet.
      if (before !== undefined) set.remember(before);
    } finally {
      before?.close();
      for (const fd of loaded.values()) closeFd(fd);
      set.close();
      this.close();
    }
    errors.throwIfAny();
  }

  /** Those of the programs that are there, whichever version made them. The caller closes them. */
  #mapsOf(home: number): DatapathSet | undefined {
    const tunnel = this.#ours(home).find(({ program }) => program === "tunnel");
    return tunnel && DatapathSet.open(tunnel.mapIds);
  }

  #put(ifindex: number, program: DatapathProgram, fd: number): void {
    this.#hooks.attach(ifindex, program, fd, programName(program), this.#ours(ifindex));
  }

  /** The program is loaded already where another container has it. */
  #attach({ dev, program }: AttachedProgram, set: DatapathSet, indexOf: IndexOf): void {
    const ifindex = required(dev, indexOf);
    const fd = this.#loaded(program) ?? set.load(program);
    try {
      this.#put(ifindex, program, fd);
      if (program === "container") this.#containerProgram = programInfo(fd).id;
    } finally {
      closeFd(fd);
    }
  }

  #loaded(program: string): number | undefined {
    if (program !== "container" || this.#containerProgram === undefined || this.#open === undefined) return undefined;
    const known = knownProgram(this.#containerProgram);
    const home = knownProgram(this.#open.id);
    if (known === undefined || home === undefined || known.code !== home.code) return undefined;
    return known.mapIds.every((id) => home.mapIds.includes(id)) ? programById(known.id) : undefined;
  }

  #detach(ifindex: number): void {
    for (const each of this.#ours(ifindex)) this.#hooks.detach(ifindex, each);
  }

  async #delete(ifindexes: readonly number[]): Promise<void> {
    const errors = new FirstError();
    for (const ifindex of ifindexes) {
      errors.note(() => this.#detach(ifindex));
      await setImmediate();
    }
    this.close();
    errors.throwIfAny();
  }

  close(): void {
    this.#open?.set.close();
    this.#open = undefined;
  }
}

function rankOf({ program }: AttachedProgram): number {
  return ["tunnel", "underlay", "container"].indexOf(program);
}

/** Goes on where something is refused, and says the first of it. */
class FirstError {
  #error: SystemCallError | undefined;

  /** @param only these codes; absent: all */
  note(work: () => void, only?: readonly string[]): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof SystemCallError) || only?.includes(error.code) === false) throw error;
      this.#error ??= error;
    }
  }

  throwIfAny(): void {
    if (this.#error !== undefined) throw this.#error;
  }
}

let processors: number | undefined;

/** How many values a map per processor has: one for each that the machine could ever have (`0-3`). */
function possibleProcessors(): number {
  processors ??= Number(readFileSync("/sys/devices/system/cpu/possible", "utf8").trim().split(/[-,]/).at(-1)) + 1;
  return processors;
}

function settingsBytes({ dev, settings }: Pick<Datapath, "dev" | "settings">, indexOf: IndexOf): Buffer {
  const bytes = encodeSettings(settings, dev, indexOf);
  if (bytes === undefined) throw new SystemCallError(`find ${settings.underlay}`, ENODEV);
  return bytes;
}

function required(dev: string, indexOf: IndexOf): number {
  const ifindex = indexOf(dev);
  if (ifindex === undefined) throw new SystemCallError(`find ${dev}`, ENODEV);
  return ifindex;
}
