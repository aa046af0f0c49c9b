/**
 * Three masters on an etcd of three members, and thirty deaths of whichever leads: how long until the next registration is
 * served, and whether all that was answered is there at the end, once.
 *
 * The real programs on loopback, killed with SIGKILL and started again. Clients name all three, and try again what was not
 * answered, as agents do. What counts is the first registration that begins after the kill.
 */
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { openMasterClient } from "../src/io/master-client.ts";
import type { AgentRecord, Assignment } from "../src/model/cluster.ts";
import { assert } from "../src/model/fault.ts";
import { prefixesOf } from "../src/model/network.ts";
import { freePorts, pause, TestEtcd } from "../test/support/etcd.ts";
import { MasterHome, type MasterProcess } from "../test/support/master-process.ts";
import { newSigner } from "../test/support/trust.ts";
import { atEnd, bench, percentile } from "./figures.ts";
import { CONFIG, registrant } from "./filled-store.ts";

const MASTERS = 3;
const KILLS = 30;
const KILLS_QUICK = 5;
const CLIENTS = 3;
const BETWEEN_MS = 100;
const AGAIN_MS = 20;
const SERVE_MAX_MS = 60_000;
/** Between a master's new start and the next kill: what it stands by for is known to it, and not much more. */
const SETTLE_MS = 500;

interface Health {
  readonly role: string;
}

class Master {
  readonly home = new MasterHome(CONFIG);
  readonly url: string;
  readonly #arguments: readonly string[];
  #process: MasterProcess | undefined;

  constructor(store: string, port: number, gossip: number) {
    this.url = `http://127.0.0.1:${port}`;
    const addresses = ["--listen", `127.0.0.1:${port}`, "--gossip", `127.0.0.1:${gossip}`];
    this.#arguments = ["--store", store, "--log-level", "info", ...addresses];
    atEnd(() => this.home.discard());
  }

  async start(...more: string[]): Promise<void> {
    this.#process = await this.home.start(...this.#arguments, ...more);
  }

  async kill(): Promise<void> {
    await this.#process?.kill();
  }

  async leads(): Promise<boolean> {
    try {
      const answer = await fetch(`${this.url}/healthz`, { signal: AbortSignal.timeout(1_000) });
      return ((await answer.json()) as Health).role === "leader";
    } catch {
      return false;
    }
  }
}

/** What agents were told, and when. */
class Agents {
  readonly answered = new Map<string, AgentRecord>();
  readonly #urls: readonly string[];
  readonly #home: MasterHome;
  readonly #served: { readonly from: number; resolve(at: number): void }[] = [];
  #next = 0;
  #isEnding = false;

  constructor(urls: readonly string[], home: MasterHome) {
    this.#urls = urls;
    this.#home = home;
  }

  run(): Promise<unknown> {
    const token = this.#home.joinToken();
    const client = async () => {
      for (; !this.#isEnding; await pause(BETWEEN_MS)) {
        const request = registrant(this.#next);
        this.#next += 1;
        const credentials = { signer: newSigner(), membership: () => undefined, joinToken: () => token };
        const { register } = openMasterClient(this.#urls, credentials);
        for (const first = performance.now(); ; ) {
          const begin = performance.now();
          const admission = await register(request).catch(() => undefined);
          if (admission !== undefined) {
            this.#note(begin, admission.assignment);
            break;
          }
          assert(begin - first < SERVE_MAX_MS, "a registration is answered at last");
          await pause(AGAIN_MS);
        }
      }
    };
    return Promise.all(Array.from({ length: CLIENTS }, client));
  }

  end(): void {
    this.#isEnding = true;
  }

  /** Resolves with the time at which the first registration was answered that began later than `from`. */
  served(from: number): Promise<number> {
    const { promise, resolve } = Promise.withResolvers<number>();
    this.#served.push({ from, resolve });
    return promise;
  }

  #note(begin: number, { agent }: Assignment): void {
    this.answered.set(agent.id, agent);
    for (const [n, { from, resolve }] of [...this.#served.entries()].reverse())
      if (begin > from) {
        this.#served.splice(n, 1);
        resolve(performance.now());
      }
  }
}

async function leaderOf(masters: readonly Master[]): Promise<Master> {
  for (const end = performance.now() + SERVE_MAX_MS; performance.now() < end; await pause(AGAIN_MS))
    for (const master of masters) if (await master.leads()) return master;
  throw new Error("nobody leads");
}

async function recordsIn(master: Master): Promise<readonly AgentRecord[]> {
  const answer = await fetch(`${master.url}/v1/state`);
  const { entries } = (await answer.json()) as { entries: Record<string, { record: AgentRecord }> };
  return Object.entries(entries).flatMap(([key, { record }]) => (key.startsWith("agent/") ? [record] : []));
}

/** What of an agent's is its alone. */
function ownOf({ backend, overlays }: AgentRecord): readonly string[] {
  const { vtepIp, vtepIp6, vtepMac } = backend;
  return [vtepIp, vtepIp6 ?? "", vtepMac, ...overlays.flatMap((overlay) => prefixesOf(overlay))].filter(
    (each) => each !== "",
  );
}

async function start(store: string): Promise<readonly Master[]> {
  const ports = await freePorts(2 * MASTERS);
  const masters = Array.from(
    { length: MASTERS },
    (_, n) => new Master(store, ports[2 * n] as number, ports[2 * n + 1] as number),
  );
  const [first, ...others] = masters as [Master, ...Master[]];
  await first.start("--new-cluster");
  await leaderOf([first]);
  for (const { home } of others) {
    mkdirSync(home.data, { mode: 0o700 });
    copyFileSync(join(first.home.data, "cluster.key"), join(home.data, "cluster.key"));
  }
  await Promise.all(others.map((master) => master.start()));
  return masters;
}

await bench(
  "failover",
  async ({ quick, figure, number }) => {
    const etcd = await TestEtcd.start();
    atEnd(() => void etcd.stop());
    const masters = await start(`etcd://${etcd.endpoints.join(",")}`);
    const [first] = masters as [Master];
    const agents = new Agents(
      masters.map(({ url }) => url),
      first.home,
    );
    await pause(SETTLE_MS);
    const running = agents.run();
    const samples: number[] = [];
    for (let kill = 0; kill < number("kills", quick ? KILLS_QUICK : KILLS); kill += 1) {
      const leader = await leaderOf(masters);
      await agents.served(performance.now());
      await leader.kill();
      const from = performance.now();
      samples.push((await agents.served(from)) - from);
      await leader.start();
      await pause(SETTLE_MS);
    }
    agents.end();
    await running;
    const records = await recordsIn(await leaderOf(masters));
    const byId = new Map(records.map((record) => [record.id, record]));
    const lost = [...agents.answered.values()].filter((agent) => {
      const found = byId.get(agent.id);
      return found === undefined || ownOf(found).join() !== ownOf(agent).join();
    });
    const all = records.flatMap((record) => ownOf(record));
    assert(agents.answered.size > samples.length, "agents were registered");
    for (const master of masters) await master.kill();
    await etcd.stop();
    for (const { home } of masters) await home.remove();
    figure({ figure: "serve.p50", unit: "ms", ours: percentile(samples, 50), peer: null, target: "ours<=2000" });
    figure({ figure: "serve.p99", unit: "ms", ours: percentile(samples, 99), peer: null, target: "ours<=5000" });
    figure({ figure: "answered", unit: "agents", ours: agents.answered.size, peer: null, target: "" });
    figure({ figure: "lost", unit: "agents", ours: lost.length, peer: null, target: "ours<=0" });
    figure({
      figure: "doubled",
      unit: "holdings",
      ours: all.length - new Set(all).size,
      peer: null,
      target: "ours<=0",
    });
  },
  ["kills"],
);
