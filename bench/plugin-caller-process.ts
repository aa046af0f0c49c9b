/**
 * Starts CNI plugins for a benchmark and says how long each took: the process behind plugin-caller.ts.
 *
 * Node's own spawn costs a millisecond, and now and then four, which would be most of what is measured: here a plugin is
 * started by posix_spawn(3), which does not copy this process, and everything waits until it is gone.
 *
 * Each line of stdin is one call as JSON; each line of stdout its outcome.
 */
import { closeSync, readSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import koffi from "koffi";
import { assert } from "../src/model/fault.ts";
import type { PluginCall, PluginOutcome } from "./plugin-caller.ts";

const O_CLOEXEC = 0o2000000;
/** More than sizeof posix_spawn_file_actions_t with any C library. */
const ACTIONS_BYTES = 256;

const program = koffi.load(null);
const pipe2 = program.func("int pipe2(void *fds, int flags)");
const initActions = program.func("int posix_spawn_file_actions_init(void *actions)");
const addDup2 = program.func("int posix_spawn_file_actions_adddup2(void *actions, int from, int to)");
const destroyActions = program.func("int posix_spawn_file_actions_destroy(void *actions)");
const posixSpawn = program.func(
  "int posix_spawn(void *pid, const char *path, void *actions, void *attributes, const char **argv, const char **envp)",
);
const waitpid = program.func("int waitpid(int pid, void *status, int options)");

function pipe(): readonly [read: number, write: number] {
  const fds = new Int32Array(2);
  assert(pipe2(fds, O_CLOEXEC) === 0, "a pipe can be made");
  return [fds[0] ?? -1, fds[1] ?? -1];
}

function carryOut({ program: path, environment, config }: PluginCall): PluginOutcome {
  const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  const input = JSON.stringify(config);
  const pid = new Int32Array(1);
  const status = new Int32Array(1);
  const actions = new Uint8Array(ACTIONS_BYTES);
  const start = performance.now();
  const [stdin, toPlugin] = pipe();
  const [fromPlugin, stdout] = pipe();
  initActions(actions);
  addDup2(actions, stdin, 0);
  addDup2(actions, stdout, 1);
  assert(posixSpawn(pid, path, actions, null, [path, null], [...variables, null]) === 0, `${path} can be started`);
  destroyActions(actions);
  closeSync(stdin);
  closeSync(stdout);
  writeSync(toPlugin, input); // it fits a pipe, so nothing waits
  closeSync(toPlugin);
  const output = readAll(fromPlugin);
  closeSync(fromPlugin);
  waitpid(pid[0] ?? 0, status, 0);
  const ms = performance.now() - start;
  return { ms, status: ((status[0] ?? 0) >> 8) & 0xff, output };
}

function readAll(fd: number): string {
  const pieces: Buffer[] = [];
  for (;;) {
    const piece = Buffer.alloc(65_536);
    const length = readSync(fd, piece);
    if (length === 0) return Buffer.concat(pieces).toString();
    pieces.push(piece.subarray(0, length));
  }
}

createInterface({ input: process.stdin }).on("line", (line) => {
  process.stdout.write(`${JSON.stringify(carryOut(JSON.parse(line) as PluginCall))}\n`);
});
