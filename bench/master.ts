/**
 * The master under load: how long a thousand new agents take to join by a token, each answer durable before it is sent, and how
 * long a restarted master takes until it serves the state of ten thousand. Both have no peer: the original cannot be run
 * without a Mesos cluster around it.
 *
 * The real program on loopback; the clients run in this process, so their work is part of the figures.
 */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { assert } from "../src/model/fault.ts";
import { MasterHome } from "../test/support/master-process.ts";
import { TestAgent } from "../test/support/trust.ts";
import { atEnd, bench, median } from "./figures.ts";
import { CONFIG, fillStore, registrant } from "./filled-store.ts";

const REGISTRATIONS = 1_000;
const RECORDS = 10_000;
/** Registrations under way at once: a cluster that comes up does not wait for its turn. */
const CLIENTS = 32;

async function withHome<T>(body: (home: MasterHome) => Promise<T>): Promise<T> {
  const home = new MasterHome(CONFIG);
  atEnd(() => home.discard());
  try {
    return await body(home);
  } finally {
    await home.remove();
  }
}

/** Milliseconds until all agents are members. */
function registerAll(): Promise<number> {
  return withHome(async (home) => {
    const { url } = await home.start();
    const agents = Array.from({ length: REGISTRATIONS }, () => new TestAgent(home.joinToken()));
    const waiting = agents.entries();
    const client = async () => {
      for (const [n, agent] of waiting) await agent.register(url, registrant(n));
    };
    const start = performance.now();
    await Promise.all(Array.from({ length: CLIENTS }, client));
    return performance.now() - start;
  });
}

/** Milliseconds from the start of the process to the last byte of its state document. */
async function restart(home: MasterHome): Promise<number> {
  const start = performance.now();
  const master = await home.start();
  const call = get(`${master.url}/overlay-master/state`, { agent: false });
  const [answer] = (await once(call, "response")) as [IncomingMessage];
  const pieces: Buffer[] = await answer.toArray();
  const elapsed = performance.now() - start;
  const { agents } = JSON.parse(Buffer.concat(pieces).toString()) as { agents: unknown[] };
  assert(agents.length === RECORDS, `all ${RECORDS} agents are in the state`);
  await master.kill();
  return elapsed;
}

async function rounds(count: number, round: () => Promise<number>): Promise<number> {
  const samples: number[] = [];
  for (let i = 0; i < count; i++) samples.push(await round());
  return median(samples);
}

await bench("master", async ({ quick, figure }) => {
  const count = quick ? 3 : 9;
  const registered = await rounds(count, registerAll);
  figure({ figure: "register.1000", unit: "ms", ours: registered, peer: null, target: "ours<=5000" });
  const restarted = await withHome((home) => {
    fillStore(home.data, RECORDS);
    return rounds(count, () => restart(home));
  });
  figure({ figure: "restart.10000", unit: "ms", ours: restarted, peer: null, target: "ours<=2000" });
});
