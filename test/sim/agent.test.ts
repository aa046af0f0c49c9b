/**
 * A whole agent on a simulated host, clock and disk: what it does when the kernel is damaged, when peers come and go,
 * and when it starts again with nobody to ask.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KernelOp } from "../../src/core/host/host-state.ts";
import { openMemoryAgentStore } from "../../src/io/store/memory-store.ts";
import { cidr, ip } from "../../src/model/ip.ts";
import { RECONCILE_EVENT_GAP_MS, RECONCILE_GAP_PASSES } from "../../src/model/limits.ts";
import { mac } from "../../src/model/mac.ts";
import { AgentHost, settled } from "../support/agent-host.ts";
import { callBody } from "../support/cni.ts";
import { peerOf, seedAgent, seedAssignment } from "../support/seed-cluster.ts";

const SELF = 1;
const PEERS = [peerOf(seedAgent(0)), peerOf(seedAgent(2))];

async function assigned(): Promise<AgentHost> {
  const host = new AgentHost();
  await host.agent.start();
  host.agent.assigned(seedAssignment(SELF));
  host.agent.peersChanged({ type: "snapshot", peers: PEERS });
  await host.run(1_000);
  return host;
}

test("an assignment and a snapshot of peers become the kernel's state, and the networks are OK", async () => {
  const host = await assigned();
  const text = host.dump();
  for (const line of [/vtep1024/, /m-dcos/, /d-dcos6/, /9\.0\.2\.0\/24 via 44\.128\.0\.3/, /70:b3:d5:80:00:03/])
    assert.match(text, line);
  assert.deepEqual(
    host.statuses.map(({ status }) => status),
    ["STATUS_OK", "STATUS_OK"],
  );
  assert.deepEqual(host.errors, []);
});

test("its own writes do not make it spin: once all is in place no pass changes anything", async () => {
  const host = await assigned();
  const before = host.passes;
  await host.run(120_000);
  assert.equal(host.passes, before);
});

test("damage from outside is repaired within a second, whatever was hit", async () => {
  const host = await assigned();
  const whole = host.dump();
  const hits: readonly KernelOp[][] = [
    [{ op: "link.delete", name: "vtep1024" }],
    [{ op: "link.delete", name: "m-dcos" }],
    [{ op: "link.set", name: "vtep1024", up: false }],
    [{ op: "neighbor.delete", neighbor: { dev: "vtep1024", ip: ip("44.128.0.3"), mac: mac("70:b3:d5:80:00:03") } }],
    [{ op: "fdb.delete", entry: { dev: "vtep1024", mac: mac("70:b3:d5:80:00:03"), dst: ip("10.0.0.12") } }],
    [{ op: "nft.table.delete", family: "ip", name: "weft" }],
    [{ op: "nft.table.delete", family: "netdev", name: "weft" }],
  ];
  for (const hit of hits) {
    await host.damage(...hit);
    assert.notEqual(host.dump(), whole, "the damage is done");
    await host.run(1_000);
    assert.equal(host.dump(), whole, JSON.stringify(hit));
  }
});

test("a host on which something breaks all the time costs a bounded number of passes", async () => {
  const host = await assigned();
  const before = host.passes;
  const neighbor = { dev: "vtep1024", ip: ip("44.128.0.3"), mac: mac("70:b3:d5:80:00:03") };
  for (let passed = 0; passed < 2_000; passed += 10) {
    await host.machine.kernel().apply([{ op: "neighbor.delete", neighbor }]);
    await host.run(10);
  }
  const passes = host.passes - before;
  assert.ok(passes > 2 && passes <= 2_000 / RECONCILE_EVENT_GAP_MS + 1, `${passes} passes in 2 s`);
});

test("where a pass takes long, the next leaves calls room", async () => {
  const host = await assigned();
  const neighbor = { dev: "vtep1024", ip: ip("44.128.0.3"), mac: mac("70:b3:d5:80:00:03") };
  const passesOf = async (passMs: number): Promise<number> => {
    host.observeMs = passMs;
    const before = host.passes;
    for (let passed = 0; passed < 4_000; passed += 10) {
      await host.machine.kernel().apply([{ op: "neighbor.delete", neighbor }]);
      await host.run(10);
    }
    return host.passes - before;
  };
  assert.ok((await passesOf(0)) > 10);
  const slow = await passesOf(80);
  assert.ok(slow > 2 && slow <= 4_000 / (80 * RECONCILE_GAP_PASSES) + 1, `${slow} passes in 4 s`);
});

test("what is gone when a pass comes to delete it is no failure", async () => {
  const host = await assigned();
  const extra = { dev: "vtep1024", mac: mac("70:b3:d5:80:00:77"), dst: ip("10.0.0.77") };
  for (const [code, status] of [
    ["ENOENT", "STATUS_OK"],
    ["EIO", "STATUS_FAILED"],
  ] as const) {
    await host.machine.kernel().apply([{ op: "fdb.replace", entry: extra }]);
    host.machine.failOp(0, code);
    await host.run(RECONCILE_EVENT_GAP_MS * 2);
    assert.equal(host.agent.statuses()[0]?.status, status);
    await host.run(5_000);
  }
});

test("what no notice told is found by the slow pass", async () => {
  const host = await assigned();
  const whole = host.dump();
  const namespace = host.machine.kernel().namespace;
  namespace.neighbors.clear(); // behind the watchers' backs
  await host.run(1_000);
  assert.notEqual(host.dump(), whole);
  await host.run(31_000);
  assert.equal(host.dump(), whole);
});

test("a peer that leaves leaves nothing behind, one that moves is sent to at its new address", async () => {
  const host = await assigned();
  host.agent.peersChanged({ type: "changed", peers: new Map([["agent-2", undefined]]) });
  await settled();
  for (const trace of [/44\.128\.0\.3/, /70:b3:d5:80:00:03/, /10\.0\.0\.12/, /9\.0\.2\.0\/24/])
    assert.doesNotMatch(host.dump(), trace);
  const moved = { ...peerOf(seedAgent(0)), ip: ip("10.0.0.77") };
  host.agent.peersChanged({ type: "changed", peers: new Map([[moved.id, moved]]) });
  await settled();
  assert.match(host.dump(), /10\.0\.0\.77/);
  assert.doesNotMatch(host.dump(), /10\.0\.0\.10\b/);
});

test("a restart without a master keeps what is there for peers, and touches nothing", async () => {
  const host = await assigned();
  const whole = host.dump();
  await host.stop();
  host.machine.dieAfter(0); // any operation at all would end the test
  await host.newAgent().start();
  await host.run(60_000);
  assert.equal(host.dump(), whole);
  assert.deepEqual([host.agent.peers(), host.agent.arePeersComplete], [[], false]);
});

test("an assignment on the disk that was made for another address is not taken up", async () => {
  const host = new AgentHost();
  await host.stop();
  const store = openMemoryAgentStore(host.disk);
  const assignment = seedAssignment(SELF);
  store.saveAssignment({ ...assignment, agent: { ...assignment.agent, ip: ip("10.0.0.99") } });
  store.close();
  await host.newAgent().start();
  assert.equal(host.agent.assignment(), undefined);
  assert.doesNotMatch(host.dump(), /vtep1024/);
});

test("after a restart the first snapshot removes the peers that left meanwhile", async () => {
  const host = await assigned();
  await host.stop();
  await host.newAgent().start();
  assert.match(host.dump(), /9\.0\.2\.0\/24/);
  host.agent.peersChanged({ type: "snapshot", peers: [peerOf(seedAgent(0))] });
  await host.run(100);
  assert.doesNotMatch(host.dump(), /9\.0\.2\.0\/24/);
  assert.match(host.dump(), /9\.0\.0\.0\/24/);
});

test("one bad peer blocks no other, and is named once", async () => {
  const host = await assigned();
  const bad = { ...peerOf(seedAgent(2)), id: "agent-bad", ip: ip("10.0.0.99"), vtepIp: ip("44.128.0.1") };
  const good = {
    ...peerOf(seedAgent(2)),
    id: "agent-good",
    ip: ip("10.0.0.55"),
    vtepIp: ip("44.128.0.55"),
    vtepIp6: ip("fd01:a::55"),
    vtepMac: mac("70:b3:d5:80:00:37"),
    subnets: [cidr("9.0.55.0/24")],
  };
  host.agent.peersChanged({ type: "snapshot", peers: [...PEERS, bad, good] });
  await host.run(60_000);
  assert.match(host.dump(), /9\.0\.55\.0\/24/);
  assert.match(host.dump(), /9\.0\.2\.0\/24/);
  assert.doesNotMatch(host.dump(), /10\.0\.0\.99/);
  assert.equal(host.errors.filter((message) => message.includes("agent-bad")).length, 1);
});

test("an operation that the kernel refuses fails its network alone, and is tried again", async () => {
  const host = new AgentHost();
  // Somebody else's, under our name and of another kind.
  host.machine.newNetns("/run/netns/other");
  const peer = { netns: "/run/netns/other", name: "eth0", mac: mac("02:00:00:00:00:01"), mtu: 1_500 };
  await host.damage({ op: "link.add", link: { kind: "veth", name: "m-dcos", up: false, peer } });
  await host.agent.start();
  host.agent.assigned(seedAssignment(SELF));
  host.agent.peersChanged({ type: "snapshot", peers: PEERS });
  await host.run(500);
  const [dcos, dcos6] = host.statuses;
  assert.equal(dcos?.status, "STATUS_FAILED");
  assert.match(dcos?.error ?? "", /m-dcos.*EEXIST/);
  assert.equal(dcos6?.status, "STATUS_OK");
  assert.equal(host.errors.length, 1);
  await host.damage({ op: "link.delete", name: "m-dcos" });
  await host.run(1_000);
  assert.deepEqual(
    host.statuses.map(({ status }) => status),
    ["STATUS_OK", "STATUS_OK"],
  );
});

test("a container is attached once the host is programmed, survives a restart, and its lost device is made again", async () => {
  const host = new AgentHost();
  host.machine.newNetns("/run/netns/c1");
  const add = { command: "ADD", containerId: "c1", netns: "/run/netns/c1", requestId: "r1" };
  await host.agent.start();
  assert.notEqual((await host.agent.cni(callBody(add))).status, 200, "nothing is assigned yet");
  host.agent.assigned(seedAssignment(SELF));
  await host.run(100);
  const { status, body } = await host.agent.cni(callBody(add));
  assert.equal(status, 200, body);
  assert.match(body, /9\.0\.1\.2\/32/);
  await host.run(1_000);
  const whole = host.dump();
  await host.stop();
  await host.newAgent().start();
  await host.run(1_000);
  assert.equal(host.dump(), whole);
  const [attachment] = host.agent.attachments();
  await host.damage({ op: "link.delete", name: attachment?.hostIfname ?? "" });
  await host.run(1_000);
  assert.equal(host.dump(), whole);
  host.machine.deleteNetns("/run/netns/c1");
  await host.run(31_000);
  assert.deepEqual(host.agent.attachments(), []);
  assert.doesNotMatch(host.dump(), /9\.0\.1\.2/);
});

test("a container that comes just when the host is damaged is attached all the same", async () => {
  const host = await assigned();
  host.machine.newNetns("/run/netns/c1");
  const add = callBody({ command: "ADD", containerId: "c1", netns: "/run/netns/c1" });
  assert.deepEqual(await host.machine.kernel().apply([{ op: "nft.table.delete", family: "netdev", name: "weft" }]), []);
  const { status, body } = await host.agent.cni(add);
  assert.equal(status, 200, body);
  assert.match(host.dump(), /route 9\.0\.1\.\d+\/32 dev weft/);
});

test("an agent whose address no device has says so and how to mend it", async () => {
  const host = new AgentHost();
  const namespace = host.machine.kernel().namespace;
  namespace.addresses.length = 0;
  await assert.rejects(host.agent.start(), /no device of this host holds the address 10\.0\.0\.11.*--ip/);
});

test("a container's device that is lost while another is made again is made again with its inside, too", async () => {
  const host = await assigned();
  for (const containerId of ["c1", "c2"]) {
    host.machine.newNetns(`/run/netns/${containerId}`);
    const add = { command: "ADD", containerId, netns: `/run/netns/${containerId}` };
    assert.equal((await host.agent.cni(callBody(add))).status, 200);
  }
  await host.run(1_000);
  const inside = async () => (await host.machine.kernel().enter("/run/netns/c2")).dump();
  const whole = await inside();
  const [first, second] = host.agent.attachments().map(({ hostIfname }) => hostIfname);
  const other = host.machine.kernel();
  // The second goes when the first is seen to come back.
  const watch = other.watch(() => {
    if (!other.namespace.links.has(first ?? "")) return;
    watch.close();
    void other.apply([{ op: "link.delete", name: second ?? "" }]);
  });
  await host.damage({ op: "link.delete", name: first ?? "" });
  await host.run(2_000);
  assert.equal(await inside(), whole);
});
