import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { SimClock } from "../../io/sim-clock.ts";
import type { Peer } from "../../model/cluster.ts";
import { cidr, ip } from "../../model/ip.ts";
import { PEER_STREAM_BACKLOG_MAX_BYTES, PEER_STREAM_BATCH_MS, PEER_STREAM_HEARTBEAT_MS } from "../../model/limits.ts";
import { mac } from "../../model/mac.ts";
import { PeerSnapshot } from "./peer-snapshot.ts";
import { PeerStreams } from "./peer-streams.ts";

const peer = (n: number): Peer => ({
  id: `agent-${n}`,
  ip: ip(`10.0.0.${n}`),
  vtepIp: ip(`44.128.0.${n}`),
  vtepMac: mac("70:b3:d5:80:00:01"),
  subnets: [cidr(`9.0.${n}.0/24`)],
});

test("a stream begins with all peers but the agent itself, then carries every change", async () => {
  const rig = new MasterRig();
  for (const n of [1, 2, 3]) await rig.register(request(n));
  const reader = await rig.connect(request(2));
  assert.deepEqual(await reader.snapshot(), ["agent-1", "agent-3"]);
  await rig.register(request(4));
  await rig.call("DELETE", "/v1/agents/agent-3", undefined, true);
  rig.clock.advance(PEER_STREAM_BATCH_MS);
  assert.deepEqual(await reader.next(), {
    type: "peer",
    peer: {
      id: "agent-4",
      ip: "10.0.0.4",
      vtepIp: "44.128.0.4",
      vtepIp6: "fd01:a::4",
      vtepMac: "70:b3:d5:80:00:04",
      subnets: ["9.0.3.0/24", "fd01:b:0:0:3::/80"],
    },
  });
  assert.deepEqual(await reader.next(), { type: "gone", id: "agent-3" });
});

test("what is nothing to the peers is not sent to them, and nobody hears of itself", async () => {
  const rig = new MasterRig();
  for (const n of [1, 2]) await rig.register(request(n));
  const reader = await rig.connect(request(1));
  await reader.snapshot();
  await rig.register(request(2, { hostname: "renamed" }));
  await rig.register(request(1, { ip: ip("10.0.7.7") }));
  rig.clock.advance(PEER_STREAM_HEARTBEAT_MS);
  assert.equal(await reader.line(), "", "the first that comes is a heartbeat");
});

test("a blank line comes at every beat", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  const reader = await rig.connect(request(1));
  assert.deepEqual(await reader.snapshot(), []);
  for (let i = 0; i < 3; i++) {
    rig.clock.advance(PEER_STREAM_HEARTBEAT_MS);
    assert.equal(await reader.line(), "");
  }
});

test("an agent is connected while its stream is open", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  const connected = async () =>
    ((await rig.json("/v1/agents")) as { agents: { connected: boolean }[] }).agents[0]?.connected;
  assert.equal(await connected(), false);
  const reader = await rig.connect(request(1));
  assert.equal(await connected(), true);
  const second = await rig.connect(request(1));
  assert.equal(await reader.snapshot().then(() => reader.line()), undefined, "the new stream ends the old one");
  assert.equal(await connected(), true);
  await second.close();
  assert.equal(await connected(), false);
});

test("only an agent that is known, and one process of it, gets a stream", async () => {
  const rig = new MasterRig();
  assert.equal((await rig.call("GET", "/v1/peers/stream?agent=nobody&instance=i")).status, 404);
  assert.equal((await rig.call("GET", "/v1/peers/stream?agent=a%20b")).status, 400);
  await rig.register(request(1));
  await rig.connect(request(1));
  const path = "/v1/peers/stream?agent=agent-1&instance=clone";
  assert.equal((await rig.callAs("agent-1", "GET", path)).status, 409);
  assert.equal((await rig.callAs("agent-2", "GET", path)).status, 401, "signed by another");
  assert.equal((await rig.call("GET", path)).status, 401, "signed by nobody");
});

test("a reader that does not read is cut off before it costs more than its share, the others read on", async () => {
  const cutOff: string[] = [];
  const clock = new SimClock();
  const streams = new PeerStreams([peer(1)], clock, (agent) => cutOff.push(agent));
  const ended: string[] = [];
  const [slow, quick] = ["slow", "quick"].map((id) => streams.open(id, () => ended.push(id)));
  let read = 0;
  const reading = (async () => {
    for await (const piece of quick?.body ?? []) read += piece.length;
  })();
  const big = { ...peer(2), subnets: Array.from({ length: 50_000 }, () => cidr("255.255.255.0/24")) };
  let sent = 0;
  while (cutOff.length === 0 && sent < 2 * PEER_STREAM_BACKLOG_MAX_BYTES) {
    streams.set(big);
    clock.advance(PEER_STREAM_BATCH_MS);
    sent += JSON.stringify(big).length;
    await setImmediate();
  }
  assert.deepEqual([cutOff, ended], [["slow"], ["slow"]]);
  assert.ok(sent >= PEER_STREAM_BACKLOG_MAX_BYTES - 2 * JSON.stringify(big).length, "not before it was full");
  await assert.rejects(async () => slow?.body.getReader().read(), /does not read its peer stream/);
  streams.close();
  await reading;
  assert.ok(read > sent, "the other one has read it all");
  assert.equal(clock.pending, 0);
});

test("a snapshot without any one of its peers is well formed", () => {
  for (const count of [0, 1, 2, 3]) {
    const snapshot = new PeerSnapshot();
    const peers = Array.from({ length: count }, (_, i) => peer(i + 1));
    for (const each of peers) snapshot.set(each);
    for (const out of ["nobody", ...peers.map(({ id }) => id)]) {
      const line = Buffer.concat(snapshot.lineWithout(out)).toString();
      assert.ok(line.endsWith("\n"));
      assert.deepEqual(JSON.parse(line), { type: "snapshot", peers: peers.filter(({ id }) => id !== out) });
    }
    snapshot.set({ ...peer(1), ip: ip("10.9.9.9") });
    snapshot.delete("agent-2");
    const { peers: left } = JSON.parse(Buffer.concat(snapshot.lineWithout("nobody")).toString());
    assert.equal(left[0].ip, "10.9.9.9");
    assert.ok(!left.some(({ id }: Peer) => id === "agent-2"));
  }
});
