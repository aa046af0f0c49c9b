/**
 * Hosts for gossip: network namespaces of their own on one bridge, and a counter for each program's port on that bridge,
 * which sees every packet between two hosts once.
 *
 * The namespaces have no names: they are held by descriptors of this process and are gone when it ends, however it ends.
 * What is started on a host is killed by the kernel when this process is gone.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { inNetns } from "../src/io/kernel/netns.ts";
import { assert } from "../src/model/fault.ts";
import { type BenchNetns, inside, openNamespace } from "./agent-host.ts";
import { atEnd } from "./figures.ts";

export const COUNTERS = ["weft", "serf", "other"] as const;
/** Bytes of IP packets (headers of IP and UDP or TCP with them, Ethernet's not), by whose port they have. */
export type Traffic = Readonly<Record<(typeof COUNTERS)[number], number>>;

/** Agents speak on 62501, masters on 62502; serf on 7946, over TCP too. */
const RULES = `
table bridge bench {
  ${COUNTERS.map((name) => `counter ${name} {}`).join("; ")}
  chain forward {
    type filter hook forward priority 0; policy accept;
    udp dport 62501-62502 counter name weft accept
    meta l4proto { tcp, udp } th dport 7946 counter name serf accept
    meta l4proto { tcp, udp } th sport 7946 counter name serf accept
    meta protocol ip counter name other
  }
}`;
/** Fields of /proc/PID/stat after the program's name (proc_pid_stat(5)): time in user and in kernel mode. */
const UTIME = 11;
const MS_PER_TICK = 10;

export class FieldHost {
  readonly address: string;
  readonly #namespace: BenchNetns;

  constructor(address: string, namespace: BenchNetns) {
    this.address = address;
    this.#namespace = namespace;
  }

  /** By which every process of this machine finds the namespace. */
  get path(): string {
    return this.#namespace.path;
  }

  spawn(argv: readonly string[], env: Readonly<Record<string, string>> = {}): FieldProcess {
    // Whatever becomes of this process, nothing that it started stays.
    const args = ["--pdeathsig", "KILL", ...argv];
    const child = inNetns(this.#namespace.netns, () =>
      spawn("setpriv", args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...env } }),
    );
    return new FieldProcess(this.address, child);
  }
}

/** A program on a host, and what it says, each line when it is said. */
export class FieldProcess {
  readonly address: string;
  /** All lines of stdout and stderr so far. */
  readonly said: string[] = [];
  readonly #child: ChildProcess;
  #onLine: (line: string) => void = () => {};

  constructor(address: string, child: ChildProcess) {
    this.address = address;
    this.#child = child;
    atEnd(() => child.kill("SIGKILL"));
    for (const stream of [child.stdout, child.stderr])
      if (stream !== null)
        createInterface({ input: stream }).on("line", (line) => {
          this.said.push(line);
          this.#onLine(line);
        });
  }

  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Has each line given to `onLine`, also those that were said already. */
  listen(onLine: (line: string) => void): void {
    for (const line of this.said) onLine(line);
    this.#onLine = onLine;
  }

  get residentMb(): number {
    const text = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(text)?.[1]) / 1_024;
  }

  /** Processor time that it has used, ms. */
  get cpuMs(): number {
    const text = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8");
    const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
    return (Number(fields[UTIME]) + Number(fields[UTIME + 1])) * MS_PER_TICK;
  }

  /** SIGKILL, if nothing milder is asked for. @returns once it is gone */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    if (!this.isRunning) return;
    const gone = once(this.#child, "exit");
    this.#child.kill(signal);
    await gone;
  }
}

export class Field {
  readonly hosts: readonly FieldHost[];
  readonly #hub = openNamespace();

  /** @param count at most 250 */
  constructor(count: number) {
    const { netns } = this.#hub;
    inside(netns, "ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0");
    inside(netns, "ip", "link", "set", "br0", "up");
    inside(netns, "nft", RULES);
    const numbers = Array.from({ length: count }, (_, n) => n + 1);
    this.hosts = numbers.map((n) => this.#addHost(n, numbers));
  }

  /** What has passed the bridge so far. */
  get traffic(): Traffic {
    const args = ["-j", "list", "counters", "table", "bridge", "bench"];
    const { stdout, status, stderr } = inNetns(this.#hub.netns, () => spawnSync("nft", args, { encoding: "utf8" }));
    assert(status === 0, `nft tells its counters: ${stderr}`);
    const { nftables } = JSON.parse(stdout) as { nftables: { counter?: { name: string; bytes: number } }[] };
    const bytesOf = (name: string) => nftables.find(({ counter }) => counter?.name === name)?.counter?.bytes ?? 0;
    return { weft: bytesOf("weft"), serf: bytesOf("serf"), other: bytesOf("other") };
  }

  #addHost(n: number, numbers: readonly number[]): FieldHost {
    const host = openNamespace();
    const link = `n${n}`;
    inside(this.#hub.netns, "ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", host.path);
    inside(this.#hub.netns, "ip", "link", "set", link, "master", "br0", "up");
    inside(host.netns, "ip", "link", "set", "eth0", "address", macOf(n), "up");
    inside(host.netns, "ip", "address", "add", `${addressOf(n)}/24`, "dev", "eth0");
    // A kernel takes 1,024 neighbours that it learns (gc_thresh3), in all of its namespaces together; here are 40 × 40,
    // and what has no neighbour entry is dropped. Those that are given do not count.
    const neighbors = numbers.filter((other) => other !== n);
    const commands = neighbors.map((other) => `neigh add ${addressOf(other)} lladdr ${macOf(other)} dev eth0\n`);
    const ip = inNetns(host.netns, () => spawnSync("ip", ["-batch", "-"], { input: commands.join("") }));
    assert(ip.status === 0, `neighbours are taken: ${ip.stderr}`);
    return new FieldHost(addressOf(n), host);
  }
}

const addressOf = (n: number) => `10.77.0.${n}`;
const macOf = (n: number) => `02:77:00:00:00:${n.toString(16).padStart(2, "0")}`;
