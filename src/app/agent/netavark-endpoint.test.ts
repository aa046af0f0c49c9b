/**
 * netavark's calls against an attach service on the fake kernel: what they make, what they take back, what they are told.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAttachRig, rigAssignment } from "../../../test/support/attach-rig.ts";
import { CONTAINER_ID, CREATE, netavarkBody, SETUP, setupWith } from "../../../test/support/netavark-messages.ts";
import { SILENT_LOG } from "../../io/log.ts";
import type { Assignment } from "../../model/cluster.ts";
import { netavarkEndpoint } from "./netavark-endpoint.ts";

const C1 = "/run/netns/c1";
const C2 = "/run/netns/c2";

async function openRig(state: { isStarted?: boolean; assignment?: Assignment | undefined } = {}) {
  const rig = await FakeAttachRig.open(C1, C2);
  const bugs: unknown[] = [];
  const { isStarted = true, assignment = "assignment" in state ? undefined : rigAssignment() } = state;
  const endpoint = netavarkEndpoint({
    isStarted: () => isStarted,
    agent: {
      assignment: () => assignment,
      attach: (call) => rig.service.attach(call),
      detach: (call) => rig.service.detach(call),
    },
    socketPath: "/run/weft/agent.sock",
    log: SILENT_LOG,
    onBug: (thrown) => bugs.push(thrown),
  });
  const call = async (command: string, stdin: unknown, netns = C1, requestId = "r1") => {
    const { status, body } = await endpoint.answer(netavarkBody({ command, netns, requestId }, stdin));
    return { status, json: body === "" ? undefined : JSON.parse(body) };
  };
  return { rig, call, bugs };
}

const MADE = {
  dns_server_ips: [],
  dns_search_domains: [],
  interfaces: {
    eth0: {
      mac_address: "02:57:0a:08:00:02",
      subnets: [
        { ipnet: "10.8.0.2/32", gateway: "10.8.0.1" },
        { ipnet: "fd01:c::2/128", gateway: "fd01:c::1" },
      ],
    },
  },
};

test("setup attaches and says what it made; the same call again says the same; teardown takes all of it back", async () => {
  const { rig, call } = await openRig();
  const before = await rig.dump(C1);
  assert.deepEqual(await call("setup", SETUP), { status: 200, json: MADE });
  assert.deepEqual(await call("setup", SETUP), { status: 200, json: MADE });
  const [lease, ...others] = rig.store.leases();
  assert.deepEqual(others, []);
  const { containerId, ifname, network, configName, runtime, name } = lease ?? {};
  assert.deepEqual([containerId, ifname, network], [CONTAINER_ID, "eth0", "both"]);
  assert.deepEqual([configName, runtime, name], ["podboth", "podman", "one"]);
  for (let round = 0; round < 2; round++) {
    assert.deepEqual(await call("teardown", SETUP, C1, `r${round + 2}`), { status: 200, json: undefined });
    assert.equal(await rig.dump(C1), before);
    assert.deepEqual(rig.store.leases(), []);
  }
});

test("a container that starts again in another namespace is attached there", async () => {
  const { rig, call } = await openRig();
  await call("setup", SETUP);
  const { status, json } = await call("setup", SETUP, C2, "r2");
  assert.deepEqual([status, rig.store.leases().length], [200, 1], json?.error);
  assert.equal(rig.store.leases()[0]?.netns, C2);
  const { status: refused, json: said } = await call("setup", SETUP, C2, "r3");
  assert.deepEqual([refused, rig.store.leases().length], [409, 1]);
  assert.match(said.error, /eth0.*is attached to both/);
});

test("what is refused is told in one line, and nothing is left of it", async () => {
  const { rig, call } = await openRig();
  for (const [stdin, status, message] of [
    [setupWith({}, { options: { "weft.network": "gone" } }), 404, /knows no network gone; it has dcos, dcos6, both/],
    [setupWith({}, {}, { static_ips: ["172.16.0.1"] }), 400, /172\.16\.0\.1 is no address that this host gives/],
    [setupWith({ port_mappings: "x" }), 400, /setup cannot be carried out: port_mappings: must be a list/],
  ] as const) {
    const answer = await call("setup", stdin);
    assert.equal(answer.status, status, answer.json.error);
    assert.deepEqual(Object.keys(answer.json), ["error"]);
    assert.match(answer.json.error, message);
    assert.deepEqual(rig.store.leases(), []);
  }
  assert.equal((await call("setup", SETUP)).status, 200);
});

test("create makes the network what it is here, or says why it cannot be", async () => {
  const { call } = await openRig();
  const { status, json } = await call("create", CREATE);
  assert.deepEqual([status, json.name, json.ipam_options], [200, "podboth", { driver: "weft" }]);
  const unknown = await call("create", { ...JSON.parse(CREATE), options: {}, name: "gone" });
  assert.equal(unknown.status, 404);
  assert.match(unknown.json.error, /knows no network gone; it has dcos, dcos6, both/);
  const agent = { ...rigAssignment().agent, phase: "draining" as const };
  const draining = await openRig({ assignment: { ...rigAssignment(), agent } });
  assert.match((await draining.call("create", CREATE)).json.error, /this host is draining/);
});

test("an agent that is starting, or has no networks yet, says so at once; a call that is wrong is told that first", async () => {
  const starting = await openRig({ isStarted: false });
  for (const command of ["create", "setup", "teardown"]) {
    const { status, json } = await starting.call(command, command === "create" ? CREATE : SETUP);
    assert.equal(status, 503);
    assert.match(json.error, /the weft agent of this host is starting/);
  }
  assert.equal((await starting.call("setup", "x")).status, 400);
  const fresh = await openRig({ assignment: undefined });
  const { status, json } = await fresh.call("create", CREATE);
  assert.deepEqual([status, /waiting for its master/.test(json.error)], [503, true]);
});

test("a mistake of ours is an error that netavark can read", async () => {
  const { rig, call, bugs } = await openRig();
  rig.service.attach = () => Promise.reject(new TypeError("oops"));
  const { status, json } = await call("setup", SETUP);
  assert.deepEqual([status, bugs.length], [500, 1]);
  assert.match(json.error, /a mistake in the weft agent, please report it: oops/);
});
