import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
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
  const { path, kind } = await installPlugin(binDir);
  assert.deepEqual([path, kind], [join(binDir, "weft-cni"), "program"]);
  assert.equal(versionOf(path), "1.1.0");
  assert.deepEqual(readdirSync(binDir), ["weft-cni"], "nothing else is left there");
});

test("the script runs from the folder it was put into, whatever its name", async (t) => {
  const binDir = join(newFolder(t), "opt/it's/bin");
  const { path, kind, reason } = await installPlugin(binDir, { script: true });
  assert.deepEqual([kind, reason], ["script", "the script was asked for"]);
  assert.equal(versionOf(path), "1.1.0");
  assert.deepEqual(readdirSync(binDir).sort(), ["weft-cni", "weft-cni.mjs"]);
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
