/**
 * Debian's Podman with `network_backend = "cni"` on two hosts of a lab, each with its own Podman: what people do with
 * containers, and what happens when something is killed in the middle of it.
 */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, afterEach, before, describe, test } from "node:test";
import { runtimeNamespaces, unmount } from "../../src/app/demo/machine.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, createCluster, weft } from "../support/lab-cluster.ts";
import { hostUse } from "../support/leftovers.ts";
import { type Addresses, imageTar, type PodmanHost, podmanSkip, startPodman } from "../support/podman.ts";

const skip = podmanSkip() ?? (await labOrReason());

const CONFIG = readFileSync(join(import.meta.dirname, "../../examples/config.yaml"), "utf8");
/** The halves of host 1's slices that containers of CNI get. */
const HALF: Readonly<Record<string, RegExp>> = {
  dcos: /^9\.0\.0\.([2-9]|[1-9]\d|1[01]\d|12[0-6])$/,
  dcos6: /^fd01:b::(?!8000)/,
  "dcos-1": /^192\.168\.0\.([2-9]|[1-9]\d|1[01]\d|12[0-6])$/,
};
/** The agent looks after what nobody tells it of in its slow pass. */
const SWEEP_MS = 35_000;
const CALL_MS = 10_000;
/** The plugin's own second, twice (Podman cleans up with a DEL), and what Podman itself takes on a busy machine. */
const REFUSAL_MAX_MS = 4_000;

/** Podman itself gives networks to interfaces in an order of its own. */
function onInterfaces(...networks: readonly string[]): string[] {
  return networks.flatMap((network, i) => ["--network", `${network}:interface_name=eth${i}`]);
}

describe("Podman", { skip }, () => {
  let cluster: Cluster;
  let tar: string;
  let one: PodmanHost;
  let two: PodmanHost;
  /** Of a container on host 2 that is on all networks. */
  let far: Addresses;

  before(async () => {
    cluster = await createCluster({ hosts: 2, config: CONFIG });
    tar = await imageTar();
    one = await startPodman(agentOf(cluster, 1), tar);
    two = await startPodman(agentOf(cluster, 2), tar);
    far = await two.start("far", ...onInterfaces("dcos", "dcos6", "dcos-1"));
  });

  afterEach(async () => {
    const { status, stdout, stderr } = await weft(["ipam", "check", "--agent", agentOf(cluster, 1).address]);
    // One that failed must not make the next ones fail.
    await one.do("rm", "--force", "--all");
    assert.equal(status, 0, `weft ipam check: ${stdout}${stderr}`);
  });
  after(() => Promise.all([one.machine.stop(), two.machine.stop()]));

  /**
   * A container of host 1 is on these networks and on no other, and it and the one on host 2 reach each other over all of
   * them, both with addresses of their own.
   */
  async function talks(name: string, ...networks: readonly string[]): Promise<void> {
    const near = await one.addresses(name);
    assert.deepEqual(Object.keys(near).sort(), networks.toSorted());
    for (const network of networks) {
      const [nearIp = ""] = near[network] ?? [];
      const [farIp = ""] = far[network] ?? [];
      assert.match(nearIp, HALF[network] ?? /never/);
      const nearSeen = await one.ask(name, farIp);
      assert.ok(Object.values(near).flat().includes(nearSeen), `${name} → far over ${network}: ${nearSeen}`);
      const farSeen = await two.ask("far", nearIp);
      assert.ok(Object.values(far).flat().includes(farSeen), `far → ${name} over ${network}: ${farSeen}`);
    }
  }

  /** What host 1's containers use of it. */
  async function uses(expected: Partial<Record<"leases" | "namespaces", number>>): Promise<void> {
    const { leases = 0, namespaces = 0 } = expected;
    const withFar = namespaces + 1;
    assert.deepEqual(await hostUse(cluster, 1), { leases, veths: leases, chains: leases, namespaces: withFar });
  }

  for (const network of ["dcos", "dcos6"])
    test(`run on ${network}: an address of this host's half; a container on another host answers`, async () => {
      await one.start("run", "--network", network);
      await talks("run", network);
      await one.do("rm", "--force", "run");
      await uses({});
    });

  test("three networks: an interface and an address each, and replies leave by the one that was asked", async () => {
    await one.start("three", "--network", "dcos,dcos-1,dcos6");
    await talks("three", "dcos", "dcos-1", "dcos6");
    await uses({ leases: 3, namespaces: 1 });
    await one.do("rm", "--force", "three");
    await uses({});
  });

  test("network connect and disconnect", async () => {
    await one.start("joins", "--network", "dcos");
    await one.do("network", "connect", "dcos6", "joins");
    await talks("joins", "dcos", "dcos6");
    await one.do("network", "disconnect", "dcos6", "joins");
    await talks("joins", "dcos");
    await one.do("rm", "--force", "joins");
    await uses({});
  });

  test("stop gives all back; start, restart and reload attach again", async () => {
    await one.start("life", "--network", "dcos,dcos6");
    await one.do("stop", "life");
    await uses({});
    for (const verb of [["start"], ["restart"], ["network", "reload"]]) {
      await one.do(...verb, "life");
      await talks("life", "dcos", "dcos6");
    }
    await uses({ leases: 2, namespaces: 1 });
    await one.do("rm", "--force", "life");
    await uses({});
  });

  test("several at once", async () => {
    const names = ["p1", "p2", "p3", "p4", "p5", "p6"];
    const addresses = await Promise.all(names.map((name) => one.start(name, "--network", "dcos,dcos6")));
    assert.equal(new Set(addresses.flatMap((each) => Object.values(each).flat())).size, 12);
    for (const name of names) await talks(name, "dcos", "dcos6");
    await one.do("rm", "--force", ...names);
    await uses({});
  });

  test("--ip, --ip6, --mac-address: what was asked for, and kept over a restart", async () => {
    const ip = await one.start("fixed", "--network", "dcos", "--ip", "9.0.0.77", "--mac-address", "02:11:22:33:44:55");
    assert.deepEqual(ip, { dcos: ["9.0.0.77"] });
    assert.match((await one.exec("fixed", "ip", "link", "show", "eth0")).stdout, /02:11:22:33:44:55/);
    await one.do("restart", "fixed");
    assert.deepEqual(await one.addresses("fixed"), ip);
    assert.equal(await two.ask("far", "9.0.0.77"), far.dcos?.[0]);
    const { dcos6 = [] } = await one.start("fixed6", "--network", "dcos6", "--ip6", "fd01:b::77");
    assert.equal(dcos6[0], "fd01:b::77");

    const taken = await one.run("late", "--network", "dcos", "--ip", "9.0.0.77");
    assert.notEqual(taken.status, 0);
    assert.match(taken.stderr, /weft-cni.*9\.0\.0\.77.*(fixed|[0-9a-f]{12})/s);
    const outside = await one.run("lost", "--network", "dcos", "--ip", "9.0.1.77");
    assert.notEqual(outside.status, 0);
    assert.match(outside.stderr, /weft-cni.*9\.0\.1\.77.*9\.0\.0\.\d+/s);
    await one.do("rm", "--force", "fixed", "fixed6", "late", "lost");
  });

  test("a reserved address comes with the container's name, on whichever host", async () => {
    const reserve = ["reserve", "--master", cluster.master.address, "dcos", "kept", "9.0.0.99"];
    assert.equal((await weft(reserve)).status, 0);
    const isTold = async () =>
      JSON.stringify(await agentOf(cluster, 2).get("/v1/status")).includes('"kept"') || undefined;
    await waitFor("agents to be told", 20_000, isTold);
    const kept = await two.start("kept", "--network", "dcos");
    assert.deepEqual(kept, { dcos: ["9.0.0.99"] }, "of the other host's slice");
    await two.do("restart", "kept");
    assert.deepEqual(await two.addresses("kept"), kept);
    const { dcos = [] } = await one.start("near", "--network", "dcos");
    await waitFor(
      "the two to talk",
      20_000,
      async () => (await two.ask("kept", dcos[0] ?? "")) === "9.0.0.99" || undefined,
    );
    assert.equal(await one.ask("near", "9.0.0.99"), dcos[0]);
    await two.do("rm", "--force", "kept");
    await one.do("rm", "--force", "near");
  });

  test("an interface's name is asked for, and eth0 has the default route", async () => {
    for (const [first, second] of [
      ["dcos", "dcos-1"],
      ["dcos-1", "dcos"],
    ] as const) {
      const addresses = await one.start("named", ...onInterfaces(first, second));
      assert.equal(await two.ask("far", addresses[second]?.[0] ?? ""), far.dcos?.[0], "the other one answers");
      assert.equal(await one.ask("named", far.dcos?.[0] ?? ""), addresses[first]?.[0]);
      await one.do("rm", "--force", "named");
    }
  });

  test("SIGKILL of a container: Podman gives all back, start attaches anew", async () => {
    await one.start("killed", "--network", "dcos");
    const pid = await one.do("inspect", "killed", "--format", "{{.State.Pid}}");
    await one.machine.mustRun("kill", ["-9", pid.trim()]);
    await waitFor("Podman to have cleaned up", CALL_MS, async () => {
      await uses({});
      return true;
    });
    await one.do("start", "killed");
    await talks("killed", "dcos");
    await one.do("rm", "--force", "killed");
    await uses({});
  });

  test("SIGKILL of conmon, alone or with its container: rm --force leaves nothing", async () => {
    for (const format of ["{{.State.ConmonPid}}", "{{.State.ConmonPid}} {{.State.Pid}}"]) {
      await one.start("killed", "--network", "dcos,dcos6");
      const pids = await one.do("inspect", "killed", "--format", format);
      await one.machine.mustRun("kill", ["-9", ...pids.trim().split(" ")]);
      await one.do("rm", "--force", "killed");
      await uses({});
    }
  });

  /** @returns once an ADD is on its way on host 1; what ends of earlier containers calls the plugin as well */
  const addCalled = () =>
    waitFor("the plugin to be called", CALL_MS, async () => {
      const script =
        "for pid in $(pidof weft-cni); do grep -qz CNI_COMMAND=ADD /proc/$pid/environ && exit; done; exit 1";
      return (await one.machine.run("sh", ["-c", script])).status === 0 || undefined;
    });

  test("SIGKILL of podman in the middle of run: what ran goes on, what was begun is given back", async () => {
    await one.start("steady", "--network", "dcos");
    const before = runtimeNamespaces();
    const agent = agentOf(cluster, 1);
    // Stopped, the agent holds every call: the kill hits while the plugin waits.
    agent.signal("SIGSTOP");
    const run = one.run("victim", "--network", "dcos,dcos6");
    try {
      await addCalled();
      await one.machine.mustRun("sh", ["-c", "kill -9 $(pidof podman)"]);
    } finally {
      agent.signal("SIGCONT");
    }
    assert.notEqual((await run).status, 0);
    await talks("steady", "dcos");
    await one.removeHalfMade("victim");
    // Podman has not written down the namespace that it had made, so it forgets it, and would with any plugin.
    await unmount(runtimeNamespaces().filter((path) => !before.includes(path)));
    await waitFor("its lease to go with it", SWEEP_MS, async () => {
      await uses({ leases: 1, namespaces: 1 });
      return true;
    });
    await one.do("rm", "--force", "steady");
    await uses({});
  });

  test("SIGKILL of the agent while containers are started: all run in the end, and all is given back", async () => {
    await one.start("goes-on", "--network", "dcos");
    const agent = agentOf(cluster, 1);
    const names = ["v1", "v2", "v3"];
    agent.signal("SIGSTOP");
    const runs = names.map((name) => one.run(name, "--network", "dcos,dcos6"));
    await addCalled();
    await agent.stop("SIGKILL");
    await talks("goes-on", "dcos");
    await agent.start();
    await agent.ready();
    for (const [i, name] of names.entries()) {
      const { status } = (await runs[i]) ?? {};
      if (status !== 0) await one.do("start", name);
      await talks(name, "dcos", "dcos6");
    }
    await one.do("rm", "--force", "goes-on", ...names);
    await waitFor("nothing to be left", SWEEP_MS, async () => {
      await uses({});
      return true;
    });
  });

  test("with the agent down run is refused at once with what to do; once it is up, start attaches", async () => {
    const agent = agentOf(cluster, 1);
    await agent.stop();
    const start = performance.now();
    const { status, stderr } = await one.run("early", "--network", "dcos");
    assert.notEqual(status, 0);
    assert.match(stderr, /weft-cni.*weft agent/s);
    assert.ok(performance.now() - start < REFUSAL_MAX_MS, `${performance.now() - start} ms`);
    await agent.start();
    await agent.ready();
    await one.do("start", "early");
    await talks("early", "dcos");
    await one.do("rm", "--force", "early");
    await uses({});
  });

  test("a power loss of the runtime's machine: the agent takes back what its containers had", async () => {
    await one.machine.stop();
    const again = await startPodman(agentOf(cluster, 1), tar);
    await again.start("lost1", "--network", "dcos,dcos6");
    await again.start("lost2", "--network", "dcos");
    await again.machine.stop();
    one = await startPodman(agentOf(cluster, 1), tar);
    await waitFor("nothing to be left", SWEEP_MS, async () => {
      await uses({});
      return true;
    });
    await one.start("next", "--network", "dcos");
    await talks("next", "dcos");
  });
});
