/**
 * `npm run bench -- NAME [--json] [--quick]`: starts one benchmark of this folder. Each is a file of its own that prints
 * its figures in the common form (figures.ts); without a name, this prints which there are.
 */
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** Files that run a benchmark when they are loaded, by the name they give it. */
const names = globSync("*.ts", { cwd: import.meta.dirname })
  .filter((file) => /^await bench\(\s*"/m.test(readFileSync(join(import.meta.dirname, file), "utf8")))
  .map((file) => basename(file, ".ts"))
  .sort();
const name = process.argv[2] ?? "";
if (names.includes(name)) {
  // The command line is that of the benchmark started by itself: it reads its options, and may start itself again in a lab.
  const file = join(import.meta.dirname, `${name}.ts`);
  process.argv.splice(1, 2, file);
  await import(file);
} else {
  console.error(`usage: npm run bench -- NAME [--json] [--quick]\n\nNAME is one of: ${names.join(", ")}`);
  process.exitCode = 64;
}
