/**
 * The compiled programs, as tools/build-bpf.ts wrote them (datapath.json), made ready for the kernel.
 */
import { readFileSync } from "node:fs";
import { assert } from "../../../model/fault.ts";

export interface DatapathObject {
  /** `clang --version`'s first line. */
  readonly compiler: string;
  /** Of the C that it was made of. */
  readonly source: string;
  /** Of maps and programs: two with the same are the same. */
  readonly digest: string;
  /** By name: the kernel's number of the type, bytes of key and value, flags. Sizes stand in limits.ts. */
  readonly maps: Readonly<Record<string, MapShape>>;
  readonly programs: Readonly<Record<string, ProgramCode>>;
}

export interface MapShape {
  readonly type: number;
  readonly key: number;
  readonly value: number;
  readonly flags: number;
}

export interface ProgramCode {
  /** Number of an instruction → name of the map whose descriptor it loads. */
  readonly maps: Readonly<Record<string, string>>;
  /** Eight bytes each, in hexadecimal. */
  readonly instructions: readonly string[];
}

const INSTRUCTION_BYTES = 8;
/** linux/bpf.h: the immediate of this load is a map's descriptor. */
const BPF_PSEUDO_MAP_FD = 1;

let object: DatapathObject | undefined;

/** Read at the first use: a host that cannot use it need not have it in memory. */
export function datapathObject(): DatapathObject {
  object ??= JSON.parse(readFileSync(new URL("./datapath.json", import.meta.url), "utf8")) as DatapathObject;
  return object;
}

/** The instructions of a program with the descriptors of its maps in them. */
export function linked(program: string, maps: ReadonlyMap<string, number>): Buffer {
  const code = datapathObject().programs[program];
  assert(code !== undefined, `there is a program ${program}`);
  const bytes = Buffer.from(code.instructions.join(""), "hex");
  for (const [instruction, name] of Object.entries(code.maps)) {
    const at = Number(instruction) * INSTRUCTION_BYTES;
    const fd = maps.get(name);
    assert(fd !== undefined, `the map ${name} of ${program} is open`);
    bytes.writeUInt8((bytes.readUInt8(at + 1) & 0x0f) | (BPF_PSEUDO_MAP_FD << 4), at + 1);
    bytes.writeInt32LE(fd, at + 4);
  }
  return bytes;
}
