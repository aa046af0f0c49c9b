/**
 * Keeps the CNI folder: one configuration list per network that containers of this host can join, written so that a
 * runtime that looks at any moment sees a whole file or none.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { conflist, conflistFileName } from "../../core/cni/conflist.ts";
import type { AgentOverlay } from "../../model/cluster.ts";
import { Fault, messageOf } from "../../model/fault.ts";

/**
 * @param dir made when it is not there
 * @throws Fault storage when a file cannot be written
 */
export function writeConflists(dir: string, socketPath: string, overlays: readonly AgentOverlay[]): void {
  try {
    mkdirSync(dir, { recursive: true });
    for (const { info, mesosBridge } of overlays)
      if (mesosBridge !== undefined)
        writeWhole(
          join(dir, conflistFileName(info.name)),
          `${JSON.stringify(conflist(info.name, socketPath), null, 2)}\n`,
        );
  } catch (thrown) {
    throw new Fault(
      "storage",
      `cannot write the CNI configuration in ${dir}: ${messageOf(thrown)}; make room or give another folder with --cni-conf-dir`,
      { dir },
      { cause: thrown },
    );
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
