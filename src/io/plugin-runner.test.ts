import assert from "node:assert/strict";
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { PLUGIN_RUNNER } from "./plugin-runner.ts";

const dir = mkdtempSync(join(tmpdir(), "weft-plugin-"));
after(() => rmSync(dir, { recursive: true }));

function plugin(name: string, script: string): string {
  writeFileSync(join(dir, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return name;
}

function run(type: string, stdin = "{}") {
  return PLUGIN_RUNNER.run({
    type,
    cniPath: ["/nonexistent", dir],
    environment: { CNI_COMMAND: "ADD", PATH: "/bin" },
    stdin,
  });
}

test("a plugin gets environment and configuration, and its answer comes back", async () => {
  const type = plugin("echo", 'echo "$CNI_COMMAND $HOME"; cat');
  assert.deepEqual(await run(type, '{"name":"x"}'), { ok: true, stdout: 'ADD \n{"name":"x"}' });
});

test("one that fails says so, whether it reads its configuration or not", async () => {
  assert.deepEqual(await run(plugin("fail", "echo '{\"code\":11}'; exit 1"), "x".repeat(1 << 20)), {
    ok: false,
    stdout: '{"code":11}\n',
  });
});

test("one that is not there, or whose name leads elsewhere, is refused", async () => {
  plugin("there", "true");
  await run("there");
  for (const type of ["absent", "../there", `${dir}/there`, ""])
    await assert.rejects(run(type), /is in none of the folders/, type);
});

test("one that prints without end is stopped", async () => {
  await assert.rejects(run(plugin("yes", "exec yes")), /printed more than/);
});

test("one that is being written cannot be started, which is said", async () => {
  const type = plugin("upgraded", "true");
  const writer = openSync(join(dir, type), "r+");
  await assert.rejects(run(type), /the plugin upgraded cannot be started: .*ETXTBSY/);
  closeSync(writer);
  assert.equal((await run(type)).ok, true);
});

test("without descriptors none can be started, which is said, and is over when they come back", async () => {
  const type = plugin("late", "true");
  const fds: number[] = [];
  try {
    for (;;) fds.push(openSync("/dev/null", "r"));
  } catch {
    await assert.rejects(run(type), /the plugin late cannot be started/);
  } finally {
    for (const fd of fds) closeSync(fd);
  }
  assert.equal((await run(type)).ok, true);
});
