/**
 * Limits of a container's bandwidth, in the kernel that counts: of a burst of datagrams, the first few get through a limit
 * that is far below it, in either direction, and all of them get through where there is none.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Netns } from "../../src/app/demo/netns.ts";
import { type CniResult, type ContainerRef, callCni } from "../../src/app/demo/runtime.ts";
import { addressOf, type Ip, ipInterface } from "../../src/model/ip.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, createCluster } from "../support/lab-cluster.ts";
import { RawSocket } from "../support/packet-socket.ts";

const skip = await labOrReason();

const PORT = 9000;
/** Few enough for the receiver's buffer. */
const DATAGRAMS = 60;
/** One second's bytes at the lowest rate, the least burst, and one packet for good measure. */
const PASSING_MAX = 5;
const SEND = `
const socket = require("node:dgram").createSocket("udp4");
let sent = 0;
const done = () => ++sent === ${DATAGRAMS} && socket.close();
for (let i = 0; i < ${DATAGRAMS}; i++) socket.send(Buffer.alloc(1000), ${PORT}, process.argv[1], done);
`;

interface Party {
  readonly ref: ContainerRef;
  readonly result: CniResult;
  readonly netns: Netns;
  readonly ip: Ip;
  readonly socket: RawSocket;
}

describe("bandwidth", { skip }, () => {
  let cluster: Cluster;
  const parties: Party[] = [];

  async function start(name: string, bandwidth?: object): Promise<Party> {
    const netns = await Netns.create(name);
    const ref = {
      containerId: name,
      netns: netns.path,
      ifname: "eth0",
      ...(bandwidth === undefined ? {} : { runtimeConfig: { bandwidth } }),
    };
    const { status, reply } = await callCni(agentOf(cluster, 1), "ADD", "dcos", ref);
    assert.equal(status, 0, JSON.stringify(reply));
    const result = reply as CniResult;
    const ip = addressOf(ipInterface(result.ips[0]?.address ?? ""));
    const party = { ref, result, netns, ip, socket: RawSocket.onUdp(netns.path, ip, PORT) };
    parties.push(party);
    return party;
  }

  /** How many of the datagrams arrive. */
  async function blast(from: Party, to: Party): Promise<number> {
    to.socket.received();
    await from.netns.mustRun(process.execPath, ["-e", SEND, to.ip]);
    return to.socket.received().length;
  }

  before(async () => {
    cluster = await createCluster({ hosts: 1 });
  });

  after(() => {
    for (const { socket } of parties) socket.close();
  });

  test("what a container gets and what it sends are limited each by itself, and the rest is not", async () => {
    const free = await start("free");
    const slow = await start("slow", { ingressRate: 1_000, ingressBurst: 16_000 });
    const quiet = await start("quiet", { egressRate: 1_000, egressBurst: 16_000 });
    const arrived = {
      "free to slow": await blast(free, slow),
      "quiet to free": await blast(quiet, free),
    };
    for (const [what, count] of Object.entries(arrived))
      assert.ok(count > 0 && count <= PASSING_MAX, `${what}: ${count} of ${DATAGRAMS}`);
    assert.equal(await blast(slow, free), DATAGRAMS, "the other direction");
    assert.equal(await blast(free, quiet), DATAGRAMS, "the other direction");
    const { netns } = agentOf(cluster, 1);
    const shown = await netns.mustRun("tc", ["qdisc", "show"]);
    assert.match(shown, /^qdisc tbf \S+ dev weft\w+ root .*rate 1Kbit burst \S+ lat /m);
    for (const { ref, result } of parties) {
      const { status, reply } = await callCni(agentOf(cluster, 1), "CHECK", "dcos", ref, result);
      assert.equal(status, 0, JSON.stringify(reply));
    }
  });

  test("the limits are there again when somebody took them away and the agent starts anew", async () => {
    const [free, slow] = parties;
    assert.ok(free !== undefined && slow !== undefined);
    const agent = agentOf(cluster, 1);
    const device =
      /qdisc tbf \S+ dev (weft\w+) root/.exec(await agent.netns.mustRun("tc", ["qdisc", "show"]))?.[1] ?? "";
    await agent.netns.mustRun("tc", ["qdisc", "del", "dev", device, "root"]);
    assert.equal(await blast(free, slow), DATAGRAMS);
    await agent.stop();
    await agent.start();
    await agent.ready();
    assert.ok((await blast(free, slow)) <= PASSING_MAX);
  });
});
