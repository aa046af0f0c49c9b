import assert from "node:assert/strict";
import { test } from "node:test";
import { CONTAINERD_PROGRAMS } from "../../src/app/demo/containerd.ts";
import { runtimeProblem } from "../../src/app/demo/podman.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { Containerd } from "../support/containerd.ts";
import { labOrReason } from "../support/lab.ts";
import { createCluster, startContainer } from "../support/lab-cluster.ts";
import { hostUse } from "../support/leftovers.ts";
import { agentOnMachine } from "../support/machine-agent.ts";
import { imageProblem, imageTar } from "../support/podman.ts";

const skip = runtimeProblem("containerd", CONTAINERD_PROGRAMS) ?? imageProblem() ?? (await labOrReason());

const CALL_MS = 10_000;

test("containerd's `ctr run --cni`: a container has its address, answers, and leaves nothing", { skip }, async () => {
  const cluster = await createCluster({ hosts: 2, agents: 1 });
  const far = await startContainer(cluster, 1, "far", ["dcos"]);
  const { agent, machine } = await agentOnMachine(cluster, 2);
  const containerd = await Containerd.start(machine, await imageTar());
  const both = { ...cluster, agents: [...cluster.agents, agent] };

  const run = containerd.run("web", "httpd", "-f", "-p", "7000", "-h", "/www");
  const ip = await waitFor("it to have an address", CALL_MS, async () => {
    const { stdout } = await containerd.exec("web", "ip", "-o", "-4", "address", "show", "dev", "eth0");
    return /inet (9\.0\.1\.\d+)/.exec(stdout)?.[1];
  });
  assert.equal((await containerd.exec("web", "ping", "-c1", "-W2", far.ip)).status, 0);
  await far.netns.mustRun("ping", ["-c1", "-W2", ip]);
  assert.deepEqual(await hostUse(both, 2), { leases: 1, veths: 1, chains: 1, namespaces: 0 });

  await containerd.do("task", "kill", "--signal", "SIGKILL", "web");
  await run;
  assert.deepEqual(await hostUse(both, 2), { leases: 0, veths: 0, chains: 0, namespaces: 0 });
  assert.equal((await containerd.do("container", "list", "--quiet")).trim(), "");
});
