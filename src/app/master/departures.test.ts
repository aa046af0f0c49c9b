import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { ip } from "../../model/ip.ts";
import { HOSTED_MAX, RESERVED_ADDRESSES_MAX } from "../../model/limits.ts";
import { parseToken } from "../../model/trust/token.ts";
import { ATTENDANCE_GRACE_MS } from "./sightings.ts";

const operator = (rig: MasterRig, method: string, path: string, body?: unknown) => rig.call(method, path, body, true);
const TEN_MINUTES_MS = 600_000;

interface Told {
  readonly error: {
    readonly code: string;
    readonly message: string;
    readonly facts: Readonly<Record<string, unknown>>;
  };
}

/** Registers again by a token that was made after the removal. */
async function comeBack(rig: MasterRig, n: number) {
  const made = (await (await operator(rig, "POST", "/v1/tokens", { kind: "join" })).json()) as { text: string };
  const token = parseToken(made.text);
  assert(token !== undefined);
  return (await rig.admission(request(n), rig.proverOf(request(n), token))).assignment.agent;
}

test("what a removed agent had is nobody else's for a while, and its own again when it comes back", async () => {
  const rig = new MasterRig();
  const first = (await rig.register(request(1))).agent;
  assert.equal((await operator(rig, "DELETE", "/v1/agents/agent-1")).status, 204);
  const second = (await rig.register(request(2))).agent;
  assert.equal(second.backend.vtepIp, "44.128.0.2/20");
  assert.equal(second.overlays[0]?.subnet, "9.0.1.0/24");
  rig.restart();
  assert.deepEqual(await comeBack(rig, 1), first, "VTEP, slices and MAC, after a restart of the master as well");

  assert.equal((await operator(rig, "DELETE", "/v1/agents/agent-1")).status, 204);
  rig.clock.advance(TEN_MINUTES_MS);
  const third = (await rig.register(request(3))).agent;
  assert.deepEqual([third.backend.vtepIp, third.overlays[0]?.subnet], ["44.128.0.1/20", "9.0.0.0/24"]);
  assert.equal((await comeBack(rig, 1)).overlays[0]?.subnet, "9.0.2.0/24", "too late");
});

test("what an agent had does not come back to it where the space drains", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  await operator(rig, "DELETE", "/v1/agents/agent-1");
  const spaces = [
    { op: "add", space: { subnet: "12.0.0.0/8", prefix: 24 } },
    { op: "drain", subnet: "9.0.0.0/8" },
  ];
  assert.equal((await operator(rig, "PATCH", "/v1/networks/dcos", { spaces })).status, 200);
  assert.equal((await comeBack(rig, 1)).overlays[0]?.subnet, "12.0.0.0/24");
});

test("one that is connected is removed only by force, and its next call is answered with the cluster's word on it", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  rig.connect(request(1));
  const refused = (await (await operator(rig, "DELETE", "/v1/agents/agent-1")).json()) as Told;
  assert.match(refused.error.message, /is connected.*--force/);
  assert.equal((await operator(rig, "DELETE", "/v1/agents/agent-1?force=true")).status, 204);
  const { error } = (await (await rig.tryRegister(request(1))).json()) as Told;
  assert.equal(error.code, "not-admitted");
  assert.equal(typeof error.facts.removal, "string");
  assert.equal(typeof error.facts.epochFloor, "string");
});

test("after a restart one is removed only when it is known to be away, or by force", async () => {
  const rig = new MasterRig();
  for (const n of [1, 2, 3]) await rig.register(request(n));
  rig.restart();
  const remove = async (n: number, how = "") => {
    const answer = await operator(rig, "DELETE", `/v1/agents/agent-${n}${how}`);
    return answer.status === 204 ? "" : ((await answer.json()) as Told).error.message;
  };
  const unknown = /agent-\d .*may be connected.* try again in 30 s, or give --force/;
  for (const n of [1, 2]) assert.match(await remove(n), unknown);
  assert.equal(await remove(1, "?force=true"), "");
  rig.connect(request(2))();
  assert.equal(await remove(2), "", "it was there, and went");
  assert.match(await remove(3), unknown);
  rig.clock.advance(ATTENDANCE_GRACE_MS);
  assert.equal(await remove(3), "");
});

test("a drained agent hears of it, keeps it over restarts of both, and is told when it is over", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  assert.equal((await rig.call("PATCH", "/v1/agents/agent-1", { phase: "draining" })).status, 403, "from afar");
  assert.equal((await operator(rig, "PATCH", "/v1/agents/agent-1", { phase: "draining" })).status, 204);
  assert.equal(rig.announcements, 1);
  rig.restart();
  assert.equal((await rig.register(request(1))).agent.phase, "draining");
  assert.equal((await operator(rig, "PATCH", "/v1/agents/agent-1", { phase: null })).status, 204);
  assert.equal((await rig.register(request(1))).agent.phase, undefined);
  assert.equal((await operator(rig, "PATCH", "/v1/agents/agent-9", { phase: null })).status, 404);
});

test("an agent that is away for too long is removed; not while it is the master that is alone", async () => {
  const rig = new MasterRig("agents: { remove_after: 1h, rest: 0s }");
  for (const n of [1, 2]) await rig.register(request(n));
  const known = async () => ((await rig.json("/v1/agents")) as { agents: { id: string }[] }).agents.map(({ id }) => id);
  rig.clock.advance(2 * 3_600_000);
  assert.deepEqual(await known(), ["agent-1", "agent-2"], "nobody is there");
  rig.connect(request(2));
  rig.restart("agents: { remove_after: 1h, rest: 0s }");
  rig.clock.advance(3_590_000);
  assert.deepEqual(await known(), ["agent-1", "agent-2"], "a master that begins has seen nobody go");
  rig.clock.advance(20_000);
  assert.deepEqual(await known(), ["agent-2"]);
  assert.equal((await rig.register(request(3))).agent.overlays[0]?.subnet, "9.0.0.0/24");
});

/** Agent 1 hosts as many reserved addresses as one may. */
async function hostingAll(yaml: string): Promise<MasterRig> {
  const rig = new MasterRig(yaml);
  for (const n of [1, 2]) await rig.register(request(n));
  const { reservations } = rig.cluster;
  for (let n = 0; n < HOSTED_MAX / RESERVED_ADDRESSES_MAX; n += 1) {
    const addresses = Array.from({ length: RESERVED_ADDRESSES_MAX }, (_, at) => ip(`9.1.${n}.${at + 8}`));
    reservations.put({ network: "dcos", name: `r${n}`, addresses }, "test");
    for (const address of addresses)
      reservations.claim({ agentId: "agent-1", network: "dcos", name: `r${n}`, addresses: [address] });
  }
  assert.equal(reservations.hostedBy("agent-1").length, HOSTED_MAX);
  return rig;
}

test("an agent that hosts as much as one may is removed by hand, by itself, and by who comes to its address", async () => {
  const YAML = "agents: { remove_after: 1h }";
  const agentsOf = (rig: MasterRig) => rig.cluster.agents().map(({ id }) => id);
  const claimsOf = (rig: MasterRig) => {
    rig.restart(YAML);
    return rig.cluster.reservations.hostedBy("agent-1").length;
  };
  const byHand = await hostingAll(YAML);
  assert.equal((await operator(byHand, "DELETE", "/v1/agents/agent-1")).status, 204);
  assert.deepEqual([agentsOf(byHand), claimsOf(byHand)], [["agent-2"], 0]);

  const bySelf = await hostingAll(YAML);
  bySelf.connect(request(2));
  bySelf.clock.advance(2 * 3_600_000);
  assert.deepEqual([agentsOf(bySelf), claimsOf(bySelf)], [["agent-2"], 0]);

  const replaced = await hostingAll(YAML);
  await replaced.register(request(9, { ip: request(1).ip }));
  assert.deepEqual([agentsOf(replaced), claimsOf(replaced)], [["agent-9", "agent-2"], 0]);
});
