/** Networks that agents add for the users of their hosts: who may, what is refused, and what history says of it. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";

const ALLOWED = "agents: { may_add_networks: true }";
const BLUE = { name: "blue", subnet: "10.99.0.0/16", prefix: 24 };

/** Agent `n` asks, signed by agent `signer`. */
async function ask(rig: MasterRig, network: object, n = 1, signer = `agent-${n}`): Promise<readonly [number, string]> {
  const { agentId, instanceId } = request(n);
  const answer = await rig.callAs(signer, "POST", `/v1/agents/${agentId}/networks`, { agentId, instanceId, network });
  const text = await answer.text();
  return [answer.status, text === "" ? "" : (JSON.parse(text) as { error: { message: string } }).error.message];
}

async function opened(yaml: string): Promise<MasterRig> {
  const rig = new MasterRig(yaml);
  for (const n of [1, 2]) await rig.register(request(n));
  return rig;
}

async function names(rig: MasterRig): Promise<readonly string[]> {
  return ((await rig.json("/v1/networks")) as { networks: { name: string }[] }).networks.map(({ name }) => name);
}

test("by default the master refuses, with the remedy, whatever the agent thinks that it may do", async () => {
  for (const yaml of ["", "agents: { may_add_networks: false }"]) {
    const rig = await opened(yaml);
    const [status, message] = await ask(rig, BLUE);
    assert.equal(status, 403);
    assert.match(message, /no network blue; networks are added with 'weft network add'.*may_add_networks: true/);
    assert.deepEqual(await names(rig), ["dcos", "dcos6"]);
  }
});

test("where the operator lets them, an agent adds it, history names the agent, and all hosts have it", async () => {
  const rig = await opened(ALLOWED);
  assert.deepEqual(await ask(rig, BLUE), [204, ""]);
  const { events } = (await rig.json("/v1/events?limit=1")) as { events: { who: string; what: string }[] };
  assert.deepEqual(
    events.map(({ who, what }) => [who, /network blue.*10\.99\.0\.0\/16/.test(what)]),
    [["agent agent-1", true]],
  );
  assert.equal(rig.announcements, 1);
  for (const n of [1, 2]) {
    const { agent } = await rig.register(request(n));
    assert.equal(agent.overlays.find(({ info }) => info.name === "blue")?.subnet, `10.99.${n - 1}.0/24`);
  }
  const before = rig.cluster.book.revision;
  assert.deepEqual(await ask(rig, BLUE, 2), [204, ""], "another host's user wants the same");
  assert.equal(rig.cluster.book.revision, before);
  rig.restart(ALLOWED);
  assert.deepEqual(await names(rig), ["dcos", "dcos6", "blue"]);
  await rig.call("POST", "/v1/apply", { config: "" }, true);
  await rig.register(request(1));
  assert.deepEqual((await ask(rig, { ...BLUE, name: "red", subnet: "10.98.0.0/16" }))[0], 403, "no longer");
  assert.deepEqual((await ask(rig, BLUE))[0], 204, "what is there is no change");
});

test("the rules are those of an operator's networks, and one that is there otherwise is left alone", async () => {
  const rig = await opened(ALLOWED);
  await ask(rig, BLUE);
  for (const [network, status, pattern] of [
    [{ ...BLUE, prefix: 25 }, 409, /there is a network blue already/],
    [{ ...BLUE, subnet6: "fd09::/64", prefix6: 80 }, 409, /there is a network blue already/],
    [{ ...BLUE, name: "red" }, 400, /overlaps/],
    [{ ...BLUE, name: "red", subnet: "10.0.0.0/16" }, 400, /holds 10\.0\.0\.1, the address of host-1/],
    [{ name: "red" }, 400, /subnet: is missing/],
    [{ ...BLUE, name: "host" }, 400, /reserved/],
  ] as const) {
    const [code, message] = await ask(rig, network);
    assert.deepEqual([code, pattern.test(message)], [status, true], message);
  }
  await ask(rig, { name: "red", subnet: "10.98.0.0/16", prefix: 24, egress: "routed", isolation: "closed" });
  const { networks } = (await rig.json("/v1/networks")) as { networks: Record<string, unknown>[] };
  const red = networks.find(({ name }) => name === "red");
  assert.deepEqual([red?.egress, red?.isolation], [undefined, undefined], "an agent says a name and subnets, no more");
});

test("only an agent asks, for itself, by its own key and process", async () => {
  const rig = await opened(ALLOWED);
  assert.equal((await ask(rig, BLUE, 1, "agent-2"))[0], 401);
  assert.equal((await ask(rig, BLUE, 9))[0], 404);
  const { agentId } = request(1);
  const path = `/v1/agents/${agentId}/networks`;
  const body = { agentId, instanceId: "another", network: BLUE };
  assert.equal((await rig.callAs(agentId, "POST", path, body)).status, 409);
  assert.equal((await rig.callAs("agent-2", "POST", path, { ...body, agentId: "agent-2" })).status, 400);
  assert.equal((await rig.call("POST", path, { ...body, instanceId: "instance-1" })).status, 401, "unsigned");
  assert.deepEqual(await names(rig), ["dcos", "dcos6"]);
});
