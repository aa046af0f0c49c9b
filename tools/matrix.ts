/**
 * `npm run matrix [-- FILE…]`: every end-to-end test, attacks among them, at each level of the datapath and with each way
 * to put programs on devices. One table at the end: what failed where. `npm test` has all of them at the highest level, and
 * those about packets at the others.
 */
import { spawnSync } from "node:child_process";
import { globSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { ROOT } from "./check.ts";

const COLUMNS: Readonly<Record<string, NodeJS.ProcessEnv>> = {
  "level 0": { WEFT_DATAPATH_LEVEL: "0" },
  "level 1": { WEFT_DATAPATH_LEVEL: "1" },
  "level 2": { WEFT_DATAPATH_LEVEL: "2" },
  "1, clsact": { WEFT_DATAPATH_LEVEL: "1", WEFT_DATAPATH_HOOK: "clsact" },
  "2, clsact": { WEFT_DATAPATH_LEVEL: "2", WEFT_DATAPATH_HOOK: "clsact" },
};
const TEST = fileURLToPath(new URL("test.ts", import.meta.url));

const chosen = process.argv.slice(2);
const files = chosen.length > 0 ? chosen : globSync("test/e2e/*.test.ts", { cwd: ROOT }).sort();
const failed = new Map<string, Set<string>>(files.map((file) => [file, new Set()]));
for (const [column, environment] of Object.entries(COLUMNS)) {
  console.log(`\n${column}`);
  const { stdout } = spawnSync(process.execPath, [TEST, ...files], {
    cwd: ROOT,
    env: { ...process.env, ...environment },
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
    maxBuffer: 1 << 28,
  });
  console.log(stdout);
  for (const file of files) if (!stdout.includes(`✔ ${file} (`)) failed.get(file)?.add(column);
}
const width = Math.max(...files.map((file) => file.length));
console.log(["".padEnd(width), ...Object.keys(COLUMNS)].join("  "));
for (const [file, columns] of failed) {
  const cells = Object.keys(COLUMNS).map((column) => (columns.has(column) ? "FAILED" : "ok").padEnd(column.length));
  console.log([file.padEnd(width), ...cells].join("  "));
}
const count = [...failed.values()].reduce((sum, columns) => sum + columns.size, 0);
console.log(`\n${files.length * Object.keys(COLUMNS).length - count} passed, ${count} failed`);
process.exitCode = count === 0 ? 0 : 1;
