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
import { openControl } from "../../../test/support/control.ts";
import { openMasterDisk } from "./sqlite-control-store.ts";
import { openAgentStore } from "./sqlite-store.ts";

function directory(context: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "weft-test-sqlite-"));
  context.after(() => rmSync(dir, { recursive: true }));
  return dir;
}

/** A store that was used and closed, and a way to spoil its file. */
function used(context: TestContext): { dir: string; file: string } {
  const dir = directory(context);
  const { write, close } = openControl(openMasterDisk(dir));
  for (let n = 1; n < 100; n++) write((records) => records.putAgent(agentRecord(n)));
  close();
  return { dir, file: join(dir, "master.db") };
}

const STORE = new URL("./sqlite-control-store.ts", import.meta.url).href;
const CONTROL = new URL("../../../test/support/control.ts", import.meta.url).href;
const CONTRACT = new URL("../../../test/contract/store-contract.ts", import.meta.url).href;
/** Writes agents for as long as it lives, and says the number of each when it is durable. */
const WRITER = `
  const { openMasterDisk } = await import(${JSON.stringify(STORE)});
  const { openControl } = await import(${JSON.stringify(CONTROL)});
  const { agentRecord } = await import(${JSON.stringify(CONTRACT)});
  const { write } = openControl(openMasterDisk(process.argv[1]));
  for (let n = 1; ; n++) {
    write((records) => records.putAgent({ ...agentRecord(n % 250), id: "agent-" + n }));
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
  const store = openControl(openMasterDisk(dir));
  const ids = store.records.agents().map(({ id }) => id);
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
  assert.throws(() => openMasterDisk(dir), {
    code: "in-use",
    message: new RegExp(`directory ${dir} is in use by another`),
  });
  child.kill("SIGKILL");
  await once(child, "exit");
  openMasterDisk(dir).close();
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
  const store = openControl(openMasterDisk(dir));
  assert.equal(store.records.agents().length, said);
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
      (file) => change(file, "UPDATE entry SET value = '{' WHERE key = 'agent/agent-7'"),
      /agent\/agent-7 is not JSON/,
    ],
    [
      "with a record of another shape",
      (file) =>
        change(file, `UPDATE entry SET value = replace(value, '10.0.0.7"', '10.0.0.777"') WHERE key = 'agent/agent-7'`),
      /agent\/agent-7 is damaged \(record\.ip: is not an IP address/,
    ],
  ];
  for (const [what, how, pattern] of spoil) {
    const { dir, file } = used(context);
    how(file);
    assert.throws(
      () => {
        const disk = openMasterDisk(dir);
        try {
          openControl(disk).records.agents();
        } finally {
          disk.close();
        }
      },
      (thrown: Error & { code?: string }) => {
        assert.equal(thrown.code, "corrupt-store", what);
        assert.match(thrown.message, pattern, what);
        assert.ok(/restore (it|the store) from a backup/.test(thrown.message), what);
        return true;
      },
    );
  }
});

test("a database of a later version is left alone", (context) => {
  const { dir, file } = used(context);
  change(file, "PRAGMA user_version = 6");
  assert.throws(() => openMasterDisk(dir), {
    code: "unsupported-version",
    message: /has version 6, this program reads version 5/,
  });
});

/** What the first version of the database looked like, and the third, with one of everything. */
const OLD_TABLES = `
  CREATE TABLE network (id INTEGER PRIMARY KEY CHECK (id = 1), source TEXT NOT NULL) STRICT;
  CREATE TABLE agent (position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, record TEXT NOT NULL) STRICT;
  INSERT INTO network VALUES (1, '{"vtep_subnet":"44.128.0.0/20","vtep_mac_oui":"70:B3:D5:00:00:00","overlays":[{"name":"web","subnet":"10.0.0.0/8","prefix":24,"enabled":true},{"name":"dcos","subnet":"9.0.0.0/8","prefix":24,"enabled":false}]}');
  INSERT INTO agent (id, record) VALUES ('agent-2', '${JSON.stringify(agentRecord(2))}'), ('agent-1', '${JSON.stringify(agentRecord(1))}');
  PRAGMA application_id = ${0x5766744d}; PRAGMA user_version = 1;`;
const KEY = Buffer.alloc(32, 7).toString("base64url");
const TOKEN = {
  id: "aaaaaaaa",
  kind: "join",
  key: KEY,
  note: "",
  created: "2026-11-21T08:00:00Z",
  used: 3,
  epoch: 1,
  revoked: false,
};
const OLD_TRUST = `
  CREATE TABLE member (agent_id TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE token (position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, value TEXT NOT NULL) STRICT;
  CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
  CREATE TABLE gossip_member (id TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;
  INSERT INTO token (id, value) VALUES ('aaaaaaaa', '${JSON.stringify(TOKEN)}');
  INSERT INTO fact VALUES ('epochs', '{"epoch":4,"floor":1,"removals":[]}'), ('gossip-gen', '77'),
    ('key-ring', '{"phase":"steady","current":{"id":1,"key":"${KEY}"}}');
  PRAGMA user_version = 3;`;

for (const [version, tables] of [
  [1, OLD_TABLES],
  [3, OLD_TABLES + OLD_TRUST],
] as const)
  test(`a master's database of version ${version} opens with all that it holds, and takes what later versions know`, (context) => {
    const dir = directory(context);
    const file = join(dir, "master.db");
    writeFileSync(file, "", { mode: 0o600 });
    change(file, tables);
    const disk = openMasterDisk(dir);
    const { records, write } = openControl(disk);
    assert.deepEqual(records.agents(), [agentRecord(2), agentRecord(1)]);
    assert.deepEqual(
      records.network()?.overlays.map(({ name, enabled }) => [name, enabled]),
      [
        ["web", true],
        ["dcos", false],
      ],
    );
    const { tokens, epochs, keyRing } = records.trust();
    assert.deepEqual(
      [tokens, epochs?.epoch, keyRing?.current.key],
      version === 1 ? [[], undefined, undefined] : [[TOKEN], 4, KEY],
    );
    assert.equal(disk.gossip.gossipGen(), version === 1 ? 0 : 77);
    write(() => records.saveEpochs({ epoch: 5, floor: 0, removals: [] }));
    disk.close();
    const again = openControl(openMasterDisk(dir));
    assert.equal(again.records.trust().epochs?.epoch, 5);
    again.close();
  });

test("a database that others may read is refused", (context) => {
  const { dir, file } = used(context);
  chmodSync(file, 0o640);
  assert.throws(() => openMasterDisk(dir), { code: "no-rights", message: /master\.db has mode 0640: .* chmod 600/ });
  chmodSync(file, 0o600);
  openMasterDisk(dir).close();
});

test("a directory that cannot be made is a fault", (context) => {
  const dir = directory(context);
  writeFileSync(join(dir, "file"), "");
  assert.throws(() => openMasterDisk(join(dir, "file", "data")), { code: "storage", message: /cannot be written/ });
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
  const store = openControl(openMasterDisk(join(dir, "data")));
  assert.deepEqual(store.records.agents(), []);
  store.close();
});

function change(file: string, sql: string): void {
  const db = new DatabaseSync(file);
  db.exec(sql);
  db.close();
}
