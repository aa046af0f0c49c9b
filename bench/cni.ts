/**
 * A container's way onto the network as its runtime sees it: the CNI executable is started, and gone again with its
 * result. Ours is weft-cni with a running agent; the peer is the reference plugin `bridge` with `host-local`, set up to
 * give a container what Weft gives it: an address, the host as gateway, masquerading of what leaves the network.
 *
 * `leaks` counts what an agent that is killed in the middle of every tenth cycle leaves behind, after every container
 * was detached: leases, and whatever the kernel holds on the host or inside that it did not hold before.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { assert } from "../src/model/fault.ts";
import { seededRandom } from "../test/support/seeded-random.ts";
import { AgentHost, observe, openNamespace } from "./agent-host.ts";
import { Cycle, newId, referenceSide, type Side, succeeded, weftSide } from "./attach-sides.ts";
import { alternate, bench, median, percentile } from "./figures.ts";
import { type PluginCall, PluginCaller } from "./plugin-caller.ts";
import { surplus } from "./surplus.ts";

const AT_ONCE = 8;
/** The longest that a killed agent has run into a call. */
const KILL_WITHIN_MS = 12;
const TRIES_MAX = 50;
const RETRY_MS = 20;

/** Containers that are attached a second by eight runtimes at once, each with one container after the other. */
async function attachRate(side: Side, each: number): Promise<number> {
  const runtimes = Array.from({ length: AT_ONCE }, () => ({
    caller: new PluginCaller(side.host.netns),
    containers: Array.from({ length: each }, () => ({ id: newId(), namespace: openNamespace() })),
  }));
  const all = (command: "ADD" | "DEL") =>
    Promise.all(
      runtimes.flatMap(({ caller, containers }) =>
        containers.map(async ({ id, namespace }) => succeeded(await caller.call(side.call(command, id, namespace)))),
      ),
    );
  const start = performance.now();
  await all("ADD");
  const elapsed = performance.now() - start;
  await all("DEL");
  for (const { caller, containers } of runtimes) {
    caller.close();
    for (const { namespace } of containers) namespace.netns.close();
  }
  return (AT_ONCE * each) / (elapsed / 1_000);
}

/** As runtimes do: what is refused because the agent is away is called again; whatever else an ADD fails with is left to DEL. */
async function insist(caller: PluginCaller, call: PluginCall): Promise<void> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const { status, output } = await caller.call(call);
    if (status === 0) return;
    if (call.environment.CNI_COMMAND === "ADD" && (JSON.parse(output) as { code: number }).code !== 11) return;
    await sleep(RETRY_MS);
  }
  assert(false, `${call.environment.CNI_COMMAND} succeeds after at most ${TRIES_MAX} tries`);
}

/** What is left after so many cycles with an agent that is killed in every tenth. */
async function leaksOf(agent: AgentHost, cycles: number): Promise<number> {
  const side = weftSide(agent);
  const container = openNamespace();
  const caller = new PluginCaller(side.host.netns);
  const random = seededRandom(1);
  const state = async () => ({ host: await observe(side.host), container: await observe(container) });
  const before = await state();
  for (let cycle = 0; cycle < cycles; cycle++) {
    const id = newId();
    const killed = cycle % 10 === 9 ? (["ADD", "DEL"] as const)[Math.floor(random.fraction() * 2)] : undefined;
    for (const command of ["ADD", "DEL"] as const) {
      const done = insist(caller, side.call(command, id, container));
      if (killed === command) {
        await sleep(random.fraction() * KILL_WITHIN_MS);
        await agent.killAgent();
        await agent.startAgent();
      }
      await done;
    }
  }
  caller.close();
  const after = await state();
  const left = [...surplus(before.host, after.host), ...surplus(before.container, after.container)];
  return (await agent.attachments()) + left.length;
}

await bench("cni", async ({ quick, figure }) => {
  const agent = new AgentHost();
  await agent.open();
  const weft = weftSide(agent);
  const reference = referenceSide(agent.dir, true);
  const cycles = { ours: new Cycle(weft), peer: new Cycle(reference) };
  for (let warmUp = 0; warmUp < 20; warmUp++) await cycles.ours.run();
  await cycles.peer.run();
  for (const { adds, dels } of Object.values(cycles)) adds.length = dels.length = 0;
  await alternate(
    quick ? 60 : 400,
    () => cycles.ours.run(),
    () => cycles.peer.run(),
  );
  const both = (pick: (cycle: Cycle) => number) => ({ ours: pick(cycles.ours), peer: pick(cycles.peer) });
  figure({ figure: "add.p50", unit: "ms", ...both(({ adds }) => median(adds)), target: "ratio<=0.15" });
  figure({ figure: "add.p99", unit: "ms", ...both(({ adds }) => percentile(adds, 99)), target: "ratio<=0.5" });
  figure({ figure: "del.p50", unit: "ms", ...both(({ dels }) => median(dels)), target: "ratio<=0.5" });

  const plain = new Cycle(referenceSide(agent.dir, false));
  for (let round = 0; round < (quick ? 10 : 50); round++) await plain.run();
  for (const cycle of [plain, cycles.ours, cycles.peer]) cycle.close();
  figure({ figure: "plain.add.p50", unit: "ms", ours: null, peer: median(plain.adds), target: "" });
  figure({ figure: "plain.del.p50", unit: "ms", ours: null, peer: median(plain.dels), target: "" });

  const rates = await alternate(
    quick ? 3 : 7,
    () => attachRate(weft, 25),
    () => attachRate(reference, 4),
  );
  figure({
    figure: "parallel8.rate",
    unit: "1/s",
    ours: median(rates.ours),
    peer: median(rates.peer),
    target: "ours>=250",
  });
  figure({
    figure: "leaks",
    unit: "objects",
    ours: await leaksOf(agent, quick ? 100 : 1_000),
    peer: null,
    target: "ours<=0",
  });
  await agent.close();
});
