/**
 * A full host gets a further slice and gives it back, with the real programs on the hosts of a lab: by CNI calls until
 * growth happens, to the end of the network, and back again.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { Netns } from "../../src/app/demo/netns.ts";
import { callCni } from "../../src/app/demo/runtime.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { labOrReason } from "../support/lab.ts";
import {
  agentOf,
  type Cluster,
  createCluster,
  httpGet,
  startContainer,
  type TestContainer,
  weft,
} from "../support/lab-cluster.ts";

const skip = await labOrReason();

const REST_MS = 25_000;
/** One slice for each of two hosts, and one more in a space of its own. */
const CONFIG = `elastic: { threshold: 0.8, empty_seconds: 2, rest_seconds: ${REST_MS / 1_000} }
dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - name: dcos
      subnet: 9.0.0.0/26
      prefix: 27
      more:
        - { subnet: 9.0.1.0/27, prefix: 27 }
`;
/** A /27 has two halves, each with 16 addresses less network, gateway and broadcast. */
const SLICE_HOLDS = 26;
const WAIT_MS = 20_000;
/** Passes notice that a slice has been empty; a quiet host makes one each 30 s. */
const BACK_MS = 75_000;

interface Task {
  readonly ip: string;
  end(): Promise<void>;
}

/** A container as a runtime attaches it, without anything in it. */
async function addTask(cluster: Cluster, host: number): Promise<Task> {
  const containerId = randomUUID();
  const netns = await Netns.create(`t-${containerId.slice(0, 8)}`);
  const container = { containerId, netns: netns.path, ifname: "eth0" };
  const { status, reply } = await callCni(agentOf(cluster, host), "ADD", "dcos", container);
  if (status !== 0) throw new Error(JSON.stringify(reply));
  const [first] = (reply as { ips: { address: string }[] }).ips;
  return {
    ip: first?.address.split("/")[0] ?? "",
    end: () => end(cluster, host, { containerId, netns }),
  };
}

async function end(
  cluster: Cluster,
  host: number,
  { containerId, netns }: Pick<TestContainer, "containerId" | "netns">,
) {
  const container = { containerId, netns: netns.path, ifname: "eth0" };
  const { status, reply } = await callCni(agentOf(cluster, host), "DEL", "dcos", container);
  assert.equal(status, 0, JSON.stringify(reply));
}

const addTasks = (cluster: Cluster, host: number, count: number) =>
  Promise.all(Array.from({ length: count }, () => addTask(cluster, host)));
const isFurther = ({ ip }: Task) => ip.startsWith("9.0.1.");

interface Capacity {
  readonly networks: readonly {
    readonly exhausted: boolean;
    readonly pools: readonly { readonly pool: string; readonly used: number; readonly resting?: number }[];
  }[];
  readonly agents: readonly { readonly hostname: string; readonly state: string; readonly slices: number }[];
}
const capacityOf = async (cluster: Cluster) => (await cluster.master.get("/v1/capacity")) as Capacity;
const stateOf = async (cluster: Cluster, hostname: string) =>
  (await capacityOf(cluster)).agents.find((agent) => agent.hostname === hostname)?.state;

async function routesOf(cluster: Cluster, host: number): Promise<string> {
  return agentOf(cluster, host).host.mustRun("ip", ["-4", "route", "show", "proto", "87"]);
}

test("a host that is full gets a further slice of the network, and gives it back", { skip }, async (t) => {
  const cluster = await createCluster({ hosts: 2, config: CONFIG });
  const host1 = agentOf(cluster, 1).host;
  const far = await startContainer(cluster, 2, "far", ["dcos"]);
  const tasks: Task[] = [];
  let near: TestContainer;

  await t.test("more containers at once than a slice holds are all attached, and reach the other host", async () => {
    tasks.push(...(await addTasks(cluster, 1, SLICE_HOLDS + 2)));
    assert.equal(new Set(tasks.map(({ ip }) => ip)).size, tasks.length, "no address twice");
    assert.ok(tasks.some(isFurther));
    near = await startContainer(cluster, 1, "near", ["dcos"]);
    assert.match(near.ip, /^9\.0\.1\./);
    assert.match(
      await host1.mustRun("ip", ["-o", "-4", "addr", "show", "m-dcos"]),
      /9\.0\.0\.1\/28[\s\S]*9\.0\.1\.1\/28/,
    );
    await waitFor("host2 to have a route to the further slice", WAIT_MS, async () =>
      /9\.0\.1\.0\/27 via 44\.128\.0\.1/.test(await routesOf(cluster, 2)) ? true : undefined,
    );
    assert.equal(await near.probe.ask(far.ip), near.ip);
    assert.equal(await far.probe.ask(near.ip), far.ip);
  });

  await t.test("the original's documents show the first slice, Weft's own all of them", async () => {
    const ofAgent = (await agentOf(cluster, 1).get("/overlay-agent/overlay")) as object;
    const ofMaster = (await cluster.master.get("/overlay-master/state")) as object;
    for (const document of [ofAgent, ofMaster]) assert.doesNotMatch(JSON.stringify(document), /9\.0\.1\./);
    assert.match(JSON.stringify(ofAgent), /"subnet":"9\.0\.0\.0\/27"/);
    assert.match(JSON.stringify(await cluster.master.get("/v1/agents")), /"more":\[\{"subnet":"9\.0\.1\.0\/27"\}\]/);
  });

  await t.test("an agent that is killed goes on with both slices", async () => {
    await agentOf(cluster, 1).stop("SIGKILL");
    await agentOf(cluster, 1).start();
    await agentOf(cluster, 1).ready();
    tasks.push(await addTask(cluster, 1));
    assert.ok(tasks.slice(-1).every(isFurther));
  });

  await t.test("when the network has nothing more, that is said everywhere", async () => {
    const left = 2 * SLICE_HOLDS - tasks.length - 1;
    tasks.push(...(await addTasks(cluster, 1, left)));
    const begin = Date.now();
    await assert.rejects(addTask(cluster, 1), /no further slice/);
    assert.ok(Date.now() - begin < 5_000);
    await waitFor("the master to say so", WAIT_MS, async () =>
      (await stateOf(cluster, "host1")) === "exhausted" ? true : undefined,
    );
    assert.equal((await capacityOf(cluster)).networks[0]?.exhausted, true);
    const metrics = await httpGet(host1, `${cluster.master.url}/metrics`);
    assert.match(metrics, /weft_master_network_exhausted\{network="dcos",family="4"\} 1/);
    assert.match(metrics, /weft_master_network_exhaustions_total 1/);
    assert.equal(cluster.master.log.match(/network is used up/g)?.length, 1);
    const { stdout } = await weft(["capacity", "--master", cluster.master.address]);
    assert.match(stdout, /host1 .* 2 .* exhausted/);
  });

  await t.test("a slice that is left empty goes back, and rests before it is given again", async () => {
    // Of the first one as many end as make it worth while: a host that is nearly full keeps what it will need.
    const first = tasks.filter((task) => !isFurther(task));
    const ending = [...tasks.filter(isFurther), ...first.slice(0, SLICE_HOLDS / 2)];
    await Promise.all([...ending.map((task) => task.end()), end(cluster, 1, near)]);
    await waitFor("the further slice to be back", BACK_MS, async () =>
      (await routesOf(cluster, 2)).includes("9.0.1.0/27 via") ? undefined : true,
    );
    const since = Date.now();
    assert.doesNotMatch(await host1.mustRun("ip", ["-o", "-4", "addr", "show", "m-dcos"]), /9\.0\.1\./);
    assert.doesNotMatch(
      JSON.stringify(await cluster.master.get("/v1/agents")),
      /"more":\[\{"subnet":"9\.0\.1\.0\/27"\}/,
    );
    const further = (await capacityOf(cluster)).networks[0]?.pools.find(({ pool }) => pool === "9.0.1.0/27");
    assert.deepEqual([further?.used, further?.resting], [0, 1]);
    await addTasks(cluster, 1, SLICE_HOLDS / 2);
    await assert.rejects(addTask(cluster, 1), /no further slice/);

    await cluster.master.stop("SIGKILL");
    await cluster.master.start();
    await waitFor("the slice to have rested", 2 * REST_MS, async () => {
      const task = await addTask(cluster, 1).catch((error: Error) => error);
      if (task instanceof Error) return undefined;
      assert.ok(isFurther(task));
      return true;
    });
    assert.ok(Date.now() - since > REST_MS - 5_000, `given again after ${Date.now() - since} ms`);
    assert.equal(await far.probe.ask(far.ip), far.ip);
  });
});
