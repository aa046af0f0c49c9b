import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type TestContext, test } from "node:test";
import { startStubAgent } from "../../../test/support/stub-agent.ts";
import { Fault } from "../../model/fault.ts";
import { buildShim } from "./build-shim.ts";
import { installNetavarkPlugin, installPlugin } from "./install.ts";

const { version: VERSION } = JSON.parse(readFileSync(join(import.meta.dirname, "../../../package.json"), "utf8"));

function newFolder(t: TestContext): string {
  const folder = mkdtempSync(join(tmpdir(), "weft-install-"));
  t.after(() => rmSync(folder, { recursive: true }));
  return folder;
}

function versionOf(path: string): unknown {
  const { status, stdout } = spawnSync(path, { env: { CNI_COMMAND: "VERSION" }, input: "{}", encoding: "utf8" });
  assert.equal(status, 0);
  return JSON.parse(stdout).cniVersion;
}

const { path: built } = buildShim();

test("the program is installed where it can be built, over whatever was there", { skip: !built }, async (t) => {
  const binDir = join(newFolder(t), "opt/it's/bin");
  await installPlugin(binDir, { script: true });
  const { paths, kind } = await installPlugin(binDir);
  assert.deepEqual([...paths, kind], [join(binDir, "weft-cni"), join(binDir, "weft-ipam"), "program"]);
  assert.deepEqual(paths.map(versionOf), ["1.1.0", "1.1.0"]);
  assert.deepEqual(readdirSync(binDir), ["weft-cni", "weft-ipam"], "nothing else is left there");
});

test("the script runs from the folder it was put into, whatever its name", async (t) => {
  const binDir = join(newFolder(t), "opt/it's/bin");
  const { paths, kind, reason } = await installPlugin(binDir, { script: true });
  assert.deepEqual([kind, reason], ["script", "the script was asked for"]);
  assert.deepEqual(paths.map(versionOf), ["1.1.0", "1.1.0"]);
  assert.deepEqual(readdirSync(binDir).sort(), ["weft-cni", "weft-cni.mjs", "weft-ipam"]);
});

test("each name tells the agent which plugin was called", async (t) => {
  for (const script of [false, true]) {
    const { paths } = await installPlugin(newFolder(t), { script });
    assert.equal(paths.length, 2);
    for (const program of paths) {
      const name = basename(program);
      const agent = await startStubAgent(t, [{ status: 200, body: "{}" }]);
      const env = { CNI_COMMAND: "STATUS", WEFT_SOCKET: agent.socketPath };
      const child = spawn(program, { env, stdio: ["pipe", "ignore", "inherit"] });
      child.stdin.end("{}");
      assert.deepEqual(await once(child, "close"), [0, null]);
      assert.match(String(agent.requests[0]), new RegExp(`(^|\0)CNI_WEFT_PLUGIN=${name}\0`));
    }
  }
});

test("netavark's plugin is installed by its own name, as a program or as a script, over whatever was there", async (t) => {
  const folder = newFolder(t);
  for (const script of [true, ...(built === undefined ? [] : [false])]) {
    const { paths, kind } = await installNetavarkPlugin(folder, { script });
    assert.deepEqual([...paths, kind], [join(folder, "weft"), script ? "script" : "program"]);
    assert.deepEqual(readdirSync(folder).sort(), script ? ["weft", "weft.mjs"] : ["weft"]);
    const { status, stdout } = spawnSync(join(folder, "weft"), ["info"], { env: {}, encoding: "utf8" });
    assert.deepEqual([status, JSON.parse(stdout)], [0, { version: VERSION, api_version: "1.0.0" }]);
  }
});

test("without a compiler there is a reason", () => {
  const missing = buildShim({ path: join(tmpdir(), `weft-none-${process.pid}`), compilers: ["no-such-compiler"] });
  assert.deepEqual(missing, { path: undefined, reason: "no C compiler (no-such-compiler)" });
});

test("a folder that cannot be written is refused by name", async (t) => {
  const file = join(newFolder(t), "file");
  writeFileSync(file, "");
  await assert.rejects(
    installPlugin(join(file, "bin")),
    (error) => error instanceof Fault && error.code === "storage" && error.message.includes(join(file, "bin/weft-cni")),
  );
});
