import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { agentRecord } from "../../../test/contract/store-contract.ts";
import { openAgentStore, openMasterStore } from "./sqlite-store.ts";

function directory(context: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "weft-test-sqlite-"));
  context.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

/** A store that was used and closed, and a way to spoil its file. */
function used(context: TestContext): { dir: string; file: string } {
  const dir = directory(context);
  const store = openMasterStore(dir);
  for (let n = 1; n < 100; n++) store.putAgent(agentRecord(n));
  store.close();
  return { dir, file: join(dir, "master.db") };
}

const STORE = new URL("./sqlite-store.ts", import.meta.url).href;
const CONTRACT = new URL("../../../test/contract/store-contract.ts", import.meta.url).href;
/** Writes agents for as long as it lives, and says the number of each when it is durable. */
const WRITER = `
  const { openMasterStore } = await import(${JSON.stringify(STORE)});
  const { agentRecord } = await import(${JSON.stringify(CONTRACT)});
  const store = openMasterStore(process.argv[1]);
  for (let n = 1; ; n++) {
    store.putAgent({ ...agentRecord(n % 250), id: "agent-" + n });
    process._rawDebug(String(n));
  }`;

test("what a killed process said to be stored is there", async (context) => {
  const dir = directory(context);
  const child = spawn(process.execPath, ["--input-type=module", "-e", WRITER, dir], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = 0;
  for await (const line of createInterface({ input: child.stderr })) {
    said = Number(line);
    if (said === 200) child.kill("SIGKILL");
  }
  assert.ok(said >= 200, "the child wrote until it was killed");
  const store = openMasterStore(dir);
  const ids = store.load().agents.map(({ id }) => id);
  assert.ok(ids.length >= said, `${ids.length} of ${said}`);
  assert.deepEqual(
    ids,
    ids.map((_, i) => `agent-${i + 1}`),
  );
  store.close();
});

test("a directory that another process uses is refused by name, until that process is gone", async (context) => {
  const dir = directory(context);
  const child = spawn(process.execPath, ["--input-type=module", "-e", WRITER, dir], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  await once(createInterface({ input: child.stderr }), "line");
  assert.throws(() => openMasterStore(dir), {
    code: "in-use",
    message: new RegExp(`directory ${dir} is in use by another`),
  });
  child.kill("SIGKILL");
  await once(child, "exit");
  openMasterStore(dir).close();
});

test("a full disk is a fault, and what was there before stays readable", (context) => {
  const dir = directory(context);
  // A limit on the size of files stands for the full disk: the kernel refuses the write in the same way.
  const child = spawnSync(
    "bash",
    ["-c", `trap '' XFSZ; ulimit -f 256; exec "$@"`, "-", process.execPath, "--input-type=module", "-e", WRITER, dir],
    {
      encoding: "utf8",
    },
  );
  assert.match(child.stderr, /Fault: the database .*master\.db cannot be written \(.*; check the disk's space/);
  const said = [...child.stderr.matchAll(/^(\d+)$/gm)].length;
  const store = openMasterStore(dir);
  assert.equal(store.load().agents.length, said);
  store.close();
});

test("a file that is no database, or a damaged one, is named together with the remedy", (context) => {
  const spoil: [string, (file: string) => void, RegExp][] = [
    ["noise", (file) => writeFileSync(file, "no database".repeat(1_000)), /file is not a database/],
    ["cut off", (file) => truncateSync(file, 8_192), /malformed|pages|damaged/],
    [
      "overwritten in the middle",
      (file) => {
        const bytes = readFileSync(file);
        bytes.fill(0x5a, 4_096, bytes.length - 4_096);
        writeFileSync(file, bytes);
      },
      /damaged/,
    ],
    ["of another program", (file) => change(file, "PRAGMA application_id = 7"), /not made by weft as master\.db/],
    [
      "with a record that is not JSON",
      (file) => change(file, "UPDATE agent SET record = '{' WHERE id = 'agent-7'"),
      /the record of agent agent-7 is not JSON/,
    ],
    [
      "with a record of another shape",
      (file) =>
        change(file, `UPDATE agent SET record = replace(record, '10.0.0.7"', '10.0.0.777"') WHERE id = 'agent-7'`),
      /the record of agent agent-7: ip: is not an IP address/,
    ],
  ];
  for (const [what, how, pattern] of spoil) {
    const { dir, file } = used(context);
    how(file);
    assert.throws(
      () => {
        const store = openMasterStore(dir);
        try {
          store.load();
        } finally {
          store.close();
        }
      },
      (thrown: Error & { code?: string }) => {
        assert.equal(thrown.code, "corrupt-store", what);
        assert.match(thrown.message, pattern, what);
        assert.ok(thrown.message.includes(file) && thrown.message.includes("restore it from a backup"), what);
        return true;
      },
    );
  }
});

test("a database of a later version is left alone", (context) => {
  const { dir, file } = used(context);
  change(file, "PRAGMA user_version = 5");
  assert.throws(() => openMasterStore(dir), {
    code: "unsupported-version",
    message: /has version 5, this program reads version 4/,
  });
});

test("a master's database of version 1 opens with all that it holds, and takes what later versions know", (context) => {
  const { dir, file } = used(context);
  change(
    file,
    "DROP TABLE member; DROP TABLE token; DROP TABLE fact; DROP TABLE gossip_member; DROP TABLE newest_word; PRAGMA user_version = 1",
  );
  const store = openMasterStore(dir);
  assert.deepEqual(store.loadTrust(), { members: [], tokens: [] });
  assert.equal(store.load().agents[6]?.id, "agent-7", "what was there is there");
  store.saveEpochs({ epoch: 1, floor: 0, removals: [] });
  store.close();
  const again = openMasterStore(dir);
  assert.deepEqual(again.loadTrust().epochs, { epoch: 1, floor: 0, removals: [] });
  again.close();
});

test("a database that others may read is refused", (context) => {
  const { dir, file } = used(context);
  chmodSync(file, 0o640);
  assert.throws(() => openMasterStore(dir), { code: "no-rights", message: /master\.db has mode 0640: .* chmod 600/ });
  chmodSync(file, 0o600);
  openMasterStore(dir).close();
});

test("a directory that cannot be made is a fault", (context) => {
  const dir = directory(context);
  writeFileSync(join(dir, "file"), "");
  assert.throws(() => openMasterStore(join(dir, "file", "data")), { code: "storage", message: /cannot be written/ });
});

test("the database is readable by its owner only", (context) => {
  const dir = join(directory(context), "data");
  const store = openAgentStore(dir);
  store.saveIdentity("agent-1");
  assert.equal(statSync(join(dir, "agent.db")).mode & 0o777, 0o600);
  assert.equal(statSync(dir).mode & 0o777, 0o700);
  store.close();
});

test("an empty directory and an empty file are a new store", (context) => {
  const dir = directory(context);
  mkdirSync(join(dir, "data"));
  writeFileSync(join(dir, "data", "master.db"), "", { mode: 0o600 });
  const store = openMasterStore(join(dir, "data"));
  assert.deepEqual(store.load().agents, []);
  store.close();
});

function change(file: string, sql: string): void {
  const db = new DatabaseSync(file);
  db.exec(sql);
  db.close();
}
