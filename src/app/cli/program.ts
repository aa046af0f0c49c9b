/**
 * All sub-commands of the command line in one program; each describes itself in the file that carries it out.
 */
import { readFileSync } from "node:fs";
import { Command } from "commander";
import { addAgentCommand } from "../agent/command.ts";
import { addMasterCommand } from "../master/command.ts";
import { addCniCommand } from "./cni-command.ts";
import { addConfigCommand } from "./config-command.ts";
import { addHistoryCommands } from "./history-command.ts";
import { addLeaseCommands } from "./lease-command.ts";
import { addMembersCommand } from "./members-command.ts";
import { addNetavarkCommand } from "./netavark-command.ts";
import { addNetworkCommands } from "./network-command.ts";
import { addPolicyCommands } from "./policy-command.ts";
import { addReserveCommands } from "./reserve-command.ts";
import { addStatusCommands } from "./status-command.ts";
import { addStoreCommands } from "./store-command.ts";
import { addTrafficCommands } from "./traffic-command.ts";
import { addTrustCommands } from "./trust-command.ts";

function packageVersion(): string {
  const text = readFileSync(new URL("../../../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

/** Throws CommanderError instead of ending the process, for help and version too. */
export function createProgram(): Command {
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
  addNetavarkCommand(program);
  addLeaseCommands(program);
  addTrafficCommands(program);
  addMembersCommand(program);
  addTrustCommands(program);
  addNetworkCommands(program);
  addPolicyCommands(program);
  addReserveCommands(program);
  addHistoryCommands(program);
  addStoreCommands(program);
  addConfigCommand(program);
  return program;
}
