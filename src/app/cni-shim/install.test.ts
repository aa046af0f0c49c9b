import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { startStubAgent } from "../../../test/support/stub-agent.ts";
import { Fault } from "../../model/fault.ts";
import { buildShim } from "./build-shim.ts";
import { installPlugin } from "./install.ts";

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
  const { path, ipamPath, kind } = await installPlugin(binDir);
  assert.deepEqual([path, ipamPath, kind], [join(binDir, "weft-cni"), join(binDir, "weft-ipam"), "program"]);
  assert.deepEqual([path, ipamPath].map(versionOf), ["1.1.0", "1.1.0"]);
  assert.deepEqual(readdirSync(binDir), ["weft-cni", "weft-ipam"], "nothing else is left there");
});

test("the script runs from the folder it was put into, whatever its name", async (t) => {
  const binDir = join(newFolder(t), "opt/it's/bin");
  const { path, ipamPath, kind, reason } = await installPlugin(binDir, { script: true });
  assert.deepEqual([kind, reason], ["script", "the script was asked for"]);
  assert.deepEqual([path, ipamPath].map(versionOf), ["1.1.0", "1.1.0"]);
  assert.deepEqual(readdirSync(binDir).sort(), ["weft-cni", "weft-cni.mjs", "weft-ipam"]);
});

test("each name tells the agent which plugin was called", async (t) => {
  for (const script of [false, true]) {
    const { path, ipamPath } = await installPlugin(newFolder(t), { script });
    for (const [program, name] of [
      [path, "weft-cni"],
      [ipamPath, "weft-ipam"],
    ] as const) {
      const agent = await startStubAgent(t, [{ status: 200, body: "{}" }]);
      const env = { CNI_COMMAND: "STATUS", WEFT_SOCKET: agent.socketPath };
      const child = spawn(program, { env, stdio: ["pipe", "ignore", "inherit"] });
      child.stdin.end("{}");
      assert.deepEqual(await once(child, "close"), [0, null]);
      assert.match(String(agent.requests[0]), new RegExp(`(^|\0)CNI_WEFT_PLUGIN=${name}\0`));
    }
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
