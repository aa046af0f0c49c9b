import assert from "node:assert/strict";
import { once } from "node:events";
import { type TestContext, test } from "node:test";
import type { LabHost } from "../../src/app/demo/lab.ts";
import type { Netns } from "../../src/app/demo/netns.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, createCluster, hostOf, startContainer } from "../support/lab-cluster.ts";

const skip = await labOrReason();

/** All of the host's network that Weft has a hand in, as the kernel's own tools print it. */
async function kernelState(host: LabHost): Promise<string> {
  const script = [
    "ip -d -o link | sed 's/ promiscuity.*//'",
    "ip -o addr | sed 's/ *$//'",
    "for f in -4 -6; do ip $f route show table all proto 87 | sort; ip $f rule; ip $f neigh show nud permanent | sort; done",
    "bridge fdb show | sort",
    "nft list ruleset",
  ].join("; ");
  return host.mustRun("sh", ["-c", script]);
}

/** A ping every 10 ms until `stop`, which returns how many were sent and how many came back; ends with the test. */
function pingAll(t: TestContext, from: Netns, target: string) {
  const child = from.spawn("ping", ["-i", "0.01", "-q", target], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  let output = "";
  child.stdout?.on("data", (text: Buffer) => {
    output += text.toString();
  });
  return {
    stop: async () => {
      child.kill("SIGINT");
      await once(child, "close");
      const counts = /(\d+) packets transmitted, (\d+) received/.exec(output);
      return { sent: Number(counts?.[1]), received: Number(counts?.[2]) };
    },
  };
}

test("killed at any moment and started again, programs lose no packet and no state", { skip }, async (t) => {
  const cluster = await createCluster({ hosts: 2 });
  const { master } = cluster;
  const near = await startContainer(cluster, 1, "near", ["dcos", "dcos6"]);
  const far = await startContainer(cluster, 2, "far", ["dcos", "dcos6"]);
  const agent = agentOf(cluster, 1);
  const host = hostOf(cluster.lab, 1);

  for (const signal of ["SIGKILL", "SIGTERM"] as const)
    await t.test(`${signal} of an agent: no packet is lost, the kernel stays as it was`, async (t) => {
      const before = await kernelState(host);
      const document = await agent.get("/overlay-agent/overlay");
      const pings = [pingAll(t, near.netns, far.ip), pingAll(t, near.netns, far.ip6), pingAll(t, far.netns, near.ip)];
      await agent.stop(signal);
      assert.equal(await kernelState(host), before, "while it is away");
      await agent.start();
      await agent.ready();
      for (const ping of pings) {
        const { sent, received } = await ping.stop();
        assert.ok(sent > 10, `${sent} pings were sent`);
        assert.equal(received, sent);
      }
      assert.equal(await kernelState(host), before, "when it is back");
      const { configuration_attempts: _, ...after } = (await agent.get("/overlay-agent/overlay")) as Record<
        string,
        unknown
      >;
      const { configuration_attempts: __, ...expected } = document as Record<string, unknown>;
      assert.deepEqual(after, expected);
    });

  await t.test("SIGKILL of the master: the same state, agents come back by themselves", async (t) => {
    const before = await master.get("/overlay-master/state");
    const ping = pingAll(t, near.netns, far.ip);
    await master.stop("SIGKILL");
    assert.equal(await near.probe.ask(far.ip), near.ip, "without a master");
    const late = await startContainer(cluster, 1, "late", ["dcos"]);
    assert.equal(await late.probe.ask(far.ip), late.ip, "a new container without a master");
    await master.start();
    await waitFor("the same state", 15_000, async () => {
      assert.deepEqual(await master.get("/overlay-master/state"), before);
      return true;
    });
    const { sent, received } = await ping.stop();
    assert.equal(received, sent);
  });
});
