/**
 * What the demo builds: three hosts with an agent each, a master on the first, the networks of examples/config.yaml, and
 * containers, most of them on two networks at once (containers.ts). A probe is in each of them and on each host.
 */
import { join } from "node:path";
import { assert } from "../../model/fault.ts";
import { installPlugin } from "../cni-shim/install.ts";
import { type Container, createContainers } from "./containers.ts";
import { LAB_DIR } from "./enter-lab.ts";
import { createLab, type Lab } from "./lab.ts";
import { Probe } from "./probe-client.ts";
import { createRunners } from "./runners.ts";
import { step } from "./screen.ts";
import { Agent, knowEachOther, Master } from "./weft-process.ts";

const CONFIG = join(import.meta.dirname, "../../../examples/config.yaml");

export interface Scenario {
  readonly lab: Lab;
  readonly master: Master;
  readonly agents: readonly Agent[];
  readonly containers: readonly Container[];
  /** One on each host, in the order of the hosts. */
  readonly nodeProbes: readonly Probe[];
}

/** Builds it, telling each step. Needs `enterLab`; ends with the process. */
export async function createScenario(): Promise<Scenario> {
  const lab = await step("an underlay: three hosts, a router, an internet host", () => createLab({ hosts: 3 }));
  const [masterHost] = lab.hosts;
  assert(masterHost !== undefined, "the lab has hosts");
  const master = new Master({ host: masterHost, folder: join(LAB_DIR, "master"), config: CONFIG });
  const { joinTokenFile } = master;
  const agents = lab.hosts.map(
    (host) => new Agent({ host, folder: join(LAB_DIR, host.name), masters: [master.url], joinTokenFile }),
  );
  // Before them, as on a host where Weft comes later: an agent that has asked for an engine in vain waits before it asks again.
  const runners = await createRunners(agents);
  await step("a master on host1, with the networks of examples/config.yaml", () => master.start());
  await step("an agent on each host, which joins by the master's token", async () => {
    // One after another, so that host1 gets the first slice of each network, host2 the second …
    for (const agent of agents) {
      await agent.start();
      await agent.ready();
    }
    await knowEachOther(agents);
  });
  await step("the CNI plugin on each host", async () => {
    for (const agent of agents) await installPlugin(agent.binDir);
  });
  const containers = await createContainers(agents, runners);
  const nodeProbes = await Promise.all([...lab.hosts, lab.internet].map((netns) => Probe.start(netns)));
  return { lab, master, agents, containers, nodeProbes };
}
