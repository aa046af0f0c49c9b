/**
 * Puts the executable where runtimes look for it, under the names by which they call it: the static program where it can
 * be built and runs, else wrappers around the script of the same behaviour, with the Node that runs now.
 *
 * What is installed has answered VERSION (CNI) or info (netavark) before it takes its name, and takes it in one step, so
 * that a runtime that starts it at any moment starts the old one or the new one. Nothing in the folder needs this
 * checkout afterwards.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { stripTypeScriptTypes } from "node:module";
import { join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { CNI_PLUGIN, IPAM_PLUGIN } from "../../core/cni/conflist.ts";
import { CNI_VERSIONS } from "../../core/cni/version.ts";
import { Fault, messageOf } from "../../model/fault.ts";
import { buildShim, SHIM_SCRIPT } from "./build-shim.ts";

export interface Installed {
  /** Under each of its names. */
  readonly paths: readonly [string, ...string[]];
  readonly kind: "program" | "script";
  /** Why it is the script. */
  readonly reason?: string;
}

export interface InstallOptions {
  /** Install the script even if the program can be had. */
  readonly script?: boolean;
}

/** The name under which netavark starts its plugin: the driver of its networks. */
export const NETAVARK_PLUGIN = "weft";

/** What is asked of a program before it is given one of these names, and what it has to answer. */
interface Role {
  readonly names: readonly [string, ...string[]];
  readonly args: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** On stdin; "" for a program that does not read it, which may have ended before it is written. */
  readonly input: string;
  isAnswer(json: unknown): boolean;
}

const CNI: Role = {
  names: [CNI_PLUGIN, IPAM_PLUGIN],
  args: [],
  env: { CNI_COMMAND: "VERSION" },
  input: '{"cniVersion":"1.0.0"}',
  isAnswer: (json) => isDeepStrictEqual(json, { cniVersion: "1.0.0", supportedVersions: CNI_VERSIONS }),
};
const NETAVARK: Role = {
  names: [NETAVARK_PLUGIN],
  args: ["info"],
  env: {},
  input: "",
  isAnswer: (json) => (json as { api_version?: unknown } | null)?.api_version === "1.0.0",
};

/**
 * weft-cni and weft-ipam.
 * @param binDir made when it is not there
 * @throws Fault storage when the folder cannot be written; bad-request when nothing that was put there runs
 */
export function installPlugin(binDir: string, options: InstallOptions = {}): Promise<Installed> {
  return install(CNI, binDir, options);
}

/** As `installPlugin`: netavark's plugin. */
export function installNetavarkPlugin(pluginDir: string, options: InstallOptions = {}): Promise<Installed> {
  return install(NETAVARK, pluginDir, options);
}

async function install(role: Role, folder: string, options: InstallOptions): Promise<Installed> {
  const [name, ...others] = role.names;
  const path = join(resolve(folder), name);
  const paths = [path, ...others.map((other) => join(resolve(folder), other))] as const;
  try {
    mkdirSync(folder, { recursive: true });
    const reason = options.script === true ? "the script was asked for" : installProgram(role, paths);
    if (reason === undefined) {
      rmSync(scriptPath(path), { force: true });
      return { paths: [...paths], kind: "program" };
    }
    installScript(role, scriptPath(path), paths);
    return { paths: [...paths], kind: "script", reason };
  } catch (error) {
    if (error instanceof Fault) throw error;
    throw new Fault("storage", `the plugin cannot be written to ${path}: ${messageOf(error)}`, { path });
  }
}

/** @returns why it was not installed, or `undefined` */
function installProgram(role: Role, paths: readonly string[]): string | undefined {
  const build = buildShim();
  if (build.path === undefined) return build.reason;
  const program = build.path;
  for (const path of paths) {
    const problem = installWhole(role, path, (part) => copyFileSync(program, part));
    if (problem !== undefined) return problem;
  }
  return undefined;
}

/** The wrappers tell the script by which name they were called, and with what. */
function installScript(role: Role, script: string, paths: readonly string[]): void {
  writeFileSync(`${script}.part`, plainScript(), { flush: true });
  renameSync(`${script}.part`, script);
  const wrapper = `#!/bin/sh\nexec ${shellQuoted(process.execPath)} ${shellQuoted(script)} "$0" "$@"\n`;
  for (const path of paths) {
    const problem = installWhole(role, path, (part) => writeFileSync(part, wrapper, { flush: true }));
    if (problem !== undefined)
      throw new Fault(
        "bad-request",
        `nothing that is put into ${join(path, "..")} can be run (${problem}); give another folder`,
        { path },
      );
  }
}

/** Writes the file under another name, tries it, and gives it its name. @returns what was wrong with it */
function installWhole(role: Role, path: string, write: (part: string) => void): string | undefined {
  const part = `${path}.${process.pid}.part`;
  try {
    write(part);
    chmodSync(part, 0o755);
    const problem = probe(role, part);
    if (problem === undefined) renameSync(part, path);
    return problem;
  } finally {
    rmSync(part, { force: true });
  }
}

/** @returns what was wrong with the answer */
function probe({ args, env, input, isAnswer }: Role, program: string): string | undefined {
  const options = { input, env, encoding: "utf8", timeout: 30_000 } as const;
  const { status, stdout, stderr, error } = spawnSync(program, args, options);
  if (error !== undefined || status !== 0) return error?.message ?? `exit status ${status}: ${stderr.trim()}`;
  try {
    if (isAnswer(JSON.parse(stdout))) return undefined;
  } catch {} // said below
  return `it answered the first question with ${stdout.slice(0, 100)}`;
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
