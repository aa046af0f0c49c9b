/**
 * A host full of containers: how long an ADD takes beside a thousand others, compared with the same host when it is
 * empty, and how much memory the agent needs for each of them.
 *
 * Before memory is read for the first time, as many containers have come and gone as come to stay later: what the
 * agent's heap keeps for its own use is there already, and the difference is what is held.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { AgentHost, openNamespace } from "./agent-host.ts";
import { Cycle, newId, succeeded, weftSide } from "./attach-sides.ts";
import { bench, median } from "./figures.ts";
import { PluginCaller } from "./plugin-caller.ts";

const CONTAINERS = 1_000;
/** Passes have seen the last change, and the heap's young part was collected. */
const SETTLE_MS = 10_000;

await bench("cni-dense", async ({ quick, figure }) => {
  const count = quick ? 200 : CONTAINERS;
  const agent = new AgentHost();
  await agent.open();
  const side = weftSide(agent);
  const cycle = new Cycle(side);
  const addsNow = async (rounds: number): Promise<number> => {
    cycle.adds.length = 0;
    for (let round = 0; round < rounds; round++) await cycle.run();
    return median(cycle.adds);
  };
  await addsNow(count);
  await sleep(SETTLE_MS);
  const rounds = quick ? 60 : 300;
  const empty = [await addsNow(rounds)];
  await sleep(SETTLE_MS);
  const before = agent.residentKb();

  const caller = new PluginCaller(side.host.netns);
  const containers = Array.from({ length: count }, () => ({ id: newId(), namespace: openNamespace() }));
  for (const { id, namespace } of containers) succeeded(await caller.call(side.call("ADD", id, namespace)));
  await sleep(SETTLE_MS);
  const perContainer = (agent.residentKb() - before) / count;
  const full = await addsNow(rounds);
  for (const { id, namespace } of containers) succeeded(await caller.call(side.call("DEL", id, namespace)));
  await sleep(SETTLE_MS);
  empty.push(await addsNow(rounds));

  figure({ figure: `add.at${count}`, unit: "ms", ours: full, peer: median(empty), target: "ratio<=1.3" });
  figure({ figure: "rss.per.container", unit: "kB", ours: perContainer, peer: null, target: "ours<=8" });
  for (const { namespace } of containers) namespace.netns.close();
  caller.close();
  cycle.close();
  await agent.close();
});
