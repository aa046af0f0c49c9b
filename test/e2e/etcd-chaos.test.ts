/**
 * Three masters that allocate numbers from one etcd of three members, through trouble that a seed chooses: members and
 * leaders are killed, leaders are stopped and wake up, leaders are cut off, histories are compacted. Then the history is
 * read, and must hold each thing that was acknowledged, each revision once, and no two terms in turns.
 */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { openEtcdControlStore } from "../../src/io/store/etcd/etcd-control-store.ts";
import { parseEtcdUrl } from "../../src/io/store/etcd/etcd-url.ts";
import type { ControlEvent } from "../../src/model/control-event.ts";
import { type EtcdMember, etcdProblem, freePorts, pause, TestEtcd } from "../support/etcd.ts";
import { seededRandom } from "../support/seeded-random.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";

const PROGRAM = new URL("../support/control-writer.ts", import.meta.url).pathname;
const WRITERS = 3;
const STEPS = Number(process.env.WEFT_ETCD_STEPS ?? 8);
const SEED = Number(process.env.WEFT_ETCD_SEED ?? 1 + Math.floor(Math.random() * 1_000_000));
const PROGRESS_MS = 20_000;

interface Acknowledged {
  readonly revision: number;
  readonly term: number;
  readonly what: string;
}

/** One master, with ways of its own to each member of etcd. */
class Writer {
  readonly id: string;
  readonly file: string;
  readonly proxies: readonly TcpProxy[];
  readonly #port: number;
  #process: ChildProcess | undefined;

  constructor(id: string, dir: string, port: number, proxies: readonly TcpProxy[]) {
    this.id = id;
    this.file = join(dir, `${id}.acknowledged`);
    this.#port = port;
    this.proxies = proxies;
  }

  start(): void {
    const url = `etcd://${this.proxies.map(({ endpoint }) => endpoint).join(",")}`;
    const argv = ["--pdeathsig", "KILL", process.execPath, PROGRAM, url, this.id, String(this.#port), this.file];
    this.#process = spawn("setpriv", argv, { stdio: ["ignore", "inherit", "inherit"] });
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  async kill(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (running === undefined) return;
    assert.equal(running.exitCode, null, `${this.id} ended by itself`);
    running.kill("SIGKILL");
    await once(running, "exit");
  }

  /** A last line that was cut off by a kill was still acknowledged to nobody. */
  acknowledged(): Acknowledged[] {
    if (!existsSync(this.file)) return [];
    const lines = readFileSync(this.file, "utf8").split("\n").slice(0, -1);
    return lines.map((line) => {
      const [revision, term, ...what] = line.split(" ");
      return { revision: Number(revision), term: Number(term), what: what.join(" ") };
    });
  }
}

class Scene {
  readonly etcd: TestEtcd;
  readonly writers: readonly Writer[];
  readonly #t: TestContext;

  constructor(t: TestContext, etcd: TestEtcd, writers: readonly Writer[]) {
    this.#t = t;
    this.etcd = etcd;
    this.writers = writers;
  }

  static async begin(t: TestContext): Promise<Scene> {
    const dir = mkdtempSync(join(tmpdir(), "weft-etcd-chaos-"));
    const etcd = await TestEtcd.start();
    const writers: Writer[] = [];
    t.after(async () => {
      for (const writer of writers) {
        await writer.kill().catch(() => undefined);
        for (const proxy of writer.proxies) await proxy.close();
      }
      await etcd.stop();
      rmSync(dir, { recursive: true });
    });
    for (const port of await freePorts(WRITERS)) {
      const proxies = await Promise.all(etcd.members.map(({ clientPort }) => TcpProxy.to(clientPort)));
      writers.push(new Writer(`writer-${writers.length + 1}`, dir, port, proxies));
    }
    return new Scene(t, etcd, writers);
  }

  last(): Acknowledged & { readonly writer: Writer | undefined } {
    const lasts = this.writers.flatMap((writer) => {
      const found = writer.acknowledged().at(-1);
      return found === undefined ? [] : [{ ...found, writer }];
    });
    const none = { revision: 0, term: 0, what: "", writer: undefined };
    return lasts.reduce((a, b) => (b.revision > a.revision ? b : a), none as ReturnType<Scene["last"]>);
  }

  /** Resolves when something was acknowledged since: by anybody, or by another one than this writer. */
  async progress(what: string, not?: Writer): Promise<void> {
    const { revision } = this.last();
    const began = performance.now();
    const isDone = () => {
      const now = this.last();
      return now.revision > revision && now.writer !== not;
    };
    while (!isDone()) {
      if (performance.now() - began > PROGRESS_MS)
        assert.fail(`nothing is acknowledged within ${PROGRESS_MS / 1000} s after: ${what} (seed ${SEED})`);
      await pause(20);
    }
    this.#t.diagnostic(`${what}: served again after ${Math.round(performance.now() - began)} ms`);
  }
}

type Step = (scene: Scene, random: () => number) => Promise<void>;

const STEP_KINDS: Readonly<Record<string, Step>> = {
  "a member is killed": async (scene, random) => {
    const member = scene.etcd.members[Math.floor(random() * scene.etcd.members.length)] as EtcdMember;
    await member.kill();
    await scene.progress(`${member.name} is killed`);
    member.start();
    await scene.etcd.ready(member);
  },
  "the leader is killed": async (scene) => {
    const { writer } = scene.last();
    await writer?.kill();
    await scene.progress(`${writer?.id} is killed`, writer);
    writer?.start();
  },
  "the leader sleeps": async (scene) => {
    const { writer } = scene.last();
    writer?.signal("SIGSTOP");
    await scene.progress(`${writer?.id} sleeps`, writer);
    writer?.signal("SIGCONT");
    await scene.progress(`${writer?.id} wakes up`);
  },
  "the leader is cut off": async (scene) => {
    const { writer } = scene.last();
    for (const proxy of writer?.proxies ?? []) proxy.cut();
    await scene.progress(`${writer?.id} is cut off`, writer);
    for (const proxy of writer?.proxies ?? []) proxy.mend();
    await scene.progress(`${writer?.id} is back`);
  },
  "the leader's answers are lost": async (scene, random) => {
    const { writer } = scene.last();
    const proxy = writer?.proxies[Math.floor(random() * writer.proxies.length)];
    proxy?.loseAnswers();
    await scene.progress(`answers to ${writer?.id} are lost`);
    await pause(2_000 * random());
    proxy?.mend();
  },
  "the history is compacted": async (scene) => {
    const { header } = (await scene.etcd.call("/v3/kv/range", { key: "MA==" })) as { header: { revision: string } };
    await scene.etcd.call("/v3/kv/compaction", { revision: header.revision, physical: true });
    await scene.progress("etcd's history is compacted");
  },
};

test("masters on etcd lose nothing and give nothing twice, whatever dies, sleeps or is cut off", {
  skip: etcdProblem() ?? false,
  timeout: 150_000,
}, async (t) => {
  t.diagnostic(`WEFT_ETCD_SEED=${SEED}`);
  const random = seededRandom(SEED).fraction;
  const scene = await Scene.begin(t);
  for (const writer of scene.writers) writer.start();
  await scene.progress("start");
  const kinds = Object.entries(STEP_KINDS);
  // Each kind once, in any order; then any.
  const order = shuffled(kinds, random);
  for (let step = 0; step < STEPS; step += 1) {
    const [, run] = order[step] ?? (kinds[Math.floor(random() * kinds.length)] as (typeof kinds)[number]);
    await run(scene, random);
  }
  for (const writer of scene.writers) await writer.kill();
  await checkHistory(t, scene);
});

async function checkHistory(t: TestContext, scene: Scene): Promise<void> {
  const { endpoints, prefix } = parseEtcdUrl(`etcd://${scene.etcd.endpoints.join(",")}`);
  const store = openEtcdControlStore({ endpoints, prefix });
  t.after(() => store.close());
  const term = await store.lead({ id: "judge", url: "http://127.0.0.1:1" }, t.signal);
  const { revision, entries } = await term.load();
  const events: ControlEvent[] = [];
  for (let page = await term.events(0, 1_000); page.length > 0; page = await term.events(events.length, 1_000))
    events.push(...page);
  assert.equal(events.length, revision, "as many events as revisions");
  const held = new Map<string, unknown>();
  let last = 0;
  for (const [index, { revision: number, who, changes }] of events.entries()) {
    assert.equal(number, index + 1, "revisions have no gaps");
    const of = Number(who.split(" ").at(-1));
    assert.ok(of >= last, `revision ${number} is of term ${of}, and term ${last} had begun (seed ${SEED})`);
    last = of;
    for (const { key, before, after } of changes) {
      assert.equal(held.get(key), before, `revision ${number}: ${key} is what its writer took it for (seed ${SEED})`);
      if (after === undefined) held.delete(key);
      else held.set(key, after);
    }
  }
  assert.deepEqual(new Map([...held].sort()), new Map([...entries].sort()));
  const acknowledged = scene.writers.flatMap((writer) => writer.acknowledged().map((each) => ({ ...each, writer })));
  for (const { revision: number, term: of, what, writer } of acknowledged) {
    const { who, what: found } = events[number - 1] ?? {};
    assert.deepEqual(
      [who, found],
      [`${writer.id} term ${of}`, what],
      `revision ${number} was acknowledged (seed ${SEED})`,
    );
  }
  const terms = new Set(events.map(({ who }) => who)).size;
  t.diagnostic(`${events.length} events, ${acknowledged.length} acknowledged, ${terms} terms`);
  assert.ok(terms > 3, "the lead changed");
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => [random(), item] as const)
    .sort(([a], [b]) => a - b)
    .map(([, item]) => item);
}
