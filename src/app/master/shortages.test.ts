import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { SHORTAGE_CHECK_MS, SHORTAGE_HOLD_MS } from "../../model/control-limits.ts";

const config = (prefix: number, more = "") => `elastic: { rest_seconds: 120 }
agents: { rest: 120s }
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: dcos, subnet: 9.0.0.0/24, prefix: ${prefix} }
${more}`;
/** Two slices. */
const SMALL = config(25);
const ROOMY = config(28, "    - { name: web, subnet: 9.1.0.0/16, prefix: 24 }\n");
const USED_UP = "network dcos is used up: no agent gets an IPv4 slice of it until one comes back";
const HAS_AGAIN = "network dcos: the shortage of IPv4 slices is over";
const REFUSED = "agent agent-1 (host-1): network dcos has no free address for containers; one of podman was refused";
const OVER = "agent agent-1 (host-1): the shortage of addresses of network dcos is over";

/** What events say of shortages, and who. */
async function told(rig: MasterRig): Promise<readonly string[]> {
  interface Event {
    readonly who: string;
    readonly what: string;
    readonly changes: readonly { readonly key: string }[];
  }
  const { events } = (await rig.json("/v1/events?limit=1000")) as { events: readonly Event[] };
  return events.flatMap(({ who, what, changes }) =>
    changes.length === 1 && changes[0]?.key.startsWith("shortage/") ? [`${who}: ${what}`] : [],
  );
}

/** Of the state now. */
async function entries(rig: MasterRig): Promise<readonly string[]> {
  const state = (await rig.json("/v1/state")) as { entries: Readonly<Record<string, unknown>> };
  return Object.keys(state.entries).filter((key) => key.startsWith("shortage/"));
}

async function report(rig: MasterRig, runtimes: Readonly<Record<string, string>>, n = 1): Promise<void> {
  const { agentId, instanceId } = request(n);
  const overlays = ["dcos", "web"].map((name) => {
    const runtime = runtimes[name];
    return { name, status: "STATUS_OK", ...(runtime !== undefined && { exhausted: { runtime } }) };
  });
  const answer = await rig.callAs(agentId, "POST", `/v1/agents/${agentId}/status`, { agentId, instanceId, overlays });
  assert.equal(answer.status, 200, await answer.text());
}

test("a network without a slice left is an event, and when one is free again another, whoever leads", async () => {
  const rig = new MasterRig(SMALL);
  await rig.register(request(1));
  assert.deepEqual(await told(rig), []);
  await rig.register(request(2));
  assert.deepEqual([await told(rig), await entries(rig)], [[`master: ${USED_UP}`], ["shortage/dcos/4"]]);
  rig.restart(SMALL);
  rig.clock.advance(SHORTAGE_HOLD_MS);
  await rig.register(request(1));
  assert.equal((await told(rig)).length, 1, "a new leader knows it");
  await rig.call("DELETE", "/v1/agents/agent-2", undefined, true);
  rig.clock.advance(110_000);
  assert.equal((await told(rig)).length, 1, "what rests is nobody's yet");
  rig.clock.advance(10_000 + SHORTAGE_CHECK_MS);
  assert.deepEqual((await told(rig)).slice(1), [`master: ${HAS_AGAIN}`], "by time alone");
  assert.deepEqual(await entries(rig), []);
});

test("a container that was refused is an event at once, and the end another; a new leader waits for the agent's word", async () => {
  const rig = new MasterRig(ROOMY);
  await rig.register(request(1));
  for (let n = 0; n < 3; n++) await report(rig, { dcos: "podman" });
  assert.deepEqual(
    [await told(rig), await entries(rig)],
    [[`agent agent-1: ${REFUSED}`], ["shortage/dcos/agent/agent-1"]],
  );
  rig.restart(ROOMY);
  rig.clock.advance(2 * SHORTAGE_HOLD_MS);
  await report(rig, { dcos: "podman" });
  assert.equal((await told(rig)).length, 1, "a new leader knows it");
  await report(rig, {});
  assert.deepEqual((await told(rig)).slice(1), [`agent agent-1: ${OVER}`]);
  assert.deepEqual(await entries(rig), []);
});

test("what goes to and fro makes one event in a minute, and the last word is written", async () => {
  const rig = new MasterRig(ROOMY);
  await rig.register(request(1));
  for (let n = 0; n < 120; n++) {
    await report(rig, n % 2 === 0 ? { dcos: "podman" } : {});
    rig.clock.advance(1_000);
  }
  assert.ok((await told(rig)).length <= 3, (await told(rig)).join("\n"));
  rig.clock.advance(SHORTAGE_HOLD_MS + SHORTAGE_CHECK_MS);
  assert.match((await told(rig)).at(-1) ?? "", /is over$/);
  assert.deepEqual(await entries(rig), []);
});

test("each network is one by itself, and a runtime that is not known is not named", async () => {
  const rig = new MasterRig(ROOMY);
  await rig.register(request(1));
  await report(rig, { dcos: "", web: "docker" });
  const all = await told(rig);
  assert.equal(all.length, 2);
  assert.match(all[0] ?? "", /; one was refused$/);
  assert.match(all[1] ?? "", /network web .*; one of docker was refused$/);
});

test("a shortage goes with its agent, and with its network, in that very change", async () => {
  const rig = new MasterRig(ROOMY);
  for (const n of [1, 2]) await rig.register(request(n));
  for (const n of [1, 2]) await report(rig, { dcos: "podman", web: "podman" }, n);
  assert.equal((await entries(rig)).length, 4);
  await rig.call("DELETE", "/v1/agents/agent-1", undefined, true);
  assert.deepEqual(await entries(rig), ["shortage/dcos/agent/agent-2", "shortage/web/agent/agent-2"]);
  const removed = await rig.call("DELETE", "/v1/networks/web?force=true", undefined, true);
  assert.equal(removed.status, 204, await removed.text());
  assert.deepEqual(await entries(rig), ["shortage/dcos/agent/agent-2"]);
  rig.clock.advance(2 * SHORTAGE_HOLD_MS);
  assert.equal((await told(rig)).length, 4, "and that is no end of a shortage");
});

test("what the disk refuses is written when it takes it; the report is taken all the same", async () => {
  const rig = new MasterRig(ROOMY);
  await rig.register(request(1));
  rig.disk.full = true;
  await report(rig, { dcos: "podman" });
  rig.disk.full = false;
  assert.deepEqual(await told(rig), []);
  rig.clock.advance(SHORTAGE_CHECK_MS);
  assert.deepEqual(await told(rig), [`agent agent-1: ${REFUSED}`]);
});
