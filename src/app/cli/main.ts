/**
 * Weft's command line: the sub-commands in one place, and how each ends. A fault leaves as one line `weft: MESSAGE` with
 * the exit status of the fault table; anything else that is thrown is a bug and leaves with its stack.
 */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { Fault } from "../../model/fault.ts";
import { FAULT_TABLE } from "../../model/fault-table.ts";
import { addAgentCommand } from "../agent/command.ts";
import { addMasterCommand } from "../master/command.ts";
import { addCniCommand } from "./cni-command.ts";
import { addConfigCommand } from "./config-command.ts";
import { addStatusCommands } from "./status-command.ts";

/** sysexits.h: EX_SOFTWARE. */
const EXIT_BUG = 70;

function packageVersion(): string {
  const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

function createProgram(): Command {
  const program = new Command("weft")
    .description("Every container its own IP address, across many Linux hosts.")
    .version(packageVersion(), "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help for a command")
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({ outputError: (text, write) => write(text.replace(/^error: /, "weft: ")) });
  addMasterCommand(program);
  addAgentCommand(program);
  addStatusCommands(program);
  addCniCommand(program);
  addConfigCommand(program);
  return program;
}

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

process.on("uncaughtException", end);
// A reader that has seen enough, like `head`, is no error.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(0);
  throw error;
});
try {
  await createProgram().parseAsync();
} catch (thrown) {
  end(thrown);
}
