/**
 * The lab of bench/upgrade.ts: three hosts with the real programs in namespaces of their own, a container on each, and long
 * connections from each to the next one, while every program is ended by SIGTERM and started again. `--from COMMIT`: they
 * begin as that older version, and are this one after the first round. Prints what came of it as one line of JSON.
 */
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { enterLab } from "../src/app/demo/enter-lab.ts";
import { Agent, knowEachOther, WEFT } from "../src/app/demo/weft-process.ts";
import { type Cluster, createCluster, startContainer, type TestContainer } from "../test/support/lab-cluster.ts";
import { olderWeft } from "../test/support/older-weft.ts";
import type { FlowOrder, FlowReport } from "./flows-process.ts";

/** What is printed at the end. */
export interface UpgradeResult {
  readonly flows: number;
  readonly resets: number;
  readonly sent: number;
  readonly lost: number;
  readonly stallMs: number;
  /** Segments that TCP sent once more, in all containers. */
  readonly retransmitted: number;
  readonly restarts: number;
}

type Finished = Extract<FlowReport, { type: "finished" }>;

const HOSTS = 3;
/** Between two restarts, and at both ends: what a restart breaks shows before the next one. */
const CALM_MS = 1_000;

class Flows {
  readonly #container: TestContainer;
  readonly #child: ChildProcess;

  private constructor(container: TestContainer, child: ChildProcess) {
    this.#container = container;
    this.#child = child;
  }

  static async start(container: TestContainer): Promise<Flows> {
    const child = container.netns.spawn(process.execPath, [join(import.meta.dirname, "flows-process.ts")], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    const flows = new Flows(container, child);
    await flows.#hears("ready");
    return flows;
  }

  async connect(to: TestContainer, flows: number): Promise<void> {
    this.#say({ type: "connect", host: to.ip, flows });
    await this.#hears("connected");
  }

  async finish(): Promise<Finished> {
    this.#say({ type: "finish" });
    return (await this.#hears("finished")) as Finished;
  }

  async retransmitted(): Promise<number> {
    const text = await this.#container.netns.mustRun("cat", ["/proc/net/snmp"]);
    const [names = [], values = []] = text
      .split("\n")
      .filter((line) => line.startsWith("Tcp:"))
      .map((line) => line.split(" "));
    return Number(values[names.indexOf("RetransSegs")]);
  }

  #say(order: FlowOrder): void {
    this.#child.send(order);
  }

  async #hears(type: FlowReport["type"]): Promise<FlowReport> {
    const [report] = (await once(this.#child, "message")) as [FlowReport];
    if (report.type !== type) throw new Error(`${report.type} came instead of ${type}`);
    return report;
  }
}

/** Masters first. @returns how many programs were started again */
async function restartAll({ master, agents }: Cluster): Promise<number> {
  for (const each of [master, ...agents]) {
    await each.stop("SIGTERM");
    await sleep(CALM_MS);
    each.program = WEFT;
    await each.start();
    if (each instanceof Agent) await each.ready();
    await sleep(CALM_MS);
  }
  await knowEachOther(agents);
  return 1 + agents.length;
}

await enterLab();
const { values } = parseArgs({
  options: { flows: { type: "string" }, rounds: { type: "string" }, from: { type: "string" } },
});
const flowsPerHost = Math.ceil(Number(values.flows ?? 200) / HOSTS);
const older = values.from === undefined ? undefined : olderWeft(values.from);
const programs = older === undefined ? {} : { masterProgram: older, agentProgram: older };
const cluster = await createCluster({ hosts: HOSTS, ...programs });
const containers: TestContainer[] = [];
for (let n = 1; n <= HOSTS; n++) containers.push(await startContainer(cluster, n, `c${n}`, ["dcos", "dcos6"]));
const flows = await Promise.all(containers.map((container) => Flows.start(container)));
for (const [n, each] of flows.entries()) await each.connect(containers[(n + 1) % HOSTS] as TestContainer, flowsPerHost);
await sleep(CALM_MS);
let restarts = 0;
for (let round = 0; round < Number(values.rounds ?? 3); round++) restarts += await restartAll(cluster);
const reports = await Promise.all(flows.map((each) => each.finish()));
const again = await Promise.all(flows.map((each) => each.retransmitted()));
const sum = (numbers: readonly number[]) => numbers.reduce((total, number) => total + number, 0);
const result: UpgradeResult = {
  flows: sum(reports.map((report) => report.flows)),
  resets: sum(reports.map((report) => report.resets)),
  sent: sum(reports.map((report) => report.sent)),
  lost: sum(reports.map((report) => report.lost)),
  stallMs: Math.max(...reports.map((report) => report.stallMs)),
  retransmitted: sum(again),
  restarts,
};
console.log(JSON.stringify(result));
process.exit();
