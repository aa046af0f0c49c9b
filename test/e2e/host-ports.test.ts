/**
 * Host ports from every side, with what goes wrong with them elsewhere: connections that remember a container that is
 * gone, answers in pieces, errors, a container that asks itself, and its own address beside them.
 */
import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import { Netns } from "../../src/app/demo/netns.ts";
import { PROBE_PORT } from "../../src/app/demo/probe.ts";
import { Probe } from "../../src/app/demo/probe-client.ts";
import { type CniResult, type ContainerRef, callCni } from "../../src/app/demo/runtime.ts";
import { addressOf, type Ip, ipInterface } from "../../src/model/ip.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, createCluster, hostOf } from "../support/lab-cluster.ts";
import { askUdp, serveUdp } from "../support/udp.ts";

const skip = await labOrReason();

const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: both, subnet: 9.0.0.0/8, prefix: 24, subnet6: "fd01:b::/64", prefix6: 80 }
`;
const HOST1 = "10.0.0.11";
const HOST1_6 = "fd00:10::11";
const HOST2 = "10.0.0.12";
const INTERNET = "203.0.113.10";
const SILENCE_MS = 300;

interface Container {
  readonly ref: ContainerRef;
  readonly netns: Netns;
  readonly ip: Ip;
}

describe("host ports", { skip }, () => {
  let cluster: Cluster;
  let far: Container;
  let near: Container;
  let count = 0;

  async function start(host: number, ...portMappings: readonly object[]): Promise<Container> {
    const name = `c${++count}`;
    const netns = await Netns.create(name);
    await netns.setSysctl("ipv6/conf/default/accept_dad", "0");
    const ref = { containerId: name, netns: netns.path, ifname: "eth0", runtimeConfig: { portMappings } };
    const { status, reply } = await callCni(agentOf(cluster, host), "ADD", "both", ref);
    assert.equal(status, 0, JSON.stringify(reply));
    return { ref, netns, ip: addressOf(ipInterface((reply as CniResult).ips[0]?.address ?? "")) };
  }

  async function stop({ ref }: Container): Promise<void> {
    assert.equal((await callCni(agentOf(cluster, 1), "DEL", "both", ref)).status, 0);
  }

  const udp = (hostPort: number, containerPort: number, more: object = {}) => ({
    hostPort,
    containerPort,
    protocol: "udp",
    ...more,
  });

  /** Who each side is taken for; undefined: it was refused, or nobody answered. */
  async function asked(port: number, self: Container): Promise<Record<string, string>> {
    const host = hostOf(cluster.lab, 1);
    const answers = {
      internet: await askUdp(cluster.lab.internet, HOST1, port),
      "internet, IPv6": await askUdp(cluster.lab.internet, HOST1_6, port),
      node: await askUdp(hostOf(cluster.lab, 2), HOST1, port),
      host: await askUdp(host, HOST1, port),
      loopback: await askUdp(host, "127.0.0.1", port),
      near: await askUdp(near.netns, HOST1, port),
      far: await askUdp(far.netns, HOST1, port),
      self: await askUdp(self.netns, HOST1, port),
    };
    return answers;
  }

  before(async () => {
    cluster = await createCluster({ hosts: 2, config: CONFIG });
    near = await start(1);
    far = await start(2);
  });

  test("an answer of one packet and one in pieces get to everybody; who comes from outside is seen as it is", async () => {
    const self = await start(1, udp(9100, 53), udp(9101, 54));
    await serveUdp(self.netns, 53, { bytes: 100 });
    await serveUdp(self.netns, 54, { bytes: 4_000 });
    for (const [port, bytes] of [
      [9100, 100],
      [9101, 4_000],
    ] as const) {
      const { internet, "internet, IPv6": internet6, ...others } = await asked(port, self);
      assert.equal(internet, `${INTERNET} ${bytes}`);
      assert.equal(internet6, `2001:db8:113::10 ${bytes}`);
      for (const [who, answer] of Object.entries(others)) assert.match(answer, new RegExp(` ${bytes}$`), who);
    }
    await stop(self);
  });

  test("a port that nobody listens on inside is refused at once, on every way", async () => {
    const self = await start(1, udp(9102, 55));
    for (const [who, answer] of Object.entries(await asked(9102, self))) assert.equal(answer, "ECONNREFUSED", who);
    await stop(self);
  });

  test("a published port does not stand between the container and nodes", async () => {
    const web = await start(1, { hostPort: 8080, containerPort: PROBE_PORT, protocol: "tcp" }, udp(9103, 56));
    const server = await Probe.start(web.netns);
    await serveUdp(web.netns, 56);
    const node = await Probe.start(hostOf(cluster.lab, 2));
    assert.match(await node.ask(web.ip), /^44\.128\.0\.|^10\.0\.0\.12$/, "by its own address");
    assert.match(await askUdp(hostOf(cluster.lab, 2), web.ip, 56), / \d+$/);
    const nodeServer = await serveUdp(hostOf(cluster.lab, 2), 9104, { at: HOST2 });
    assert.match(await askUdp(web.netns, HOST2, 9104, 57), new RegExp(`^${web.ip} `));
    await stop(web);
    const other = await start(1, udp(9103, 58));
    assert.match(await askUdp(other.netns, HOST2, 9104, 58), new RegExp(`^${other.ip} `), "from a published port");
    nodeServer.kill("SIGKILL");
    node.stop();
    server.stop();
    await stop(other);
  });

  test("a client that asked too early, and one whose container was replaced, are answered all the same", async () => {
    const { internet } = cluster.lab;
    const port = 40_001;
    const early = () => askUdp(internet, HOST1, 9105, port, SILENCE_MS);
    assert.match(await early(), /ECONNREFUSED|no answer/);
    for (let round = 0; round < 2; round++) {
      const self = await start(1, udp(9105, 53));
      await serveUdp(self.netns, 53);
      assert.match(await askUdp(internet, HOST1, 9105, port), new RegExp(`^${INTERNET} `), `container ${round}`);
      await stop(self);
      assert.match(await early(), /ECONNREFUSED|no answer/);
    }
  });

  test("0.0.0.0 is every address of IPv4, and :: of IPv6", async () => {
    const four = await start(1, udp(9106, 53, { hostIP: "0.0.0.0" }));
    const six = await start(1, udp(9106, 53, { hostIP: "::" }));
    await serveUdp(four.netns, 53, { bytes: 50 });
    await serveUdp(six.netns, 53, { bytes: 60 });
    assert.equal(await askUdp(cluster.lab.internet, HOST1, 9106), `${INTERNET} 50`);
    assert.equal(await askUdp(cluster.lab.internet, HOST1_6, 9106), "2001:db8:113::10 60");
    await stop(four);
    await stop(six);
  });

  test("what is for somebody else passes, whatever its port", async () => {
    const self = await start(1, udp(9107, 53));
    await serveUdp(self.netns, 53);
    const server = await serveUdp(cluster.lab.internet, 9107, { bytes: 70 });
    assert.equal(await askUdp(near.netns, INTERNET, 9107), `${HOST1} 70`);
    assert.equal(
      await askUdp(near.netns, HOST1, 9107),
      `${HOST1} ${HOST1.length}`,
      "and what is for the host does not",
    );
    server.kill("SIGKILL");
    await stop(self);
  });
});
