/**
 * Compiles src/io/kernel/bpf/datapath.c and writes what the loader needs of the object as text, datapath.json: one
 * instruction a line, so that a change can be read in a diff. Users need no compiler; whoever changes the C runs
 * `npm run build-bpf`, and a test compares what is there with a new build.
 *
 * Of ELF only what clang makes for BPF is understood: a section of instructions for each program, relocations of the
 * loads of maps, and a section in which each symbol is one map.
 */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DatapathObject } from "../src/io/kernel/bpf/object.ts";
import { assert } from "../src/model/fault.ts";

const SOURCES = fileURLToPath(new URL("../src/io/kernel/bpf/", import.meta.url));
export const OBJECT_FILE = join(SOURCES, "datapath.json");
const INSTRUCTION_BYTES = 8;
const DIGEST_LENGTH = 8;

/** The compiler to use: `CLANG`, or `clang-14`, which is what the object in the repository was made with. */
export const CLANG = process.env.CLANG ?? "clang-14";

/** What `clang --version` says of itself first; `undefined` where there is none. */
export function compilerVersion(): string | undefined {
  try {
    return execFileSync(CLANG, ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).split("\n")[0];
  } catch {
    return undefined;
  }
}

/** The text of datapath.json as it would be made now. @throws Error when clang fails */
export function buildObject(): string {
  const folder = mkdtempSync(join(tmpdir(), "weft-bpf-"));
  try {
    const out = join(folder, "datapath.o");
    const headers = `/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
    const flags = ["-O2", "-target", "bpf", "-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-I", headers];
    execFileSync(CLANG, [...flags, "-c", "datapath.c", "-o", out], { cwd: SOURCES, stdio: "inherit" });
    return textOf(readElf(readFileSync(out)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

type Parts = Pick<DatapathObject, "maps" | "programs">;

function textOf(parts: Parts): string {
  const digest = createHash("sha256").update(JSON.stringify(parts)).digest("hex").slice(0, DIGEST_LENGTH);
  const object: DatapathObject = {
    compiler: compilerVersion() ?? "",
    source: sourceDigest(),
    digest,
    ...parts,
  };
  return `${JSON.stringify(object, undefined, 2)}\n`;
}

/** Of all the C, so that a test without clang sees at least that the object is not older than its source. */
export function sourceDigest(): string {
  const hash = createHash("sha256");
  for (const name of readdirSync(SOURCES)
    .filter((file) => /\.[ch]$/.test(file))
    .sort())
    hash.update(readFileSync(join(SOURCES, name)));
  return hash.digest("hex").slice(0, DIGEST_LENGTH);
}

interface Section {
  readonly name: string;
  readonly bytes: Buffer;
}

interface ElfSymbol {
  readonly name: string;
  readonly section: number;
  readonly value: number;
}

/** Offsets of ELF64 (elf(5)). */
function readElf(file: Buffer): Parts {
  const sections = readSections(file);
  const at = (name: string): Section | undefined => sections.find((section) => section.name === name);
  const symbols = readSymbols(at(".symtab")?.bytes ?? Buffer.alloc(0), at(".strtab")?.bytes ?? Buffer.alloc(0));
  assert(at(".text")?.bytes.length === 0, "every function is inlined");
  const mapSection = sections.findIndex(({ name }) => name === "maps");
  const maps = symbols
    .filter(({ section, name }) => section === mapSection && name !== "")
    .map(({ name, value }): [string, DatapathObject["maps"][string]] => {
      const [type = 0, key = 0, bytes = 0, flags = 0] = [0, 4, 8, 12].map((offset) =>
        (sections[mapSection]?.bytes ?? Buffer.alloc(0)).readUInt32LE(value + offset),
      );
      return [name, { type, key, value: bytes, flags }];
    });
  const programs = sections
    .filter(({ name }) => name.startsWith("program/"))
    .map(({ name, bytes }): [string, DatapathObject["programs"][string]] => {
      const relocations = at(`.rel${name}`)?.bytes ?? Buffer.alloc(0);
      return [
        name.slice("program/".length),
        { maps: mapLoads(relocations, symbols), instructions: instructions(bytes) },
      ];
    });
  return { maps: Object.fromEntries(maps.sort()), programs: Object.fromEntries(programs.sort()) };
}

function readSections(file: Buffer): Section[] {
  const start = Number(file.readBigUInt64LE(40));
  const [size, count, names] = [file.readUInt16LE(58), file.readUInt16LE(60), file.readUInt16LE(62)];
  const header = (index: number) => file.subarray(start + index * size, start + (index + 1) * size);
  const bytesOf = (index: number) => {
    const offset = Number(header(index).readBigUInt64LE(24));
    return file.subarray(offset, offset + Number(header(index).readBigUInt64LE(32)));
  };
  return Array.from({ length: count }, (_, index) => ({
    name: textAt(bytesOf(names), header(index).readUInt32LE(0)),
    bytes: bytesOf(index),
  }));
}

function readSymbols(table: Buffer, names: Buffer): ElfSymbol[] {
  return Array.from({ length: table.length / 24 }, (_, i) => ({
    name: textAt(names, table.readUInt32LE(i * 24)),
    section: table.readUInt16LE(i * 24 + 6),
    value: Number(table.readBigUInt64LE(i * 24 + 8)),
  }));
}

/** The instruction's number → the map that it loads. */
function mapLoads(relocations: Buffer, symbols: readonly ElfSymbol[]): Record<string, string> {
  const loads = Array.from({ length: relocations.length / 16 }, (_, i): [string, string] => {
    const instruction = Number(relocations.readBigUInt64LE(i * 16)) / INSTRUCTION_BYTES;
    return [String(instruction), symbols[relocations.readUInt32LE(i * 16 + 12)]?.name ?? ""];
  });
  return Object.fromEntries(loads);
}

function instructions(bytes: Buffer): string[] {
  return Array.from({ length: bytes.length / INSTRUCTION_BYTES }, (_, i) =>
    bytes.subarray(i * INSTRUCTION_BYTES, (i + 1) * INSTRUCTION_BYTES).toString("hex"),
  );
}

function textAt(table: Buffer, offset: number): string {
  return table.subarray(offset, table.indexOf(0, offset)).toString();
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(OBJECT_FILE, buildObject());
