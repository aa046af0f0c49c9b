import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { callSocket, MasterHome } from "../../../test/support/master-process.ts";
import { request } from "../../../test/support/master-rig.ts";
import { TestAgent } from "../../../test/support/trust.ts";
import type { Assignment } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";

function home(context: TestContext, yaml = ""): MasterHome {
  const made = new MasterHome(yaml);
  context.after(() => made.remove());
  return made;
}

/** Agents that keep their keys for the length of a test. */
class Agents {
  readonly #files: MasterHome;
  readonly #agents = new Map<number, TestAgent>();

  constructor(files: MasterHome) {
    this.#files = files;
  }

  async register(url: string, n: number): Promise<Assignment> {
    const agent = this.#agents.get(n) ?? new TestAgent(this.#files.joinToken());
    this.#agents.set(n, agent);
    return agent.register(url, request(n));
  }
}

test("after a kill in the middle of registrations, every agent that was answered is there, record and all", async (context) => {
  const files = home(context);
  const first = await files.start();
  const members = new Agents(files);
  const answered = new Map<number, Assignment>();
  const client = async (from: number) => {
    for (let n = from; ; n += 4) {
      answered.set(n, await members.register(first.url, n));
    }
  };
  const clients = [1, 2, 3, 4].map((from) => client(from).catch(() => {}));
  while (answered.size < 60) await Promise.race([new Promise(setImmediate), ...clients]);
  await first.kill();
  await Promise.all(clients);

  const second = await files.start();
  const { agents } = (await (await fetch(`${second.url}/v1/agents`)).json()) as { agents: { id: string }[] };
  const known = new Map(agents.map((each) => [each.id, each]));
  for (const [n, { agent }] of answered) {
    const { connected: _, statuses: __, ...record } = known.get(`agent-${n}`) as Record<string, unknown>;
    assert.deepEqual(record, agent);
    assert.deepEqual(await members.register(second.url, n), answered.get(n));
  }
  const vteps = new Set(agents.map((each) => JSON.stringify((each as { backend?: unknown }).backend)));
  assert.equal(vteps.size, agents.length, "what was stored and not answered holds nothing twice");
});

test("SIGTERM ends a master that has a half-sent request, and takes its socket away", async (context) => {
  const files = home(context);
  const master = await files.start();
  assert.equal(statSync(files.socket).mode & 0o777, 0o600);
  assert.match(String((await callSocket(files.socket, "GET", "/healthz")).body), /"role":"leader"/);
  const half = connect(files.socket);
  half.write("POST /v1/agents/register HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n");
  half.on("error", () => {});
  assert.match(String(await once(half, "data")), /100 Continue/, "the master waits for the rest");
  await master.stop();
  assert.ok(!existsSync(files.socket));
});

test("what may be done by the socket only is refused on TCP", async (context) => {
  const files = home(context);
  const master = await files.start();
  await new Agents(files).register(master.url, 1);
  assert.equal((await fetch(`${master.url}/v1/agents/agent-1`, { method: "DELETE" })).status, 403);
  assert.equal((await callSocket(files.socket, "DELETE", "/v1/agents/agent-1")).status, 204);
});

test("the socket of a dead master is replaced, that of a live one is refused", async (context) => {
  const files = home(context);
  await (await files.start()).kill();
  assert.ok(existsSync(files.socket), "a killed process leaves it behind");
  await files.start();
  const { status, message } = await files.refusal("--data-dir", join(files.dir, "other"));
  assert.equal(status, 69);
  assert.match(message, /another process serves .*master\.sock; stop it, or give another path with --socket/);
  assert.equal((await callSocket(files.socket, "GET", "/healthz")).status, 200, "and is still served");
});

test("a master that cannot start says why in one line, and leaves nothing behind", async (context) => {
  const files = home(context);
  const master = await files.start();
  const taken = new URL(master.url).host;
  const [socket, data] = [join(files.dir, "s.sock"), join(files.dir, "d")];
  const elsewhere = ["--socket", socket, "--data-dir", data];
  writeFileSync(join(files.dir, "bad.yaml"), "dcos_overlay_network:\n  vtep_subnet: 1.2.3.4/8\n  overlays: []\n");
  mkdirSync(join(files.dir, "corrupt"));
  writeFileSync(join(files.dir, "corrupt", "master.db"), "noise".repeat(1_000), { mode: 0o600 });
  const rows: [string[], number, RegExp][] = [
    [[...elsewhere, "--listen", taken], 69, /cannot listen on 127\.0\.0\.1:\d+: another process listens there/],
    [[...elsewhere, "--listen", "192.0.2.1:5050"], 64, /no device of this host holds that address/],
    [[...elsewhere, "--listen", "nowhere"], 64, /'nowhere' is no address to listen on/],
    [["--socket", socket], 1, /the data directory .*\/data is in use by another process/],
    [[...elsewhere, "--config", join(files.dir, "none.yaml")], 78, /none\.yaml cannot be read: there is no such file/],
    [[...elsewhere, "--config", files.dir], 78, /cannot be read: it is a directory/],
    [[...elsewhere, "--config", join(files.dir, "bad.yaml")], 78, /bad\.yaml: the configuration has 3 problems/],
    [
      ["--socket", socket, "--data-dir", join(files.dir, "corrupt")],
      65,
      /master\.db is damaged \(.*restore it from a backup/,
    ],
    [["--data-dir", data, "--socket", files.config], 64, /config\.yaml is there and is no socket/],
  ];
  for (const [args, expected, pattern] of rows) {
    const { status, message } = await files.refusal(...args);
    assert.match(message, pattern);
    assert.equal(status, expected, message);
    assert.ok(!existsSync(socket), "no socket is left");
  }
  assert.equal(readFileSync(files.config, "utf8"), "");
});

test("on a full disk agents are refused one by one, and everything else is served", async (context) => {
  const files = home(context);
  const master = await files.startOnSmallDisk(256);
  const members = new Agents(files);
  let n = 0;
  let refused: unknown;
  while (refused === undefined) {
    n += 1;
    await members.register(master.url, n).catch((thrown: unknown) => {
      refused = thrown;
    });
    assert.ok(n < 2_000, "the disk gets full");
  }
  assert.ok(refused instanceof Fault && refused.code === "storage", String(refused));
  assert.match(refused.message, /master\.db cannot be written/);
  const { agents } = (await (await fetch(`${master.url}/overlay-master/state`)).json()) as { agents: unknown[] };
  assert.equal(agents.length, n - 1);
  assert.equal((await members.register(master.url, 1)).agent.id, "agent-1", "who is known is answered");
});

test("keys are made once, with the first start's token; a lost cluster key is not made up anew", async (context) => {
  const files = home(context);
  await (await files.start()).stop();
  const names = ["cluster.key", "identity.key", "join-token", "master.db"].map((name) => join(files.data, name));
  for (const path of names) assert.equal(statSync(path).mode & 0o777, 0o600, path);
  const before = names.slice(0, 3).map((path) => readFileSync(path, "utf8"));
  rmSync(names[2] as string);
  await (await files.start()).stop();
  assert.ok(!existsSync(names[2] as string), "whoever took the token's file away wanted it away");
  assert.deepEqual(
    names.slice(0, 2).map((path) => readFileSync(path, "utf8")),
    before.slice(0, 2),
  );
  chmodSync(names[0] as string, 0o644);
  assert.deepEqual((await files.refusal()).status, 77);
  rmSync(names[0] as string);
  const { status, message } = await files.refusal();
  assert.equal(status, 65);
  assert.match(message, /cluster\.key is missing, .* restore it from a backup/);
});

test("a master begins with the join token that it finds", async (context) => {
  const files = home(context);
  mkdirSync(files.data, { mode: 0o700 });
  const text = `weft-join-abcdefgh-${"A".repeat(43)}\n`;
  writeFileSync(join(files.data, "join-token"), text, { mode: 0o600 });
  const master = await files.start();
  await new Agents(files).register(master.url, 1);
  assert.equal(readFileSync(join(files.data, "join-token"), "utf8"), text);
  await master.stop();
});

test("a second data directory serves a second master beside the first", async (context) => {
  const [one, two] = [home(context), home(context)];
  const masters = await Promise.all([one.start(), two.start()]);
  await Promise.all(masters.map((master) => master.stop()));
});

test("help is enough to use it", async () => {
  const main = new URL("../cli/main.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [main, "master", "--help"], { stdio: ["ignore", "pipe", "inherit"] });
  const text = Buffer.concat(await child.stdout.toArray()).toString();
  assert.deepEqual(child.exitCode ?? (await once(child, "exit"))[0], 0);
  for (const word of ["--config", "--listen", "--socket", "--data-dir", "--log-level", "0.0.0.0:5050", "Exit status"])
    assert.ok(text.includes(word), word);
});
