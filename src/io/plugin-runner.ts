/**
 * Runs another CNI plugin, as the specification's section 4 ("delegation") has it: environment, configuration on stdin,
 * result or error on stdout. What the plugin says is bounded in size and time, and handed on as it is.
 */
import { type ChildProcessByStdio, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { Fault, messageOf } from "../model/fault.ts";
import { PLUGIN_OUTPUT_MAX_BYTES, PLUGIN_TIMEOUT_MS } from "../model/limits.ts";
import type { PluginAnswer, PluginCall, PluginRunner } from "./ports.ts";

export const PLUGIN_RUNNER: PluginRunner = {
  async run(call) {
    const path = findPlugin(call.type, call.cniPath);
    return runPlugin(path, call);
  },
};

/** @throws Fault delegate-failed */
function findPlugin(type: string, cniPath: readonly string[]): string {
  // The name comes from a configuration: it must not lead out of the folders.
  const isName = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/.test(type);
  const found = isName ? cniPath.map((dir) => join(dir, type)).find(isExecutable) : undefined;
  if (found !== undefined) return found;
  throw new Fault(
    "delegate-failed",
    `the plugin ${type} is in none of the folders ${cniPath.join(", ") || "of CNI_PATH, which is empty"}; install it, or ` +
      "give its folder in CNI_PATH",
    { plugin: type, isAbsent: true },
  );
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Some errors are thrown, some are events, and without descriptors there is a child without pipes. */
function start(
  path: string,
  environment: PluginCall["environment"],
): ChildProcessByStdio<Writable, Readable, null> | Error {
  try {
    const child = spawn(path, [], { env: { ...environment }, cwd: "/", stdio: ["pipe", "pipe", "ignore"] });
    if (child.stdin !== undefined && child.stdout !== undefined) return child;
    child.on("error", () => {});
    return new Error("this process has no descriptors left");
  } catch (error) {
    return new Error(messageOf(error));
  }
}

function runPlugin(path: string, { type, environment, stdin }: PluginCall): Promise<PluginAnswer> {
  const failed = (fact: string) => new Fault("delegate-failed", `the plugin ${type} ${fact}`, { plugin: type });
  return new Promise((resolve, reject) => {
    const child = start(path, environment);
    if (child instanceof Error) return reject(failed(`cannot be started: ${child.message}`));
    const chunks: Buffer[] = [];
    let length = 0;
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(failed(`did not end within ${PLUGIN_TIMEOUT_MS / 1000} s and was killed`));
    }, PLUGIN_TIMEOUT_MS);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(failed(`cannot be started: ${messageOf(error)}`));
    });
    child.stdout.on("data", (chunk: Buffer) => {
      length += chunk.length;
      if (length <= PLUGIN_OUTPUT_MAX_BYTES) chunks.push(chunk);
      else child.kill("SIGKILL");
    });
    child.stdin.on("error", () => {}); // it may end without reading
    child.stdin.end(stdin);
    child.on("close", (status) => {
      clearTimeout(timer);
      if (length > PLUGIN_OUTPUT_MAX_BYTES) reject(failed(`printed more than ${PLUGIN_OUTPUT_MAX_BYTES} bytes`));
      else resolve({ ok: status === 0, stdout: Buffer.concat(chunks).toString() });
    });
  });
}
