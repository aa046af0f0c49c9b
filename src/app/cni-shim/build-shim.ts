/**
 * Builds the executable that runtimes start from shim.c into `build/`, where a C compiler is there. Built once, and again when the
 * source is newer; the file appears whole or not at all, so that several may build at the same time.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { messageOf } from "../../model/fault.ts";

const SOURCE = join(import.meta.dirname, "shim.c");
const HEADER = join(import.meta.dirname, "json-member.h");
const BUILD_FOLDER = fileURLToPath(new URL("../../../build", import.meta.url));

/** The script of the same behaviour. */
export const SHIM_SCRIPT = join(import.meta.dirname, "shim.ts");

/** musl makes it a few kilobytes, glibc almost a megabyte; both need nothing on the machine that runs it. */
const COMPILERS = ["musl-gcc", "cc", "gcc", "clang"];
const FLAGS = ["-Os", "-static", "-s", "-Wall", "-Wextra", "-Werror"];

export type ShimBuild =
  | { readonly path: string; readonly compiler: string | undefined /* was there already */ }
  | { readonly path: undefined; readonly reason: string };

export interface ShimBuildOptions {
  /** Where to put it. */
  readonly path?: string;
  /** In place of the usual ones, e.g. for a build with sanitizers. */
  readonly compilers?: readonly string[];
  readonly flags?: readonly string[];
}

/** Does not throw: why there is no program is part of the answer. */
export function buildShim(options: ShimBuildOptions = {}): ShimBuild {
  const { path = join(BUILD_FOLDER, "weft-cni"), compilers = COMPILERS, flags = FLAGS } = options;
  if (isNewer(path, SOURCE) && isNewer(path, HEADER)) return { path, compiler: undefined };
  try {
    mkdirSync(dirname(path), { recursive: true });
  } catch (error) {
    return { path: undefined, reason: messageOf(error) };
  }
  const part = `${path}.${process.pid}.part`;
  const problems: string[] = [];
  for (const compiler of compilers) {
    const { error, status, stderr } = spawnSync(compiler, [...flags, "-o", part, SOURCE], { encoding: "utf8" });
    if (status === 0) {
      renameSync(part, path);
      return { path, compiler };
    }
    rmSync(part, { force: true });
    // EACCES: not found either, in a PATH with folders that this user may not search.
    if (!["ENOENT", "EACCES"].includes((error as NodeJS.ErrnoException | undefined)?.code ?? ""))
      problems.push(`${compiler}: ${(error?.message ?? stderr).trim().split("\n")[0]}`);
  }
  return { path: undefined, reason: problems.join("; ") || `no C compiler (${compilers.join(", ")})` };
}

function isNewer(path: string, than: string): boolean {
  const made = statSync(path, { throwIfNoEntry: false });
  return made !== undefined && made.mtimeMs > statSync(than).mtimeMs;
}
