/**
 * The maps of a datapath, open: found through the program that holds them, or newly made.
 */
import type { DatapathEntry, DatapathKey, DatapathProgram } from "../../../core/host/datapath.ts";
import * as limits from "../../../model/datapath-limits.ts";
import { assert } from "../../../model/fault.ts";
import { SystemCallError } from "../ffi.ts";
import type { NameOf } from "../netlink/link-messages.ts";
import {
  closeAll,
  createMap,
  deleteElement,
  loadProgram,
  lookupElement,
  mapById,
  mapInfo,
  programById,
  programInfo,
  readElements,
  updateElement,
  updateElements,
} from "./bpf-calls.ts";
import type { Hooks } from "./hooks.ts";
import { decodeEntry, ENTRY_MAPS, encodeKey, encodeValue, type IndexOf, MAP_SIZES, mapName } from "./layout.ts";
import { datapathObject, linked, type MapShape } from "./object.ts";
import { SampleRing } from "./sample-ring.ts";
import { type Abilities, abilities } from "./self-test.ts";

const LETTERS: Readonly<Record<DatapathProgram, string>> = { container: "c", tunnel: "t", underlay: "u" };
const PROGRAM_NAME = /^weft_([ctu])_([0-9a-f]{8})$/;
/** The kernel keeps 15 characters. */
const MAP_PREFIX = "wf_";
const ENODEV = 19;
/** Fewer are written one by one. */
const BATCH_MIN = 8;

/** What the kernel tells of a program of ours. */
export interface KnownProgram {
  readonly id: number;
  readonly program: DatapathProgram;
  readonly code: string;
  /** Programs with the same are of one datapath. */
  readonly mapIds: readonly number[];
}

/** `undefined` for other people's programs, and for one that is gone. */
export function knownProgram(id: number): KnownProgram | undefined {
  const fd = programById(id);
  if (fd === undefined) return undefined;
  try {
    const { name, mapIds } = programInfo(fd);
    const [, letter, code] = PROGRAM_NAME.exec(name) ?? [];
    const program = (Object.keys(LETTERS) as DatapathProgram[]).find((each) => LETTERS[each] === letter);
    return program === undefined || code === undefined ? undefined : { id, program, code, mapIds };
  } finally {
    closeAll([fd]);
  }
}

export function programName(program: DatapathProgram): string {
  return `weft_${LETTERS[program]}_${datapathObject().digest}`;
}

export class DatapathSet {
  /** By name, without the prefix. */
  readonly maps: ReadonlyMap<string, number>;
  readonly #shapes: ReadonlyMap<string, MapShape>;
  #ring: SampleRing | undefined;

  /** @param maps descriptors that become its own */
  constructor(maps: ReadonlyMap<string, number>, shapes: ReadonlyMap<string, MapShape>) {
    this.maps = maps;
    this.#shapes = shapes;
  }

  /** Empty maps. @throws SystemCallError */
  static make(): DatapathSet {
    const shapes = new Map(Object.entries(datapathObject().maps));
    const maps = new Map<string, number>();
    try {
      for (const [name, shape] of shapes) {
        const size = MAP_SIZES[name];
        assert(size !== undefined, `the size of map ${name} stands in the layout`);
        maps.set(name, createMap(`${MAP_PREFIX}${name}`, shape, size));
      }
    } catch (error) {
      closeAll(maps.values());
      throw error;
    }
    return new DatapathSet(maps, shapes);
  }

  /** Those that a program has; `undefined` when it went meanwhile. @throws SystemCallError */
  static open(mapIds: readonly number[]): DatapathSet | undefined {
    const maps = new Map<string, number>();
    const shapes = new Map<string, MapShape>();
    for (const id of mapIds) {
      const fd = mapById(id);
      if (fd === undefined) {
        closeAll(maps.values());
        return undefined;
      }
      const { name, ...shape } = mapInfo(fd);
      maps.set(name.slice(MAP_PREFIX.length), fd);
      shapes.set(name.slice(MAP_PREFIX.length), shape);
    }
    return new DatapathSet(maps, shapes);
  }

  /** A descriptor, which the caller closes. @throws SystemCallError */
  load(program: DatapathProgram): number {
    return loadProgram(programName(program), linked(program, this.maps));
  }

  settings(): Buffer {
    const bytes = Buffer.alloc(this.#shape("settings").value);
    lookupElement(this.#map("settings"), Buffer.alloc(4), bytes);
    return bytes;
  }

  writeSettings(bytes: Buffer): void {
    updateElement(this.#map("settings"), Buffer.alloc(4), bytes);
  }

  entries(nameOf: NameOf): DatapathEntry[] {
    return ENTRY_MAPS.flatMap((which) => {
      const { keys, values, count } = this.read(which.name);
      const { key, value } = this.#shape(which.name);
      return Array.from({ length: count }, (_, i) =>
        decodeEntry(which, keys.subarray(i * key, (i + 1) * key), values.subarray(i * value, (i + 1) * value), nameOf),
      );
    });
  }

  /** All elements of a map. @param valueBytes of one, where it is not as in the map's shape: per processor */
  read(name: string, valueBytes = this.#shape(name).value) {
    return readElements(this.#map(name), this.#shape(name).key, valueBytes, MAP_SIZES[name] ?? 1);
  }

  /** @throws SystemCallError E2BIG where maps are full, ENODEV for entries of absent devices, when all others are written */
  put(entries: readonly DatapathEntry[], indexOf: IndexOf): void {
    let homeless = 0;
    let full: SystemCallError | undefined;
    for (const [name, group] of Map.groupBy(entries, mapName)) {
      const keys: Uint8Array[] = [];
      const values: Uint8Array[] = [];
      for (const entry of group) {
        const value = encodeValue(entry, indexOf);
        if (value === undefined) homeless++;
        else {
          keys.push(encodeKey(entry));
          values.push(value);
        }
      }
      full = this.#write(name, keys, values) ?? full;
    }
    if (full !== undefined) throw full;
    if (homeless > 0) throw new SystemCallError(`find the devices of ${homeless} entries`, ENODEV);
  }

  /** @returns that the map is full, when all are written that it takes */
  #write(name: string, keys: readonly Uint8Array[], values: readonly Uint8Array[]): SystemCallError | undefined {
    const map = this.#map(name);
    let full: SystemCallError | undefined;
    const unlessFull = (write: () => void) => {
      try {
        write();
      } catch (error) {
        if (!(error instanceof SystemCallError) || error.code !== "E2BIG") throw error;
        full = error;
      }
    };
    if (keys.length >= BATCH_MIN) {
      unlessFull(() => updateElements(map, Buffer.concat(keys), Buffer.concat(values), keys.length));
      // A batch ends with the first that is refused, and those behind it may be there already.
      if (full === undefined) return undefined;
    }
    for (const [i, key] of keys.entries()) unlessFull(() => updateElement(map, key, values[i] ?? key));
    return full;
  }

  remove(entries: readonly DatapathKey[]): void {
    for (const entry of entries) this.forget(mapName(entry), encodeKey(entry));
  }

  /** Whether it was there. */
  forget(name: string, key: Uint8Array): boolean {
    return deleteElement(this.#map(name), key);
  }

  /** What was counted of a path. One by one: kernels before 5.13 read no array per processor at once. */
  countOf(path: number, bytes: number): Buffer {
    const key = Buffer.alloc(4);
    key.writeUInt32LE(path, 0);
    const values = Buffer.alloc(bytes);
    lookupElement(this.#map("counts"), key, values);
    return values;
  }

  /** Takes out the samples that wait. */
  takeSamples(): readonly Buffer[] {
    this.#ring ??= new SampleRing(this.#map("samples"), limits.DATAPATH_SAMPLES_BYTES);
    return this.#ring.take();
  }

  /** Takes over whose connections are translated, where the other's map has the same shape. */
  remember(other: DatapathSet): void {
    for (const name of ["translated4", "translated6"]) {
      const [a, b] = [this.#shapes.get(name), other.#shapes.get(name)];
      if (a === undefined || b === undefined || a.key !== b.key || a.value !== b.value) continue;
      const { keys, values, count } = other.read(name);
      updateElements(this.#map(name), keys, values, count);
    }
  }

  close(): void {
    this.#ring?.close();
    closeAll(this.maps.values());
  }

  #map(name: string): number {
    const fd = this.maps.get(name);
    assert(fd !== undefined, `the datapath has a map ${name}`);
    return fd;
  }

  #shape(name: string): MapShape {
    const shape = this.#shapes.get(name);
    assert(shape !== undefined, `the datapath has a map ${name}`);
    return shape;
  }
}

/** Loads all programs, puts each on the device and takes it away, and lets them show what they can. @throws SystemCallError */
export function tryPrograms(hooks: Hooks, ifindex: number): Abilities {
  const set = DatapathSet.make();
  const loaded: number[] = [];
  const load = (program: DatapathProgram): number => {
    const fd = set.load(program);
    loaded.push(fd);
    hooks.attach(ifindex, program, fd, programName(program), []);
    hooks.detach(ifindex, { id: programInfo(fd).id, hook: hooks.of(program) });
    return fd;
  };
  try {
    const programs = { container: load("container"), underlay: load("underlay"), tunnel: load("tunnel") };
    return abilities(set, programs);
  } finally {
    closeAll(loaded);
    set.close();
  }
}
