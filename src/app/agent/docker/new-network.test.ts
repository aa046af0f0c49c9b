/** `docker network create` for networks that the cluster has not: what the master is asked for, and what Docker is told. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate as settle } from "node:timers/promises";
import { FakeAttachRig } from "../../../../test/support/attach-rig.ts";
import { EngineHand } from "../../../../test/support/engine-hand.ts";
import { planNetworks, wantedNetworks } from "../../../core/docker/networks.ts";
import { SimEngine } from "../../../io/docker/sim-engine.ts";
import { SILENT_LOG } from "../../../io/log.ts";
import { SimClock } from "../../../io/sim-clock.ts";
import type { AgentOverlay, Assignment } from "../../../model/cluster.ts";
import { ENGINE_ADD_WAIT_MS, ENGINE_ARRIVAL_MS, ENGINE_INTERVAL_MS } from "../../../model/engine-limits.ts";
import { Fault } from "../../../model/fault.ts";
import { cidr } from "../../../model/ip.ts";
import type { NewNetwork } from "../../../model/network.ts";
import { Arrivals } from "./arrivals.ts";
import { DockerNetworks } from "./docker-networks.ts";

const BLUE: AgentOverlay = {
  info: { name: "blue", subnet: cidr("10.99.0.0/16"), prefix: 24, enabled: true },
  subnet: cidr("10.99.0.0/24"),
  mesosBridge: { name: "m-blue", ip: cidr("10.99.0.0/25") },
  dockerBridge: { name: "d-blue", ip: cidr("10.99.0.128/25") },
};

/** A host whose master adds what it is asked for. */
async function open(answer: (wanted: NewNetwork) => void = () => {}) {
  const rig = await FakeAttachRig.open();
  const asked: NewNetwork[] = [];
  rig.addNetwork = async (wanted) => {
    asked.push(wanted);
    answer(wanted);
    const { assignment } = rig.context;
    const overlays = [...assignment.agent.overlays, { ...BLUE, info: { ...wanted, enabled: true } }];
    rig.context.assignment = { ...assignment, agent: { ...assignment.agent, overlays } };
  };
  rig.restart();
  return { rig, hand: new EngineHand(rig), asked };
}

test("a network that the cluster has not is added to it, and containers join it at once", async () => {
  const { rig, hand, asked } = await open();
  await hand.create("blue", ["10.99.0.0/16"]);
  assert.deepEqual(asked, [{ name: "blue", subnet: "10.99.0.0/16", prefix: 24 }]);
  const [network] = hand.networks.values();
  assert.ok(network !== undefined);
  await rig.pass();
  const { addresses } = await hand.start("web", network.id);
  assert.deepEqual(addresses, ["10.99.0.130/32"]);
  const plan = planNetworks(wantedNetworks([BLUE], true), [network]);
  assert.deepEqual(plan, { create: [], remove: [], replace: [], problems: [] }, "the agent's own loop is content");
  await hand.create("blue", ["10.99.0.0/16"]);
  assert.equal(asked.length, 1, "what is here is not asked for");
});

test("slices are as usual, as the user says, or shorter where a few hosts would use the subnet up", async () => {
  for (const [pools, options, expected] of [
    [["10.99.0.0/16"], { "weft.prefix": "26" }, { subnet: "10.99.0.0/16", prefix: 26 }],
    [["10.99.0.0/22"], {}, { subnet: "10.99.0.0/22", prefix: 26 }],
    [["10.99.0.0/27"], {}, { subnet: "10.99.0.0/27", prefix: 29 }],
    [
      ["10.99.0.0/16", "fd09::/64"],
      { "weft.prefix6": "96" },
      { subnet: "10.99.0.0/16", prefix: 24, subnet6: "fd09::/64", prefix6: 96 },
    ],
    [["198.18.0.0/15", "fd09::/64"], {}, { subnet6: "fd09::/64", prefix6: 80 }],
  ] as const) {
    const { hand, asked } = await open();
    await hand.create("blue", pools, options);
    assert.deepEqual(asked, [{ name: "blue", ...expected }]);
  }
});

test("what the master refuses the user reads, and nothing stays", async () => {
  const { rig, hand } = await open(() => {
    throw new Fault("forbidden", "networks are added with 'weft network add'");
  });
  await assert.rejects(hand.create("blue", ["10.99.0.0/16"]), /remote: networks are added with 'weft network add'/);
  assert.deepEqual([rig.store.dockerNetworks(), rig.store.leases()], [[], []]);
});

test("what cannot be a network is refused before the master is asked", async () => {
  const { rig, hand, asked } = await open();
  const generic = { "weft.network": "blue" };
  const pool = { Pool: "10.99.0.0/16", SubPool: "", Options: generic, V6: false };
  const refuses = (method: string, body: object, message: RegExp) =>
    assert.rejects(hand.call(method, body), { message }, method);
  await refuses("RequestPool", { ...pool, Pool: "" }, /no network blue; to add it give --subnet/);
  await refuses("RequestPool", { ...pool, SubPool: "10.99.1.0/24" }, /leave it out/);
  await refuses("RequestPool", { ...pool, Options: { "weft.network": "default" } }, /reserved by container engines/);
  await refuses(
    "RequestPool",
    { ...pool, Options: {} },
    /give both --ipam-opt weft\.network=NAME and -o weft\.network=NAME/,
  );
  const { PoolID } = await hand.call("RequestPool", pool);
  assert.equal(PoolID, "blue/4");
  const gateway = { PoolID, Options: { RequestAddressType: "com.docker.network.gateway" } };
  assert.equal((await hand.call("RequestAddress", { ...gateway, Address: "" })).Address, "10.99.0.1/16");
  await refuses("RequestAddress", { ...gateway, Address: "10.99.0.9" }, /leave --gateway out/);
  await refuses("RequestAddress", { PoolID, Address: "" }, /no network blue here/);
  const make = (name: string, more = {}, Pool = "10.99.0.0/16") => ({
    NetworkID: "n1",
    Options: { "com.docker.network.generic": { "weft.network": name, ...more } },
    IPv4Data: [{ Pool, AddressSpace: "weft" }],
  });
  await refuses("CreateNetwork", make("red"), /network red is new: give --ipam-opt weft\.network=red and -o/);
  await refuses("CreateNetwork", make("blue", {}, "10.98.0.0/16"), /one subnet of each family/);
  await refuses("CreateNetwork", make("blue", { "weft.prefix": "/24" }), /weft\.prefix=\/24 is no length/);
  await refuses("CreateNetwork", make("blue", { "com.docker.network.driver.mtu": "9000" }), /network blue carries/);
  rig.context.assignment = { ...rig.context.assignment, enableIpv6: false };
  await refuses("RequestPool", { ...pool, Pool: "fd09::/64", V6: true }, /no IPv6; leave --ipv6 out/);
  assert.deepEqual(asked, []);
});

function served(...overlays: readonly AgentOverlay[]): Assignment {
  return { agent: { overlays }, enableIpv6: true } as Partial<Assignment> as Assignment;
}

test("the call waits until this host has the network, and not for ever", async () => {
  const clock = new SimClock();
  const arrivals = new Arrivals({ clock, ask: async () => {} });
  const wanted = { name: "blue", subnet: cidr("10.99.0.0/16"), prefix: 24 };
  let isHere = false;
  const added = arrivals.add(wanted, ENGINE_ADD_WAIT_MS).then(() => {
    isHere = true;
  });
  for (const overlays of [[], [BLUE]]) {
    await settle();
    assert.deepEqual([isHere, arrivals.isArriving("blue"), arrivals.isArriving("red")], [false, true, false]);
    arrivals.serves(served(...overlays));
  }
  await added;
  assert.ok(arrivals.isArriving("blue"), "Docker's list may not have it yet");
  clock.advance(ENGINE_ARRIVAL_MS);
  assert.ok(!arrivals.isArriving("blue"));
  arrivals.serves(undefined);
  const late = assert.rejects(arrivals.add(wanted, clock.now() + ENGINE_ADD_WAIT_MS), /no part of it yet/);
  await settle();
  clock.advance(ENGINE_ADD_WAIT_MS);
  await late;
  assert.ok(!arrivals.isArriving("blue"), "the agent makes it by itself when it comes");
});

test("while a user makes Docker's network of a name the agent makes none beside it", async () => {
  const [clock, engine] = [new SimClock(), new SimEngine()];
  let isArriving = true;
  const networks = new DockerNetworks({ engine, clock, log: SILENT_LOG, isArriving: () => isArriving });
  const names = async () => (await engine.networks()).map(({ name }) => name);
  const pass = async () => {
    for (let n = 0; n < 5; n++) {
      await settle();
      clock.advance(ENGINE_INTERVAL_MS / 5);
    }
    await settle();
  };
  networks.assigned(served(BLUE));
  await pass();
  assert.deepEqual([await names(), networks.problems()], [[], []]);
  isArriving = false;
  await pass();
  assert.deepEqual(await names(), ["blue"], "a user who gave up leaves it to the agent");
  networks.stop();
});
