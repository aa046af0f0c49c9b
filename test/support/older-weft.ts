/**
 * An older Weft, taken out of this repository's own history, to run beside this one: its sources in a folder of the lab,
 * with the packages that are installed here.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";

const ROOT = join(import.meta.dirname, "../..");
/** The last one before the control plane's entries, elastic slices, isolation and policies: test/recorded/before-entries. */
export const BEFORE_ENTRIES = "5ee0cf1";

/** Why this checkout has no such commit, for the `skip` option of a test. */
export function olderProblem(commit: string): string | undefined {
  const { status } = spawnSync("git", ["-C", ROOT, "cat-file", "-e", `${commit}^{commit}`], { stdio: "ignore" });
  return status === 0 ? undefined : `commit ${commit} is not in this checkout`;
}

/** @returns the path of its `weft`; it goes with the lab */
export function olderWeft(commit: string): string {
  const folder = join(LAB_DIR, commit);
  mkdirSync(folder);
  const tar = spawnSync("git", ["-C", ROOT, "archive", commit], { maxBuffer: 2 ** 28 });
  const { status, stderr } = spawnSync("tar", ["-x", "-C", folder], { input: tar.stdout });
  if (tar.status !== 0 || status !== 0) throw new Error(`git archive ${commit}: ${tar.stderr}${stderr}`);
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  return join(folder, "bin/weft");
}
