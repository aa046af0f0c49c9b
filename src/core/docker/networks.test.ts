/** What an engine is told to do, for every way in which its networks can be: tables of (wanted, present) → plan. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { AgentOverlay } from "../../model/cluster.ts";
import { cidr } from "../../model/ip.ts";
import type { EngineNetwork, NetworkSpec } from "./engine.ts";
import { heldProblem, type NetworkPlan, planNetworks, swarmNote, wantedNetworks } from "./networks.ts";

function overlay(name: string, subnets: Partial<AgentOverlay["info"]>, hasDockerHalf = true): AgentOverlay {
  return { info: { name, enabled: true, ...subnets }, ...(hasDockerHalf && { dockerBridge: { name: `d-${name}` } }) };
}

const V4 = { subnet: cidr("9.0.0.0/8"), prefix: 24 };
const V6 = { subnet6: cidr("fd01:b::/64"), prefix6: 80 };

function specOf(subnets: Partial<AgentOverlay["info"]> = V4, enableIpv6 = true): NetworkSpec {
  const [spec] = wantedNetworks([overlay("dcos", subnets)], enableIpv6);
  return spec ?? assert.fail("it is wanted");
}

function present(more: Partial<EngineNetwork> = {}, spec = specOf()): EngineNetwork {
  return { ...spec, id: "0123456789abcdef", scope: "local", ...more };
}

const USERS = present({ labels: {} });
const BRIDGE = present({ driver: "bridge", ipamDriver: "default", labels: {}, options: {}, ipamOptions: {} });
const OTHER_POOL = [{ subnet: "10.0.0.0/8" }];

test("every network with a Docker half is wanted, with all of its prefixes that are in use", () => {
  const table: readonly (readonly [AgentOverlay, boolean, readonly string[], boolean])[] = [
    [overlay("dcos", V4), true, ["9.0.0.0/8"], false],
    [overlay("dcos6", V6), true, ["198.18.0.0/15", "fd01:b::/64"], true],
    [overlay("dual", { ...V4, ...V6 }), true, ["9.0.0.0/8", "fd01:b::/64"], true],
    [overlay("dual", { ...V4, ...V6 }), false, ["9.0.0.0/8"], false],
  ];
  for (const [each, enableIpv6, subnets, is6] of table) {
    const options = { "weft.network": each.info.name };
    assert.deepEqual(wantedNetworks([each], enableIpv6), [
      {
        name: each.info.name,
        driver: "weft",
        ipamDriver: "weft",
        ipamOptions: options,
        pools: subnets.map((subnet) => ({ subnet })),
        options,
        labels: { "weft.managed": "true" },
        internal: false,
        enableIpv6: is6,
      },
    ]);
  }
  assert.deepEqual(wantedNetworks([overlay("dcos", V4, false)], true), []);
  assert.deepEqual(wantedNetworks([overlay("dcos6", V6)], false), []);
});

test("what is there decides what is done", () => {
  const wanted = specOf();
  const table: readonly (readonly [what: string, NetworkSpec[], EngineNetwork[], Partial<NetworkPlan>])[] = [
    ["nothing there", [wanted], [], { create: [wanted] }],
    ["as wanted", [wanted], [present()], {}],
    ["as wanted, made by a user", [wanted], [USERS], {}],
    ["others' networks of other names", [], [present({ name: "bridge", driver: "bridge" }), USERS], {}],
    ["not wanted any more", [], [present()], { remove: [present()] }],
    ["ours twice", [wanted], [present(), present({ id: "2" })], { remove: [present({ id: "2" })] }],
    ["options of others, labels, the gateway", [wanted], [present({ options: { ...wanted.options, a: "b" } })], {}],
    ["a gateway", [wanted], [present({ pools: [{ subnet: "9.0.0.0/8", gateway: "169.254.1.1" }] })], {}],
  ];
  const nothing: NetworkPlan = { create: [], remove: [], replace: [], problems: [] };
  for (const [what, specs, networks, plan] of table)
    assert.deepEqual(planNetworks(specs, networks), { ...nothing, ...plan }, what);
});

test("one of ours that is not as wanted is replaced", () => {
  const spec = specOf({ ...V4, ...V6 });
  const changes: readonly Partial<EngineNetwork>[] = [
    { pools: OTHER_POOL },
    { pools: spec.pools.slice(0, 1) },
    { pools: [{ subnet: "9.0.0.0/8", ipRange: "9.0.1.0/24" }, ...spec.pools.slice(1)] },
    { enableIpv6: false },
    { ipamDriver: "default" },
    { options: {} },
    { ipamOptions: { "weft.network": "blue" } },
  ];
  for (const change of changes) {
    const network = present(change, spec);
    const { replace, create, remove, problems } = planNetworks([spec], [network]);
    assert.deepEqual(
      { replace, rest: [create, remove, problems] },
      { replace: [{ network, spec }], rest: [[], [], []] },
    );
  }
});

test("what others made is reported and left alone", () => {
  const wrong = { ...USERS, pools: OTHER_POOL };
  for (const [networks, words] of [
    [[BRIDGE], "driver bridge, 9.0.0.0/8"],
    [[wrong], "driver weft, 10.0.0.0/8"],
    [[BRIDGE, present()], "driver bridge, 9.0.0.0/8"],
  ] as const) {
    const { problems, ...rest } = planNetworks([specOf()], networks);
    assert.deepEqual(rest, { create: [], remove: [], replace: [] });
    assert.deepEqual(problems, [
      {
        network: "dcos",
        problem:
          `Docker has another network dcos (${words}), which is left alone; ` +
          "to let Docker's containers join the cluster's: docker network rm 0123456789ab",
      },
    ]);
  }
});

test("names that Docker keeps for itself are problems", () => {
  for (const name of ["host", "bridge", "none", "default"]) {
    const { create, problems } = planNetworks([{ ...specOf(), name }], []);
    assert.deepEqual(create, []);
    assert.match(problems[0]?.problem ?? "", /reserved/);
  }
});

test("a network that cannot go says who is in it, and why it should go", () => {
  const endpoints = [
    { endpointId: "e1", name: "web", containerId: "c1", addresses: [] },
    { endpointId: "0123456789abcdef", name: "", addresses: [] },
  ];
  assert.deepEqual(heldProblem(present(), endpoints), {
    network: "dcos",
    problem:
      "the cluster has it here no more, but containers are in Docker's: web, 0123456789ab; stop them, and it is removed",
  });
  assert.equal(
    heldProblem(present({ pools: OTHER_POOL }), endpoints, specOf()).problem,
    "it is not as the cluster has it (addresses 10.0.0.0/8 instead of 9.0.0.0/8), but containers are in Docker's: " +
      "web, 0123456789ab; stop them, and it is made anew",
  );
});

test("an engine in a swarm is told of", () => {
  const info = { version: "20.10.24", id: "A" };
  assert.equal(swarmNote({ ...info, swarm: "inactive" }), undefined);
  assert.match(swarmNote({ ...info, swarm: "active" }) ?? "", /services cannot/);
});
