import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { verifySignature } from "../../io/crypto/keys.ts";
import { ip } from "../../model/ip.ts";
import { verifyAssignmentStatement } from "../../model/trust/assignment-statement.ts";

type Answer = { error: { code: string; message: string; facts: Record<string, unknown> } };

async function refusal(rig: MasterRig, body: unknown): Promise<Answer["error"] & { status: number }> {
  const answer = await rig.tryRegister(body);
  assert.notEqual(answer.status, 200);
  return { ...((await answer.json()) as Answer).error, status: answer.status };
}

test("an agent gets its record and what its kernel must know of the cluster", async () => {
  const rig = new MasterRig("dcos_overlay_mtu: 1400\n");
  const assignment = await rig.register(request(1));
  assert.deepEqual(assignment, {
    agent: {
      id: "agent-1",
      ip: "10.0.0.1",
      hostname: "host-1",
      backend: {
        vni: 1024,
        vtepName: "vtep1024",
        vtepIp: "44.128.0.1/20",
        vtepIp6: "fd01:a::1/64",
        vtepMac: "70:b3:d5:80:00:01",
      },
      overlays: [
        {
          info: { name: "dcos", subnet: "9.0.0.0/8", prefix: 24, enabled: true },
          subnet: "9.0.0.0/24",
          mesosBridge: { name: "m-dcos", ip: "9.0.0.0/25" },
          dockerBridge: { name: "d-dcos", ip: "9.0.0.128/25" },
        },
        {
          info: { name: "dcos6", subnet6: "fd01:b::/64", prefix6: 80, enabled: true },
          subnet6: "fd01:b::/80",
          mesosBridge: { name: "m-dcos6", ip6: "fd01:b::/81" },
          dockerBridge: { name: "d-dcos6", ip6: "fd01:b::8000:0:0/81" },
        },
      ],
    },
    overlaySubnets: ["9.0.0.0/8", "fd01:b::/64"],
    vtepSubnets: ["44.128.0.0/20", "fd01:a::/64"],
    overlayMtu: 1400,
    enableIpv6: true,
    elastic: { threshold: 0.8 },
  });
  assert.deepEqual(await rig.register(request(1, { instanceId: "restarted" })), assignment, "the same after a restart");
});

test("a restarted master knows every agent, and gives its network additions to those that come back", async () => {
  const rig = new MasterRig();
  const before = await rig.register(request(1));
  await rig.register(request(2));
  const state = await rig.json("/overlay-master/state");
  rig.restart();
  assert.deepEqual(await rig.json("/overlay-master/state"), state);
  rig.restart(`dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - {name: dcos, subnet: 9.0.0.0/8, prefix: 24}
    - {name: dcos6, subnet6: "fd01:b::/64", prefix6: 80}
    - {name: more, subnet: 192.168.0.0/16, prefix: 24}\n`);
  const after = await rig.register(request(1));
  assert.deepEqual(after.agent.overlays.slice(0, 2), before.agent.overlays);
  assert.equal(after.agent.overlays[2]?.subnet, "192.168.0.0/24");
});

test("a master that was restored from a backup signs newer words than those that are about", async () => {
  const rig = new MasterRig();
  const words = async () => {
    const { membership } = await rig.admission(request(1));
    const word = verifyAssignmentStatement(membership.statement, membership.clusterKey, verifySignature);
    return [word?.epoch, word?.revision];
  };
  assert.deepEqual(await words(), [1, 1]);
  rig.newest.set("agent-1", { epoch: 1, revision: 1 });
  assert.deepEqual(await words(), [1, 1], "it is its own last word");
  rig.newest.set("agent-1", { epoch: 7, revision: 4 });
  assert.deepEqual(await words(), [7, 5]);
  rig.restart();
  assert.deepEqual(await words(), [7, 5], "it is durable");
});

test("a change that would take a network away is refused and shown, and the rest is served", async () => {
  const rig = new MasterRig();
  const { agent } = await rig.register(request(1));
  rig.restart(`dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - {name: dcos, subnet: 9.0.0.0/8, prefix: 26}\n`);
  const status = (await rig.json("/v1/status")) as { refusedChanges: string[] };
  assert.equal(status.refusedChanges.length, 3);
  assert.match(
    status.refusedChanges.join("\n"),
    /^vtep_subnet6: .*\nnetwork dcos: .*\nnetwork dcos6: .* cannot be removed/,
  );
  assert.deepEqual((await rig.register(request(1))).agent, agent);
  assert.equal((await rig.register(request(2))).agent.overlays.length, 2);
});

test("a full disk refuses the registration, and nothing of it is left", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  const state = await rig.json("/overlay-master/state");
  rig.disk.full = true;
  assert.equal((await refusal(rig, request(2))).code, "storage");
  assert.equal((await refusal(rig, request(1, { hostname: "renamed" }))).code, "storage");
  assert.deepEqual(await rig.json("/overlay-master/state"), state);
  await rig.register(request(1, { instanceId: "again" }));
  rig.disk.full = false;
  assert.equal((await rig.register(request(3))).agent.backend.vtepIp, "44.128.0.2/20", "the VTEP was given back");
});

test("without a free VTEP there is one clear refusal, and a place that becomes free is given", async () => {
  const rig = new MasterRig(`dcos_overlay_network:
  vtep_subnet: 44.128.0.0/30
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays: [{name: dcos, subnet: 9.0.0.0/8, prefix: 24}]\n`);
  for (const n of [1, 2]) await rig.register(request(n));
  const { status, message } = await refusal(rig, request(3));
  assert.equal(status, 507);
  assert.match(
    message,
    /^agent agent-3 \(10\.0\.0\.3\): there is no free VTEP IPv4 address in 44\.128\.0\.0\/30 \(2 of 2 given out\)/,
  );
  assert.equal((await rig.call("DELETE", "/v1/agents/agent-1", undefined, true)).status, 204);
  assert.match((await refusal(rig, request(3))).message, /1 of 2 given out, 1 at rest/);
  rig.clock.advance(600_000);
  assert.equal((await rig.register(request(3))).agent.backend.vtepIp, "44.128.0.1/30");
});

test("a second agent with the identity of a connected one is refused, and both are named", async () => {
  const rig = new MasterRig();
  const first = request(1);
  await rig.register(first);
  const leave = rig.connect(first);
  const { code, message } = await refusal(
    rig,
    request(1, { instanceId: "clone", ip: ip("10.0.0.9"), hostname: "copy" }),
  );
  assert.equal(code, "identity-taken");
  assert.match(message, /agent agent-1 is connected from 10\.0\.0\.1 \(host-1\), and 10\.0\.0\.9 \(copy\)/);
  assert.equal((await rig.register(first)).agent.ip, "10.0.0.1", "the connected one is served on");
  const again = request(1, { instanceId: "restarted" });
  assert.equal((await rig.register(again)).agent.ip, "10.0.0.1", "a restart at the same address");
  leave();
  const moved = await rig.register(request(1, { instanceId: "moved", ip: ip("10.0.0.9") }));
  assert.deepEqual([moved.agent.ip, moved.agent.backend.vtepIp], ["10.0.0.9", "44.128.0.1/20"], "a restart elsewhere");
});

test("an address belongs to one agent: to the connected one, or else to the newcomer, record and all", async () => {
  const rig = new MasterRig();
  const old = await rig.register(request(1));
  await rig.register(request(2));
  const leave = rig.connect(request(1));
  const heir = request(1, { agentId: "heir", instanceId: "heir", hostname: "rebuilt" });
  const { code, message } = await refusal(rig, heir);
  assert.equal(code, "identity-taken");
  assert.match(
    message,
    /the address 10\.0\.0\.1 belongs to agent agent-1 \(host-1\), which is connected, and agent heir/,
  );
  leave();
  const taken = await rig.register(heir);
  assert.deepEqual(taken.agent, { ...old.agent, id: "heir", hostname: "rebuilt" });
  const { agents } = (await rig.json("/v1/agents")) as { agents: { id: string }[] };
  assert.deepEqual(
    agents.map(({ id }) => id),
    ["heir", "agent-2"],
    "in the old one's place",
  );
  rig.restart();
  assert.equal((await rig.register(heir)).agent.backend.vtepIp, "44.128.0.1/20");
});

test("an agent that moves to the address of another record is refused until that one is deleted", async () => {
  const rig = new MasterRig();
  for (const n of [1, 2]) await rig.register(request(n));
  const moved = request(1, { ip: ip("10.0.0.2") });
  const { code, message } = await refusal(rig, moved);
  assert.equal(code, "identity-taken");
  assert.match(
    message,
    /moved from 10\.0\.0\.1 to 10\.0\.0\.2, which belongs to agent agent-2 \(host-2\), not connected/,
  );
  await rig.call("DELETE", "/v1/agents/agent-2", undefined, true);
  assert.equal((await rig.register(moved)).agent.ip, "10.0.0.2");
});

test("a request that is none names everything that is wrong with it", async () => {
  const rig = new MasterRig();
  const { status, code, message } = await refusal(rig, { ...request(1), ip: "10.0.0.300", hostname: "a b" });
  assert.deepEqual([status, code], [400, "bad-request"]);
  assert.match(message, /ip: is not an IP address .*; hostname: is not 1 to 253 printable characters/);
  assert.equal((await refusal(rig, "{")).code, "bad-request");
  assert.equal((await refusal(rig, "x".repeat(10))).code, "bad-request");
  assert.deepEqual(rig.bugs, []);
});
