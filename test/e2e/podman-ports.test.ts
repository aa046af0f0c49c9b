/**
 * Host ports of every kind, as people ask Podman for them.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { waitFor } from "../../src/app/demo/wait.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, createCluster, hostOf } from "../support/lab-cluster.ts";
import { imageTar, type PodmanHost, podmanSkip, startPodman } from "../support/podman.ts";
import { askUdp, servePodmanUdp } from "../support/udp.ts";

const skip = podmanSkip() ?? (await labOrReason());

const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: dcos, subnet: 9.0.0.0/8, prefix: 24 }
    - { name: both, subnet: 10.8.0.0/16, prefix: 24, subnet6: "fd01:b::/64", prefix6: 80 }
`;
const HOST1 = "10.0.0.11";
const HOST1_6 = "fd00:10::11";
/** Somebody answered, whoever it took the asker for. */
const ANSWER = /^[0-9a-f.:]+$/;
const NO_ANSWER = /refused|no answer/i;
const CALL_MS = 10_000;

describe("Podman's host ports", { skip }, () => {
  let cluster: Cluster;
  let one: PodmanHost;
  let two: PodmanHost;

  before(async () => {
    cluster = await createCluster({ hosts: 2, config: CONFIG });
    const tar = await imageTar();
    one = await startPodman(agentOf(cluster, 1), tar);
    two = await startPodman(agentOf(cluster, 2), tar);
    await two.start("far", "--network", "dcos");
    await one.start("near", "--network", "dcos");
  });

  after(() => Promise.all([one.machine.stop(), two.machine.stop()]));

  /** From another host, from the host itself by both of its addresses, and from containers of both hosts. */
  async function answersEverybody(port: number): Promise<void> {
    assert.match(await two.askFromHost(HOST1, port), ANSWER, "another host");
    assert.match(await one.askFromHost(HOST1, port), ANSWER, "the host itself");
    assert.match(await one.askFromHost("127.0.0.1", port), ANSWER, "the host's loopback");
    assert.match(await one.ask("near", HOST1, port), ANSWER, "a container beside it");
    assert.match(await two.ask("far", HOST1, port), ANSWER, "a container of another host");
  }

  /** Where the host ports of host 1 lead to. */
  const portsOfHost = async () =>
    [
      ...(await hostOf(cluster.lab, 1).mustRun("nft", ["list", "ruleset"])).matchAll(
        /(?:tcp|udp) \. \d+ : \S+ \. \d+/g,
      ),
    ].map(([element]) => element);

  test("-p 8080:80: everybody reaches it, through stop and start, restart, reload and a dead agent", async () => {
    await one.start("web", "--network", "dcos", "-p", "8080:80");
    await answersEverybody(8080);
    assert.match(await one.ask("web", HOST1, 8080), ANSWER, "the container itself");
    await one.do("stop", "web");
    assert.match(await two.askFromHost(HOST1, 8080), NO_ANSWER);
    for (const verb of [["start"], ["restart"], ["network", "reload"]]) {
      await one.do(...verb, "web");
      await answersEverybody(8080);
    }
    const agent = agentOf(cluster, 1);
    await agent.stop("SIGKILL");
    await answersEverybody(8080);
    await agent.start();
    await agent.ready();
    await answersEverybody(8080);
    await one.do("rm", "--force", "web");
    assert.match(await two.askFromHost(HOST1, 8080), NO_ANSWER);
    assert.deepEqual(await portsOfHost(), []);
  });

  test("-p 127.0.0.1:8081:80 is for the host alone", async () => {
    await one.start("local", "--network", "dcos", "-p", "127.0.0.1:8081:80", "-p", "8082:80");
    assert.match(await one.askFromHost("127.0.0.1", 8081), ANSWER);
    assert.match(await two.askFromHost(HOST1, 8082), ANSWER);
    assert.match(await two.askFromHost(HOST1, 8081), NO_ANSWER);
    assert.match(await one.ask("near", HOST1, 8081), NO_ANSWER);
    await one.do("rm", "--force", "local");
  });

  test("-p 10.0.0.11:…: one port of two addresses for two containers", async () => {
    await one.start("outside", "--network", "dcos", "-p", `${HOST1}:8083:80`);
    await one.start("inside", "--network", "dcos", "-p", "127.0.0.1:8083:80");
    assert.match(await two.askFromHost(HOST1, 8083), ANSWER);
    assert.match(await one.askFromHost("127.0.0.1", 8083), ANSWER);
    await one.do("rm", "--force", "inside");
    assert.match(await two.askFromHost(HOST1, 8083), ANSWER);
    assert.match(await one.askFromHost("127.0.0.1", 8083), NO_ANSWER);
    await one.do("rm", "--force", "outside");
  });

  test("IPv6: a host port of both families", async () => {
    await one.start("six", "--network", "both", "-p", "8084:80");
    assert.match(await two.askFromHost(HOST1_6, 8084), ANSWER);
    assert.match(await two.askFromHost(HOST1, 8084), ANSWER);
    assert.match(await one.askFromHost(HOST1_6, 8084), ANSWER);
    await one.do("rm", "--force", "six");
  });

  test("a range, and UDP", async () => {
    await one.start("range", "--network", "dcos", "-p", "9000-9002:80-82", "-p", "9100:9100/udp");
    assert.match(await two.askFromHost(HOST1, 9000), ANSWER);
    // Nobody listens on 81 and 82: the container refuses, and what is not mapped the host refuses.
    assert.match(await two.askFromHost(HOST1, 9001), NO_ANSWER);
    assert.equal((await portsOfHost()).length, 4);
    await servePodmanUdp(one, "range", 9100);
    assert.match(await askUdp(cluster.lab.internet, HOST1, 9100), /^203\.0\.113\.10 /);
    await one.do("rm", "--force", "range");
    assert.deepEqual(await portsOfHost(), []);
  });

  test("a host port that is taken is refused with who has it", async () => {
    await one.start("first", "--network", "dcos", "-p", "8085:80");
    const second = await one.run("second", "--network", "dcos", "-p", "8085:80");
    assert.notEqual(second.status, 0);
    assert.match(second.stderr, /weft-cni.*tcp port 8085 of this host is held by container first \([0-9a-f]{64}\)/s);
    assert.match(await two.askFromHost(HOST1, 8085), ANSWER, "the first still answers");
    one.machine.spawn("busybox", ["nc", "-l", "-p", "8086"]);
    await waitFor(
      "a program of the host to listen",
      CALL_MS,
      async () => (await one.machine.mustRun("busybox", ["netstat", "-ltn"])).includes(":8086 ") || undefined,
    );
    const third = await one.run("third", "--network", "dcos", "-p", "8086:80");
    assert.notEqual(third.status, 0);
    assert.match(third.stderr, /weft-cni.*tcp port 8086 of this host is held by process \d+ \(busybox nc/s);
    await one.machine.run("busybox", ["nc", "127.0.0.1", "8086"]); // it ends with its first connection
    await one.do("rm", "--force", "first", "second", "third");
  });
});
