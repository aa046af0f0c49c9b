import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";

const WEB = { name: "web", subnet: "10.64.0.0/12", prefix: 24 };

const operator = (rig: MasterRig, method: string, path: string, body?: unknown) => rig.call(method, path, body, true);

async function refusal(answer: Response): Promise<readonly [number, string]> {
  const { error } = (await answer.json()) as { error: { message: string } };
  return [answer.status, error.message];
}

async function namesOf(rig: MasterRig): Promise<string[]> {
  const { networks } = (await rig.json("/v1/networks")) as { networks: { name: string }[] };
  return networks.map(({ name }) => name);
}

test("a network is added while agents are there: they are told, and have a slice when they come", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  assert.equal((await operator(rig, "POST", "/v1/networks", WEB)).status, 204);
  assert.equal(rig.announcements, 1);
  const { agent, overlaySubnets } = await rig.register(request(1));
  assert.equal(agent.overlays.find(({ info }) => info.name === "web")?.subnet, "10.64.0.0/24");
  assert.ok(overlaySubnets.some((prefix) => prefix === "10.64.0.0/12"));
  const [status, message] = await refusal(await operator(rig, "POST", "/v1/networks", WEB));
  assert.deepEqual([status, /there is a network web already/.test(message)], [409, true]);
});

test("what is no valid network, or overlaps another one, is refused with the reason; strangers change nothing", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  for (const [definition, pattern] of [
    [{ name: "web" }, /subnet: is missing/],
    [{ ...WEB, subnet: "9.1.0.0/16" }, /overlaps/],
    [{ ...WEB, subnet: "10.0.0.0/16" }, /10\.0\.0\.0\/16 holds 10\.0\.0\.1, the address of host-1/],
    [{ ...WEB, name: "much-too-long-a-name" }, /name/],
  ] as const) {
    const [status, message] = await refusal(await operator(rig, "POST", "/v1/networks", definition));
    assert.equal(status, 400, message);
    assert.match(message, pattern);
  }
  for (const [method, path, body] of [
    ["POST", "/v1/networks", WEB],
    ["PATCH", "/v1/networks/dcos", { enabled: false }],
    ["DELETE", "/v1/networks/dcos6", undefined],
    ["POST", "/v1/apply", { config: "" }],
  ] as const)
    assert.equal((await rig.call(method, path, body)).status, 403, `${method} ${path} from afar`);
  assert.deepEqual(await namesOf(rig), ["dcos", "dcos6"]);
});

test("a network is removed when it drained: agents that said nothing, or hold containers, are named", async () => {
  const rig = new MasterRig();
  await operator(rig, "POST", "/v1/networks", WEB);
  await rig.register(request(1));
  rig.connect(request(1));
  const remove = (query = "") => operator(rig, "DELETE", `/v1/networks/web${query}`);
  const report = (containers: number) =>
    rig.callAs("agent-1", "POST", "/v1/agents/agent-1/status", {
      agentId: "agent-1",
      instanceId: "instance-1",
      overlays: [{ name: "web", status: "STATUS_OK", containers }],
    });

  assert.match((await refusal(await remove()))[1], /takes new containers; 'weft network drain web' first/);
  const drained = await operator(rig, "PATCH", "/v1/networks/web", { phase: "draining" });
  assert.deepEqual(await drained.json(), { changes: ["network web: drains"] });
  const { agent } = await rig.register(request(1));
  assert.equal(agent.overlays.find(({ info }) => info.name === "web")?.info.phase, "draining", "the agent hears of it");
  assert.match((await refusal(await remove()))[1], /still held \(host-1: did not say\)/);
  await report(2);
  assert.match((await refusal(await remove()))[1], /still held \(host-1: 2 containers\).*--force/);
  const { holders } = (await rig.json("/v1/networks/web/holders")) as { holders: unknown[] };
  assert.deepEqual(holders, [{ agent: "agent-1", hostname: "host-1", containers: 2, connected: true }]);
  await report(0);
  assert.equal((await remove()).status, 204);
  assert.deepEqual(await namesOf(rig), ["dcos", "dcos6"]);
  const after = await rig.register(request(1));
  assert.deepEqual(
    after.agent.overlays.map(({ info }) => info.name),
    ["dcos", "dcos6"],
  );
  rig.restart();
  assert.deepEqual(await namesOf(rig), ["dcos", "dcos6"], "it does not come back");
});

test("force removes what is held, and its space can be given to another network", async () => {
  const rig = new MasterRig();
  await operator(rig, "POST", "/v1/networks", WEB);
  await rig.register(request(1));
  assert.equal((await operator(rig, "DELETE", "/v1/networks/web?force=true")).status, 204);
  assert.equal((await operator(rig, "POST", "/v1/networks", { ...WEB, name: "job" })).status, 204);
  const { agent } = await rig.register(request(1));
  assert.deepEqual(
    agent.overlays.map(({ info, subnet }) => [info.name, subnet]),
    [
      ["dcos", "9.0.0.0/24"],
      ["dcos6", undefined],
      ["job", "10.64.0.0/24"],
    ],
  );
});

test("what was added by command outlives a restart with the same file; another file is laid over it", async () => {
  const rig = new MasterRig();
  await operator(rig, "POST", "/v1/networks", WEB);
  rig.restart();
  assert.deepEqual(await namesOf(rig), ["dcos", "dcos6", "web"]);
  rig.restart("enable_ipv6: false");
  assert.deepEqual(await namesOf(rig), ["dcos", "dcos6"], "nobody had it yet");
});

test("a file of which something was refused is not laid over what was changed by command since, until it is applied", async () => {
  const rig = new MasterRig();
  await operator(rig, "POST", "/v1/networks", WEB);
  await rig.register(request(1));
  const file = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: dcos, subnet: 9.0.0.0/8, prefix: 25 }
    - { name: dcos6, subnet6: "fd01:b::/64", prefix6: 80 }
    - { name: job, subnet: 10.80.0.0/12, prefix: 24 }
    - { name: web, subnet: 10.64.0.0/12, prefix: 24 }
`;
  rig.restart(file);
  assert.match(rig.refused.join(), /^network dcos: it cannot change/);
  await operator(rig, "PATCH", "/v1/networks/web", { isolation: "closed" });
  await operator(rig, "DELETE", "/v1/networks/job");
  const before = rig.cluster.effective.source;
  rig.restart(file);
  assert.deepEqual(rig.cluster.effective.source, before);
  assert.match(rig.refused.join(), /^network dcos: it cannot change/, "and it is still said");
  rig.cluster.deleteOne("agent-1", "test", true);
  assert.deepEqual(await (await operator(rig, "POST", "/v1/apply", { config: file })).json(), {
    changes: [
      "network dcos: prefix: 24 becomes 25",
      "network job: added (10.80.0.0/12 in /24)",
      "network web: isolation: closed becomes nothing",
    ],
    refused: [],
  });
});

test("a plan tells what applying a file would do, and changes nothing; applying does just that", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  const config = `
dcos_overlay_mtu: 1400
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: dcos, subnet: 9.0.0.0/8, prefix: 25 }
    - { name: dcos6, subnet6: "fd01:b::/64", prefix6: 80 }
    - { name: web, subnet: 10.64.0.0/12, prefix: 24 }
`;
  const before = await rig.json("/v1/state");
  const plan = await (await operator(rig, "POST", "/v1/plan", { config })).json();
  assert.deepEqual(plan, {
    changes: ["overlayMtu: nothing becomes 1400", "network web: added (10.64.0.0/12 in /24)"],
    refused: [
      "network dcos: it cannot change from 9.0.0.0/8 in /24 to 9.0.0.0/8 in /25 while 1 agent has a share of it; its stored " +
        "definition stays in force until those agents are deleted and the change is made again",
    ],
  });
  assert.deepEqual(await rig.json("/v1/state"), before);
  assert.deepEqual(await (await operator(rig, "POST", "/v1/apply", { config })).json(), plan);
  assert.deepEqual(await namesOf(rig), ["dcos", "dcos6", "web"]);
  assert.equal((await rig.register(request(1))).overlayMtu, 1400);
  const [status, message] = await refusal(await operator(rig, "POST", "/v1/plan", { config: "dcos_overlay_mtu: x" }));
  assert.deepEqual([status, /dcos_overlay_mtu/.test(message)], [400, true]);
});

test("a subnet is replaced by steps: what agents still have of it is not taken from them", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  const set = (...spaces: unknown[]) => operator(rig, "PATCH", "/v1/networks/dcos", { spaces });
  const [drain, remove] = ["drain", "remove"].map((op) => ({ op, subnet: "9.0.0.0/8" }));
  assert.match((await refusal(await set(remove)))[1], /no address space left/);
  assert.match((await refusal(await set({ op: "add", space: { subnet: 5 } })))[1], /^spaces: /);
  assert.match((await refusal(await set(drain)))[1], /no subnet is left that is not draining/);
  assert.equal((await set({ op: "add", space: { subnet: "12.0.0.0/8", prefix: 24 } }, drain)).status, 200);
  assert.match((await refusal(await set(remove)))[1], /cannot change from 9\.0\.0\.0\/8 in \/24 to 12\.0\.0\.0\/8/);
  assert.equal((await rig.register(request(2))).agent.overlays[0]?.subnet, "12.0.0.0/24", "newcomers get the new one");
});

test("with a network goes what is about it: reservations, policies, and its name where another one lets it in", async () => {
  const rig = new MasterRig();
  await operator(rig, "POST", "/v1/networks", WEB);
  await operator(rig, "PATCH", "/v1/networks/dcos", { isolation: { allow: ["web", "dcos6"] } });
  for (const network of ["web", "dcos"]) {
    const policy = { name: `p-${network}`, network, from: { a: "b" }, to: { c: "d" }, ports: [] };
    assert.equal((await operator(rig, "PUT", `/v1/policies/p-${network}`, { policy })).status, 200);
    const reservation = { network, name: "x", addresses: [network === "web" ? "10.64.0.77" : "9.0.0.77"] };
    assert.equal((await operator(rig, "PUT", `/v1/reservations/${network}/x`, { reservation })).status, 200);
  }
  await rig.register(request(1));
  assert.equal((await operator(rig, "DELETE", "/v1/networks/web?force=true")).status, 204);
  rig.restart();
  const { entries } = (await rig.json("/v1/state")) as { entries: Record<string, { isolation?: unknown }> };
  const about = Object.keys(entries).filter((key) => /^(network|policy|reservation)\//.test(key));
  assert.deepEqual(about, ["network/dcos", "network/dcos6", "policy/p-dcos", "reservation/dcos/x"]);
  assert.deepEqual(entries["network/dcos"]?.isolation, { allow: ["dcos6"] });
});
