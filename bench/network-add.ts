/**
 * A network that is added to a cluster that runs, and removed from it again: 20 real agents, each on a host of its own, and
 * a master. Times count from the operator's call until the last host's kernel has all of it (both bridges, the routes to
 * the 19 others), or nothing of it any more; this process reads the kernels.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { callService, parseService, type Service } from "../src/app/cli/api-client.ts";
import type { HostState } from "../src/core/host/host-state.ts";
import { openLinuxKernel } from "../src/io/kernel/linux-kernel.ts";
import type { ContainerKernel } from "../src/io/ports.ts";
import { assert } from "../src/model/fault.ts";
import { atEnd, bench, median } from "./figures.ts";
import { Field } from "./gossip-field.ts";
import { AGENTS } from "./gossip-sides.ts";

const HOSTS = 20;
const WEB = { name: "web", subnet: "11.0.0.0/8", prefix: 24 };
const TRACE = /\b[md]-web\b|\b11\.\d+\.\d+\.\d/;
const PEER_ROUTE = /^11\./;
const WAIT_MS = 60_000;
const POLL_MS = 25;
const JOIN_MS = 180_000;
const CALM_MS = 12_000;

type Eye = Pick<ContainerKernel, "observe" | "close">;

function hasAll({ links, routes }: HostState): boolean {
  const bridges = ["m-web", "d-web"].every((name) => links.some((link) => link.name === name && link.up));
  return bridges && routes.filter(({ dst, via }) => via !== undefined && PEER_ROUTE.test(dst)).length === HOSTS - 1;
}

const hasNothing = (state: HostState) => !TRACE.test(JSON.stringify(state));

/** One host is looked at until it is so, then the next, so that looking costs little. @returns ms until the last was so */
async function untilAll(eyes: readonly Eye[], what: string, isSo: (state: HostState) => boolean): Promise<number> {
  const begin = performance.now();
  for (const [n, eye] of eyes.entries())
    while (!isSo(await eye.observe([]))) {
      assert(performance.now() - begin < WAIT_MS, `${what} on all hosts; it is on ${n}`);
      await sleep(POLL_MS);
    }
  return performance.now() - begin;
}

async function allConnected(master: Service): Promise<void> {
  const schema = z.object({ agents: z.array(z.object({ connected: z.boolean() })) });
  for (const begin = performance.now(); ; await sleep(250)) {
    const { agents } = await callService(master, "GET", "/v1/agents", schema);
    if (agents.filter(({ connected }) => connected).length === HOSTS) return;
    assert(performance.now() - begin < JOIN_MS, "all agents are connected");
  }
}

await bench(
  "network-add",
  async ({ quick, figure, number }) => {
    const rounds = number("rounds", quick ? 2 : 7);
    const dir = mkdtempSync(join(tmpdir(), "weft-bench-nets-"));
    atEnd(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }));
    const field = new Field(HOSTS + 1);
    const { nodes, others } = await AGENTS.start(field.hosts, dir);
    const master = parseService("master", `unix:${join(dir, "master.sock")}`);
    await allConnected(master);
    const root = openLinuxKernel();
    const eyes = await Promise.all(field.hosts.slice(0, HOSTS).map(({ path }) => root.enter(path)));
    // Until then what is not known of peers stays, whatever it is.
    await sleep(CALM_MS);
    const [added, removed, load, cpu]: [number[], number[], number[], number[]] = [[], [], [], []];
    const cpuMs = () => nodes.reduce((sum, node) => sum + node.cpuMs, 0) / HOSTS;
    for (let n = 0; n < rounds; n++) {
      load.push(loadavg()[0] as number);
      const before = cpuMs();
      let call = callService(master, "POST", "/v1/networks", z.undefined(), WEB);
      added.push(await untilAll(eyes, "the network is there", hasAll));
      await call;
      await sleep(2_000);
      cpu.push(cpuMs() - before);
      call = callService(master, "DELETE", "/v1/networks/web?force=true", z.undefined());
      removed.push(await untilAll(eyes, "the network is gone", hasNothing));
      await call;
      await sleep(2_000);
    }
    const unit = "ms";
    figure({ figure: "add.all", unit, ours: median(added), peer: null, target: "ours<=1500" });
    figure({ figure: "add.all.worst", unit, ours: Math.max(...added), peer: null, target: "" });
    figure({ figure: "rm.all", unit, ours: median(removed), peer: null, target: "ours<=3000" });
    figure({ figure: "rm.all.worst", unit, ours: Math.max(...removed), peer: null, target: "" });
    figure({ figure: "add.cpu.agent", unit, ours: median(cpu), peer: null, target: "" });
    figure({ figure: "load", unit: "1 min", ours: median(load), peer: null, target: "" });
    for (const eye of eyes) eye.close();
    root.close();
    for (const node of [...nodes, ...others]) await node.kill();
  },
  ["rounds"],
);
