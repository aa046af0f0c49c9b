import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { STATUS_ERROR_MAX_LENGTH } from "../../model/limits.ts";
import { parseToken } from "../../model/trust/token.ts";

interface StateDocument {
  agents?: { ip: string; overlays: { info: { name: string }; state?: { status: string; error?: string } }[] }[];
  network: unknown;
}

const stateOf = async (rig: MasterRig) => (await rig.json("/overlay-master/state")) as StateDocument;
const report = (overlays: unknown[], delta = {}) => ({
  agentId: "agent-1",
  instanceId: "instance-1",
  overlays,
  ...delta,
});

test("what an agent says of its networks is shown: the status to all, the error on our own interface", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  assert.ok(!("state" in ((await stateOf(rig)).agents?.[0]?.overlays[0] ?? {})), "nothing before it spoke");
  const answer = await rig.callAs(
    "agent-1",
    "POST",
    "/v1/agents/agent-1/status",
    report([
      { name: "dcos", status: "STATUS_FAILED", error: `add m-dcos: ${"x".repeat(5_000)}` },
      { name: "dcos6", status: "STATUS_OK" },
      { name: "unheard of", status: "STATUS_OK" },
    ]),
  );
  assert.deepEqual([answer.status, await answer.json()], [200, { reassigned: false, exhausted: [] }]);
  const [agent] = (await stateOf(rig)).agents ?? [];
  assert.deepEqual(
    agent?.overlays.map(({ info, state }) => [info.name, state]),
    [
      ["dcos", { status: "STATUS_FAILED" }],
      ["dcos6", { status: "STATUS_OK" }],
    ],
  );
  const { agents } = (await rig.json("/v1/agents")) as { agents: { statuses: { name: string; error?: string }[] }[] };
  assert.deepEqual(
    agents[0]?.statuses.map(({ name }) => name),
    ["dcos", "dcos6"],
  );
  assert.equal(agents[0]?.statuses[0]?.error?.length, STATUS_ERROR_MAX_LENGTH);
  const { networks } = (await rig.json("/v1/networks")) as { networks: unknown };
  assert.deepEqual(networks, [
    {
      name: "dcos",
      subnet: "9.0.0.0/8",
      prefix: 24,
      enabled: true,
      default: true,
      agents: 1,
      failed: 1,
      pools: [{ kind: "subnet", network: "dcos", pool: "9.0.0.0/8", used: 1, size: 65_536 }],
    },
    {
      name: "dcos6",
      subnet6: "fd01:b::/64",
      prefix6: 80,
      enabled: true,
      default: false,
      agents: 1,
      failed: 0,
      pools: [{ kind: "subnet6", network: "dcos6", pool: "fd01:b::/64", used: 1, size: 65_536 }],
    },
  ]);
});

test("a status report of nobody, or in another's name, is refused", async () => {
  const rig = new MasterRig();
  assert.equal((await rig.callAs("agent-1", "POST", "/v1/agents/agent-1/status", report([]))).status, 404);
  await rig.register(request(1));
  assert.equal((await rig.callAs("agent-2", "POST", "/v1/agents/agent-2/status", report([]))).status, 400);
  assert.equal(
    (await rig.callAs("agent-1", "POST", "/v1/agents/agent-1/status", report([], { instanceId: "clone" }))).status,
    409,
  );
});

test("the state document has no agents before there are any, and may be asked for as a script", async () => {
  const rig = new MasterRig();
  const { network } = await stateOf(rig);
  const answer = await rig.call("GET", "/overlay-master/state?jsonp=cb");
  assert.equal(answer.headers.get("content-type"), "text/javascript");
  assert.equal(await answer.text(), `cb(${JSON.stringify({ network })});`);
  assert.equal((await rig.call("GET", "/overlay-master/state?jsonp=alert(1)//")).status, 400);
  assert.equal((await rig.call("GET", "/overlay-master/state")).headers.get("content-type"), "application/json");
});

test("agents are deleted by the original's call: addresses in, the new state out", async () => {
  const rig = new MasterRig();
  for (const n of [1, 2]) await rig.register(request(n));
  const before = await stateOf(rig);
  const path = "/overlay-master/agents/delete";
  const answer = await rig.call("POST", path, { agents: ["10.0.0.1", "10.9.9.9"] }, true);
  assert.deepEqual([answer.status, answer.headers.get("content-type")], [200, "application/json"]);
  const after = (await answer.json()) as StateDocument;
  assert.deepEqual(after, await stateOf(rig));
  assert.deepEqual(
    after.agents?.map(({ ip }) => ip),
    ["10.0.0.2"],
  );
  const { text } = (await (await rig.call("POST", "/v1/tokens", {}, true)).json()) as { text: string };
  await rig.admission(request(1), rig.proverOf(request(1), parseToken(text)));
  assert.deepEqual((await stateOf(rig)).agents?.toReversed(), before.agents, "it comes back with an identical record");
});

test("a delete that cannot be read, by another method, from the network or of a connected agent is refused", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  const path = "/overlay-master/agents/delete";
  for (const body of ["{", "null", "{}", '{"agents":"10.0.0.1"}', '{"agents":[1]}', '{"agents":["10.0.0"]}'])
    assert.equal((await rig.call("POST", path, body, true)).status, 400, body);
  assert.equal((await rig.call("GET", path, undefined, true)).status, 405);
  assert.equal((await rig.call("POST", path, { agents: ["10.0.0.1"] })).status, 403);
  assert.equal((await rig.call("DELETE", "/v1/agents/agent-1")).status, 403);
  assert.equal((await rig.call("DELETE", "/v1/agents/nobody", undefined, true)).status, 404);
  rig.connect(request(1));
  for (const answer of [
    await rig.call("POST", path, { agents: ["10.0.0.1"] }, true),
    await rig.call("DELETE", "/v1/agents/agent-1", undefined, true),
  ]) {
    assert.equal(answer.status, 409);
    assert.match(await answer.text(), /agent agent-1 \(host-1, 10\.0\.0\.1\) is connected.*stop it first/);
  }
  assert.equal((await stateOf(rig)).agents?.length, 1);
});

test("a delete that the disk refuses deletes nothing", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  rig.disk.full = true;
  assert.equal((await rig.call("DELETE", "/v1/agents/agent-1", undefined, true)).status, 507);
  rig.disk.full = false;
  assert.equal((await stateOf(rig)).agents?.length, 1);
  assert.equal((await rig.register(request(2))).agent.backend.vtepIp, "44.128.0.2/20");
});

test("metrics carry the original's names and ours", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  await rig.tryRegister(request(2, { ip: request(1).ip, agentId: "agent-1" }));
  const text = await (await rig.call("GET", "/metrics")).text();
  for (const line of [
    "overlay_master_internal_register_agent_messages_received 2",
    "overlay_master_internal_update_agent_overlays_messages_sent 2",
    "overlay_master_ip6_allocation_failures 0",
    "overlay_master_bridge_allocation_failures 0",
    "overlay_master_process_restarts 0",
    "overlay_master_recovering 0",
    "weft_master_agents 1",
    'weft_master_pool_used{pool="subnet",network="dcos"} 1',
  ])
    assert.ok(text.split("\n").includes(line), line);
});

test("the OpenAPI document names every call, and health is a word", async () => {
  const rig = new MasterRig();
  const { paths } = (await rig.json("/v1/openapi.json")) as { paths: Record<string, object> };
  assert.deepEqual(Object.keys(paths).sort(), [
    "/v1/agents",
    "/v1/agents/register",
    "/v1/agents/{id}",
    "/v1/agents/{id}/claims",
    "/v1/agents/{id}/networks",
    "/v1/agents/{id}/status",
    "/v1/apply",
    "/v1/capacity",
    "/v1/challenge",
    "/v1/events",
    "/v1/gossip/keys",
    "/v1/gossip/rotate-key",
    "/v1/members",
    "/v1/networks",
    "/v1/networks/{name}",
    "/v1/networks/{name}/holders",
    "/v1/plan",
    "/v1/policies",
    "/v1/policies/{name}",
    "/v1/reservations",
    "/v1/reservations/{network}/{name}",
    "/v1/state",
    "/v1/status",
    "/v1/tokens",
    "/v1/tokens/{id}",
  ]);
  assert.equal(await (await rig.call("GET", "/healthz")).text(), "ok\n");
  const nowhere = await rig.call("GET", "/v2");
  assert.equal(nowhere.status, 404);
  assert.match(await nowhere.text(), /there is no \/v2 here/);
});

test("a bug is told to the process, and the caller learns no more than that", async () => {
  const rig = new MasterRig();
  rig.cluster.register = () => {
    throw new Error("assertion failed: secret");
  };
  const answer = await rig.tryRegister(request(1));
  assert.equal(answer.status, 500);
  assert.doesNotMatch(await answer.text(), /secret/);
  assert.equal(rig.bugs.length, 1);
});
