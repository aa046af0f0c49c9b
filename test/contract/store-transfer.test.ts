/**
 * `weft store export` and `weft store import`, as an operator runs them: from a data directory to etcd and back, with what
 * they refuse.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { createProgram } from "../../src/app/cli/program.ts";
import { openEtcdControlStore } from "../../src/io/store/etcd/etcd-control-store.ts";
import { openMasterDisk } from "../../src/io/store/sqlite-control-store.ts";
import type { ControlEvent } from "../../src/model/control-event.ts";
import { Fault } from "../../src/model/fault.ts";
import { etcdProblem, TestEtcd } from "../support/etcd.ts";

const skip = etcdProblem();
const EVENTS = 300;

function folder(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "weft-transfer-"));
  t.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

function weft(...args: readonly string[]): Promise<unknown> {
  return createProgram().parseAsync(["node", "weft", "store", ...args]);
}

function refused(code: string, message: RegExp): (thrown: unknown) => true {
  return (thrown) => {
    assert.ok(thrown instanceof Fault && thrown.code === code, String(thrown));
    assert.match(thrown.message, message);
    return true;
  };
}

/** A history in which entries are added, changed and deleted, and whose first events are forgotten. */
async function fill(dir: string): Promise<void> {
  const disk = openMasterDisk(dir);
  const term = disk.control.leadNow();
  const state = new Map<string, unknown>();
  for (let revision = 1; revision <= EVENTS; revision += 1) {
    const key = `agent/ä${revision % 50}`;
    const before = state.get(key);
    const after = revision % 7 === 0 ? undefined : { order: revision, text: "x".repeat(revision % 900) };
    state.set(key, after);
    const change = { key, ...(before !== undefined && { before }), ...(after !== undefined && { after }) };
    const event: ControlEvent = { revision, at: "2026-01-02", who: "test", what: "a change", changes: [change] };
    term.appendNow([event]);
  }
  await term.forget(10);
  disk.close();
}

test("what is exported from a data directory is the same in another one; files are for their owner only", async (t) => {
  const dir = folder(t);
  await fill(join(dir, "a"));
  const [first, second] = [join(dir, "1.json"), join(dir, "2.json")];
  await weft("export", "-o", first, "--data-dir", join(dir, "a"));
  assert.equal(statSync(first).mode & 0o777, 0o600);
  await weft("import", first, "--data-dir", join(dir, "b"));
  await weft("export", "-o", second, "--data-dir", join(dir, "b"));
  assert.equal(readFileSync(second, "utf8"), readFileSync(first, "utf8"));
  // It goes on where it stopped.
  const disk = openMasterDisk(join(dir, "b"));
  const term = disk.control.leadNow();
  assert.equal(term.loadNow().revision, EVENTS);
  await assert.rejects(weft("export", "-o", join(dir, "3.json"), "--data-dir", join(dir, "b")), refused("in-use", /b/));
  await assert.rejects(weft("import", first, "--data-dir", join(dir, "b")), refused("in-use", /in use by another/));
  disk.close();
});

test("what would lose or misread something is refused, and nothing is changed", async (t) => {
  const dir = folder(t);
  await fill(join(dir, "a"));
  const [first, second, bad] = [join(dir, "1.json"), join(dir, "2.json"), join(dir, "bad.json")];
  await weft("export", "-o", first, "--data-dir", join(dir, "a"));
  await assert.rejects(
    weft("export", "-o", first, "--data-dir", join(dir, "a")),
    refused("bad-request", /there already/),
  );
  await assert.rejects(
    weft("export", "-o", second, "--data-dir", join(dir, "c")),
    refused("bad-request", /there is no/),
  );
  await assert.rejects(weft("import", first, "--data-dir", join(dir, "a")), refused("bad-request", /--replace/));
  await assert.rejects(weft("import", join(dir, "none"), "--data-dir", dir), refused("bad-request", /cannot be read/));
  writeFileSync(bad, readFileSync(first, "utf8").replace("agent/ä1", "agent/x"));
  await assert.rejects(
    weft("import", bad, "--replace", "--data-dir", join(dir, "a")),
    refused("undecodable", /bad\.json.*is not as event/),
  );
  await assert.rejects(
    weft("import", first, "--into", "etcd://127.0.0.1:1", "--data-dir", dir),
    refused("bad-request", /two places/),
  );
  await weft("export", "-o", second, "--data-dir", join(dir, "a"));
  assert.equal(readFileSync(second, "utf8"), readFileSync(first, "utf8"));
});

test("a state goes to etcd and back with its history, and not while a master leads", { skip }, async (t) => {
  const dir = folder(t);
  await fill(join(dir, "a"));
  const etcd = await TestEtcd.start({ members: 1 });
  t.after(() => etcd.stop());
  const url = `etcd://${etcd.endpoints.join(",")}/there`;
  const [first, second, third] = [join(dir, "1.json"), join(dir, "2.json"), join(dir, "3.json")];
  await weft("export", "-o", first, "--data-dir", join(dir, "a"));
  await weft("import", first, "--into", url);
  await assert.rejects(weft("import", first, "--into", url), refused("bad-request", /--replace/));
  await weft("import", first, "--into", url, "--replace");

  const endpoints = etcd.members.map(({ clientPort }) => ({ host: "127.0.0.1", port: clientPort }));
  const store = openEtcdControlStore({ endpoints, prefix: "/there" });
  const term = await store.lead({ id: "m", url: "http://127.0.0.1:1" }, new AbortController().signal);
  assert.equal((await term.load()).revision, EVENTS);
  // It is read while a master leads.
  await weft("export", "-o", second, "--from", url);
  assert.equal(readFileSync(second, "utf8"), readFileSync(first, "utf8"));
  await assert.rejects(weft("import", first, "--into", url, "--replace"), refused("in-use", /127\.0\.0\.1:1 leads/));
  const more: ControlEvent = { revision: EVENTS + 1, at: "", who: "", what: "", changes: [{ key: "more", after: 1 }] };
  await term.append([more]);
  await term.resign();
  await store.close();

  await weft("export", "-o", third, "--from", url);
  await weft("import", third, "--data-dir", join(dir, "b"));
  const disk = openMasterDisk(join(dir, "b"));
  assert.equal(disk.control.leadNow().loadNow().entries.get("more"), 1);
  disk.close();
});

test("an import that broke off is not taken for a state", { skip }, async (t) => {
  const etcd = await TestEtcd.start({ members: 1 });
  t.after(() => etcd.stop());
  const text64 = (text: string) => Buffer.from(text).toString("base64");
  await etcd.call("/v3/kv/put", { key: text64("/weft/v1/revision"), value: text64("importing") });
  const endpoints = etcd.members.map(({ clientPort }) => ({ host: "127.0.0.1", port: clientPort }));
  const store = openEtcdControlStore({ endpoints });
  t.after(() => store.close());
  const lead = store.lead({ id: "m", url: "http://127.0.0.1:1" }, new AbortController().signal);
  await assert.rejects(lead, refused("corrupt-store", /import.*--replace/));
});
