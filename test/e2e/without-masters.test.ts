import assert from "node:assert/strict";
import { test } from "node:test";
import { waitFor } from "../../src/app/demo/wait.ts";
import { knowEachOther } from "../../src/app/demo/weft-process.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, createCluster, hostOf, startContainer, weft } from "../support/lab-cluster.ts";

const skip = await labOrReason();
const WAIT_MS = 15_000;

test("with all masters stopped the network lives on, and agents carry its state", { skip }, async (t) => {
  const cluster = await createCluster({ hosts: 3 });
  const one = await startContainer(cluster, 1, "one", ["dcos", "dcos6"]);
  const three = await startContainer(cluster, 3, "three", ["dcos", "dcos6"]);
  const members = async (number: number) => {
    const { stdout } = await weft(["members", "--json", "--agent", agentOf(cluster, number).address]);
    return (JSON.parse(stdout) as { members: { hostname?: string; role: string; status: string }[] }).members;
  };
  const statusOf = async (seenFrom: number, hostname: string) =>
    (await members(seenFrom)).find((member) => member.hostname === hostname)?.status;
  await cluster.master.stop("SIGKILL");

  await t.test("the master is missed, and nothing else is", async () => {
    await waitFor("the master to be held for dead", WAIT_MS, async () =>
      (await members(1)).some(({ role, status }) => role === "master" && status === "dead") ? true : undefined,
    );
    assert.equal(await one.probe.ask(three.ip), one.ip);
  });

  await t.test("a restarted agent comes back from disk and peers, and new containers attach", async () => {
    const agent = agentOf(cluster, 2);
    await agent.stop("SIGKILL");
    await waitFor("host2 to be held for dead", WAIT_MS, async () =>
      (await statusOf(1, "host2")) === "dead" ? true : undefined,
    );
    await agent.start();
    await agent.ready();
    await agent.knows(2);
    await waitFor("host2 to be alive again", WAIT_MS, async () =>
      (await statusOf(1, "host2")) === "alive" ? true : undefined,
    );
    const two = await startContainer(cluster, 2, "two", ["dcos", "dcos6"]);
    assert.equal(await two.probe.ask(three.ip), two.ip);
    assert.equal(await three.probe.ask(two.ip6 ?? two.ip), three.ip6);
  });

  await t.test("a dead host keeps its entries, and a rebooted one gets its own back", async () => {
    const agent = agentOf(cluster, 3);
    const entries = async () => {
      const host = hostOf(cluster.lab, 1);
      return (await host.mustRun("sh", ["-c", "ip route show 9.0.2.0/24; bridge fdb | grep 10.0.0.13"])).trim();
    };
    const before = await entries();
    assert.equal(before.split("\n").length, 2);
    await agent.stop("SIGKILL");
    await waitFor("host3 to be held for dead", WAIT_MS, async () =>
      (await statusOf(1, "host3")) === "dead" ? true : undefined,
    );
    assert.equal(await entries(), before, "its containers may live");
    assert.equal(await one.probe.ask(three.ip), one.ip, "and do");
    // What a reboot takes away.
    await hostOf(cluster.lab, 3).mustRun("sh", ["-c", "ip link del vtep1024; nft delete table netdev weft"]);
    await agent.start();
    await agent.ready();
    await agent.knows(2);
    await waitFor("containers to talk", WAIT_MS, async () =>
      (await one.probe.ask(three.ip).catch(() => undefined)) === one.ip ? true : undefined,
    );
  });

  await t.test("a host that ends by itself has left, and is no alarm", async () => {
    await agentOf(cluster, 2).stop();
    await waitFor("host2 to have left", WAIT_MS, async () =>
      (await statusOf(1, "host2")) === "left" ? true : undefined,
    );
    await agentOf(cluster, 2).start();
    await knowEachOther(cluster.agents);
    await waitFor("host2 to be back", WAIT_MS, async () =>
      (await statusOf(1, "host2")) === "alive" ? true : undefined,
    );
  });

  await t.test("weft members fits a terminal and says who is who", async () => {
    const { stdout } = await weft(["members", "--agent", agentOf(cluster, 1).address]);
    assert.match(stdout, /^MEMBER +ADDRESS +STATUS +INC +RTT +SINCE\n/);
    assert.match(stdout, /host1 \(this one\) +10\.0\.0\.11:62501 +alive/);
    assert.match(stdout, /master +10\.0\.0\.11:62502 +dead/);
    assert.match(stdout, /\n\n1 dead, 3 alive\n$|\n\n3 alive, 1 dead\n$/);
    for (const line of stdout.split("\n")) assert.ok(line.length <= 80, line);
  });
});
