/**
 * What an agent knows of its datapath: the level and why, whom it tells of packets and for how long, and when it reads what
 * was counted. On the simulated kernel and on virtual time.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { AgentHost, settled } from "../../../test/support/agent-host.ts";
import { peerOf, SEED_ATTACHMENT, seedAgent, seedAssignment, seedInput } from "../../../test/support/seed-cluster.ts";
import type { Datapath, DatapathOp, FlowSample, PairTraffic } from "../../core/host/datapath.ts";
import type { KernelOp } from "../../core/host/host-state.ts";
import type { DatapathLevel } from "../../core/overlay/datapath.ts";
import { desiredHost } from "../../core/overlay/desired.ts";
import { FakeMachine } from "../../io/kernel/fake-kernel.ts";
import { refuse } from "../../io/kernel/fake-kernel-namespace.ts";
import type { OpFailure } from "../../io/ports.ts";
import { SimClock } from "../../io/sim-clock.ts";
import {
  FLOWS_KEPT_MAX,
  FLOWS_LISTEN_MS,
  TRAFFIC_IDLE_MS,
  TRAFFIC_READ_INTERVAL_MS,
} from "../../model/datapath-limits.ts";
import { Fault } from "../../model/fault.ts";
import { cidr, ip } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import { DatapathWatch } from "./datapath-watch.ts";

const PEER = peerOf(seedAgent(2));
const PAIR: PairTraffic = {
  source: ip("9.0.1.2"),
  destination: ip("9.0.2.2"),
  path: "encapsulated",
  packets: 5,
  bytes: 500,
};

function sample(sourcePort: number): FlowSample {
  const { source, destination, path } = PAIR;
  return { source, destination, sourcePort, destinationPort: 80, protocol: 6, path, dev: "weft0", length: 1448 };
}

/** A watch by itself: a test makes its passes. */
class Rig {
  readonly machine = new FakeMachine();
  readonly kernel = this.machine.kernel();
  readonly clock = new SimClock();
  /** What each pass that it asked for was to sample. */
  readonly sampled: number[] = [];
  readings = 0;
  readonly watch: DatapathWatch;

  constructor(maxLevel: DatapathLevel = 2) {
    const traffic = this.kernel.traffic.bind(this.kernel);
    this.kernel.traffic = () => {
      this.readings++;
      return traffic();
    };
    this.watch = new DatapathWatch({
      kernel: this.kernel,
      clock: this.clock,
      maxLevel,
      attachments: () => [SEED_ATTACHMENT],
      peers: () => [PEER],
      pass: async () => void this.sampled.push(this.watch.wishes.sampleEvery),
    });
  }

  /** @returns the failures that the networks are told of */
  pass(...failures: readonly OpFailure[]): readonly OpFailure[] {
    const seed = seedInput(1);
    const input = {
      ...seed,
      facts: { ...seed.facts, underlayMac: mac("02:00:00:00:00:01"), underlayPrefix: cidr("10.0.0.0/24") },
      features: this.machine.features,
      datapath: this.watch.wishes,
    } as const;
    const desired = desiredHost(input);
    this.watch.planned(input, desired);
    this.machine.root.datapath = desired.datapaths[0];
    return this.watch.passed(failures);
  }

  count(...pairs: readonly PairTraffic[]): void {
    this.machine.root.traffic = { paths: {}, pairs };
  }
}

function failure(op: KernelOp, message: string): OpFailure {
  return { index: 0, op, error: { code: "EINVAL", message } };
}

const PUT: DatapathOp = { op: "datapath.put", dev: "vtep1024", entries: [] };

test("before the first pass there is no datapath, and then the one that was planned", () => {
  const rig = new Rig();
  assert.deepEqual(rig.watch.report, { level: 0, reasons: ["no pass was made yet"], notes: [] });
  rig.pass();
  assert.deepEqual(rig.watch.report, { level: 2, reasons: [], notes: [] });
  const low = new Rig(1);
  low.pass();
  assert.deepEqual(low.watch.report, { level: 1, reasons: ["it is set to 1"], notes: [] });
});

test("what the kernel refuses of a datapath that is there is a note, and no network's failure", () => {
  const rig = new Rig();
  const foreign = failure({ op: "link.delete", name: "m-dcos" }, "delete m-dcos: busy");
  assert.deepEqual(rig.pass(failure(PUT, "map peers4: no memory"), foreign), [foreign]);
  assert.deepEqual(rig.watch.report, { level: 2, reasons: [], notes: ["map peers4: no memory"] });
  rig.pass();
  assert.deepEqual(rig.watch.report.notes, [], "until a pass has nothing to complain of");
});

test("programs that the kernel does not take leave the host at level 0 with its networks whole, and come when it does", async (t) => {
  const host = new AgentHost();
  t.after(() => host.stop());
  const { step } = host.machine;
  host.machine.step = (op) => {
    if (op.op === "datapath.replace") refuse("EINVAL", "load the program tunnel: invalid argument");
    step.call(host.machine, op);
  };
  await host.agent.start();
  host.agent.assigned(seedAssignment(1));
  host.agent.peersChanged({ type: "snapshot", peers: [PEER] });
  await host.run(1_000);
  const { report } = host.agent.datapath;
  assert.deepEqual(report, { level: 0, reasons: ["load the program tunnel: invalid argument (EINVAL)"], notes: [] });
  assert.deepEqual(new Set(host.statuses.map(({ status }) => status)), new Set(["STATUS_OK"]));
  await assert.rejects(host.agent.datapath.flows(1, 0), {
    code: "not-ready",
    message: "no packets can be sampled: load the program tunnel: invalid argument (EINVAL)",
  });
  host.machine.step = step;
  await host.run(60_000);
  assert.deepEqual(host.agent.datapath.report, { level: 2, reasons: [], notes: [] });
});

test("an agent that the cluster removed has no datapath, and says so", async (t) => {
  const host = await runningHost(t);
  assert.equal(host.agent.datapath.report.level, 2);
  host.agent.removed();
  await host.run(1_000);
  assert.equal(host.machine.root.datapath, undefined);
  assert.deepEqual(host.agent.datapath.report, {
    level: 0,
    reasons: ["the cluster removed this agent"],
    notes: [],
  });
  host.agent.assigned(seedAssignment(1));
  await host.run(1_000);
  assert.equal(host.agent.datapath.report.level, 2, "it was let in again");
});

// ---- samples -------------------------------------------------------------------------------------------------------------

async function runningHost(t: TestContext): Promise<AgentHost> {
  const host = new AgentHost();
  t.after(() => host.stop());
  await host.agent.start();
  host.agent.assigned(seedAssignment(1));
  host.agent.peersChanged({ type: "snapshot", peers: [PEER] });
  await host.run(1_000);
  return host;
}

test("the kernel samples while somebody asks, and no more when the last one has not asked for a while", async (t) => {
  const host = await runningHost(t);
  const sampleEvery = () => host.machine.root.datapath?.settings.sampleEvery;
  const { datapath } = host.agent;
  assert.equal(sampleEvery(), 0);
  await datapath.flows(100, 0);
  assert.equal(sampleEvery(), 100, "before the first answer");
  for (let asked = 0; asked < 4; asked++) {
    await host.run(FLOWS_LISTEN_MS - 20);
    assert.equal(sampleEvery(), 100);
    await datapath.flows(100, 0);
  }
  await datapath.flows(7, 0);
  assert.equal(sampleEvery(), 7, "as whoever asked last wants it");
  await host.run(FLOWS_LISTEN_MS - 20);
  assert.equal(sampleEvery(), 7);
  await host.run(40);
  assert.equal(sampleEvery(), 0);
});

test("a listener is told what came since it asked last; nothing twice, nothing left out", async () => {
  const rig = new Rig();
  rig.pass();
  rig.machine.root.samples.push(sample(1), sample(2));
  const first = await rig.watch.flows(1, 0);
  assert.deepEqual(first, { flows: [sample(1), sample(2)], next: 2 });
  assert.deepEqual(await rig.watch.flows(1, first.next), { flows: [], next: 2 });
  rig.machine.root.samples.push(sample(3));
  assert.deepEqual(await rig.watch.flows(1, first.next), { flows: [sample(3)], next: 3 });
  assert.equal((await rig.watch.flows(1, 0)).flows.length, 3, "another one asks for itself");
  assert.deepEqual(await rig.watch.flows(1, 1_000), { flows: [], next: 3 }, "a place of the agent's life before");
  assert.deepEqual(rig.sampled, [1], "one pass is enough for all of them");
  await rig.watch.stop();
});

test("of more samples than are kept the oldest go, and places stay what they were", async () => {
  const rig = new Rig();
  rig.pass();
  const surplus = 5;
  const all = Array.from({ length: FLOWS_KEPT_MAX + surplus }, (_, i) => sample(i));
  rig.machine.root.samples.push(...all);
  const { flows, next } = await rig.watch.flows(1, 0);
  assert.equal(flows.length, FLOWS_KEPT_MAX);
  assert.deepEqual(flows[0], sample(surplus));
  assert.equal(next, all.length);
  rig.machine.root.samples.push(sample(50_000));
  assert.deepEqual(await rig.watch.flows(1, next), { flows: [sample(50_000)], next: next + 1 });
  await rig.watch.stop();
});

// ---- counts --------------------------------------------------------------------------------------------------------------

test("counts are read from time to time, only above level 0, and no more after the end", async () => {
  const rig = new Rig();
  rig.watch.passed([]);
  assert.equal(rig.clock.pending, 0, "nothing is counted at level 0");
  rig.pass();
  rig.pass();
  rig.count(PAIR);
  for (const readings of [1, 2, 3]) {
    rig.clock.advance(TRAFFIC_READ_INTERVAL_MS - 1);
    await settled();
    assert.equal(rig.readings, readings - 1);
    rig.clock.advance(1);
    await settled();
    assert.equal(rig.readings, readings);
  }
  assert.equal(rig.watch.book.containers().get(PAIR.source)?.sent.fast.bytes, 500);
  assert.equal(rig.watch.book.nodes().get(PEER.ip)?.sent.fast.packets, 5);
  await rig.watch.stop();
  assert.equal(rig.clock.pending, 0);
});

test("reading ends with the level that it was for, and begins again with the next", async () => {
  const rig = new Rig();
  rig.pass();
  const datapath = rig.machine.root.datapath as Datapath;
  rig.pass(failure({ op: "datapath.replace", datapath }, "no memory"));
  rig.clock.advance(TRAFFIC_READ_INTERVAL_MS);
  await settled();
  assert.equal(rig.clock.pending, 0);
  rig.pass();
  assert.equal(rig.clock.pending, 1);
  await rig.watch.stop();
});

test("a reading that fails is tried again at its time", async () => {
  const rig = new Rig();
  rig.pass();
  const { traffic } = rig.kernel;
  rig.kernel.traffic = () => Promise.reject(new Fault("kernel-refused", "read the map counts: no memory"));
  rig.clock.advance(TRAFFIC_READ_INTERVAL_MS);
  await settled();
  rig.kernel.traffic = traffic;
  rig.clock.advance(TRAFFIC_READ_INTERVAL_MS);
  await settled();
  assert.equal(rig.readings, 1);
  await rig.watch.stop();
});

test("an end that comes while counts are read is the end", async () => {
  const rig = new Rig();
  rig.pass();
  rig.clock.advance(TRAFFIC_READ_INTERVAL_MS);
  await rig.watch.stop();
  await settled();
  assert.equal(rig.clock.pending, 0);
});

test("the silent are forgotten in the kernel, and what they said stays in the sums", async () => {
  const rig = new Rig();
  rig.pass();
  rig.count(PAIR);
  await rig.watch.traffic();
  rig.clock.advance(TRAFFIC_IDLE_MS);
  await rig.watch.traffic();
  assert.deepEqual(rig.machine.root.traffic.pairs, []);
  assert.equal(rig.watch.book.nodes().get(PEER.ip)?.sent.fast.packets, 5);
  await rig.watch.stop();
});

test("two who read at once when a pair is given up count it once", async () => {
  const rig = new Rig();
  rig.pass();
  rig.count(PAIR);
  await rig.watch.traffic();
  rig.clock.advance(TRAFFIC_IDLE_MS);
  await Promise.all([rig.watch.traffic(), rig.watch.traffic()]);
  await rig.watch.traffic();
  assert.equal(rig.watch.book.nodes().get(PEER.ip)?.sent.fast.packets, 5);
  await rig.watch.stop();
});
