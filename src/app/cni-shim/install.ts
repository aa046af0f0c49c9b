/**
 * Puts the CNI executable where a runtime looks for it, under both its names (the plugin, and the IPAM plugin): the
 * static program where it can be built and runs, else wrappers around the script of the same behaviour, with the Node
 * that runs now.
 *
 * What is installed has answered VERSION before it takes its name, and takes it in one step, so that a runtime that
 * starts it at any moment starts the old one or the new one. Nothing in the folder needs this checkout afterwards.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join, resolve } from "node:path";
import { CNI_PLUGIN, IPAM_PLUGIN } from "../../core/cni/conflist.ts";
import { CNI_VERSIONS } from "../../core/cni/version.ts";
import { Fault, messageOf } from "../../model/fault.ts";
import { buildShim, SHIM_SCRIPT } from "./build-shim.ts";

export interface InstalledPlugin {
  readonly path: string;
  readonly ipamPath: string;
  readonly kind: "program" | "script";
  /** Why it is the script. */
  readonly reason?: string;
}

export interface InstallOptions {
  /** Install the script even if the program can be had. */
  readonly script?: boolean;
}

/**
 * @param binDir made when it is not there
 * @throws Fault storage when the folder cannot be written; bad-request when nothing that was put there runs
 */
export async function installPlugin(binDir: string, options: InstallOptions = {}): Promise<InstalledPlugin> {
  const path = join(resolve(binDir), CNI_PLUGIN);
  const ipamPath = join(resolve(binDir), IPAM_PLUGIN);
  const paths = [path, ipamPath];
  try {
    mkdirSync(binDir, { recursive: true });
    const reason = options.script === true ? "the script was asked for" : installProgram(paths);
    if (reason === undefined) {
      rmSync(scriptPath(path), { force: true });
      return { path, ipamPath, kind: "program" };
    }
    installScript(scriptPath(path), paths);
    return { path, ipamPath, kind: "script", reason };
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault("storage", `the CNI plugin cannot be written to ${path}: ${messageOf(error)}`, { path });
  }
}

/** @returns why it was not installed, or `undefined` */
function installProgram(paths: readonly string[]): string | undefined {
  const build = buildShim();
  if (build.path === undefined) return build.reason;
  const program = build.path;
  for (const path of paths) {
    const problem = installWhole(path, (part) => copyFileSync(program, part));
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** The wrappers tell the script by which name they were called. */
function installScript(script: string, paths: readonly string[]): void {
  writeFileSync(`${script}.part`, plainScript(), { flush: true });
  renameSync(`${script}.part`, script);
  const wrapper = `#!/bin/sh\nexec ${shellQuoted(process.execPath)} ${shellQuoted(script)} "$0"\n`;
  for (const path of paths) {
    const problem = installWhole(path, (part) => writeFileSync(part, wrapper, { flush: true }));
    if (problem !== undefined)
      throw new Fault(
        "bad-request",
        `nothing that is put into ${join(path, "..")} can be run (${problem}); give another folder with --bin-dir`,
        { path },
      );
  }
}

/** Writes the file under another name, tries it, and gives it its name. @returns what was wrong with it */
function installWhole(path: string, write: (part: string) => void): string | undefined {
  const part = `${path}.${process.pid}.part`;
  try {
    write(part);
    chmodSync(part, 0o755);
    const problem = probe(part);
    if (problem === undefined) renameSync(part, path);
    return problem;
  } finally {
    rmSync(part, { force: true });
  }
}

/** Asks for VERSION. @returns what was wrong with the answer */
function probe(program: string): string | undefined {
  const { status, stdout, stderr, error } = spawnSync(program, [], {
    input: '{"cniVersion":"1.0.0"}',
    env: { CNI_COMMAND: "VERSION" },
    encoding: "utf8",
    timeout: 30_000,
  });
  if (error !== undefined || status !== 0) return error?.message ?? `exit status ${status}: ${stderr.trim()}`;
  const expected = JSON.stringify({ cniVersion: "1.0.0", supportedVersions: CNI_VERSIONS });
  return stdout.trim() === expected ? undefined : `it answered VERSION with ${stdout.slice(0, 100)}`;
}

function scriptPath(path: string): string {
  return `${path}.mjs`;
}

/** As JavaScript it starts in half the time. Node calls the function experimental, each time; it is the one it uses itself. */
function plainScript(): string {
  const { emitWarning } = process;
  process.emitWarning = () => {};
  try {
    return stripTypeScriptTypes(readFileSync(SHIM_SCRIPT, "utf8"));
  } finally {
    process.emitWarning = emitWarning;
  }
}

function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
