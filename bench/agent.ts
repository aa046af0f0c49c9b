/**
 * An agent that starts on a host of a cluster of a thousand: how long from the start of its process until all peers are
 * in the kernel, and how much memory it has then. No peer: the original is two programs inside a Mesos agent.
 *
 * The real programs, the real kernel, in a network namespace of its own. The master runs before, its store filled, and
 * is reached by its socket.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { openLinuxKernel } from "../src/io/kernel/linux-kernel.ts";
import { MasterHome } from "../test/support/master-process.ts";
import { bench, median } from "./figures.ts";
import { CONFIG, fillStore } from "./filled-store.ts";
import { run } from "./two-hosts.ts";

const PEERS = 1_000;
const POLL_MS = 10;
const READY_MAX_MS = 30_000;
const WEFT = new URL("../bin/weft", import.meta.url).pathname;
const NAMESPACE = `weft-bench-${process.pid}-agent`;
/** Outside the addresses of the other agents. */
const ADDRESS = "10.200.0.1";

interface Start {
  readonly readyMs: number;
  readonly rssMb: number;
}

/** Starts an agent, waits until the kernel has all peers, and ends it. */
async function start(masterSocket: string, dir: string): Promise<Start> {
  const startedAt = performance.now();
  const child = spawn("ip", ["netns", "exec", NAMESPACE, WEFT, ...agentArguments(masterSocket, dir)], {
    stdio: ["ignore", "ignore", "inherit"],
  });
  try {
    await peersInKernel();
    return { readyMs: performance.now() - startedAt, rssMb: residentMb(child.pid) };
  } finally {
    await end(child);
  }
}

function agentArguments(masterSocket: string, dir: string): string[] {
  return [
    "agent",
    ...["--master", `unix:${masterSocket}`, "--ip", ADDRESS, "--listen", "127.0.0.1:0", "--log-level", "error"],
    ...["--socket", join(dir, "agent.sock"), "--data-dir", join(dir, "data"), "--cni-conf-dir", join(dir, "cni")],
  ];
}

/** Per peer one FDB entry, a neighbour of each family, a route of each family. */
async function peersInKernel(): Promise<void> {
  const root = openLinuxKernel();
  const kernel = await root.enter(`/run/netns/${NAMESPACE}`);
  try {
    for (let waited = 0; waited < READY_MAX_MS; waited += POLL_MS) {
      const { fdb, neighbors, routes } = await kernel.observe([]);
      const peerRoutes = routes.filter(({ via }) => via !== undefined);
      if (fdb.length === PEERS && neighbors.length === 2 * PEERS && peerRoutes.length === 2 * PEERS) return;
      await sleep(POLL_MS);
    }
    throw new Error(`the kernel does not have ${PEERS} peers after ${READY_MAX_MS} ms`);
  } finally {
    kernel.close();
    root.close();
  }
}

function residentMb(pid: number | undefined): number {
  const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Number(kilobytes) / 1_024;
}

async function end(child: ChildProcess): Promise<void> {
  const ended = child.exitCode === null ? once(child, "exit") : undefined;
  child.kill("SIGTERM");
  await ended;
}

/** A host with nothing on it but its address. */
function newHost(): void {
  removeHost();
  run(["ip", "netns", "add", NAMESPACE]);
  run(["ip", "-n", NAMESPACE, "link", "set", "lo", "up"]);
  run(["ip", "-n", NAMESPACE, "link", "add", "eth0", "type", "veth", "peer", "name", "wire"]);
  for (const end of ["eth0", "wire"]) run(["ip", "-n", NAMESPACE, "link", "set", end, "up"]);
  run(["ip", "-n", NAMESPACE, "address", "add", `${ADDRESS}/8`, "dev", "eth0"]);
}

function removeHost(): void {
  if (run(["ip", "netns", "list"]).includes(NAMESPACE)) run(["ip", "netns", "del", NAMESPACE]);
}

await bench("agent", async ({ quick, figure }) => {
  const home = new MasterHome(CONFIG);
  const dir = mkdtempSync(join(tmpdir(), "weft-bench-agent-"));
  const starts: Start[] = [];
  try {
    fillStore(home.data, PEERS);
    await home.start();
    // The first start ever also strips and compiles the code, which bin/weft keeps for the others.
    newHost();
    await start(home.socket, dir);
    for (let round = 0; round < (quick ? 3 : 9); round++) {
      newHost();
      starts.push(await start(home.socket, dir));
    }
  } finally {
    removeHost();
    await home.remove();
    rmSync(dir, { recursive: true });
  }
  const ready = median(starts.map(({ readyMs }) => readyMs));
  figure({ figure: "ready", unit: "ms", ours: ready, peer: null, target: "ours<=1000" });
  figure({
    figure: "rss",
    unit: "MB",
    ours: median(starts.map(({ rssMb }) => rssMb)),
    peer: null,
    target: "ours<=120",
  });
});
