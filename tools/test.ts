/**
 * `npm test [-- FILE…]`: the checks of check.ts, then every test under src, tools and test that this machine can run,
 * each file in a process of its own. Ends with the runner's own counts; the exit status is 0 only if every check passed,
 * no test failed, and there were tests at all.
 */
import { globSync } from "node:fs";
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { run } from "node:test";
import { check, ROOT } from "./check.ts";
import { report } from "./test-reporter.ts";

/** The longest single test file waits for timers of the product; one that takes longer hangs. */
const FILE_TIMEOUT_MS = 180_000;

const EXIT_WHEN_DONE = new URL("exit-when-done.ts", import.meta.url).href;

function testFiles(): string[] {
  const files = globSync("{src,tools,test}/**/*.test.ts", { cwd: ROOT });
  // The longest first, so that no processor idles at the end.
  const weight = (file: string) =>
    ["test/e2e", "test/kernel", "test/sim"].findIndex((folder) => file.startsWith(folder));
  return files.sort((a, b) => weight(b) - weight(a) || a.localeCompare(b)).map((file) => resolve(ROOT, file));
}

/** @returns whether tests were run and none failed */
async function runTests(files: readonly string[], lastWords: string): Promise<boolean> {
  let passed = false;
  const silent = new Set(files);
  const events = run({
    files: [...files],
    concurrency: Math.max(1, availableParallelism()),
    timeout: FILE_TIMEOUT_MS,
    execArgv: ["--disable-warning=ExperimentalWarning", "--import", EXIT_WHEN_DONE],
  });
  events.on("test:summary", ({ file, success, counts }) => {
    if (file === undefined) passed = success && counts.tests > 0;
    else silent.delete(file);
  });
  await pipeline(events, (source) => report(source, lastWords), process.stdout, { end: false });
  for (const file of silent) console.log(`✖ ${file} left something open, or died`);
  return passed && silent.size === 0;
}

console.log(`Node ${process.version}: ${process.execPath}`);
const chosen = process.argv.slice(2).map((file) => resolve(file));
const tidy = chosen.length > 0 || check();
const passed = await runTests(
  chosen.length > 0 ? chosen : testFiles(),
  tidy ? "" : "✖ the checks before the tests failed, see the top\n",
);
process.exitCode = tidy && passed ? 0 : 1;
