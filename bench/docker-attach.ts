/**
 * A container's way onto a network as Docker's users have it, against Docker's own: `POST /networks/ID/connect` of a
 * container that runs and keeps its gateway on another network, and `docker run` until the first packet is answered from
 * another host. Peers: a bridge network made by a user, and an attachable overlay network of a swarm of the same engines.
 *
 * `own` is what a connect spends in our driver, the sum over its calls, by the agent's own metric; `own.socket` is the same
 * seen from the engine: at a socket between the two, with HTTP and what the processor is busy with. Both are taken on the
 * other host, so that the socket between does not slow down what is compared.
 */

import { once } from "node:events";
import { renameSync } from "node:fs";
import { join } from "node:path";
import type { Agent } from "../src/app/demo/weft-process.ts";
import { assert } from "../src/model/fault.ts";
import { IMAGE } from "../test/support/podman.ts";
import { CallTimer } from "./call-timer.ts";
import { type BenchHost, enterDockerLab, joinSwarm, OURS, openDockerLab, SWARM } from "./docker-lab.ts";
import { alternate, bench, median, percentile } from "./figures.ts";
import { SocketHttp } from "./socket-http.ts";

/** The engine gives the default route to the first of a container's networks by name. */
const HOME = "a-home";
const BRIDGE = "bridged";
const PACKETS_PER_S = 50;
const SPENT = /^weft_agent_docker_call_seconds_sum\{.*\} (\S+)$/gm;

/** From now on the engine finds a timer where the agent's socket was. */
function timedPlugin({ dockerPluginDir }: Agent): Promise<CallTimer> {
  const [path, agents] = [join(dockerPluginDir, "weft.sock"), join(dockerPluginDir, "../agents.sock")];
  renameSync(path, agents);
  return CallTimer.listen(path, agents);
}

/** Connects a container to a network and disconnects it again. @returns ms of the first */
async function connected({ api }: BenchHost, network: string, container: string): Promise<number> {
  const ms = await api.timed(`/networks/${network}/connect`, { Container: container });
  await api.timed(`/networks/${network}/disconnect`, { Container: container });
  return ms;
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);

/** What the agent has spent on calls of the engine so far, in ms. */
async function spent({ agent }: BenchHost): Promise<number> {
  const { text } = await new SocketHttp(agent.socket).call("GET", "/metrics");
  return sum([...text.matchAll(SPENT)].map(([, seconds]) => 1_000 * Number(seconds)));
}

/** A connect again. @returns ms of its calls in the agent, and as they come to the engine */
async function own(host: BenchHost, timer: CallTimer, container: string): Promise<{ inside: number; socket: number }> {
  const before = await spent(host);
  timer.calls.length = 0;
  await host.api.timed(`/networks/${OURS}/connect`, { Container: container });
  const calls = timer.calls.splice(0);
  assert(calls.length >= 4, `a connect comes to the driver: ${calls.map(({ path }) => path)}`);
  const inside = (await spent(host)) - before;
  await host.api.timed(`/networks/${OURS}/disconnect`, { Container: container });
  return { inside, socket: sum(calls.map(({ ms }) => ms)) };
}

/** From the start of `docker run` until the container had an answer from this address. */
async function answered({ api, docker }: BenchHost, network: string, address: string): Promise<number> {
  const ping = ["ping", "-i", String(1 / PACKETS_PER_S), address];
  const start = performance.now();
  const cli = docker.spawn(["run", "--rm", "--name", "runner", "--network", network, IMAGE, ...ping]);
  const ended = once(cli, "exit");
  const ms = await new Promise<number>((resolve, reject) => {
    let text = "";
    cli.stdout?.on("data", (bytes: Buffer) => {
      text += bytes.toString();
      if (text.includes("bytes from")) resolve(performance.now() - start);
    });
    cli.once("exit", () => reject(new Error(`no answer from ${address} over ${network}: ${text}`)));
  });
  await api.call("DELETE", "/containers/runner?force=true");
  await ended;
  return ms;
}

await enterDockerLab();
await bench("docker-attach", async ({ quick, figure }) => {
  const timers: CallTimer[] = [];
  const lab = await openDockerLab(undefined, async (agent, number) => {
    if (number === 2) timers.push(await timedPlugin(agent));
  });
  const [one, two] = lab.hosts;
  for (const host of [one, two]) {
    await host.do("network", "create", HOME);
    await host.do("network", "create", BRIDGE);
    await host.start("base", "--network", HOME);
  }
  const rounds = quick ? 20 : 200;
  const connect = await alternate(
    rounds,
    () => connected(one, OURS, "base"),
    () => connected(one, BRIDGE, "base"),
  );
  const owns: { inside: number; socket: number }[] = [];
  for (let round = 0; round < rounds; round++) owns.push(await own(two, timers[0] as CallTimer, "base"));
  const both = (samples: typeof connect, pick: (samples: readonly number[]) => number) => ({
    ours: pick(samples.ours),
    peer: pick(samples.peer),
  });
  const p99 = (samples: readonly number[]) => percentile(samples, 99);
  figure({ figure: "connect.p50", unit: "ms", ...both(connect, median), target: "ratio<=0.9" });
  figure({ figure: "connect.p99", unit: "ms", ...both(connect, p99), target: "ratio<=1" });
  const [inside, socket] = [median(owns.map((each) => each.inside)), median(owns.map((each) => each.socket))];
  figure({ figure: "own.p50", unit: "ms", ours: inside, peer: null, target: "ours<=3" });
  figure({ figure: "own.socket.p50", unit: "ms", ours: socket, peer: null, target: "" });

  await joinSwarm(lab);
  for (const network of [OURS, SWARM]) await two.start(`far-${network}`, "--network", network);
  const far = async (network: string) => (await two.addresses(`far-${network}`))[network]?.[0] ?? "";
  const [ourFar, swarmFar] = [await far(OURS), await far(SWARM)];
  const swarm = await alternate(
    quick ? 5 : 50,
    () => connected(one, OURS, "base"),
    () => connected(one, SWARM, "base"),
  );
  const run = await alternate(
    quick ? 4 : 40,
    () => answered(one, OURS, ourFar),
    () => answered(one, SWARM, swarmFar),
  );
  figure({ figure: "swarm.connect.p50", unit: "ms", ...both(swarm, median), target: "ratio<=0.1" });
  figure({ figure: "swarm.run.p50", unit: "ms", ...both(run, median), target: "ratio<=0.45" });
});
