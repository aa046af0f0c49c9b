import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { stripVTControlCharacters } from "node:util";
import { dockerProblem } from "../../src/app/demo/docker.ts";
import { labProblem } from "../../src/app/demo/enter-lab.ts";
import { runProgram } from "../../src/app/demo/netns.ts";
import { waitFor } from "../../src/app/demo/wait.ts";

const DEMO = join(import.meta.dirname, "../../src/app/demo/main.ts");
const AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
const DEMO_TIMEOUT_MS = 60_000;

/** Runs the demo behind these words, and checks all that it owes. @param web what runs the containers named so */
async function passes(words: readonly string[], web: "docker" | "cni"): Promise<void> {
  const before = existsSync("/run/weft");
  const [file = "", ...args] = [...words, process.execPath, DEMO, "--check"];
  const { status, stdout, stderr } = await runProgram(file, args, { timeoutMs: DEMO_TIMEOUT_MS });
  assert.match(stdout, /\n\d\d+ checks passed, 0 failed\n$/, stdout + stderr);
  assert.equal(status, 0);
  for (const host of [1, 2, 3]) assert.match(stdout, new RegExp(`\\nhost${host} .* web${host} +${web} `));
  assert.equal(/no containers of Docker: ./.test(stdout), web === "cni");
  for (const line of stdout.split("\n")) assert.ok(line.length <= 80, line);
  assert.equal(stdout, stripVTControlCharacters(stdout));
  const left = await runProgram("sh", ["-c", "ip netns; ip -o link"]);
  assert.doesNotMatch(left.stdout, /\bhost1\b|\binternet\b|\bunderlay\b|\bvtep1024\b/);
  assert.equal(existsSync("/run/weft"), before);
}

/** Why nobody can run the demo here. */
function nobodyProblem(): string | undefined {
  if (process.getuid?.() !== 0) return "this user has no rights already: the test before was it";
  const [file = "", ...args] = [...AS_NOBODY, "sh", "-c", `test -r ${DEMO} && unshare --user --map-root-user true`];
  return spawnSync(file, args).status === 0
    ? undefined
    : "a user without rights may not read the sources or make namespaces";
}

const skip = labProblem();

test("the demo passes all checks within a minute, in 80 columns, and leaves nothing behind", { skip }, () =>
  passes(["env", "NO_COLOR=1"], dockerProblem() === undefined ? "docker" : "cni"),
);

test("a user without rights can run the demo", { skip: skip ?? nobodyProblem() }, () =>
  passes([...AS_NOBODY, "env"], "cni"),
);

/** How many processes have the mark in their environment. */
function processesWith(mark: string): number {
  const environments = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return environments.filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/environ`, "utf8").includes(mark);
    } catch {
      return false; // It has ended meanwhile.
    }
  }).length;
}

/** A demo that has come as far as printing `text`, with a mark on all its processes. */
async function demoUntil(text: string): Promise<{ child: ChildProcess; mark: string }> {
  const mark = randomUUID();
  const child = spawn(process.execPath, [DEMO], {
    env: { ...process.env, MARK: mark },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString();
  });
  await waitFor(`the demo to print '${text}'`, DEMO_TIMEOUT_MS, async () => output.includes(text) || undefined);
  return { child, mark };
}

for (const [signal, text] of [
  ["SIGKILL", "an agent on each host"],
  ["SIGKILL", "a connection on every path"],
  ["SIGTERM", "a master on host1"],
  ["SIGINT", "removes everything"],
] as const)
  test(`${signal} at '${text}' ends every process of a demo`, { skip }, async () => {
    const { child, mark } = await demoUntil(text);
    assert.ok(processesWith(mark) >= 3, "programs run");
    child.kill(signal);
    await waitFor("all of them to be gone", 5_000, async () => processesWith(mark) === 0 || undefined);
  });
