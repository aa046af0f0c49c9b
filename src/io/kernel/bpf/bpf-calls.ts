/**
 * bpf(2) as far as it is needed: maps, programs of the traffic hooks, and what the kernel tells of both by their ids.
 *
 * Attributes are written at their offsets in `union bpf_attr` (linux/bpf.h); what is not written is zero, which every
 * kernel takes as absent, older ones too. Devices go by their index, in the namespace that the thread is in.
 */
import { addressOf, bpf, closeFd, SystemCallError } from "../ffi.ts";
import type { MapShape } from "./object.ts";

const ATTRIBUTES_BYTES = 128;
const NAME_BYTES = 16;
const INFO_BYTES = 256;
const LOG_BYTES = 65_536;
/** Of one device; there are seldom more than two. */
const PROGRAMS_PER_HOOK_MAX = 64;
const MAPS_PER_PROGRAM_MAX = 64;
/** The verifier takes milliseconds, and gives up with EAGAIN when a signal comes meanwhile, of a child that ended say. */
const LOAD_ATTEMPTS_MAX = 100;
const ENOENT = 2;
const E2BIG = 7;
const EAGAIN = 11;
const EPERM = 1;
const EINVAL = 22;

const MAP_CREATE = 0;
const MAP_LOOKUP = 1;
const MAP_UPDATE = 2;
const MAP_DELETE = 3;
const PROG_LOAD = 5;
const PROG_ATTACH = 8;
const PROG_DETACH = 9;
const PROG_TEST_RUN = 10;
const PROG_FD_BY_ID = 13;
const MAP_FD_BY_ID = 14;
const INFO_BY_FD = 15;
const PROG_QUERY = 16;
const LOOKUP_BATCH = 24;
const UPDATE_BATCH = 26;

const SCHED_CLS = 3;
const TCX_INGRESS = 46;
const F_REPLACE = 4;
/** None of the helpers that are called asks for more. */
const LICENSE = Buffer.from("Apache-2.0\0");

/** A negative answer as an error. */
function check(call: string, result: number): number {
  if (result < 0) throw new SystemCallError(`bpf(${call})`, -result);
  return result;
}

function attributes(): Buffer {
  return Buffer.alloc(ATTRIBUTES_BYTES);
}

function writeName(into: Buffer, at: number, name: string): void {
  into.write(name.slice(0, NAME_BYTES - 1), at, "latin1");
}

// ---- maps ----------------------------------------------------------------------------------------------------------

/** @returns a descriptor. @throws SystemCallError */
export function createMap(name: string, shape: MapShape, maxEntries: number): number {
  const attr = attributes();
  for (const [i, value] of [shape.type, shape.key, shape.value, maxEntries, shape.flags].entries())
    attr.writeUInt32LE(value, i * 4);
  writeName(attr, 28, name);
  return check(`create map ${name}`, bpf(MAP_CREATE, attr));
}

function elementCall(command: number, fd: number, key: Uint8Array, value: Uint8Array | undefined): number {
  const attr = attributes();
  attr.writeUInt32LE(fd, 0);
  attr.writeBigUInt64LE(addressOf(key), 8);
  if (value !== undefined) attr.writeBigUInt64LE(addressOf(value), 16);
  return bpf(command, attr);
}

/** @throws SystemCallError E2BIG when the map is full */
export function updateElement(fd: number, key: Uint8Array, value: Uint8Array): void {
  check("update", elementCall(MAP_UPDATE, fd, key, value));
}

/** Whether it was there. */
export function lookupElement(fd: number, key: Uint8Array, into: Uint8Array): boolean {
  const result = elementCall(MAP_LOOKUP, fd, key, into);
  if (result === -ENOENT) return false;
  check("look up", result);
  return true;
}

/** Whether it was there. */
export function deleteElement(fd: number, key: Uint8Array): boolean {
  const result = elementCall(MAP_DELETE, fd, key, undefined);
  if (result === -ENOENT) return false;
  check("delete", result);
  return true;
}

/** @param at buffers by the offset of their address in the attributes */
function batchCall(command: number, fd: number, at: readonly (readonly [number, Uint8Array])[], count: number) {
  const attr = attributes();
  for (const [offset, buffer] of at) attr.writeBigUInt64LE(addressOf(buffer), offset);
  attr.writeUInt32LE(count, 32);
  attr.writeUInt32LE(fd, 36);
  const result = bpf(command, attr);
  return { result, count: attr.readUInt32LE(32) };
}

/** Writes `count` elements whose keys and values lie one after another. @throws SystemCallError E2BIG when the map is full */
export function updateElements(fd: number, keys: Uint8Array, values: Uint8Array, count: number): void {
  if (count === 0) return;
  const places: [number, Uint8Array][] = [
    [16, keys],
    [24, values],
  ];
  check("update batch", batchCall(UPDATE_BATCH, fd, places, count).result);
}

export interface Elements {
  readonly keys: Buffer;
  /** Of maps per processor, each processor's, in steps of eight bytes. */
  readonly values: Buffer;
  readonly count: number;
}

/** All elements. While others write, one may be missing or be there twice. */
export function readElements(fd: number, keyBytes: number, valueBytes: number, most: number): Elements {
  const chunk = Math.min(most, 4_096);
  const parts: { keys: Buffer; values: Buffer }[] = [];
  let before: Buffer | undefined;
  let total = 0;
  while (total < most) {
    const keys = Buffer.alloc(chunk * keyBytes);
    const values = Buffer.alloc(chunk * valueBytes);
    const next: Buffer = Buffer.alloc(Math.max(keyBytes, 4));
    const places: [number, Uint8Array][] = [
      [8, next],
      [16, keys],
      [24, values],
    ];
    if (before !== undefined) places.push([0, before]);
    const { result, count } = batchCall(LOOKUP_BATCH, fd, places, chunk);
    // ENOENT: that was all.
    if (result !== -ENOENT) check("look up batch", result);
    parts.push({ keys: keys.subarray(0, count * keyBytes), values: values.subarray(0, count * valueBytes) });
    total += count;
    if (result === -ENOENT || count === 0) break;
    before = next;
  }
  return {
    keys: Buffer.concat(parts.map(({ keys }) => keys)),
    values: Buffer.concat(parts.map(({ values }) => values)),
    count: total,
  };
}

// ---- programs ------------------------------------------------------------------------------------------------------

/** @returns a descriptor. @throws SystemCallError, with the verifier's last words where it refused */
export function loadProgram(name: string, instructions: Buffer): number {
  const log = Buffer.alloc(LOG_BYTES);
  const load = (logLevel: number): number => {
    const attr = attributes();
    attr.writeUInt32LE(SCHED_CLS, 0);
    attr.writeUInt32LE(instructions.length / 8, 4);
    attr.writeBigUInt64LE(addressOf(instructions), 8);
    attr.writeBigUInt64LE(addressOf(LICENSE), 16);
    if (logLevel > 0) {
      attr.writeUInt32LE(logLevel, 24);
      attr.writeUInt32LE(log.length, 28);
      attr.writeBigUInt64LE(addressOf(log), 32);
    }
    writeName(attr, 48, name);
    for (let attempt = 1; ; attempt++) {
      const result = bpf(PROG_LOAD, attr);
      if (result !== -EAGAIN || attempt === LOAD_ATTEMPTS_MAX) return result;
    }
  };
  const fd = load(0);
  if (fd >= 0) return fd;
  // Asked again for the reason, which costs the verifier several times as much.
  load(1);
  const words = log
    .toString("latin1", 0, Math.max(0, log.indexOf(0)))
    .trim()
    .split("\n")
    .slice(-4)
    .join("; ");
  return check(`load ${name}${words === "" ? "" : `: ${words}`}`, fd);
}

/** Puts the program at the device's ingress, in the place of another where that is given. @throws SystemCallError */
export function attachTcx(ifindex: number, program: number, replaced?: number): void {
  const attr = attributes();
  attr.writeUInt32LE(ifindex, 0);
  attr.writeUInt32LE(program, 4);
  attr.writeUInt32LE(TCX_INGRESS, 8);
  if (replaced !== undefined) {
    attr.writeUInt32LE(F_REPLACE, 12);
    attr.writeUInt32LE(replaced, 16);
  }
  check("attach", bpf(PROG_ATTACH, attr));
}

/** Whether it was there. */
export function detachTcx(ifindex: number, program: number): boolean {
  const attr = attributes();
  attr.writeUInt32LE(ifindex, 0);
  attr.writeUInt32LE(program, 4);
  attr.writeUInt32LE(TCX_INGRESS, 8);
  const result = bpf(PROG_DETACH, attr);
  if (result === -ENOENT) return false;
  check("detach", result);
  return true;
}

/** Whether this kernel has TCX; `undefined` where the process may not know. The loopback is asked. */
export function hasTcx(): boolean | undefined {
  const attr = attributes();
  attr.writeUInt32LE(1, 0);
  attr.writeUInt32LE(TCX_INGRESS, 4);
  const result = bpf(PROG_QUERY, attr);
  return result === -EPERM ? undefined : result !== -EINVAL;
}

/** The ids of the programs at the device's ingress, in their order; none where the kernel has no TCX. */
export function queryTcx(ifindex: number): readonly number[] {
  const ids = Buffer.alloc(PROGRAMS_PER_HOOK_MAX * 4);
  const attr = attributes();
  attr.writeUInt32LE(ifindex, 0);
  attr.writeUInt32LE(TCX_INGRESS, 4);
  attr.writeBigUInt64LE(addressOf(ids), 16);
  attr.writeUInt32LE(PROGRAMS_PER_HOOK_MAX, 24);
  if (bpf(PROG_QUERY, attr) < 0) return [];
  return Array.from({ length: attr.readUInt32LE(24) }, (_, i) => ids.readUInt32LE(i * 4));
}

// ---- by id ---------------------------------------------------------------------------------------------------------

/** A descriptor, or `undefined` when it is gone. */
export function programById(id: number): number | undefined {
  return byId(PROG_FD_BY_ID, id);
}

/** A descriptor, or `undefined` when it is gone. */
export function mapById(id: number): number | undefined {
  return byId(MAP_FD_BY_ID, id);
}

function byId(command: number, id: number): number | undefined {
  const attr = attributes();
  attr.writeUInt32LE(id, 0);
  const fd = bpf(command, attr);
  if (fd === -ENOENT) return undefined;
  return check("open by id", fd);
}

export interface ProgramInfo {
  readonly id: number;
  readonly name: string;
  readonly mapIds: readonly number[];
}

export function programInfo(fd: number): ProgramInfo {
  const maps = Buffer.alloc(MAPS_PER_PROGRAM_MAX * 4);
  const info = Buffer.alloc(INFO_BYTES);
  info.writeUInt32LE(MAPS_PER_PROGRAM_MAX, 52);
  info.writeBigUInt64LE(addressOf(maps), 56);
  readInfo(fd, info);
  const count = Math.min(info.readUInt32LE(52), MAPS_PER_PROGRAM_MAX);
  return {
    id: info.readUInt32LE(4),
    name: nameAt(info, 64),
    mapIds: Array.from({ length: count }, (_, i) => maps.readUInt32LE(i * 4)),
  };
}

export interface MapInfo extends MapShape {
  readonly id: number;
  readonly name: string;
  readonly maxEntries: number;
}

export function mapInfo(fd: number): MapInfo {
  const info = Buffer.alloc(INFO_BYTES);
  readInfo(fd, info);
  const word = (at: number) => info.readUInt32LE(at);
  return {
    ...{ type: word(0), id: word(4), key: word(8), value: word(12), maxEntries: word(16), flags: word(20) },
    name: nameAt(info, 24),
  };
}

/** A kernel that knows less fills less; one that knows more is told how much is asked. */
function readInfo(fd: number, info: Buffer): void {
  const attr = attributes();
  attr.writeUInt32LE(fd, 0);
  attr.writeUInt32LE(info.length, 4);
  attr.writeBigUInt64LE(addressOf(info), 8);
  const result = bpf(INFO_BY_FD, attr);
  if (result === -E2BIG) attr.writeUInt32LE(attr.readUInt32LE(4), 4);
  check("read info", result === -E2BIG ? bpf(INFO_BY_FD, attr) : result);
}

function nameAt(info: Buffer, at: number): string {
  return info.toString("latin1", at, info.indexOf(0, at));
}

// ---- for tests -----------------------------------------------------------------------------------------------------

/** Runs a program on a frame. The device that it came in by is the loopback of the thread's namespace. */
export function testRun(program: number, frame: Uint8Array): { readonly verdict: number; readonly frame: Buffer } {
  const out = Buffer.alloc(frame.length + 4_096);
  const attr = attributes();
  attr.writeUInt32LE(program, 0);
  attr.writeUInt32LE(frame.length, 8);
  attr.writeUInt32LE(out.length, 12);
  attr.writeBigUInt64LE(addressOf(frame), 16);
  attr.writeBigUInt64LE(addressOf(out), 24);
  attr.writeUInt32LE(1, 32);
  check("test run", bpf(PROG_TEST_RUN, attr));
  return { verdict: attr.readInt32LE(4), frame: out.subarray(0, attr.readUInt32LE(12)) };
}

export function closeAll(fds: Iterable<number>): void {
  for (const fd of fds) closeFd(fd);
}
