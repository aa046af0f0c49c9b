/**
 * Gossip among 40 real processes, each on a host of its own: how soon a crash is known, and what it costs when nothing
 * happens. Ours: Weft's gossip alone in a process, as serf is. Peer: Debian's serf at its defaults, on the same hosts, in
 * the same rounds. `agent.*`: whole agents with a master, of which fewer fit on one machine.
 *
 * A crash is SIGKILL; times count until the line that says so has come here, for all sides alike, so one clock measures.
 * One side runs at a time.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "../src/model/fault.ts";
import { atEnd, bench, median, percentile, type Run } from "./figures.ts";
import { Field, type FieldProcess } from "./gossip-field.ts";
import { AGENTS, MEMBERS, SERF, type Side, type SideName } from "./gossip-sides.ts";

const JOIN_MS = 120_000;
/** serf gives a suspect at most 6 × 4 × log10(40) probes of a second; then all are told. */
const KNOWN_MS = 60_000;
const POLL_MS = 5;
const KNOWN_SHARE = 0.9;

interface Plan {
  readonly nodes: number;
  readonly rounds: number;
  readonly crashes: number;
  /** At most; each side says how much it needs. */
  readonly settleMs: number;
  readonly idleMs: number;
}

const FULL: Plan = { nodes: 40, rounds: 2, crashes: 8, settleMs: 70_000, idleMs: 15_000 };
const QUICK: Plan = { nodes: 12, rounds: 1, crashes: 2, settleMs: 2_000, idleMs: 3_000 };

/** What one side showed, over all rounds. */
interface Sample {
  readonly detectMs: number[];
  readonly knownMs: number[];
  /** A round each. */
  readonly bytes: number[];
  readonly cpu: number[];
  readonly rss: number[];
  readonly load: number[];
  /** Somebody who lived was held dead by somebody, once all had joined: pairs of the two. */
  falseDead: number;
}

/** One side while it runs: who holds whom for alive. */
class Cluster {
  readonly side: Side;
  readonly nodes: readonly FieldProcess[];
  readonly #others: readonly FieldProcess[];
  /** By the address of the one that sees: whom it holds alive. */
  readonly #alive = new Map<string, Set<string>>();
  /** By the address of the one that was killed: when, and when each other one held it dead. */
  readonly #crashes = new Map<string, { readonly at: number; readonly seenAt: number[] }>();
  falseDead = 0;

  constructor(side: Side, nodes: readonly FieldProcess[], others: readonly FieldProcess[]) {
    this.side = side;
    this.nodes = nodes;
    this.#others = others;
    for (const process of [...nodes, ...others]) {
      this.#alive.set(process.address, new Set());
      process.listen((line) => this.#heard(process, line));
    }
  }

  /** @returns once each holds all others alive, after how many ms */
  async joined(): Promise<number> {
    const from = performance.now();
    const isJoined = ({ address }: FieldProcess) => {
      const alive = this.#alive.get(address);
      return this.nodes.every((node) => node.address === address || alive?.has(node.address) === true);
    };
    while (!this.nodes.every(isJoined)) {
      const dead = this.nodes.find(({ isRunning }) => !isRunning);
      assert(dead === undefined, `${this.side.name} run: ${dead?.address} ended: ${dead?.said.at(-1)}`);
      const missing = this.nodes.filter((node) => !isJoined(node)).length;
      assert(performance.now() - from < JOIN_MS, `all ${this.side.name} know each other; ${missing} do not`);
      await sleep(POLL_MS);
    }
    return performance.now() - from;
  }

  /** Kills it. @returns ms until the first, and until nine of ten others hold it dead */
  async crash(victim: FieldProcess): Promise<{ detectMs: number; knownMs: number }> {
    const at = performance.now();
    const crash = { at, seenAt: [] as number[] };
    this.#crashes.set(victim.address, crash);
    await victim.kill();
    const left = [...this.nodes, ...this.#others].filter(({ isRunning }) => isRunning).length;
    const enough = Math.ceil(left * KNOWN_SHARE);
    while (crash.seenAt.length < enough) {
      const seen = crash.seenAt.length;
      assert(performance.now() - at < KNOWN_MS, `${this.side.name}: ${victim.address} is known dead by ${seen} only`);
      await sleep(POLL_MS);
    }
    return { detectMs: (crash.seenAt[0] as number) - at, knownMs: (crash.seenAt[enough - 1] as number) - at };
  }

  async stop(): Promise<void> {
    await Promise.all([...this.nodes, ...this.#others].map((process) => process.kill()));
  }

  #heard(process: FieldProcess, line: string): void {
    const word = this.side.parse(line);
    const alive = this.#alive.get(process.address);
    if (word === undefined || alive === undefined) return;
    if (word.isAlive) alive.add(word.address);
    else if (alive.delete(word.address)) {
      const crash = this.#crashes.get(word.address);
      if (crash !== undefined) crash.seenAt.push(performance.now());
      else this.falseDead += 1;
    }
  }
}

async function idle(field: Field, cluster: Cluster, plan: Plan, sample: Sample): Promise<void> {
  const { nodes, side } = cluster;
  await sleep(Math.min(plan.settleMs, side.settleMs));
  const cpu = () => nodes.reduce((sum, node) => sum + node.cpuMs, 0);
  const [from, bytes, used] = [performance.now(), field.traffic[side.counter], cpu()];
  await sleep(plan.idleMs);
  const seconds = (performance.now() - from) / 1_000;
  // The master's own packets are the agents' cost as well.
  sample.bytes.push((field.traffic[side.counter] - bytes) / seconds / nodes.length);
  sample.cpu.push((cpu() - used) / seconds / nodes.length);
  sample.rss.push(median(nodes.map(({ residentMb }) => residentMb)));
  sample.load.push(loadavg()[0] as number);
}

/** Starts it, looks at it while it is idle, and kills some of its nodes, one after the other. */
async function round(field: Field, side: Side, plan: Plan, dir: string, sample: Sample): Promise<void> {
  mkdirSync(dir, { recursive: true });
  const hosts = [...field.hosts.slice(0, -1).slice(0, side.nodes), ...field.hosts.slice(-1)];
  const { nodes, others } = await side.start(hosts, dir);
  const cluster = new Cluster(side, nodes, others);
  const joinMs = await cluster.joined();
  const falseDeadAtStart = cluster.falseDead;
  await idle(field, cluster, plan, sample);
  // Never the first: it is whom the others joined by.
  const victims = nodes.slice(1).sort(() => Math.random() - 0.5);
  for (const victim of victims.slice(0, plan.crashes)) {
    const { detectMs, knownMs } = await cluster.crash(victim);
    sample.detectMs.push(detectMs);
    sample.knownMs.push(knownMs);
    // So that crashes do not fall into step with anybody's seconds.
    await sleep(500 + Math.random() * 1_000);
  }
  sample.falseDead += cluster.falseDead - falseDeadAtStart;
  await cluster.stop();
  const last = (values: readonly number[]) => Math.round(values.at(-1) ?? Number.NaN);
  const detect = sample.detectMs.slice(-plan.crashes).map(Math.round).join(" ");
  console.error(
    `${side.name}: joined in ${Math.round(joinMs)} ms; idle ${last(sample.bytes)} bytes/s, ` +
      `${last(sample.cpu)} ms/s of processor, ${last(sample.rss)} MB a node; detected after ${detect} ms; ` +
      `held dead but alive: ${falseDeadAtStart} while they started, ${cluster.falseDead - falseDeadAtStart} later; load ${loadavg().map((value) => value.toFixed(1))}`,
  );
}

type Target = "detect.p50" | "idle.bytes";

/** @param peer `undefined`: nothing that was measured is a peer of it */
function report(
  figure: Run["figure"],
  prefix: string,
  ours: Sample,
  peer?: Sample,
  targets: Partial<Record<Target, string>> = {},
): void {
  const both = (name: string, unit: string, of: (sample: Sample) => number) => {
    const target = targets[name as Target] ?? "";
    figure({ figure: prefix + name, unit, ours: of(ours), peer: peer === undefined ? null : of(peer), target });
  };
  both("detect.p50", "ms", ({ detectMs }) => median(detectMs));
  both("detect.p90", "ms", ({ detectMs }) => percentile(detectMs, 90));
  both("known.p90", "ms", ({ knownMs }) => median(knownMs));
  both("idle.bytes", "bytes/s", ({ bytes }) => median(bytes));
  both("idle.cpu", "ms/s", ({ cpu }) => median(cpu));
  both("rss", "MB", ({ rss }) => median(rss));
  both("false.dead", "pairs", ({ falseDead }) => falseDead);
  both("load", "tasks", ({ load }) => median(load));
}

await bench("gossip-real", async ({ quick, figure }) => {
  const plan = quick ? QUICK : FULL;
  const dir = mkdtempSync(join(tmpdir(), "weft-bench-gossip-"));
  atEnd(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
  const field = new Field(plan.nodes + 1);
  const newSample = () => ({ detectMs: [], knownMs: [], bytes: [], cpu: [], rss: [], load: [], falseDead: 0 });
  const samples: Record<SideName, Sample> = { agents: newSample(), members: newSample(), serf: newSample() };
  const sides = [AGENTS, SERF, MEMBERS];
  for (let n = 0; n < plan.rounds; n++)
    for (const side of n % 2 === 0 ? sides : sides.toReversed())
      await round(field, side, plan, join(dir, `${n}-${side.name}`), samples[side.name]);
  report(figure, "", samples.members, samples.serf, { "detect.p50": "ratio<=0.33", "idle.bytes": "ratio<=1.5" });
  report(figure, "agent.", samples.agents);
});
