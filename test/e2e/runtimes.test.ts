/**
 * All runtimes on one network: Docker, Podman and a CNI caller on each of two hosts, and everybody reaches everybody by
 * its own address. They share the host's addresses: what one has, no other gets.
 */
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { Podman } from "../../src/app/demo/podman.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { type DockerHost, dockerSkip, startDocker } from "../support/docker.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, createCluster, startContainer, type TestContainer } from "../support/lab-cluster.ts";
import { imageTar, PodmanHost, podmanSkip, question } from "../support/podman.ts";

const skip = dockerSkip() ?? podmanSkip() ?? (await labOrReason());
const SETTLE_MS = 10_000;

/** A container that answers on port 80, and can ask. */
interface Speaker {
  readonly title: string;
  readonly address: string;
  readonly ask: (address: string) => Promise<string>;
}

describe("all runtimes on one network", { skip }, () => {
  let cluster: Cluster;
  const dockers: DockerHost[] = [];
  const speakers: Speaker[] = [];
  const callers: TestContainer[] = [];

  before(async () => {
    cluster = await createCluster({ hosts: 2 });
    const tar = await imageTar();
    for (const number of [1, 2]) {
      const docker = await startDocker(agentOf(cluster, number), tar);
      dockers.push(docker);
      const podman = new PodmanHost(await Podman.on(docker.machine));
      await podman.podman.mustRun(["import", "--quiet", tar, "who"]);
      await waitFor(
        "the network to come to Docker",
        SETTLE_MS,
        async () => /^dcos$/m.test(await docker.do("network", "ls", "--format", "{{.Name}}")) || undefined,
      );
      for (const [runtime, host] of [
        ["docker", docker],
        ["podman", podman],
      ] as const) {
        const { dcos = [] } = await host.start("web", "--network", "dcos");
        speakers.push({
          title: `${runtime}${number}`,
          address: dcos[0] ?? "",
          ask: (address) => host.ask("web", address),
        });
      }
      callers.push(await startContainer(cluster, number, `cni${number}`, ["dcos"]));
    }
  });
  after(() => Promise.all(dockers.map(({ machine }) => machine.stop())));

  test("everybody reaches everybody, and is seen with its own address", async () => {
    assert.equal(speakers.length, 4);
    for (const from of speakers)
      for (const to of speakers)
        if (from !== to) assert.equal(await from.ask(to.address), from.address, `${from.title} → ${to.title}`);
    for (const { ip, netns } of callers)
      for (const { address, title } of speakers)
        assert.equal((await netns.mustRun("busybox", question(address, 80))).trim(), ip, `${netns.name} → ${title}`);
  });

  test("no address has two holders, and each is of the half of its runtime", async () => {
    for (const number of [1, 2]) {
      const { endpoints } = (await agentOf(cluster, number).get("/v1/endpoints")) as {
        endpoints: { runtime: string; addresses: string[] }[];
      };
      const all = endpoints.flatMap(({ addresses }) => addresses);
      assert.equal(new Set(all).size, all.length);
      for (const { runtime, addresses } of endpoints)
        for (const address of addresses.filter((each) => each.startsWith("9.")))
          assert.equal(Number(address.split(".")[3]) >= 128, runtime === "docker", `${runtime} ${address}`);
    }
  });
});
