/**
 * `npm run check`: everything about the sources that can be told without running them, in seconds: format and lint
 * (biome), types (tsc), the rules of the house (tidy). Each step runs even if one before it failed.
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { formatRefusal, tidyTree } from "./tidy.ts";

export const ROOT = join(import.meta.dirname, "..");

/** Runs all steps, prints one line for each and what it refused. @returns whether all is well */
export function check(): boolean {
  const steps = [
    step("format and lint", () =>
      runTool("@biomejs/biome/bin/biome", ["check", "--error-on-warnings", "--diagnostic-level=warn", "--colors=off"]),
    ),
    step("types", () => runTool("typescript/bin/tsc", ["-p", "."])),
    step("rules of the house", () => tidyTree(ROOT).map(formatRefusal).join("\n")),
  ];
  return steps.every((passed) => passed);
}

/** @param run returns what is wrong, empty when nothing is */
function step(name: string, run: () => string): boolean {
  const start = performance.now();
  const problems = run();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${problems === "" ? "✔" : "✖"} ${name} (${seconds} s)`);
  if (problems !== "") console.log(problems);
  return problems === "";
}

/** Runs a package's own executable script with this Node; its output when it failed. */
function runTool(script: string, argv: readonly string[]): string {
  const result = spawnSync(process.execPath, [join(ROOT, "node_modules", script), ...argv], {
    cwd: ROOT,
    encoding: "utf8",
  });
  if (result.status === 0) return "";
  return `${result.stdout}${result.stderr}`.trim() || `${script} ended with status ${result.status}`;
}

if (import.meta.main) process.exitCode = check() ? 0 : 1;
