import assert from "node:assert/strict";
import { test } from "node:test";
import { waitFor } from "../../src/app/demo/wait.ts";
import { type Agent, knowEachOther, type Master, WEFT } from "../../src/app/demo/weft-process.ts";
import { labOrReason } from "../support/lab.ts";
import {
  agentOf,
  type Cluster,
  configFile,
  createCluster,
  startContainer,
  type TestContainer,
  weft,
} from "../support/lab-cluster.ts";
import { BEFORE_ENTRIES, olderProblem, olderWeft } from "../support/older-weft.ts";

const skip = olderProblem(BEFORE_ENTRIES) ?? (await labOrReason());

const CONFIG = `
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_subnet6: fd01:a::/64
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - { name: dcos, subnet: 9.0.0.0/8, prefix: 24 }
    - { name: dcos6, subnet6: "fd01:b::/64", prefix6: 80 }`;

interface Documents {
  readonly agents: readonly { readonly id: string; readonly overlays: unknown; readonly statuses: readonly object[] }[];
}

/** Stops it, and starts the other version on what it left. */
async function upgrade(each: Agent | Master, program: string): Promise<void> {
  await each.stop();
  each.program = program;
  await each.start();
}

/** What the master keeps of agents, but for what a version says besides. */
async function kept(master: Master): Promise<unknown> {
  const { agents } = (await master.get("/v1/agents")) as Documents;
  return agents.map(({ id, overlays }) => ({ id, overlays: JSON.parse(JSON.stringify(overlays)) as unknown }));
}

async function assertReaches(from: TestContainer, to: TestContainer): Promise<void> {
  assert.equal(await from.probe.ask(to.ip), from.ip);
  assert.equal(await from.probe.ask(to.ip6), from.ip6);
}

/** @returns once all networks of all agents are reported as in place */
async function allOk({ master }: Cluster): Promise<void> {
  await waitFor("every agent to say that its networks are in place", 20_000, async () => {
    const { agents } = (await master.get("/v1/agents")) as Documents;
    const statuses = agents.map((agent) => agent.statuses.map((each) => (each as { status: string }).status).join());
    return statuses.every((text) => text === "STATUS_OK,STATUS_OK") ? true : undefined;
  });
}

test("a cluster of the version before is upgraded program by program, and works at each step", { skip }, async (t) => {
  const older = olderWeft(BEFORE_ENTRIES);
  const cluster = await createCluster({ hosts: 2, config: CONFIG, masterProgram: older, agentProgram: older });
  const { master, agents } = cluster;
  const [near, far] = [
    await startContainer(cluster, 1, "near", ["dcos", "dcos6"]),
    await startContainer(cluster, 2, "far", ["dcos", "dcos6"]),
  ];
  await assertReaches(near, far);
  const before = await kept(master);

  await t.test("a new agent works with the old master and the old agent", async () => {
    await upgrade(agentOf(cluster, 2), WEFT);
    await agentOf(cluster, 2).ready();
    await knowEachOther(agents);
    await allOk(cluster);
    assert.deepEqual(await kept(master), before);
    await assertReaches(near, far);
    const late = await startContainer(cluster, 2, "late", ["dcos", "dcos6"]);
    await assertReaches(near, late);
    await assertReaches(late, near);
  });

  await t.test("a new master serves the old agent and the new one what they had", async () => {
    await upgrade(master, WEFT);
    await allOk(cluster);
    assert.deepEqual(await kept(master), before);
    await assertReaches(near, far);
    const later = await startContainer(cluster, 1, "later", ["dcos", "dcos6"]);
    await assertReaches(later, far);
  });

  await t.test("it names the agent that does not enforce what it is asked to", async () => {
    const policy = ["policy", "add", "db", "--from", "app=web", "--to", "app=db", "--ports", "tcp/5432"];
    const added = await weft([...policy, "--master", master.address]);
    assert.equal(added.status, 0, added.stderr);
    assert.match(added.stderr, /^weft: host1 .*does not enforce policies: its agent is/m);
    assert.doesNotMatch(added.stderr, /host2/);
    const closed = await weft([
      "apply",
      "--file",
      configFile(CONFIG.replace("80 }", "80, egress: none }"), "none.yaml"),
      "--master",
      master.address,
    ]);
    assert.equal(closed.status, 0, closed.stderr);
    await allOk(cluster);
    await waitFor("both to have registered with the new master", 20_000, async () => {
      const { stdout } = await weft(["status", "--master", master.address]);
      assert.doesNotMatch(stdout, /host2 .*does not enforce/);
      return /host1 .*does not enforce isolation and egress of dcos6; policies: its agent is/.test(stdout) || undefined;
    });
    await assertReaches(near, far);
  });

  await t.test("the last one follows, and there is nothing left to name", async () => {
    await upgrade(agentOf(cluster, 1), WEFT);
    await agentOf(cluster, 1).ready();
    await knowEachOther(agents);
    await allOk(cluster);
    await assertReaches(near, far);
    assert.match((await weft(["status", "--master", master.address])).stdout, /no problems/);
  });

  await t.test("the old programs refuse what the new ones have written, and name both versions", async () => {
    for (const each of [agentOf(cluster, 1), master])
      await assert.rejects(upgrade(each, older), /has version \d.* reads version \d/);
  });
});
