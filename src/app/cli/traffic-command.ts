/**
 * `weft top` and `weft flows`: who talks to whom on one host, and its packets one by one, asked of its agent again and again
 * until somebody ends it.
 *
 * An agent that refuses ends them with its words. One that is away for a while, after it answered, is waited for: what it
 * counts goes on without it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type Command, InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import { SAMPLE_EVERY_MAX } from "../../model/datapath-limits.ts";
import { Fault } from "../../model/fault.ts";
import { endpointSchema } from "../agent/app.ts";
import { flowsSchema, trafficSchema } from "../agent/datapath-routes.ts";
import { callService, parseService, type Service } from "./api-client.ts";
import {
  flowText,
  type Names,
  namesOf,
  type Room,
  redrawn,
  type TrafficRates,
  type TrafficView,
  trafficRates,
  trafficText,
} from "./traffic-text.ts";

const AGENT_SOCKET = "unix:/run/weft/agent.sock";
const FLOWS_INTERVAL_MS = 500;
const INTERVAL_MAX_S = 3_600;
/** Pairs in a table that no terminal bounds. */
const ROWS = 20;
const WIDTH = 80;

interface Flags {
  readonly agent: string;
  readonly json?: true;
}

interface TopFlags extends Flags {
  readonly interval: number;
  readonly count?: number;
  readonly rows?: number;
}

interface FlowsFlags extends Flags {
  readonly every: number;
}

const TOP_HELP = `
Containers of this host go by their names, where they have one; --json prints
addresses, and one object a line. Bits are counted from the IP header on. On a
terminal the table is drawn anew, elsewhere one follows the other.

PATH says how packets went on:
  same host         from one container's device into the other's
  VXLAN device      level 1: by way of the kernel's VXLAN device
  encapsulated      level 2: a program wrote the tunnel's header, or took it off
  kernel: REASON    left to the kernel, and why

Ctrl-C ends it. Exit status: 0, 64 usage, 75 nobody answers or nothing is
counted (level 0), 77 no rights.`;

const FLOWS_HELP = `
One line for each packet: from, to, protocol, length from the IP header on, and
how it went on ('weft top --help'). A large packet that the host handles at once
and cuts later is one. By the agent's socket only, since each line costs the
host something: --every 1 is for hosts that are not busy.

Ctrl-C ends it. Exit status: 0, 64 usage, 75 nobody answers or there are no
samples (level 0), 77 no rights.`;

export function addTrafficCommands(program: Command): void {
  asking(program.command("top"))
    .description("who talks to whom on this host, how much, and on which path")
    .option("--interval <seconds>", "between two readings", parseSeconds, 2)
    .option("--count <number>", "end after so many tables", parseCount)
    .option("--rows <number>", `pairs at most (default: as the terminal has, else ${ROWS})`, parseCount)
    .addHelpText("after", TOP_HELP)
    .action(top);
  asking(program.command("flows"))
    .description("packets of this host's containers, one of so many, as they come")
    .option("--every <number>", "of so many packets print one", parseEvery, 100)
    .addHelpText("after", FLOWS_HELP)
    .action(flows);
}

function asking(command: Command): Command {
  const agent = new Option("--agent <address>", "the agent to ask").default(AGENT_SOCKET).env("WEFT_AGENT");
  return command.addOption(agent).option("--json", "print JSON, one object a line");
}

async function top(flags: TopFlags): Promise<void> {
  const agent = new AgentLine(flags.agent);
  const { count = Number.POSITIVE_INFINITY } = flags;
  await untilEnded(async (end) => {
    let before = counting(await agent.get("/v1/traffic", trafficSchema));
    for (let shown = 0; shown < count; ) {
      await pause(flags.interval * 1_000, end);
      if (end.aborted) break;
      const now = counting(await agent.get("/v1/traffic", trafficSchema));
      if (now === undefined) continue;
      const rates = before && trafficRates(before, now);
      before = now;
      if (rates === undefined) continue;
      const named = await agent.get("/v1/endpoints", z.object({ endpoints: z.array(endpointSchema) }));
      show(flags, rates, namesOf(named?.endpoints ?? []), shown === 0);
      shown++;
    }
    // What the terminal echoed of Ctrl-C is below the table, where the next line goes.
    if (end.aborted && isScreen(flags)) process.stdout.write("\r\u001b[K");
  });
}

/** @throws Fault not-ready at level 0 */
function counting(traffic: TrafficView | undefined): TrafficView | undefined {
  if (traffic?.datapath.level !== 0) return traffic;
  const why = traffic.datapath.reasons.join("; ");
  throw new Fault("not-ready", `no packets are counted: the datapath of this host is at level 0 (${why})`);
}

function isScreen({ json }: Flags): boolean {
  return process.stdout.isTTY === true && json !== true;
}

function show(flags: TopFlags, rates: TrafficRates, names: Names, isFirst: boolean): void {
  if (flags.json === true) {
    const { rows = rates.pairs.length } = flags;
    console.log(JSON.stringify({ ...rates, pairs: rates.pairs.slice(0, rows) }));
    return;
  }
  if (!isScreen(flags)) {
    console.log(`${isFirst ? "" : "\n"}${trafficText(rates, names, { rows: flags.rows ?? ROWS })}`);
    return;
  }
  const { columns: width = WIDTH, rows: height } = process.stdout;
  const room: Room = { width, ...(height > 0 && { height }), ...(flags.rows !== undefined && { rows: flags.rows }) };
  process.stdout.write(redrawn(trafficText(rates, names, room), width, isFirst));
}

async function flows(flags: FlowsFlags): Promise<void> {
  const agent = new AgentLine(flags.agent);
  const samples = (after: number) => agent.get(`/v1/flows?every=${flags.every}&after=${after}`, flowsSchema);
  await untilEnded(async (end) => {
    // What others had sampled before is not what comes now.
    let after = (await samples(Number.MAX_SAFE_INTEGER))?.next ?? 0;
    let isLossTold = false;
    for (;;) {
      await pause(FLOWS_INTERVAL_MS, end);
      if (end.aborted) return;
      const answer = await samples(after);
      if (answer === undefined) continue;
      for (const flow of answer.flows) console.log(flags.json === true ? JSON.stringify(flow) : flowText(flow));
      if (answer.next - after > answer.flows.length && !isLossTold) {
        console.error("weft: more packets are sampled than can be told, and some are left out; raise --every");
        isLossTold = true;
      }
      // An agent that began anew meanwhile counts from nothing, and all that it has is new.
      after = answer.next < after ? 0 : answer.next;
    }
  });
}

/** Calls of one agent, which may be away between them. */
class AgentLine {
  readonly #service: Service;
  #hasAnswered = false;
  #isAway = false;

  /** @throws Fault bad-request */
  constructor(address: string) {
    this.#service = parseService("agent", address);
  }

  /** @returns `undefined` while it is away. @throws Fault as it refuses; not-ready when it never answered */
  async get<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
    try {
      const answer = await callService(this.#service, "GET", path, schema);
      this.#hasAnswered = true;
      this.#isAway = false;
      return answer;
    } catch (thrown) {
      if (!(thrown instanceof Fault) || !this.#hasAnswered || (await this.#answers())) throw thrown;
      if (!this.#isAway) console.error(`weft: ${thrown.message}; waiting for it`);
      this.#isAway = true;
      return undefined;
    }
  }

  /** Whether a refusal was its own. */
  async #answers(): Promise<boolean> {
    try {
      await callService(this.#service, "GET", "/v1/status", z.unknown());
      return true;
    } catch (thrown) {
      if (thrown instanceof Fault) return thrown.code !== "not-ready";
      throw thrown;
    }
  }
}

/** Does what lasts. The first SIGINT or SIGTERM asks it to end; a second one ends the process. */
async function untilEnded(work: (end: AbortSignal) => Promise<void>): Promise<void> {
  const ending = new AbortController();
  const end = () => ending.abort();
  const signals = ["SIGINT", "SIGTERM"] as const;
  for (const signal of signals) process.once(signal, end);
  try {
    await work(ending.signal);
  } finally {
    for (const signal of signals) process.removeListener(signal, end);
  }
}

async function pause(ms: number, end: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal: end });
  } catch (thrown) {
    if (!end.aborted) throw thrown;
  }
}

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && seconds >= 0.1 && seconds <= INTERVAL_MAX_S) return seconds;
  throw new InvalidArgumentError(`seconds are a number from 0.1 to ${INTERVAL_MAX_S}.`);
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("it is a number from 1 on.");
}

function parseEvery(text: string): number {
  if (/^[1-9]\d{0,9}$/.test(text) && Number(text) <= SAMPLE_EVERY_MAX) return Number(text);
  throw new InvalidArgumentError(`it is a number from 1 to ${SAMPLE_EVERY_MAX}.`);
}
