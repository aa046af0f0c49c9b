/**
 * Traffic between two network namespaces, in one of the three ways in which the hosts' work can lie on two processors, each
 * of which answers another question (`MODELS`).
 *
 * Both ends of a path are processes of their own (traffic-process.ts), which stay from one round to the next: a round
 * costs only its own time. They end with this process.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { atEnd } from "./figures.ts";
import type { Round, TrafficKind, TrafficOrder, TrafficReport } from "./traffic-process.ts";
import { run } from "./two-hosts.ts";

const PROGRAM = join(import.meta.dirname, "traffic-process.ts");
/** Beyond a round's own time: something is lost, and would be waited for without end. */
const PATIENCE_MS = 10_000;
const SERVER_CPU = 1;
/** Options of setpriv: what it starts ends with this process, however that ends, and also while it waits in the kernel. */
const WITH_PARENT = ["--pdeathsig", "KILL"];

/** A way from one namespace to another. */
export interface Path {
  /** The namespaces of both hosts, the client's first. */
  readonly hosts: readonly [string, string];
  /** Where the two ends are. */
  readonly ends: readonly [client: string, server: string];
  /** The server's. */
  readonly address: string;
}

export interface Model {
  readonly clientCpu: number;
  /** Whether what a host receives is worked on by a processor of its own, the first host's by 0 and the second's by 1. */
  readonly steered: boolean;
}

/**
 * P: all on one processor, which measures the length of the path on both hosts together, with the least noise. Q: client
 * and server on one each, as it is when nothing is set; the sender's does the kernel's work of both hosts. W: as Q, but
 * each host receives on its own, which is closest to two machines with one processor each.
 */
export const MODELS = {
  P: { clientCpu: SERVER_CPU, steered: false },
  Q: { clientCpu: 0, steered: false },
  W: { clientCpu: 0, steered: true },
} as const satisfies Readonly<Record<string, Model>>;

/** One round of `ms` over a path. */
export async function traffic(path: Path, kind: TrafficKind, model: Model, ms: number): Promise<Round> {
  steer(path.hosts, model.steered);
  const server = await endIn(path.ends[1], SERVER_CPU, "answer");
  const client = await endIn(path.ends[0], model.clientCpu, "ask");
  const answered = server.carryOut({ type: "answer", kind }, ms);
  const [asked] = await Promise.all([client.carryOut({ type: "ask", kind, address: path.address, ms }, ms), answered]);
  if (asked.type !== "asked") throw new Error(`one that asks does not say ${asked.type}`);
  return asked;
}

/** Whether the hosts were steered, so that it is set only when it changes. */
const steered = new Map<string, boolean>();

/** Receive packet steering on the devices that make the wire. */
function steer(hosts: Path["hosts"], on: boolean): void {
  hosts.forEach((host, cpu) => {
    if ((steered.get(host) ?? false) === on) return;
    const mask = on ? 1 << cpu : 0;
    // A namespace of its own is what `ip netns exec` shows under /sys.
    run(["ip", "netns", "exec", host, "sh", "-ec", `echo ${mask} > /sys/class/net/eth0/queues/rx-0/rps_cpus`]);
    steered.set(host, on);
  });
}

/**
 * Gives both processors something to do that everything else goes before, so that neither halts. A virtual processor that
 * halts is woken by its hypervisor, which takes as long as the path does, on all sides alike.
 * @returns what ends that
 */
export function keepAwake(): () => void {
  const spinning = [0, SERVER_CPU].map((cpu) => {
    const argv = [
      ...WITH_PARENT,
      "chrt",
      "--idle",
      "0",
      "taskset",
      "-c",
      String(cpu),
      "sh",
      "-c",
      "while :; do :; done",
    ];
    return spawn("setpriv", argv, { stdio: "ignore" });
  });
  const end = () => {
    for (const child of spinning) child.kill("SIGKILL");
  };
  atEnd(end);
  return end;
}

const ends = new Map<string, Promise<TrafficEnd>>();

/** The one in this namespace and on this processor, started if need be. */
function endIn(namespace: string, cpu: number, task: TrafficOrder["type"]): Promise<TrafficEnd> {
  const key = `${namespace} ${cpu} ${task}`;
  const end = ends.get(key) ?? TrafficEnd.start(namespace, cpu, task);
  ends.set(key, end);
  return end;
}

/** A process that waits for orders. */
class TrafficEnd {
  readonly #child: ChildProcess;
  readonly #name: string;

  static async start(namespace: string, cpu: number, task: TrafficOrder["type"]): Promise<TrafficEnd> {
    const end = new TrafficEnd(namespace, cpu, task);
    await end.#next(PATIENCE_MS);
    return end;
  }

  private constructor(namespace: string, cpu: number, task: TrafficOrder["type"]) {
    this.#name = `the traffic's process on processor ${cpu} in ${namespace}`;
    const pinned = ["taskset", "-c", String(cpu), process.execPath, PROGRAM, task];
    const argv = [...WITH_PARENT, "ip", "netns", "exec", namespace, ...pinned];
    this.#child = spawn("setpriv", argv, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    atEnd(() => this.#child.kill("SIGKILL"));
    // It must not keep this process when the benchmark is done.
    this.#child.unref();
    this.#child.channel?.unref();
  }

  carryOut(order: TrafficOrder, ms: number): Promise<TrafficReport> {
    const report = this.#next(ms + PATIENCE_MS);
    this.#child.send(order);
    return report;
  }

  async #next(withinMs: number): Promise<TrafficReport> {
    const { promise, resolve, reject } = Promise.withResolvers<TrafficReport>();
    const ended = () => reject(new Error(`${this.#name} ended`));
    const timer = setTimeout(() => reject(new Error(`${this.#name} said nothing for ${withinMs} ms`)), withinMs);
    this.#child.once("message", resolve);
    this.#child.once("exit", ended);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#child.off("message", resolve);
      this.#child.off("exit", ended);
    }
  }
}
