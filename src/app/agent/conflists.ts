/**
 * Keeps the CNI folder: one configuration list per network that containers of this host can join, written so that a
 * runtime that looks at any moment sees a whole file or none; and none of a network that this host has no more.
 */
import { mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CNI_PLUGIN, conflist, conflistFileName } from "../../core/cni/conflist.ts";
import type { AgentOverlay } from "../../model/cluster.ts";
import { Fault, messageOf } from "../../model/fault.ts";

/**
 * @param dir made when it is not there
 * @throws Fault storage when a file cannot be written
 */
export function writeConflists(dir: string, socketPath: string, overlays: readonly AgentOverlay[]): void {
  const names = overlays.flatMap(({ info, mesosBridge }) => (mesosBridge === undefined ? [] : [info.name]));
  try {
    mkdirSync(dir, { recursive: true });
    for (const name of names)
      writeWhole(join(dir, conflistFileName(name)), `${JSON.stringify(conflist(name, socketPath), null, 2)}\n`);
    const files = new Set(names.map(conflistFileName));
    for (const file of readdirSync(dir))
      if (!files.has(file) && isWritten(join(dir, file), file, socketPath)) rmSync(join(dir, file), { force: true });
  } catch (thrown) {
    throw new Fault(
      "storage",
      `cannot write the CNI configuration in ${dir}: ${messageOf(thrown)}; make room or give another folder with --cni-conf-dir`,
      { dir },
      { cause: thrown },
    );
  }
}

/** Whether this agent, or one before it with the same socket, wrote the file: others' lists are left alone. */
function isWritten(path: string, file: string, socketPath: string): boolean {
  if (!file.startsWith("weft-")) return false;
  try {
    const { name, plugins } = JSON.parse(textAt(path) ?? "") as ReturnType<typeof conflist>;
    const [only] = plugins;
    const isOurs = only?.type === CNI_PLUGIN && only.network === name && only.weft_socket === socketPath;
    return isOurs && plugins.length === 1 && file === conflistFileName(name);
  } catch {
    return false;
  }
}

/** Runtimes watch the folder, so a file that is right is left alone. A name with a dot in front is not looked at. */
function writeWhole(path: string, text: string): void {
  if (textAt(path) === text) return;
  const temporary = join(path, "..", `.${process.pid}.weft-conflist`);
  writeFileSync(temporary, text, { mode: 0o644, flush: true });
  renameSync(temporary, path);
}

function textAt(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
