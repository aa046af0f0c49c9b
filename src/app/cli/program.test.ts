import assert from "node:assert/strict";
import { test } from "node:test";
import type { Command } from "commander";
import { createProgram } from "./program.ts";

/** The command and all below it. */
function allOf(command: Command): Command[] {
  return [command, ...command.commands.flatMap(allOf)];
}

/** What `--help` prints, the text around the list of options included. */
function helpOf(command: Command): string {
  let text = "";
  command.configureOutput({
    writeOut: (part) => {
      text += part;
    },
    getOutHelpWidth: () => 80,
  });
  command.outputHelp();
  return text;
}

test("every command says what it is for, describes each option and argument, and fits 80 columns", () => {
  const commands = allOf(createProgram());
  const names = commands.map((command) => command.name());
  for (const name of ["master", "agent", "status", "agents", "remove", "networks", "check", "install"])
    assert.ok(names.includes(name), name);
  for (const command of commands) {
    assert.notEqual(command.description(), "", command.name());
    for (const option of command.options) assert.notEqual(option.description, "", option.flags);
    for (const argument of command.registeredArguments) assert.notEqual(argument.description, "", argument.name());
    for (const line of helpOf(command).split("\n")) assert.ok(line.length <= 80, `${command.name()}: ${line}`);
  }
});
