/**
 * Weft's command line, and how it ends. A fault leaves as one line `weft: MESSAGE` with
 * the exit status of the fault table; anything else that is thrown is a bug and leaves with its stack.
 */
import { CommanderError } from "commander";
import { Fault } from "../../model/fault.ts";
import { FAULT_TABLE } from "../../model/fault-table.ts";
import { createProgram } from "./program.ts";

/** sysexits.h: EX_SOFTWARE. */
const EXIT_BUG = 70;

/** Prints what ended the program, and ends it. */
function end(thrown: unknown): never {
  if (thrown instanceof CommanderError) {
    // Help and version are no errors; what was mistyped has been printed by then.
    process.exit(thrown.exitCode === 0 ? 0 : FAULT_TABLE["bad-request"].exit);
  }
  if (thrown instanceof Fault) {
    process.stderr.write(`weft: ${thrown.message}\n`);
    process.exit(FAULT_TABLE[thrown.code].exit);
  }
  const stack = thrown instanceof Error ? thrown.stack : String(thrown);
  process.stderr.write(`weft: this is a bug, please report it with the lines that follow\n${stack}\n`);
  process.exit(EXIT_BUG);
}

/** `weft agent` runs one and takes no words; with one it is about an agent of the cluster: `weft agent drain ID`. */
function withAgentVerbs(argv: readonly string[]): string[] {
  const [node = "", script = "", command, verb = "", ...rest] = argv;
  if (command !== "agent" || !["drain", "rm", "remove"].includes(verb)) return [...argv];
  return [node, script, "agents", verb, ...rest];
}

process.on("uncaughtException", end);
// A reader that has seen enough, like `head`, is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
try {
  await createProgram().parseAsync(withAgentVerbs(process.argv));
} catch (thrown) {
  end(thrown);
}
