/**
 * What the DockerEngine port promises, as tests that run against a real daemon in a lab and against the simulated engine
 * alike. Networks here are of the engine's own driver: what ours does belongs to other tests.
 */
import assert from "node:assert/strict";
import { suite, test } from "node:test";
import type { NetworkSpec } from "../../src/core/docker/engine.ts";
import type { DockerEngine, EngineChange } from "../../src/io/ports.ts";
import type { Fault } from "../../src/model/fault.ts";

export interface EngineUnderTest {
  readonly engine: DockerEngine;
  /** Runs a container whose health is checked, or not. @returns its id */
  start(name: string, networks: readonly string[], isChecked?: boolean): Promise<string>;
  /** … until it is found to be healthy. */
  becomeHealthy(name: string): Promise<void>;
  stop(name: string): Promise<void>;
  /** The daemon ends, and comes again. */
  halt(): Promise<void>;
  resume(): Promise<void>;
  /** Lets time pass until the condition holds; fails when it does not. */
  until(what: string, condition: () => boolean): Promise<void>;
}

/** Of every container that `start` runs. */
export const LABELS = { team: "web", empty: "" };
export const PORT = { protocol: "tcp", containerPort: 80 };
export const IMAGE = "who";

const ABSENT_ID = "f".repeat(64);

function specOf(name: string, more: Partial<NetworkSpec> = {}): NetworkSpec {
  return {
    name,
    driver: "bridge",
    ipamDriver: "default",
    ipamOptions: { "test.key": "value" },
    pools: [{ subnet: "10.201.0.0/24" }],
    options: { "com.docker.network.bridge.name": `b-${name}` },
    labels: { "test.made": "true" },
    internal: false,
    enableIpv6: false,
    ...more,
  };
}

/** Registers the suite; `world` is called in each test, and is one for all of them. */
export function dockerEngineContract(name: string, world: () => EngineUnderTest, skip?: string): void {
  suite(`docker engine contract: ${name}`, { skip }, () => {
    networkTests(world);
    containerTests(world);
    changeTests(world);
  });
}

/** A network for the time of a test. */
async function withNetwork(engine: DockerEngine, spec: NetworkSpec, body: (id: string) => Promise<void>) {
  const id = await engine.createNetwork(spec);
  await body(id);
  await engine.removeNetwork(id);
  assert.equal(await engine.network(id), undefined);
}

function networkTests(world: () => EngineUnderTest): void {
  test("the engine says what it is", async () => {
    const { version, id, swarm } = await world().engine.info();
    assert.match(version, /^\d+\.\d+/);
    assert.notEqual(id, "");
    assert.equal(swarm, "inactive");
  });

  test("a network is as it was asked for", async () => {
    const { engine } = world();
    const spec = specOf("blue");
    await withNetwork(engine, spec, async (id) => {
      const listed = (await engine.networks()).find((network) => network.name === "blue");
      assert.deepEqual(listed, { ...spec, id, scope: "local" });
      assert.deepEqual(await engine.network(id), { ...listed, endpoints: [] });
    });
  });

  test("a network of two families that nothing leaves", async () => {
    const { engine } = world();
    const pools = [
      { subnet: "10.202.0.0/24", gateway: "10.202.0.9", ipRange: "10.202.0.0/28" },
      { subnet: "fd0c:d::/64" },
    ];
    const spec = specOf("dual", { pools, enableIpv6: true, internal: true });
    await withNetwork(engine, spec, async (id) => {
      const { pools, enableIpv6, internal } = (await engine.network(id)) ?? assert.fail("it is there");
      assert.deepEqual({ pools, enableIpv6, internal }, { pools: spec.pools, enableIpv6: true, internal: true });
    });
  });

  test("a second network of one name is refused, whatever else it is", async () => {
    const { engine } = world();
    await withNetwork(engine, specOf("taken"), async (id) => {
      const other = specOf("taken", { pools: [{ subnet: "10.203.0.0/24" }], options: {} });
      await assert.rejects(engine.createNetwork(other), { code: "in-use" });
      assert.deepEqual(
        (await engine.networks()).filter((network) => network.name === "taken").map((network) => network.id),
        [id],
      );
    });
  });

  test("a network that is not there can be removed", async () => {
    await world().engine.removeNetwork(ABSENT_ID);
    assert.equal(await world().engine.network(ABSENT_ID), undefined);
  });
}

function containerTests(world: () => EngineUnderTest): void {
  test("a container is in its networks as long as it runs, and keeps them from being removed", async () => {
    const { engine, start, stop } = world();
    await withNetwork(engine, specOf("green"), async (id) => {
      const containerId = await start("tree", ["green"]);
      const [endpoint, ...none] = (await engine.network(id))?.endpoints ?? [];
      assert.deepEqual(none, []);
      assert.ok(endpoint?.mac !== undefined);
      const { endpointId } = endpoint;
      const addresses = ["10.201.0.2/24"];
      assert.deepEqual(endpoint, { endpointId, containerId, name: "tree", mac: endpoint.mac, addresses });

      const networks = [{ network: "green", networkId: id, endpointId, addresses: ["10.201.0.2"] }];
      assert.deepEqual(await engine.containers(), [
        { id: containerId, name: "tree", image: IMAGE, labels: LABELS, ports: [PORT], networks },
      ]);
      await assert.rejects(engine.removeNetwork(id), { code: "in-use" });

      await stop("tree");
      assert.deepEqual((await engine.network(id))?.endpoints, []);
      assert.deepEqual(await engine.containers(), []);
    });
  });

  test("a container's health is what its check found last; without a check there is none", async () => {
    const { engine, start, stop, becomeHealthy } = world();
    const health = async () => (await engine.containers()).map((container) => container.health);
    await start("patient", [], true);
    assert.deepEqual(await health(), ["starting"]);
    await becomeHealthy("patient");
    assert.deepEqual(await health(), ["healthy"]);
    await stop("patient");
  });
}

function changeTests(world: () => EngineUnderTest): void {
  test("changes of networks and containers are told until nobody watches any more", async () => {
    const { engine, start, stop, until } = world();
    const changes: EngineChange[] = [];
    const watch = await engine.watch((change) => changes.push(change), assert.fail);
    const told = async (what: string, change: EngineChange, act: () => Promise<unknown>) => {
      changes.length = 0;
      await act();
      await until(what, () => changes.includes(change));
    };
    let id = "";
    await told("a new network", "network", async () => {
      id = await engine.createNetwork(specOf("red"));
    });
    await told("a container that starts", "container", () => start("rose", ["red"]));
    await told("a container that ends", "container", () => stop("rose"));
    watch.close();
    changes.length = 0;
    const second: EngineChange[] = [];
    const other = await engine.watch((change) => second.push(change), assert.fail);
    await engine.removeNetwork(id);
    await until("the removal", () => second.length > 0);
    other.close();
    assert.deepEqual(changes, []);
  });

  test("an engine that is away says so to every call and ends the watch; the same client finds it again", async () => {
    const { engine, until, halt, resume } = world();
    const ends: Fault[] = [];
    await engine.watch(
      () => {},
      (reason) => ends.push(reason),
    );
    const id = await engine.createNetwork(specOf("stays"));
    await halt();
    await until("the end of the watch", () => ends.length > 0);
    const calls = [
      () => engine.info(),
      () => engine.networks(),
      () => engine.network(id),
      () => engine.createNetwork(specOf("other")),
      () => engine.removeNetwork(id),
      () => engine.containers(),
      () => engine.watch(assert.fail, assert.fail),
    ];
    for (const call of calls) await assert.rejects(call(), { code: "not-ready" });
    await resume();
    assert.deepEqual(
      ends.map(({ code }) => code),
      ["not-ready"],
    );
    assert.equal((await engine.network(id))?.name, "stays");
    await engine.removeNetwork(id);
  });
}
