/**
 * Networks that go, on one simulated host: what is there of one that was removed, and of a slice that is somebody else's
 * by now, goes from kernel, disk and CNI folder; what is there of the others stays as it is.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Assignment } from "../../src/model/cluster.ts";
import { cidr } from "../../src/model/ip.ts";
import { AgentHost } from "../support/agent-host.ts";
import { callBody } from "../support/cni.ts";
import { peerOf, seedAgent, seedAssignment } from "../support/seed-cluster.ts";

const PEERS = [peerOf(seedAgent(0)), peerOf(seedAgent(2))];
const WITH_BOTH = seedAssignment(1);
const WITHOUT_DCOS6: Assignment = {
  ...WITH_BOTH,
  agent: { ...WITH_BOTH.agent, overlays: WITH_BOTH.agent.overlays.slice(0, 1) },
  overlaySubnets: [cidr("9.0.0.0/8")],
};
const IN_DCOS = { command: "ADD", containerId: "c1", netns: "/run/netns/c1", requestId: "r1" } as const;
const IN_DCOS6 = { ...IN_DCOS, containerId: "c2", netns: "/run/netns/c2", requestId: "r2", network: "dcos6" } as const;

async function hostWithContainers(cniConfDir?: string): Promise<AgentHost> {
  const host = new AgentHost(cniConfDir);
  for (const { netns } of [IN_DCOS, IN_DCOS6]) host.machine.newNetns(netns);
  await host.agent.start();
  host.agent.assigned(WITH_BOTH);
  host.agent.peersChanged({ type: "snapshot", peers: PEERS });
  await host.run(1_000);
  for (const call of [IN_DCOS, IN_DCOS6]) {
    const { status, body } = await host.agent.cni(callBody(call));
    assert.equal(status, 200, body);
  }
  await host.run(1_000);
  return host;
}

const containersOf = (host: AgentHost) => host.store?.leases().map(({ containerId }) => containerId);

function requireNoTrace(host: AgentHost): void {
  assert.doesNotMatch(host.dump(), /dcos6|fd01:b/);
  assert.match(host.dump(), /m-dcos\b[\s\S]*9\.0\.1\.2/, "the other network is as it was");
  assert.deepEqual(containersOf(host), ["c1"]);
  assert.deepEqual(host.store?.resting(), []);
}

test("a network that is removed leaves nothing behind, with containers in it too", async () => {
  const dir = mkdtempSync(join(tmpdir(), "weft-cni-"));
  const host = await hostWithContainers(dir);
  writeFileSync(join(dir, "weft-mine.conflist"), '{ "name": "mine", "plugins": [] }');
  assert.deepEqual(readdirSync(dir).sort(), ["weft-dcos.conflist", "weft-dcos6.conflist", "weft-mine.conflist"]);
  const before = host.dump();
  host.agent.assigned(WITHOUT_DCOS6);
  await host.run(1_000);
  requireNoTrace(host);
  assert.deepEqual(readdirSync(dir).sort(), ["weft-dcos.conflist", "weft-mine.conflist"]);
  assert.match((await host.agent.cni(callBody({ ...IN_DCOS6, containerId: "c3" }))).body, /knows no network dcos6/);
  assert.equal((await host.agent.cni(callBody({ ...IN_DCOS6, command: "DEL" }))).status, 200, "a runtime may clean up");
  host.agent.assigned(WITH_BOTH);
  await host.run(1_000);
  assert.equal(
    (await host.agent.cni(callBody({ ...IN_DCOS6, requestId: "r4" }))).status,
    200,
    "its namespace is usable",
  );
  assert.notEqual(host.dump(), before);
  await host.stop();
  rmSync(dir, { recursive: true });
});

test("a host that was off finds out when it comes back; until then it serves what it had", async () => {
  const host = await hostWithContainers();
  await host.stop();
  const before = host.dump();
  await host.newAgent().start();
  await host.run(5_000);
  assert.equal(host.dump(), before, "nobody said anything yet");
  host.agent.assigned(WITHOUT_DCOS6);
  host.agent.peersChanged({ type: "snapshot", peers: PEERS });
  await host.run(1_000);
  requireNoTrace(host);
});

test("an agent that dies between hearing of it and doing it goes on with it", async () => {
  const host = await hostWithContainers();
  host.store?.saveAssignment(WITHOUT_DCOS6);
  await host.stop();
  await host.newAgent().start();
  host.agent.peersChanged({ type: "snapshot", peers: PEERS });
  await host.run(1_000);
  requireNoTrace(host);
});

test("containers whose slice is another agent's by now lose their address", async () => {
  const host = await hostWithContainers();
  host.agent.assigned({ ...WITH_BOTH, agent: { ...seedAgent(2), id: "agent-1", ip: WITH_BOTH.agent.ip } });
  host.agent.peersChanged({ type: "snapshot", peers: [] });
  await host.run(1_000);
  assert.deepEqual(containersOf(host), []);
  assert.doesNotMatch(host.dump(), /9\.0\.1\./);
});

test("an agent that is removed takes down all of it, stays so over a restart, and begins anew when it is let in", async () => {
  const dir = mkdtempSync(join(tmpdir(), "weft-cni-"));
  const host = await hostWithContainers(dir);
  assert.equal(host.agent.removed(), true);
  assert.equal(host.agent.removed(), false, "no news any more");
  await host.run(1_000);
  const requireBare = () => {
    assert.equal(
      host
        .dump()
        .match(/weft|vtep1024|44\.128|9\.0\.|fd01/g)
        ?.join(),
      undefined,
    );
    assert.deepEqual([containersOf(host), host.store?.resting(), readdirSync(dir)], [[], [], []]);
  };
  requireBare();
  assert.match((await host.agent.cni(callBody({ ...IN_DCOS, containerId: "c3" }))).body, /no addresses yet/);
  await host.stop();
  await host.newAgent().start();
  await host.run(31_000);
  requireBare();
  host.agent.assigned(WITH_BOTH);
  host.agent.peersChanged({ type: "snapshot", peers: PEERS });
  await host.run(1_000);
  assert.equal((await host.agent.cni(callBody({ ...IN_DCOS, requestId: "r9" }))).status, 200);
  assert.deepEqual(readdirSync(dir).sort(), ["weft-dcos.conflist", "weft-dcos6.conflist"]);
  await host.stop();
  rmSync(dir, { recursive: true });
});

test("a host that drains refuses containers, and tells how many it still has", async () => {
  const host = await hostWithContainers();
  host.agent.assigned({ ...WITH_BOTH, agent: { ...WITH_BOTH.agent, phase: "draining" } });
  await host.run(1_000);
  const { status, body } = await host.agent.cni(callBody({ ...IN_DCOS, containerId: "c3" }));
  assert.equal(status, 403);
  assert.match(body, /host is draining.*weft agent drain --undo agent-1/);
  assert.deepEqual(
    host.statuses.map(({ name, containers }) => [name, containers]),
    [
      ["dcos", 1],
      ["dcos6", 1],
    ],
  );
});
