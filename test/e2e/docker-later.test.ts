/**
 * Weft was there first, and Docker came later: the agent forwards what is the cluster's and leaves ip_forward off, so that
 * Docker finds a host that forwards nothing, switches it on itself, and closes its networks as it does everywhere.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Netns } from "../../src/app/demo/netns.ts";
import { PROBE_PORT } from "../../src/app/demo/probe.ts";
import { Probe } from "../../src/app/demo/probe-client.ts";
import { attach } from "../../src/app/demo/runtime.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { type DockerHost, dockerSkip, startDocker } from "../support/docker.ts";
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
import { imageTar } from "../support/podman.ts";

const skip = dockerSkip() ?? (await labOrReason());

const INTERNET = "203.0.113.10";
const REPAIRED_MS = 3_000;

describe("Docker comes later", { skip }, () => {
  let cluster: Cluster;
  let near: TestContainer;
  let far: TestContainer;
  /** On host 2, to ask a host port of host 1 from outside of the cluster. */
  let outside: Probe;
  let docker: DockerHost | undefined;

  const ofHost = (number: number, file: string, ...args: string[]) =>
    hostOf(cluster.lab, number)
      .mustRun(file, args)
      .then((text) => text.trim());
  const sysctl = (name: string) => ofHost(1, "sysctl", "-n", `net.ipv4.${name}`);

  before(async () => {
    cluster = await createCluster({
      hosts: 2,
      agentArgs: PLAIN,
      beforeAgents: async ({ hosts }) => {
        for (const host of hosts) await host.setSysctl("ipv4/ip_forward", "0");
      },
    });
    near = await startContainer(cluster, 1, "near", ["dcos", "dcos6"]);
    far = await startContainer(cluster, 2, "far", ["dcos", "dcos6"]);
    const web = await Netns.create("web");
    const portMappings = [{ hostPort: PROBE_PORT, containerPort: PROBE_PORT, protocol: "tcp" }];
    const ref = { containerId: "web", netns: web.path, ifname: "eth0", runtimeConfig: { portMappings } };
    await attach(agentOf(cluster, 1), "dcos", ref);
    await Probe.start(web);
    outside = await Probe.start(cluster.lab.internet);
  });
  after(() => docker?.machine.stop());

  async function overlayWorks(): Promise<void> {
    assert.equal(await near.probe.ask(far.ip), near.ip);
    assert.equal(await far.probe.ask(near.ip), far.ip);
    assert.equal(await far.probe.ask(near.ip6), far.ip6);
    assert.equal(await near.probe.ask(INTERNET), "10.0.0.11", "the way out");
    assert.equal(await outside.ask("10.0.0.11"), INTERNET, "a host port");
  }

  async function isRepaired(what: string): Promise<void> {
    await waitFor(what, REPAIRED_MS, async () =>
      (await sysctl("conf.vtep1024.forwarding")) === "1" && (await sysctl("conf.eth0.forwarding")) === "1"
        ? true
        : undefined,
    );
    await overlayWorks();
  }

  test("all of the overlay works with ip_forward off", async () => {
    assert.equal(await sysctl("ip_forward"), "0");
    await overlayWorks();
  });

  test("each device's word is needed, and comes back", async () => {
    const veth = (await ofHost(1, "sh", "-c", "ls /proc/sys/net/ipv4/conf | grep ^weft")).split("\n");
    assert.equal(veth.length, 3);
    await agentOf(cluster, 1).stop();
    for (const dev of ["vtep1024", "eth0", ...veth])
      await ofHost(1, "sysctl", "-qw", `net.ipv4.conf.${dev}.forwarding=0`);
    assert.match(await near.probe.ask(far.ip), /EHOSTUNREACH|no answer/);
    assert.match(await far.probe.ask(near.ip), /EHOSTUNREACH|no answer/);
    assert.match(await outside.ask("10.0.0.11"), /EHOSTUNREACH|no answer/);
    await agentOf(cluster, 1).start();
    await isRepaired("the agent to come back");
    await ofHost(1, "sysctl", "-qw", ...veth.map((dev) => `net.ipv4.conf.${dev}.forwarding=0`));
    await waitFor("the containers' devices to forward", REPAIRED_MS, async () => {
      const words = await Promise.all(veth.map((dev) => sysctl(`conf.${dev}.forwarding`)));
      return words.every((word) => word === "1") ? true : undefined;
    });
    await overlayWorks();
  });

  test("Docker switches forwarding on itself, and closes what it closes everywhere", async () => {
    const args = ["--ipv6", "--fixed-cidr-v6", "fd00:d0c::/64", "--experimental", "--ip6tables"];
    docker = await startDocker(agentOf(cluster, 1), await imageTar(), { args });
    assert.equal(await sysctl("ip_forward"), "1");
    assert.match(await docker.machine.mustRun("iptables", ["-S", "FORWARD"]), /^-P FORWARD DROP$/m);
    assert.match(await docker.machine.mustRun("ip6tables", ["-S", "FORWARD"]), /^-P FORWARD DROP$/m);
    const [own = ""] = (await docker.start("own")).bridge ?? [];
    await hostOf(cluster.lab, 2).ip(`route add ${own} via 10.0.0.11`);
    const ask = () =>
      hostOf(cluster.lab, 2).run("busybox", ["timeout", "2", "wget", "-qO-", `http://${own}/cgi-bin/who`]);
    assert.notEqual((await ask()).status, 0);
    await docker.machine.mustRun("iptables", ["-P", "FORWARD", "ACCEPT"]);
    assert.equal((await ask()).status, 0, "positive control");
    await docker.machine.mustRun("iptables", ["-P", "FORWARD", "DROP"]);
    await overlayWorks();
  });

  test("ip_forward is switched off by somebody: the overlay is repaired, and it stays off", async () => {
    await ofHost(1, "sysctl", "-qw", "net.ipv4.ip_forward=0");
    await isRepaired("the devices to forward again");
    assert.equal(await sysctl("ip_forward"), "0");
  });
});
