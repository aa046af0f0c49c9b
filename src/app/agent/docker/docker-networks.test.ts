/** Docker's networks follow the cluster's on the simulated engine: what is done when, and what is left alone. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as settle } from "node:timers/promises";
import { DRIVER } from "../../../core/docker/engine.ts";
import { wantedNetworks } from "../../../core/docker/networks.ts";
import { SimEngine } from "../../../io/docker/sim-engine.ts";
import { createLog } from "../../../io/log.ts";
import { SimClock } from "../../../io/sim-clock.ts";
import type { AgentOverlay, Assignment } from "../../../model/cluster.ts";
import { ENGINE_DEBOUNCE_MS, ENGINE_INTERVAL_MS, ENGINE_RETRY_MAX_MS } from "../../../model/engine-limits.ts";
import { type Cidr, cidr } from "../../../model/ip.ts";
import { DockerNetworks } from "./docker-networks.ts";

function overlay(name: string, subnet: Cidr): AgentOverlay {
  return { info: { name, enabled: true, subnet, prefix: 24 }, dockerBridge: { name: `d-${name}` } };
}

const DCOS = overlay("dcos", cidr("9.0.0.0/8"));
const BLUE = overlay("blue", cidr("10.1.0.0/16"));
const MOVED = overlay("dcos", cidr("11.0.0.0/8"));

function assignmentOf(...overlays: readonly AgentOverlay[]): Assignment {
  return { agent: { overlays }, enableIpv6: true } as Partial<Assignment> as Assignment;
}

function rig() {
  const engine = new SimEngine();
  const clock = new SimClock();
  const lines: string[] = [];
  const log = createLog("info", "json", { write: (line) => lines.push(line) });
  const networks = new DockerNetworks({ engine, clock, log });
  return {
    engine,
    clock,
    networks,
    lines,
    names: async () => (await engine.networks()).map(({ name }) => name),
    assign: async (...overlays: readonly AgentOverlay[]) => {
      networks.assigned(assignmentOf(...overlays));
      await settle();
    },
    /** Whatever happened is told, and so much time passes. */
    pass: async (ms = ENGINE_DEBOUNCE_MS) => {
      await settle();
      clock.advance(ms);
      await settle();
    },
  };
}

const problems = ({ networks }: ReturnType<typeof rig>) =>
  networks.problems().map(({ network, problem }) => `${network}: ${problem}`);

test("networks come and go with the assignment; before the first one nothing is touched", async () => {
  const { engine, networks, assign, names } = rig();
  const [stale] = wantedNetworks([BLUE], true);
  assert.ok(stale !== undefined);
  await engine.createNetwork(stale);
  networks.changed();
  await settle();
  assert.deepEqual(await names(), ["blue"]);

  await assign(DCOS);
  assert.deepEqual(await names(), ["dcos"]);
  await assign(DCOS, BLUE);
  assert.deepEqual(await names(), ["dcos", "blue"]);
  networks.dismissed();
  await settle();
  assert.deepEqual(await names(), []);
});

test("a network that somebody removed is made again, at the event", async () => {
  const { engine, assign, names, pass } = rig();
  await assign(DCOS);
  const [network] = await engine.networks();
  await engine.removeNetwork(network?.id ?? "");
  await pass();
  assert.deepEqual(await names(), ["dcos"]);
});

test("a second pass finds nothing to do, and none is made for containers", async () => {
  const { engine, assign, pass, networks } = rig();
  await assign(DCOS, BLUE);
  await pass();
  const [before, asked] = [await engine.networks(), { info: 0 }];
  const info = engine.info.bind(engine);
  engine.info = async () => {
    asked.info += 1;
    return info();
  };
  engine.start("alone");
  await pass();
  assert.equal(asked.info, 0);
  await pass(ENGINE_INTERVAL_MS);
  assert.equal(asked.info, 1);
  assert.deepEqual(await engine.networks(), before);
  assert.deepEqual(networks.problems(), []);
});

test("a network with containers stays until they are gone, and says who they are; then it is moved", async () => {
  const world = rig();
  const { engine, assign, pass, names } = world;
  await assign(DCOS);
  engine.start("web", { networks: ["dcos"] });
  await assign(MOVED);
  assert.match(problems(world)[0] ?? "", /^dcos: .*9\.0\.0\.0\/8 instead of 11\.0\.0\.0\/8.*are in Docker's: web;/);
  await assign();
  assert.match(problems(world)[0] ?? "", /^dcos: the cluster has it here no more.*web/);
  await assign(MOVED);
  engine.stop("web");
  await pass();
  assert.deepEqual(problems(world), []);
  assert.deepEqual(
    (await engine.networks()).map(({ pools }) => pools),
    [[{ subnet: "11.0.0.0/8" }]],
  );
  assert.deepEqual(await names(), ["dcos"]);
});

test("a foreign network is reported once, left alone, and gives way when it is gone", async () => {
  const world = rig();
  const { engine, assign, pass, lines } = world;
  const [spec] = wantedNetworks([DCOS], true);
  assert.ok(spec !== undefined);
  const id = await engine.createNetwork({ ...spec, driver: "bridge", labels: {} });
  await assign(DCOS, BLUE);
  await pass(ENGINE_INTERVAL_MS);
  await pass(ENGINE_INTERVAL_MS);
  assert.match(problems(world).join(), /^dcos: Docker has another network dcos \(driver bridge/);
  assert.equal(lines.filter((line) => line.includes("another network")).length, 1);
  await engine.removeNetwork(id);
  await pass();
  assert.deepEqual(problems(world), []);
  assert.equal((await engine.networks()).find(({ name }) => name === "dcos")?.driver, DRIVER);
});

test("an engine that is away is waited for in silence", async () => {
  const { engine, assign, pass, names, lines, networks } = rig();
  engine.halt();
  await assign(DCOS);
  for (let i = 0; i < 100; i += 1) await pass(ENGINE_RETRY_MAX_MS);
  assert.deepEqual(lines, []);
  assert.deepEqual(networks.problems(), []);
  assert.equal(networks.engine(), undefined);
  engine.resume();
  await pass(ENGINE_RETRY_MAX_MS);
  assert.deepEqual(await names(), ["dcos"]);
  assert.equal(networks.engine()?.version, "20.10.24");

  engine.halt();
  await settle();
  await pass();
  assert.equal(networks.engine(), undefined);
});

test("a network that the driver refuses is told of and tried again; the others are made all the same", async () => {
  const world = rig();
  const { engine, assign, pass, names } = world;
  engine.onCreate = async ({ name }) => {
    if (name === "dcos") throw new Error("no disk");
  };
  await assign(DCOS, BLUE);
  assert.deepEqual(await names(), ["blue"]);
  assert.deepEqual(problems(world), ["dcos: Docker refuses: remote: no disk"]);
  engine.onCreate = async () => {};
  await pass(ENGINE_RETRY_MAX_MS);
  assert.deepEqual(problems(world), []);
  assert.deepEqual(await names(), ["blue", "dcos"]);
});

test("nothing is waited for by whoever says that something changed, and a stop ends what is on its way", async () => {
  const { engine, networks, names, clock } = rig();
  const { promise: driver, resolve: answer } = Promise.withResolvers<void>();
  engine.onCreate = () => driver;
  networks.assigned(assignmentOf(DCOS, BLUE));
  await settle();
  // What a driver does while Docker waits for it.
  networks.changed();
  networks.assigned(assignmentOf(DCOS, BLUE));
  networks.stop();
  answer();
  await settle();
  assert.deepEqual(await names(), ["dcos"], "the second one is not made any more");
  assert.equal(clock.pending, 0);
  networks.changed();
  networks.dismissed();
  await settle();
  assert.deepEqual(await names(), ["dcos"]);
});

test("an engine is asked what it is when its networks change, and now and then: one in a swarm is noted", async () => {
  const { engine, assign, networks, names, pass } = rig();
  await assign(DCOS);
  await pass();
  engine.swarm = "active";
  engine.start("web", { networks: ["dcos"] });
  await pass();
  assert.deepEqual(networks.notes(), []);
  await assign(DCOS, BLUE);
  await pass();
  assert.match(networks.notes()[0] ?? "", /swarm mode/);
  assert.deepEqual(await names(), ["dcos", "blue"]);
  engine.swarm = "inactive";
  await pass(ENGINE_INTERVAL_MS);
  await pass(ENGINE_INTERVAL_MS);
  assert.deepEqual(networks.notes(), []);
});
