/**
 * One host with an agent for benchmarks of CNI: a network namespace, a master with an empty cluster beside it, the real
 * programs. The agent can be killed and started again. Nothing has a name outside of the temporary folder: the namespaces
 * are held by descriptors of this process alone, and gone when it ends.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { installPlugin } from "../src/app/cni-shim/install.ts";
import type { HostState } from "../src/core/host/host-state.ts";
import { openLinuxKernel } from "../src/io/kernel/linux-kernel.ts";
import { createNetns, inNetns, type Netns } from "../src/io/kernel/netns.ts";
import { assert } from "../src/model/fault.ts";
import { callSocket, MasterHome } from "../test/support/master-process.ts";
import { atEnd } from "./figures.ts";

const WEFT = new URL("../bin/weft", import.meta.url).pathname;
const ADDRESS = "10.200.0.1";
const POLL_MS = 5;
const TRIES_MAX = 4_000;
/** Room for 2,045 containers on a host. */
const CONFIG = `dcos_overlay_network:
  vtep_subnet: 44.128.0.0/16
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - {name: dcos, subnet: 9.0.0.0/8, prefix: 20}
`;

/** An empty network namespace with its loopback up, and a path by which every process of this machine finds it. */
export interface BenchNetns {
  readonly netns: Netns;
  readonly path: string;
}

export function openNamespace(): BenchNetns {
  const netns = createNetns();
  inside(netns, "ip", "link", "set", "lo", "up");
  return { netns, path: `/proc/${process.pid}/fd/${netns.fd}` };
}

/** Runs a program in the namespace. */
export function inside(netns: Netns, program: string, ...args: string[]): void {
  const { status, error, stderr } = inNetns(netns, () => spawnSync(program, args, { encoding: "utf8" }));
  assert(status === 0, `${program} ${args.join(" ")} succeeds: ${error?.message ?? stderr}`);
}

/** What the kernel holds in the namespace. */
export async function observe({ path }: BenchNetns): Promise<HostState> {
  const root = openLinuxKernel();
  const kernel = await root.enter(path);
  try {
    return await kernel.observe([]);
  } finally {
    kernel.close();
    root.close();
  }
}

export class AgentHost {
  readonly dir = mkdtempSync(join(tmpdir(), "weft-bench-cni-"));
  readonly namespace = openNamespace();
  readonly #home = new MasterHome(CONFIG);
  #agent: ChildProcess | undefined;
  #plugin = "";

  constructor() {
    atEnd(() => rmSync(this.dir, { recursive: true, force: true, maxRetries: 5 }));
    atEnd(() => this.#home.discard());
    atEnd(() => this.#agent?.kill("SIGKILL"));
  }

  /** Resolves when containers can be attached. */
  async open(): Promise<void> {
    const { netns } = this.namespace;
    inside(netns, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire");
    for (const end of ["eth0", "wire"]) inside(netns, "ip", "link", "set", end, "up");
    inside(netns, "ip", "address", "add", `${ADDRESS}/8`, "dev", "eth0");
    const { paths, kind, reason } = await installPlugin(join(this.dir, "bin"));
    assert(kind === "program", `the plugin is measured as a program: ${reason}`);
    this.#plugin = paths[0];
    await this.#home.start();
    await this.startAgent();
  }

  /** Path of the CNI executable. */
  get plugin(): string {
    return this.#plugin;
  }

  get socket(): string {
    return join(this.dir, "agent.sock");
  }

  /** Resolves when its networks are well. */
  async startAgent(): Promise<void> {
    const agent = inNetns(this.namespace.netns, () =>
      spawn(WEFT, this.#arguments(), {
        stdio: ["ignore", "ignore", "inherit"],
        env: { ...process.env, NODE_COMPILE_CACHE: join(this.dir, "compile-cache") },
      }),
    );
    this.#agent = agent;
    for (let tries = 0; !(await this.#isWell()); tries++) {
      assert(tries < TRIES_MAX && agent.exitCode === null, "the agent starts");
      await sleep(POLL_MS);
    }
  }

  /** SIGKILL, in the middle of whatever it does. */
  async killAgent(): Promise<void> {
    const agent = this.#agent;
    assert(agent !== undefined, "an agent runs");
    const ended = once(agent, "exit");
    agent.kill("SIGKILL");
    await ended;
  }

  residentKb(): number {
    const status = readFileSync(`/proc/${this.#agent?.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]);
  }

  async attachments(): Promise<number> {
    const { body } = await callSocket(this.socket, "GET", "/v1/attachments");
    return (JSON.parse(body) as { attachments: readonly unknown[] }).attachments.length;
  }

  async close(): Promise<void> {
    if (this.#agent?.exitCode === null) await this.killAgent();
    await this.#home.remove();
  }

  async #isWell(): Promise<boolean> {
    const answer = await callSocket(this.socket, "GET", "/v1/status").catch(() => undefined); // it does not listen yet
    if (answer?.status !== 200) return false;
    const { statuses } = JSON.parse(answer.body) as { statuses: readonly { status: string }[] };
    return statuses.length > 0 && statuses.every(({ status }) => status === "STATUS_OK");
  }

  #arguments(): string[] {
    return [
      "agent",
      ...["--master", `unix:${this.#home.socket}`, "--ip", ADDRESS, "--listen", "127.0.0.1:0", "--log-level", "error"],
      ...["--socket", this.socket, "--data-dir", join(this.dir, "data"), "--cni-conf-dir", join(this.dir, "cni")],
    ];
  }
}
