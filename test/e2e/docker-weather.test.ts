/**
 * Docker in rough weather, on a real engine: the agent, the engine or both are killed, or come in the wrong order; others'
 * networks are in the way; networks are removed. Containers that run go on talking, and nothing is left or given twice.
 */
import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { waitFor } from "../../src/app/demo/wait.ts";
import { type DockerHost, dockerSkip, startDocker } from "../support/docker.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, createCluster, hostOf, weft } from "../support/lab-cluster.ts";
import { type Addresses, imageTar } from "../support/podman.ts";

const skip = dockerSkip() ?? (await labOrReason());
const SETTLE_MS = 15_000;
/** What the engine has forgotten is given back within two looks at its lists. */
const FORGOTTEN_MS = 90_000;

interface Endpoint {
  readonly containerId: string;
  readonly network: string;
  readonly addresses: readonly string[];
}

describe("Docker in rough weather", { skip }, () => {
  let cluster: Cluster;
  let one: DockerHost;
  let two: DockerHost;
  let far: Addresses;

  before(async () => {
    cluster = await createCluster({ hosts: 2 });
    const tar = await imageTar();
    one = await startDocker(agentOf(cluster, 1), tar);
    two = await startDocker(agentOf(cluster, 2), tar);
    for (const host of [one, two]) await hasNetwork(host, "dcos");
    far = await two.start("far", "--network", "dcos");
  });
  afterEach(async () => {
    const left = (await one.do("ps", "--all", "--quiet")).split("\n").filter((id) => id !== "");
    if (left.length > 0) await one.do("rm", "--force", ...left);
    await waitFor(
      "what has ended to be given back",
      FORGOTTEN_MS,
      async () => (await endpoints()).length === 0 || undefined,
    );
    const { status, stdout, stderr } = await weft(["ipam", "check", "--agent", agentOf(cluster, 1).address]);
    assert.equal(status, 0, `weft ipam check: ${stdout}${stderr}`);
    assert.doesNotMatch(await hostOf(cluster.lab, 1).mustRun("ip", ["link"]), /weft[0-9a-f]{10}|wd[0-9a-f]{10}/);
  });
  after(() => Promise.all([one, two].map((host) => host?.machine.stop())));

  async function hasNetwork(host: DockerHost, name: string): Promise<string> {
    return waitFor(`network ${name} to come to Docker`, SETTLE_MS, async () => {
      const lines = (await host.do("network", "ls", "--no-trunc", "--format", "{{.Driver}} {{.Name}} {{.ID}}")).split(
        "\n",
      );
      return lines.find((line) => line.startsWith(`weft ${name} `))?.split(" ")[2];
    });
  }

  async function endpoints(): Promise<readonly Endpoint[]> {
    return ((await agentOf(cluster, 1).get("/v1/endpoints")) as { endpoints: Endpoint[] }).endpoints;
  }

  async function talks(name: string): Promise<void> {
    const mine = (await one.addresses(name)).dcos?.[0] ?? "";
    const theirs = far.dcos?.[0] ?? "";
    assert.equal(await one.ask(name, theirs), mine);
    assert.equal(await two.ask("far", mine), theirs);
  }

  test("the agent is killed: containers talk, starts and stops wait for it and succeed", async () => {
    await one.start("old", "--network", "dcos");
    await agentOf(cluster, 1).stop("SIGKILL");
    await talks("old");
    const starting = one.run("new", "--network", "dcos");
    const stopping = one.docker.run(["rm", "--force", "old"]);
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    await agentOf(cluster, 1).start();
    const [started, stopped] = await Promise.all([starting, stopping]);
    assert.equal(started.status, 0, started.stderr);
    assert.equal(stopped.status, 0, stopped.stderr);
    await talks("new");
    assert.deepEqual(
      (await endpoints()).map(({ addresses }) => addresses),
      [(await one.addresses("new")).dcos],
    );
  });

  test("the engine is killed with live-restore: containers talk before and after, and can be stopped", async () => {
    await one.docker.stop();
    await one.docker.start(["--live-restore"]);
    await one.start("web", "--network", "dcos");
    await one.docker.stop("SIGKILL");
    const mine = (await endpoints())[0]?.addresses[0] ?? "";
    assert.equal(await two.ask("far", mine), far.dcos?.[0]);
    await one.docker.start(["--live-restore"]);
    await talks("web");
    await one.do("network", "disconnect", "dcos", "web");
    await one.do("network", "connect", "dcos", "web");
    await talks("web");
    await one.do("rm", "--force", "web");
    await one.docker.stop();
    await one.docker.start();
  });

  test("both are killed, and come back in either order", async () => {
    for (const engineFirst of [true, false]) {
      await one.start("web", "--network", "dcos", "--restart", "always");
      await one.docker.stop("SIGKILL");
      await agentOf(cluster, 1).stop("SIGKILL");
      if (engineFirst) {
        one.docker.launch();
        await new Promise((resolve) => setTimeout(resolve, 1_000));
        await agentOf(cluster, 1).start();
      } else {
        await agentOf(cluster, 1).start();
        one.docker.launch();
      }
      await waitFor("the container to run again", 60_000, async () => {
        const { status, stdout } = await one.docker.run(["inspect", "web", "--format", "{{.State.Running}}"]);
        return (status === 0 && stdout.trim() === "true") || undefined;
      });
      await talks("web");
      await one.do("rm", "--force", "web");
    }
  });

  test("a container's program is killed: all that was its own goes", async () => {
    await one.start("web", "--network", "dcos", "--publish", "8080:80");
    const pid = (await one.do("inspect", "web", "--format", "{{.State.Pid}}")).trim();
    await one.machine.mustRun("kill", ["-9", pid]);
    await waitFor("Docker to notice", SETTLE_MS, async () => (await endpoints()).length === 0 || undefined);
    await one.do("start", "web");
    await talks("web");
  });

  test("a network of somebody else's is reported and left alone", async () => {
    await agentOf(cluster, 1).stop();
    await one.do("network", "rm", "dcos").catch(() => {});
    await one.do("network", "create", "--subnet", "172.30.0.0/24", "dcos");
    const id = (await one.do("network", "inspect", "dcos", "--format", "{{.Id}}")).trim();
    await agentOf(cluster, 1).start();
    await waitFor("weft status to say so", SETTLE_MS, async () => {
      const { stdout } = await weft(["status", "--agent", agentOf(cluster, 1).address]);
      return (
        /Docker: network dcos: Docker has another network dcos \(driver bridge, 172\.30\.0\.0\/24\)/.test(stdout) ||
        undefined
      );
    });
    assert.equal((await one.do("network", "inspect", "dcos", "--format", "{{.Id}}")).trim(), id);
    await one.do("network", "rm", "dcos");
    await hasNetwork(one, "dcos");
    const { stdout } = await weft(["status", "--agent", agentOf(cluster, 1).address]);
    assert.match(stdout, /no problems/);
  });

  test("docker network rm and prune do what they say, and the cluster's network comes again", async () => {
    await one.start("web", "--network", "dcos");
    const before = await hasNetwork(one, "dcos");
    const { stderr } = await one.docker.run(["network", "rm", "dcos"]);
    assert.match(stderr, /has active endpoints/);
    await one.do("system", "prune", "--force");
    assert.equal(await hasNetwork(one, "dcos"), before, "it is used");
    await one.do("rm", "--force", "web");
    await one.do("network", "rm", "dcos");
    assert.notEqual(await hasNetwork(one, "dcos"), before);
    await one.do("system", "prune", "--force");
    await hasNetwork(one, "dcos");
    await one.start("web", "--network", "dcos");
    await talks("web");
  });

  test("what the engine forgot while nobody listened is given back", async () => {
    await one.start("web", "--network", "dcos");
    await one.docker.stop("SIGKILL");
    await one.machine.mustRun("sh", [
      "-c",
      "rm -rf /var/lib/docker/network; ctr --address $0 -n moby task kill -s 9 $(ctr --address $0 -n moby task ls -q)",
      `${one.machine.folder}/containerd.sock`,
    ]);
    await one.docker.start();
    await hasNetwork(one, "dcos");
    assert.equal((await endpoints()).length, 1, "it is not known at once that nobody wants it");
    await waitFor("it to be given back", FORGOTTEN_MS, async () => (await endpoints()).length === 0 || undefined);
    assert.match(agentOf(cluster, 1).log, /given back: Docker knows nothing of it any more/);
  });

  test("an engine in a swarm goes on with plain containers, and is told about services", async () => {
    await one.do("swarm", "init", "--advertise-addr", "10.0.0.11");
    await waitFor("weft status to say so", 40_000, async () => {
      const { stdout } = await weft(["status", "--agent", agentOf(cluster, 1).address]);
      return /Docker: Docker is in swarm mode/.test(stdout) || undefined;
    });
    await one.start("web", "--network", "dcos");
    await talks("web");
    await one.do("swarm", "leave", "--force");
  });
});
