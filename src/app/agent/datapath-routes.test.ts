/**
 * The datapath over HTTP, asked of an agent's own routes over a simulated kernel: what is told at which level, to whom, and
 * what is refused.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { z } from "zod";
import { AgentHost } from "../../../test/support/agent-host.ts";
import { peerOf, seedAgent, seedAssignment } from "../../../test/support/seed-cluster.ts";
import type { FlowSample, Traffic } from "../../core/host/datapath.ts";
import { SAMPLE_EVERY_MAX } from "../../model/datapath-limits.ts";
import { ip } from "../../model/ip.ts";
import { createApi } from "../http-api.ts";
import { addDatapathRoutes, flowsSchema, trafficSchema } from "./datapath-routes.ts";

const TRAFFIC: Traffic = {
  paths: { encapsulated: { packets: 7, bytes: 900 } },
  pairs: [{ source: ip("9.0.1.2"), destination: ip("9.0.2.2"), path: "encapsulated", packets: 7, bytes: 900 }],
};
const SAMPLE: FlowSample = {
  source: ip("fd01:b::1:0:0:2"),
  destination: ip("fd01:b::2:0:0:2"),
  protocol: 58,
  path: "not-tcp-udp",
  length: 104,
};

interface Answer<T> {
  readonly status: number;
  readonly body: T;
}

/** An agent with its networks in place, and what its routes answer. */
class Served {
  readonly host = new AgentHost();

  async start(t: TestContext): Promise<this> {
    t.after(() => this.host.stop());
    await this.host.agent.start();
    this.host.agent.assigned(seedAssignment(1));
    this.host.agent.peersChanged({ type: "snapshot", peers: [peerOf(seedAgent(2))] });
    await this.host.run(1_000);
    return this;
  }

  async get(path: string, local = true): Promise<Answer<unknown>> {
    const options = { title: "agent", version: "0", metrics: async () => ({ text: "", contentType: "" }) };
    const app = createApi({ ...options, onBug: (thrown) => assert.fail(String(thrown)) });
    addDatapathRoutes(app, { datapath: this.host.agent.datapath, clock: this.host.clock, local });
    const answer = await app.request(path);
    return { status: answer.status, body: await answer.json() };
  }

  /** An answer that fits its description. */
  async read<T>(path: string, schema: z.ZodType<T>, local = true): Promise<T> {
    const { status, body } = await this.get(path, local);
    assert.equal(status, 200, JSON.stringify(body));
    return schema.parse(body);
  }

  async refusal(path: string, local = true): Promise<readonly [number, string, string]> {
    const { status, body } = await this.get(path, local);
    const { error } = body as { error: { code: string; message: string } };
    return [status, error.code, error.message];
  }
}

test("counts come with the level and the time that they were read at, to everybody", async (t) => {
  const served = await new Served().start(t);
  served.host.machine.root.traffic = TRAFFIC;
  for (const local of [true, false]) {
    const { nowMs, datapath, paths, pairs } = await served.read("/v1/traffic", trafficSchema, local);
    assert.equal(nowMs, served.host.clock.now());
    assert.deepEqual(datapath, { level: 2, reasons: [], notes: [] });
    assert.deepEqual({ paths, pairs }, TRAFFIC);
  }
  const { book } = served.host.agent.datapath;
  assert.equal(book.nodes().get(ip("10.0.0.12"))?.sent.fast.bytes, 900, "and are in the sums, once");
});

test("where there is no datapath the answer says why, and counts nothing", async (t) => {
  const served = new Served();
  t.after(() => served.host.stop());
  served.host.machine.root.traffic = TRAFFIC;
  const { datapath, paths, pairs } = await served.read("/v1/traffic", trafficSchema);
  assert.deepEqual(datapath, { level: 0, reasons: ["no pass was made yet"], notes: [] });
  assert.deepEqual([paths, pairs], [{}, []]);
});

test("samples are told by the socket, from the place that the last answer named", async (t) => {
  const served = await new Served().start(t);
  served.host.machine.root.samples.push(SAMPLE);
  const sampled = () => served.host.machine.root.datapath?.settings.sampleEvery;
  assert.deepEqual(await served.read("/v1/flows", flowsSchema), { flows: [SAMPLE], next: 1 });
  assert.equal(sampled(), 100, "if nothing is said");
  assert.deepEqual(await served.read("/v1/flows?every=1&after=1", flowsSchema), { flows: [], next: 1 });
  assert.equal(sampled(), 1);
  assert.deepEqual(await served.read("/v1/flows?every=1&after=1", flowsSchema), { flows: [], next: 1 });
  const future = `after=${Number.MAX_SAFE_INTEGER}`;
  assert.deepEqual(await served.read(`/v1/flows?${future}`, flowsSchema), { flows: [], next: 1 });
  assert.equal(sampled(), 1, "who wants most decides for all");
});

test("samples are refused to who comes from afar, at level 0, and where the numbers are none", async (t) => {
  const served = await new Served().start(t);
  assert.deepEqual((await served.refusal("/v1/flows", false)).slice(0, 2), [403, "forbidden"]);
  assert.equal(served.host.agent.datapath.wishes.sampleEvery, 0, "and nothing was sampled for it");
  for (const query of ["every=0", `every=${SAMPLE_EVERY_MAX + 1}`, "every=few", "after=-1", "after=1.5"])
    assert.deepEqual((await served.refusal(`/v1/flows?${query}`)).slice(0, 2), [400, "bad-request"], query);
  served.host.agent.removed();
  await served.host.run(1_000);
  assert.deepEqual(await served.refusal("/v1/flows"), [
    503,
    "not-ready",
    "no packets can be sampled: the cluster removed this agent",
  ]);
});
