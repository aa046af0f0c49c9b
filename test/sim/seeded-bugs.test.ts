/**
 * The simulation finds bugs: each of a table of plausible ones is put into a copy of the source, one at a time, and a run
 * over the copy must end with a violated invariant. The same runs over the source as it stands must not.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, describe, it } from "node:test";
import { SEEDED_BUGS as GOSSIP_BUGS, type SeededBug } from "./seeded-bugs.ts";
import { HOST_BUGS } from "./seeded-host-bugs.ts";

const ROOT = join(import.meta.dirname, "../..");
/** All that a run of the simulation loads. */
const PARTS = ["src", "sim", "test/support", "package.json"];
const SEEDED_BUGS = [...GOSSIP_BUGS, ...HOST_BUGS];
/** A machine with other work to do; a run takes two or three seconds. */
const RUN_MS_MAX = 60_000;
/** A change of the protocol moves what happens in a seed: so many in a row are tried. */
const SEEDS = 5;
/** At a time: one for each processor of the smallest machine that this has to run on. */
const AT_ONCE = 2;

const scratch = mkdtempSync(join(tmpdir(), "weft-seeded-bugs-"));
after(() => rmSync(scratch, { recursive: true, force: true }));

interface Found {
  /** Exit status; `undefined` when the run was ended for taking too long. */
  readonly status: number | undefined;
  readonly invariant: string | undefined;
  readonly output: string;
  readonly ms: number;
}

function argumentsOf({ seed, hosts, wire, scenario, kernels }: SeededBug): string[] {
  const words = ["--seed", String(seed), "--seeds", String(SEEDS)];
  if (hosts !== undefined) words.push("--hosts", String(hosts));
  if (wire === true) words.push("--wire");
  if (scenario !== undefined) words.push("--scenario", `sim/scenarios/${scenario}.json`);
  else words.push(kernels === true ? "--kernels" : "--no-kernels");
  return words;
}

function run(folder: string, argv: readonly string[]): Promise<Found> {
  const start = performance.now();
  return new Promise((resolve) => {
    const args = ["--disable-warning=ExperimentalWarning", "sim/main.ts", ...argv];
    execFile(process.execPath, args, { cwd: folder, timeout: RUN_MS_MAX, maxBuffer: 1 << 26 }, (error, stdout) => {
      const code = error === null ? 0 : error.code;
      const invariant = /VIOLATED at [\d.]+ s: (.*(?:\n {18}.*)*)/.exec(stdout)?.[1]?.replace(/\s+/g, " ");
      const status = typeof code === "number" ? code : undefined;
      resolve({ status, invariant, output: stdout.slice(-600), ms: performance.now() - start });
    });
  });
}

/** A copy of the source with the bug in it. */
function copyWith({ file, find, replace }: SeededBug, n: number): string {
  const folder = join(scratch, String(n));
  for (const part of PARTS) {
    mkdirSync(dirname(join(folder, part)), { recursive: true });
    cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  }
  symlinkSync(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const path = join(folder, file);
  const source = readFileSync(path, "utf8");
  assert.equal(source.split(find).length, 2, `${file} holds this ${source.split(find).length - 1} times: ${find}`);
  writeFileSync(
    path,
    source.replace(find, () => replace),
  );
  return folder;
}

describe("the simulation, with a bug put into the source", { concurrency: AT_ONCE }, () => {
  for (const [n, bug] of SEEDED_BUGS.entries())
    it(`finds: ${bug.name}`, async (test) => {
      const folder = copyWith(bug, n);
      const { status, invariant, output, ms } = await run(folder, argumentsOf(bug));
      rmSync(folder, { recursive: true, force: true });
      assert.equal(status, 1, `the run ended with ${status}:\n${output}`);
      assert.ok(invariant?.startsWith(bug.by), `${invariant}, and not ${bug.by}, found it:\n${output}`);
      test.diagnostic(`${(ms / 1_000).toFixed(1)} s: ${invariant}`);
    });
});

describe("the simulation, over the source as it stands", { concurrency: AT_ONCE }, () => {
  const runs = new Map(SEEDED_BUGS.map((bug) => [argumentsOf(bug).join(" "), argumentsOf(bug)]));
  for (const [words, argv] of runs)
    it(`finds nothing in ${words}`, async () => {
      const { status, output } = await run(ROOT, argv);
      assert.equal(status, 0, output);
    });
});
