/**
 * Docker's firewall and Weft on one host, where Docker was first: dockerd has the kernel drop what is forwarded and is not
 * its own. The overlay works all the same, also after a reload of the firewall, and Docker's own networks are as closed
 * as they were.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Lab } from "../../src/app/demo/lab.ts";
import { Netns } from "../../src/app/demo/netns.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { type DockerHost, dockerSkip, engineHost, startDocker } from "../support/docker.ts";
import { labOrReason } from "../support/lab.ts";
import {
  agentOf,
  type Cluster,
  createCluster,
  hostOf,
  PLAIN,
  startContainer,
  type TestContainer,
} from "../support/lab-cluster.ts";
import { imageTar, question } from "../support/podman.ts";

const skip = dockerSkip() ?? (await labOrReason());

const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - {name: both, subnet: 9.0.0.0/8, prefix: 24, subnet6: "fd01:c::/64", prefix6: 80}
enable_ipv6: true
`;
const INTERNET = "203.0.113.10";
/** Docker knows no IPv6 of its own unless it is told so; then it closes that as well. */
const ENGINE = { args: ["--icc=false", "--ipv6", "--fixed-cidr-v6", "fd00:d0c::/64", "--experimental", "--ip6tables"] };
const SETTLE_MS = 10_000;
/** The agent is told of every change of nftables, and waits a moment for more. */
const MENDED_MS = 3_000;

describe("Docker was there first", { skip }, () => {
  let cluster: Cluster;
  let one: DockerHost;
  let two: DockerHost;
  let cni1: TestContainer;
  let cni2: TestContainer;
  /** Addresses of containers on host 1 that Weft has nothing to do with: on docker0, on a bridge of the user's. */
  let own = "";
  let beside = "";
  let other = "";
  let alone: readonly string[];

  before(async () => {
    cluster = await createCluster({ hosts: 2, config: CONFIG, beforeAgents: startEngines, agentArgs: PLAIN });
    for (const host of [one, two])
      await waitFor("the network to come to Docker", SETTLE_MS, async () =>
        (await host.do("network", "ls", "--format", "{{.Name}}")).includes("both") ? true : undefined,
      );
    await one.start("near", "--network", "both", "--publish", "8080:80");
    await two.start("far", "--network", "both");
    cni1 = await startContainer(cluster, 1, "cni1", ["both"]);
    cni2 = await startContainer(cluster, 2, "cni2", ["both"]);
  });
  after(() => Promise.all([one, two].map((host) => host?.machine.stop())));

  async function startEngines(lab: Lab): Promise<void> {
    const tar = await imageTar();
    one = await startDocker(engineHost(hostOf(lab, 1)), tar, ENGINE);
    two = await startDocker(engineHost(hostOf(lab, 2)), tar, ENGINE);
    await one.do("network", "create", "app");
    own = (await one.start("own")).bridge?.[0] ?? "";
    beside = (await one.start("beside")).bridge?.[0] ?? "";
    other = (await one.start("other", "--network", "app")).app?.[0] ?? "";
    for (const there of [own, other, "10.9.0.0/24"]) await hostOf(lab, 2).ip(`route add ${there} via 10.0.0.11`);
    alone = await closed();
  }

  /** What Docker keeps apart, as it is seen from everywhere but Weft's containers. */
  function closed(): Promise<string[]> {
    const told = async (who: string, answer: Promise<string>) => `${who}: ${await answer}`;
    return Promise.all([
      told("own → beside, on one bridge", one.ask("own", beside)),
      told("own → other", one.ask("own", other)),
      told("other → own", one.ask("other", own)),
      told("host 2 → own", two.askFromHost(own, 80)),
      told("host 2 → other", two.askFromHost(other, 80)),
    ]);
  }

  const firewall = (...args: string[]) => one.machine.mustRun("iptables", args);

  /** Everything that Weft is for, between the hosts and out of them. */
  async function overlayWorks(): Promise<void> {
    const near = (await one.addresses("near")).both ?? [];
    const far = (await two.addresses("far")).both ?? [];
    for (const [i, address] of near.entries()) {
      assert.equal(await one.ask("near", far[i] ?? ""), address, "by Docker, to the other host");
      assert.equal(await two.ask("far", address), far[i], "by Docker, from the other host");
    }
    assert.equal(await cni1.probe.ask(cni2.ip), cni1.ip, "by CNI");
    assert.equal(await cni2.probe.ask(cni1.ip6), cni2.ip6, "by CNI, IPv6");
    assert.equal(await two.askFromHost("10.0.0.11", 8080), "10.0.0.11", "a host port, from a node");
    const { stdout } = await cluster.lab.internet.run("busybox", question("10.0.0.11", 8080));
    assert.equal(stdout.trim(), INTERNET, "a host port, from outside");
    assert.equal((await one.exec("near", "ping", "-c1", "-W2", INTERNET)).status, 0, "the outside");
  }

  async function isMended(): Promise<void> {
    await waitFor("the firewall to let Weft through", MENDED_MS, async () =>
      (await one.machine.mustRun("iptables-save", [])).includes("-o weft+ -m comment --comment weft -j ACCEPT")
        ? true
        : undefined,
    );
    await overlayWorks();
  }

  test("positive control: what is forwarded by others is dropped", async () => {
    assert.match(await firewall("-S", "FORWARD"), /^-P FORWARD DROP$/m);
    assert.match(await one.machine.mustRun("ip6tables", ["-S", "FORWARD"]), /^-P FORWARD DROP$/m);
    const guest = await Netns.create("guest");
    await hostOf(cluster.lab, 1).ip(
      "link add guest0 type veth peer name eth0 netns guest",
      "link set guest0 up",
      "address add 10.9.0.1/24 dev guest0",
    );
    await guest.ip("link set eth0 up", "address add 10.9.0.2/24 dev eth0", "route add default via 10.9.0.1");
    const ping = async () => (await guest.run("ping", ["-c1", "-W1", "10.0.0.12"])).status;
    assert.notEqual(await ping(), 0);
    await firewall("-P", "FORWARD", "ACCEPT");
    assert.equal(await ping(), 0);
    await firewall("-P", "FORWARD", "DROP");
    assert.notEqual(await ping(), 0);
    await guest.delete();
  });

  test("containers by Docker and by CNI, host ports, and the way out", overlayWorks);

  test("Docker drops what Weft forwards, once nobody lets it through", async () => {
    await agentOf(cluster, 1).stop();
    await firewall("-F", "DOCKER-USER");
    assert.equal(await cni1.probe.ask(cni2.ip), "no answer within 3 s");
    await agentOf(cluster, 1).start();
    await isMended();
  });

  test("a firewall that is emptied, or restored from a file, is mended", async () => {
    const saved = await one.machine.mustRun("iptables-save", ["-t", "filter"]);
    const without = saved.replace(/^-A DOCKER-USER .*--comment weft .*\n/gm, "");
    assert.notEqual(without, saved);
    for (const reload of [
      () => firewall("-F", "DOCKER-USER"),
      () => one.machine.run("iptables-restore", [], { input: without }),
      () => firewall("-F"),
      () => one.machine.run("iptables-restore", [], { input: saved }),
    ]) {
      await reload();
      await isMended();
    }
    assert.equal(await one.machine.mustRun("iptables-save", ["-t", "filter"]).then(rules), rules(saved));
  });

  test("Docker's networks are closed as before, to Weft's containers too", async () => {
    assert.deepEqual(await closed(), alone);
    for (const address of [own, other]) {
      assert.match(await one.ask("near", address), /no answer|Terminated/i, `near → ${address}`);
      assert.match(await two.ask("far", address), /no answer|Terminated/i, `far → ${address}`);
    }
    await firewall("-I", "FORWARD", "-j", "ACCEPT");
    for (const answer of await closed()) assert.match(answer, /: (172|10)\.\d+\.\d+\.\d+$/, "positive control");
    for (const address of [own, other])
      assert.match(await one.ask("near", address), /^(172|10|9)\./, "positive control");
    await firewall("-D", "FORWARD", "-j", "ACCEPT");
    assert.deepEqual(await closed(), alone);
  });
});

/** The rules without what they have counted, and when. */
function rules(saved: string): string {
  return saved.replace(/^#.*\n/gm, "").replace(/ \[\d+:\d+\]$/gm, "");
}
