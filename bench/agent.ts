/**
 * An agent that starts on a host of a cluster of a thousand: how long from the start of its process until all peers are
 * in the kernel, and how much memory it has then. No peer: the original is two programs inside a Mesos agent.
 *
 * `ready`: the host was booted, its kernel holds nothing of Weft. `restart`: the host runs and only the process is new.
 * `first`: as `ready`, for the first start after an installation, when bin/weft has no compiled code yet. The real
 * programs, the real kernel, in a network namespace of its own. The master runs before, its store filled, and is reached
 * by its socket.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openLinuxKernel } from "../src/io/kernel/linux-kernel.ts";
import type { Kernel } from "../src/io/ports.ts";
import { assert } from "../src/model/fault.ts";
import { callSocket, MasterHome } from "../test/support/master-process.ts";
import { atEnd, bench, median } from "./figures.ts";
import { CONFIG, fillPeers, fillStore } from "./filled-store.ts";
import { makeNamespace, removeNamespace, run } from "./two-hosts.ts";

const PEERS = 1_000;
const POLL_MS = 10;
const TRIES_MAX = 1_000;
const WEFT = new URL("../bin/weft", import.meta.url).pathname;
const NAMESPACE = `weft-bench-${process.pid}-agent`;
/** Outside the addresses of the other agents. */
const ADDRESS = "10.200.0.1";

type Condition = () => Promise<boolean>;

interface Start {
  readonly readyMs: number;
  readonly rssMb: number;
}

/** Starts an agent, waits until `isReady`, and ends it. */
async function start(masterSocket: string, dir: string, isReady: Condition): Promise<Start> {
  const startedAt = performance.now();
  const child = spawn("ip", ["netns", "exec", NAMESPACE, WEFT, ...agentArguments(masterSocket, dir)], {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, NODE_COMPILE_CACHE: join(dir, "compile-cache") },
  });
  atEnd(() => child.kill("SIGKILL"));
  for (let tries = 0; !(await isReady()); tries++) {
    assert(tries < TRIES_MAX && child.exitCode === null, `the agent is ready after at most ${TRIES_MAX} looks at it`);
    await sleep(POLL_MS);
  }
  const measured = { readyMs: performance.now() - startedAt, rssMb: residentMb(child.pid) };
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  await ended;
  return measured;
}

function agentArguments(masterSocket: string, dir: string): string[] {
  return [
    "agent",
    ...["--master", `unix:${masterSocket}`, "--ip", ADDRESS, "--listen", "127.0.0.1:0", "--log-level", "error"],
    ...["--socket", join(dir, "agent.sock"), "--data-dir", join(dir, "data"), "--cni-conf-dir", join(dir, "cni")],
  ];
}

/** Per peer one FDB entry, a neighbour of each family, a route of each family. */
async function hasPeers(kernel: Kernel): Promise<boolean> {
  const { fdb, neighbors, routes } = await kernel.observe([]);
  const peerRoutes = routes.filter(({ via }) => via !== undefined);
  return fdb.length === PEERS && neighbors.length === 2 * PEERS && peerRoutes.length === 2 * PEERS;
}

/** Whether the agent itself says that it knows all peers and that its networks are well. */
async function saysReady(socket: string, wanted = PEERS): Promise<boolean> {
  const answer = await callSocket(socket, "GET", "/v1/status").catch(() => undefined); // it does not listen yet
  if (answer === undefined) return false;
  const { peers, statuses } = JSON.parse(answer.body) as { peers?: number; statuses: { status: string }[] };
  return peers === wanted && statuses.length > 0 && statuses.every(({ status }) => status === "STATUS_OK");
}

function residentMb(pid: number | undefined): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) / 1_024;
}

/** A host with nothing on it but its address; the one before is gone. */
async function withNewHost<T>(body: (kernel: Kernel) => Promise<T>): Promise<T> {
  removeNamespace(NAMESPACE);
  makeNamespace(NAMESPACE);
  run(["ip", "-n", NAMESPACE, "link", "add", "eth0", "type", "veth", "peer", "name", "wire"]);
  for (const end of ["eth0", "wire"]) run(["ip", "-n", NAMESPACE, "link", "set", end, "up"]);
  run(["ip", "-n", NAMESPACE, "address", "add", `${ADDRESS}/8`, "dev", "eth0"]);
  const root = openLinuxKernel();
  const kernel = await root.enter(`/run/netns/${NAMESPACE}`);
  try {
    return await body(kernel);
  } finally {
    kernel.close();
    root.close();
  }
}

await bench("agent", async ({ quick, figure }) => {
  const home = new MasterHome(CONFIG);
  const dir = mkdtempSync(join(tmpdir(), "weft-bench-agent-"));
  atEnd(() => home.discard());
  atEnd(() => rmSync(dir, { recursive: true, maxRetries: 5 }));
  fillStore(home.data, PEERS);
  const master = await home.start();
  // It joins, and then its disk gets what gossip would have brought it of the others.
  await withNewHost(() => start(home.socket, dir, () => saysReady(join(dir, "agent.sock"), 0)));
  await master.stop();
  fillPeers(join(dir, "data"), home.data, PEERS);
  rmSync(join(dir, "compile-cache"), { recursive: true });
  await home.start();
  const boot = (kernel: Kernel) => start(home.socket, dir, () => hasPeers(kernel));
  const first = await withNewHost(boot);
  const boots: Start[] = [];
  const restarts: Start[] = [];
  for (let round = 0; round < (quick ? 3 : 9); round++) {
    await withNewHost(async (kernel) => {
      boots.push(await boot(kernel));
      restarts.push(await start(home.socket, dir, () => saysReady(join(dir, "agent.sock"))));
    });
  }
  await home.remove();
  const report = (prefix: string, starts: readonly Start[], targets: { ready: string; rss: string }) => {
    const ready = median(starts.map(({ readyMs }) => readyMs));
    const rss = median(starts.map(({ rssMb }) => rssMb));
    figure({ figure: `${prefix}ready`, unit: "ms", ours: ready, peer: null, target: targets.ready });
    figure({ figure: `${prefix}rss`, unit: "MB", ours: rss, peer: null, target: targets.rss });
  };
  report("", boots, { ready: "ours<=1000", rss: "ours<=120" });
  report("restart.", restarts, { ready: "", rss: "" });
  report("first.", [first], { ready: "", rss: "" });
});
