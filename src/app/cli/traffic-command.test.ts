/**
 * `weft top` and `weft flows` as somebody runs them: the program itself, asked to end by a signal or by a closed pipe, against
 * an agent whose answers a test writes.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { Fault, type FaultCode } from "../../model/fault.ts";
import { FAULT_TABLE, faultBody } from "../../model/fault-table.ts";
import { type Ip, ip } from "../../model/ip.ts";
import type { FlowView, TrafficView } from "./traffic-text.ts";

const MAIN = new URL("main.ts", import.meta.url).pathname;
const [WEB, DB, FAR] = [ip("9.0.1.2"), ip("9.0.1.3"), ip("9.0.2.2")];

/** An agent that answers what a test wrote last; it may go and come back at the same address. */
class StubAgent {
  traffic: (count: number) => TrafficView = reading;
  /** What was sampled, as the agent keeps it. */
  flows: FlowView[] = [];
  refusal: Fault | undefined;
  /** What was asked, and how often. */
  readonly asked: string[] = [];
  #server: Server | undefined;
  #port = 0;
  #readings = 0;
  #waiting: (() => void)[] = [];

  get address(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(t: TestContext): Promise<this> {
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? "", this.address);
      this.asked.push(`${url.pathname}${url.search}`);
      const [status, body] = this.#answer(url);
      response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body));
      for (const resolve of this.#waiting.splice(0)) resolve();
    });
    await once(server.listen(this.#port, "127.0.0.1"), "listening");
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
    t.after(() => this.stop());
    return this;
  }

  stop(): void {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }

  /** Until it has been asked so often for this path, from now on. */
  async isAsked(path: string, times = 1): Promise<void> {
    const [count, before] = [() => this.asked.filter((each) => each.startsWith(path)).length, this.asked.length];
    const wanted = this.asked.slice(0, before).filter((each) => each.startsWith(path)).length + times;
    while (count() < wanted) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #answer({ pathname, searchParams }: URL): readonly [number, unknown] {
    if (pathname === "/v1/status") return [200, {}];
    if (this.refusal !== undefined) return [FAULT_TABLE[this.refusal.code].http, faultBody(this.refusal)];
    if (pathname === "/v1/traffic") return [200, this.traffic(this.#readings++)];
    if (pathname === "/v1/endpoints") return [200, { endpoints: ENDPOINTS }];
    const after = Number(searchParams.get("after"));
    return [200, { flows: this.flows.slice(after).filter((flow) => flow !== LOST), next: this.flows.length }];
  }
}

const ENDPOINTS = (
  [
    [WEB, "web"],
    [DB, "db"],
  ] as [Ip, string][]
).map(([address, name]) => ({
  containerId: name,
  name,
  runtime: "podman",
  network: "dcos",
  ifname: "eth0",
  addresses: [address],
  plugin: "weft-cni",
  state: "attached",
  since: "2026-11-21T08:00:17Z",
}));

/** The n-th reading of an agent on which each second brings `n` thousand packets. */
function reading(n: number): TrafficView {
  const [packets, bytes] = [n * 1_000, n * 125_000];
  return {
    nowMs: 5_000 + n * 1_000,
    datapath: { level: 2, reasons: [], notes: [] },
    paths: { encapsulated: { packets, bytes } },
    pairs: [{ source: WEB, destination: FAR, path: "encapsulated", packets, bytes }],
  };
}

function flow(sourcePort: number): FlowView {
  return {
    source: WEB,
    destination: FAR,
    sourcePort,
    destinationPort: 80,
    protocol: 6,
    path: "encapsulated",
    length: 1_448,
  };
}

/** In the place of a packet that the agent does not have any more. */
const LOST = flow(0);

/** The program as it runs, with what it has printed. */
class Running {
  readonly process;
  out = "";
  err = "";
  #waiting: (() => void)[] = [];

  constructor(t: TestContext, ...args: string[]) {
    const { WEFT_AGENT: _, ...env } = process.env;
    this.process = spawn(process.execPath, [MAIN, ...args], { env, stdio: ["ignore", "pipe", "pipe"] });
    t.after(() => this.process.kill("SIGKILL"));
    this.process.stdout.setEncoding("utf8").on("data", (text: string) => this.#take(() => (this.out += text)));
    this.process.stderr.setEncoding("utf8").on("data", (text: string) => this.#take(() => (this.err += text)));
    this.process.on("close", () => this.#take(() => {}));
  }

  /** Until it has printed this. */
  async says(what: RegExp, stream: "out" | "err" = "out"): Promise<void> {
    while (!what.test(this[stream])) {
      assert.equal(this.process.exitCode, null, this.err);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Its exit status, or the signal that killed it. */
  async ended(): Promise<number | NodeJS.Signals> {
    const [code, signal] = await once(this.process, "close");
    return code ?? signal;
  }

  #take(keep: () => void): void {
    keep();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

test("top prints one table after another where there is no terminal, with names, and ends after so many", async (t) => {
  const agent = await new StubAgent().start(t);
  const top = new Running(t, "top", "--agent", agent.address, "--interval", "0.1", "--count", "2");
  assert.equal(await top.ended(), 0, top.err);
  const table = `
datapath: level 2

PACKETS              PACKETS/S  BITS/S  MAINLY
same host                    0       0
by the VXLAN device          0       0
encapsulated              1.0k    1.0M
left to the kernel           0       0

FROM  TO       PATH          PACKETS/S  BITS/S
web   9.0.2.2  encapsulated       1.0k    1.0M
`;
  assert.equal(top.out, `${table}${table}`.slice(1));
});

test("top --json prints one object a line, with addresses", async (t) => {
  const agent = await new StubAgent().start(t);
  const top = new Running(t, "top", "--agent", agent.address, "--interval", "0.1", "--count", "1", "--json");
  assert.equal(await top.ended(), 0, top.err);
  assert.deepEqual(JSON.parse(top.out), {
    datapath: { level: 2, reasons: [], notes: [] },
    seconds: 1,
    paths: { encapsulated: { packetsPerSecond: 1_000, bitsPerSecond: 1e6 } },
    pairs: [{ source: WEB, destination: FAR, path: "encapsulated", packetsPerSecond: 1_000, bitsPerSecond: 1e6 }],
  });
});

test("top goes on until a signal, and ends with status 0", async (t) => {
  const agent = await new StubAgent().start(t);
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    const top = new Running(t, "top", "--agent", agent.address, "--interval", "0.1");
    await top.says(/PACKETS(.|\n)*PACKETS.*\nsame(.|\n)*web/);
    top.process.kill(signal);
    assert.equal(await top.ended(), 0);
    assert.equal(top.err, "");
  }
});

test("top at level 0 says that nothing is counted and why, at once or when it comes to that", async (t) => {
  const agent = await new StubAgent().start(t);
  const none: TrafficView = {
    ...reading(0),
    datapath: { level: 0, reasons: ["it is set to 0"], notes: [] },
    pairs: [],
  };
  const message = "weft: no packets are counted: the datapath of this host is at level 0 (it is set to 0)\n";
  for (const first of [0, 2]) {
    let count = 0;
    agent.traffic = () => (count++ < first ? reading(count) : none);
    const top = new Running(t, "top", "--agent", agent.address, "--interval", "0.1");
    assert.equal(await top.ended(), 75);
    assert.equal(top.err, message);
  }
});

test("a reading of another life of the agent is where the next table begins", async (t) => {
  const agent = await new StubAgent().start(t);
  agent.traffic = (n) => (n === 0 ? reading(9) : reading(n));
  const top = new Running(t, "top", "--agent", agent.address, "--interval", "0.1", "--count", "1");
  assert.equal(await top.ended(), 0);
  assert.match(top.out, /web {3}9\.0\.2\.2 {2}encapsulated +1\.0k/);
  assert.equal(agent.asked.filter((path) => path === "/v1/traffic").length, 3);
});

test("an agent that is away is waited for, once it has answered; one that never did is an error", async (t) => {
  const agent = await new StubAgent().start(t);
  const top = new Running(t, "top", "--agent", agent.address, "--interval", "0.1");
  await top.says(/web/);
  agent.stop();
  await top.says(/no agent answers at .*; waiting for it\n/, "err");
  const before = top.out.length;
  await agent.start(t);
  await agent.isAsked("/v1/endpoints", 2);
  top.process.kill("SIGINT");
  assert.equal(await top.ended(), 0);
  assert.ok(top.out.length > before);
  assert.equal(top.err.match(/waiting for it/g)?.length, 1, "it is said once");
  agent.stop();
  const alone = new Running(t, "flows", "--agent", agent.address);
  assert.equal(await alone.ended(), 75);
  assert.match(alone.err, /^weft: no agent answers at /);
});

test("flows prints what comes from now on, line by line, until a signal", async (t) => {
  const agent = await new StubAgent().start(t);
  agent.flows = [flow(1), flow(2)];
  const flows = new Running(t, "flows", "--agent", agent.address, "--every", "7");
  await agent.isAsked("/v1/flows");
  agent.flows.push(flow(3), flow(4));
  await flows.says(/9\.0\.1\.2:4/);
  agent.flows.push(flow(5));
  await flows.says(/9\.0\.1\.2:5/);
  flows.process.kill("SIGTERM");
  assert.equal(await flows.ended(), 0);
  const lines = [3, 4, 5].map((port) => `9.0.1.2:${port} → 9.0.2.2:80 tcp 1448 B encapsulated\n`);
  assert.equal(flows.out, lines.join(""));
  assert.equal(flows.err, "");
  assert.ok(
    agent.asked.every((path) => path.startsWith("/v1/flows?every=7&")),
    agent.asked.join(),
  );
});

test("flows goes on where an agent that began anew counts from nothing", async (t) => {
  const agent = await new StubAgent().start(t);
  agent.flows = [flow(1), flow(2)];
  const flows = new Running(t, "flows", "--agent", agent.address, "--json");
  await agent.isAsked("/v1/flows");
  agent.flows = [flow(6)];
  await flows.says(/\n/);
  agent.flows.push(flow(7));
  await flows.says(/\n.*\n/);
  flows.process.kill("SIGINT");
  assert.equal(await flows.ended(), 0);
  assert.deepEqual(
    flows.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line)),
    [flow(6), flow(7)],
  );
});

test("flows ends with the agent's own words and status where it refuses, also later", async (t) => {
  const agent = await new StubAgent().start(t);
  const rows: readonly [FaultCode, string, number][] = [
    ["forbidden", "this call is served on the agent's Unix socket only", 77],
    ["not-ready", "no packets can be sampled: it is set to 0", 75],
  ];
  for (const [code, message, status] of rows) {
    agent.refusal = new Fault(code, message);
    const flows = new Running(t, "flows", "--agent", agent.address);
    assert.equal(await flows.ended(), status);
    assert.equal(flows.err, `weft: ${message}\n`);
    agent.refusal = undefined;
    const later = new Running(t, "flows", "--agent", agent.address);
    await agent.isAsked("/v1/flows");
    agent.refusal = new Fault(code, message);
    assert.equal(await later.ended(), status);
    assert.equal(later.err, `weft: ${message}\n`);
  }
});

test("a reader that has seen enough is no error", async (t) => {
  const agent = await new StubAgent().start(t);
  const flows = new Running(t, "flows", "--agent", agent.address);
  await agent.isAsked("/v1/flows");
  agent.flows.push(flow(1));
  await flows.says(/\n/);
  flows.process.stdout.destroy();
  agent.flows.push(flow(2));
  assert.equal(await flows.ended(), 0);
  assert.equal(flows.err, "");
});

test("flows says once that some are left out", async (t) => {
  const agent = await new StubAgent().start(t);
  const flows = new Running(t, "flows", "--agent", agent.address, "--every", "1");
  await agent.isAsked("/v1/flows");
  for (const port of [1, 2]) {
    agent.flows.push(LOST, LOST, flow(port));
    await flows.says(new RegExp(`9\\.0\\.1\\.2:${port} `));
  }
  flows.process.kill("SIGINT");
  assert.equal(await flows.ended(), 0);
  assert.equal(flows.err, "weft: more packets are sampled than can be told, and some are left out; raise --every\n");
});

test("numbers that are none are refused", async (t) => {
  const rows = ["top --interval 0", "top --interval x", "top --count 0", "top --rows -1", "flows --every 0"];
  for (const row of rows) {
    const refused = new Running(t, ...row.split(" "), "--agent", "http://127.0.0.1:1");
    assert.equal(await refused.ended(), 64, row);
    assert.match(refused.err, /^weft: option '--\w+ <\w+>' argument '\S+' is invalid\. /);
  }
});
