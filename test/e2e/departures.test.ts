/**
 * Agents come and go, with the real programs on the hosts of a lab: drained, removed while they live, admitted anew, at
 * another address, and such as take part with a VTEP alone.
 */
import assert from "node:assert/strict";
import { readdirSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { waitFor } from "../../src/app/demo/wait.ts";
import { Agent } from "../../src/app/demo/weft-process.ts";
import { labOrReason } from "../support/lab.ts";
import { agentOf, type Cluster, createCluster, hostOf, startContainer, weft } from "../support/lab-cluster.ts";
import { tracesOf } from "../support/traces.ts";

const skip = await labOrReason();

const CONFIG = `agents: { remove_after: 10s }
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: dcos, subnet: 9.0.0.0/8, prefix: 24 }
`;
const WAIT_MS = 30_000;
/** Registration backs off for up to a minute while it is refused. */
const BACK_MS = 75_000;
const OVERLAY = /weft|\b9\.0\.\d+\.\d+|44\.128\.|vtep1024/;
const MOVED = "10.0.0.77";

interface KnownAgent {
  readonly id: string;
  readonly ip: string;
  readonly hostname: string;
  readonly phase?: string;
  readonly backend: { readonly vtepIp: string };
  readonly overlays: readonly { readonly subnet?: string; readonly mesosBridge?: object }[];
}

async function ok(cluster: Cluster, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await weft([...args, "--master", cluster.master.address]);
  assert.equal(status, 0, stderr);
  return stdout;
}

async function known(cluster: Cluster, hostname: string): Promise<KnownAgent | undefined> {
  const all = JSON.parse(await ok(cluster, "agents", "--json")) as KnownAgent[];
  return all.find((agent) => agent.hostname === hostname);
}

async function idOf(cluster: Cluster, hostname: string): Promise<string> {
  const { id } = (await known(cluster, hostname)) ?? {};
  assert(id !== undefined, `${hostname} is known`);
  return id;
}

test("agents are drained, removed while they live, and come back", { skip }, async (t) => {
  const cluster = await createCluster({
    hosts: 4,
    config: CONFIG,
    agentArgs: (host) => (host === 4 ? ["--no-subnets"] : []),
  });
  const { master } = cluster;
  const one = await startContainer(cluster, 1, "one", ["dcos"]);
  const two = await startContainer(cluster, 2, "two", ["dcos"]);

  await t.test("an agent without subnets has a VTEP and reaches containers, and no bridge", async () => {
    const host4 = hostOf(cluster.lab, 4);
    const agent = await known(cluster, "host4");
    assert.equal(agent?.backend.vtepIp, "44.128.0.4/20");
    assert.equal(agent?.overlays[0]?.subnet, undefined);
    const links = await host4.mustRun("ip", ["-o", "link"]);
    assert.match(links, /vtep1024/);
    assert.doesNotMatch(links, /[md]-dcos/);
    assert.doesNotMatch(readdirSync(agentOf(cluster, 4).confDir).join(), /weft-/);
    await host4.mustRun("ping", ["-c1", "-W5", two.ip]);
  });

  await t.test("a drained host takes no container, its own talk on, and it takes some again", async () => {
    const id = await idOf(cluster, "host2");
    await ok(cluster, "agent", "drain", id);
    await waitFor("new containers to be refused", WAIT_MS, async () => {
      const late = await startContainer(cluster, 2, `late-${Date.now() % 100_000}`, ["dcos"]).catch(String);
      return typeof late === "string" && /host is draining/.test(late) ? true : undefined;
    });
    assert.equal(await one.probe.ask(two.ip), one.ip);
    await waitFor("the table to tell", WAIT_MS, async () =>
      /host2 .*draining, \d+ left/.test(await ok(cluster, "agents")) ? true : undefined,
    );
    await ok(cluster, "agent", "drain", "--undo", id);
    await waitFor("containers to be taken again", WAIT_MS, () =>
      startContainer(cluster, 2, `again-${Date.now() % 100_000}`, ["dcos"]),
    );
  });

  await t.test("one that is removed while it lives finds out, and takes its networks down", async () => {
    const agent = agentOf(cluster, 2);
    const before = await known(cluster, "host2");
    const id = before?.id ?? "";
    const refused = await weft(["agent", "rm", id, "--master", master.address]);
    assert.match(refused.stderr, /connected.*--force/);
    await ok(cluster, "agent", "rm", "--force", id);
    await waitFor("nothing to be left on it", WAIT_MS, async () =>
      (await tracesOf(agent, OVERLAY)).length === 0 ? true : undefined,
    );
    assert.equal(agent.log.match(/was removed from the cluster: its networks/g)?.length, 1, "said once");
    await assert.rejects(startContainer(cluster, 2, "refused", ["dcos"]));
    await waitFor("its peers to forget it", WAIT_MS, async () =>
      (await tracesOf(agentOf(cluster, 1), /9\.0\.1\.0\/24|44\.128\.0\.2\b/)).length === 0 ? true : undefined,
    );
    await agent.stop();
    await agent.start();
    assert.deepEqual(await tracesOf(agent, OVERLAY), [], "a restart brings nothing back");

    writeFileSync(master.joinTokenFile, await ok(cluster, "token", "create"), { mode: 0o600 });
    await waitFor("it to be let in by a newer token", BACK_MS, async () =>
      (await tracesOf(agent, /9\.0\.1\.\d+/)).length > 0 ? true : undefined,
    );
    await agent.ready();
    assert.deepEqual((await known(cluster, "host2"))?.overlays, before?.overlays, "what it had was kept for it");
    const back = await startContainer(cluster, 2, "back", ["dcos"]);
    await waitFor("containers to talk", WAIT_MS, async () =>
      (await back.probe.ask(one.ip).catch(() => undefined)) === back.ip ? true : undefined,
    );
  });

  await t.test("an agent at another address keeps its slices, and its peers follow", async () => {
    const host = hostOf(cluster.lab, 2);
    const before = await known(cluster, "host2");
    const inside = await startContainer(cluster, 2, "mover", ["dcos"]);
    await agentOf(cluster, 2).stop();
    await host.mustRun("ip", ["address", "add", `${MOVED}/24`, "dev", "eth0"]);
    const { folder } = agentOf(cluster, 2);
    const moved = new Agent({ host, folder, masters: [master.url], ip: MOVED });
    await moved.start();
    await waitFor("the peers to send there", WAIT_MS, async () =>
      (await tracesOf(agentOf(cluster, 1), /dst 10\.0\.0\.77\b/)).length > 0 ? true : undefined,
    );
    assert.deepEqual((await known(cluster, "host2"))?.overlays, before?.overlays);
    await waitFor("containers to talk", WAIT_MS, async () =>
      (await one.probe.ask(inside.ip).catch(() => undefined)) === one.ip ? true : undefined,
    );
    await moved.stop();
  });

  await t.test("one that stays away is removed by the master", async () => {
    await agentOf(cluster, 3).stop();
    await waitFor("it to be gone", WAIT_MS + 20_000, async () =>
      (await known(cluster, "host3")) === undefined ? true : undefined,
    );
    assert.match(master.log, /agent was out of contact for too long/);
    await waitFor("its peers to forget it", WAIT_MS, async () =>
      (await tracesOf(agentOf(cluster, 1), /44\.128\.0\.3\b/)).length === 0 ? true : undefined,
    );
    assert.notEqual(await known(cluster, "host1"), undefined);
  });

  await t.test("one that was not listening when it was removed is told when it asks", async () => {
    const agent = agentOf(cluster, 1);
    agent.signal("SIGSTOP");
    await ok(cluster, "agent", "rm", "--force", await idOf(cluster, "host1"));
    // Longer than anybody would still tell it.
    await new Promise((resolve) => setTimeout(resolve, 5_000));
    agent.signal("SIGCONT");
    await waitFor("nothing to be left on it", BACK_MS, async () =>
      (await tracesOf(agent, OVERLAY)).length === 0 ? true : undefined,
    );
  });
});
