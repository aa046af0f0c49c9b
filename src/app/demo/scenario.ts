/**
 * What the demo builds: three hosts with an agent each, a master on the first, the networks of examples/config.yaml, and
 * six containers, four of them on two networks at once, attached by the CNI plugin. Where Podman can be had, it runs two
 * more.
 */
import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { assert } from "../../model/fault.ts";
import { addressOf, familyOf, type Ip, ipInterface } from "../../model/ip.ts";
import { installPlugin } from "../cni-shim/install.ts";
import { LAB_DIR } from "./enter-lab.ts";
import { createLab, type Lab, type LabHost } from "./lab.ts";
import { Netns } from "./netns.ts";
import { podmanProblem } from "./podman.ts";
import { createPod, type Pod } from "./pods.ts";
import { Probe } from "./probe-client.ts";
import { attach } from "./runtime.ts";
import { note, step } from "./screen.ts";
import { Agent, knowEachOther, Master } from "./weft-process.ts";

const CONFIG = join(import.meta.dirname, "../../../examples/config.yaml");

interface ContainerPlan {
  readonly name: string;
  /** Index of its host. */
  readonly host: number;
  /** In the order of its interfaces: eth0, eth1. */
  readonly networks: readonly string[];
}

const CONTAINERS: readonly ContainerPlan[] = [
  { name: "web1", host: 0, networks: ["dcos", "dcos6"] },
  { name: "api1", host: 0, networks: ["dcos", "dcos6"] },
  { name: "web2", host: 1, networks: ["dcos", "dcos6"] },
  { name: "job2", host: 1, networks: ["dcos-1"] },
  { name: "web3", host: 2, networks: ["dcos", "dcos6"] },
  { name: "job3", host: 2, networks: ["dcos-1"] },
];

/** Those that Podman runs: name and index of the host. */
const PODS = [
  ["pod1", 0],
  ["pod3", 2],
] as const;

export interface Container {
  readonly name: string;
  readonly host: LabHost;
  readonly networks: readonly string[];
  readonly ip: Ip;
  /** Only on a network with IPv6. */
  readonly ip6?: Ip;
  readonly probe: Probe;
}

export interface Scenario {
  readonly lab: Lab;
  readonly master: Master;
  readonly agents: readonly Agent[];
  readonly containers: readonly Container[];
  /** Those among them that Podman runs. */
  readonly pods: readonly Pod[];
  /** One on each host, in the order of the hosts. */
  readonly nodeProbes: readonly Probe[];
}

/** Builds it, telling each step. Needs `enterLab`; ends with the process. */
export async function createScenario(): Promise<Scenario> {
  const lab = await step("an underlay: three hosts, a router, an internet host", () => createLab({ hosts: 3 }));
  const [masterHost] = lab.hosts;
  assert(masterHost !== undefined, "the lab has hosts");
  const master = new Master({ host: masterHost, folder: join(LAB_DIR, "master"), config: CONFIG });
  await step("a master on host1, with the networks of examples/config.yaml", () => master.start());
  const { joinTokenFile } = master;
  const agents = lab.hosts.map(
    (host) => new Agent({ host, folder: join(LAB_DIR, host.name), masters: [master.url], joinTokenFile }),
  );
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
  const containers = await step("six containers, attached by the plugin as a runtime does", () =>
    Promise.all(CONTAINERS.map((plan) => createContainer(plan, agents))),
  );
  const pods = await createPods(agents);
  const nodeProbes = await Promise.all([...lab.hosts, lab.internet].map((netns) => Probe.start(netns)));
  return { lab, master, agents, containers: [...containers, ...pods], pods, nodeProbes };
}

async function createPods(agents: readonly Agent[]): Promise<readonly Pod[]> {
  const problem = podmanProblem();
  if (problem !== undefined) {
    note(`no containers of Podman: ${problem}`);
    return [];
  }
  return step("two more, by podman run --network dcos,dcos6", () =>
    Promise.all(
      PODS.map(([name, host]) => {
        const agent = agents[host];
        assert(agent !== undefined, `host ${host} has an agent`);
        return createPod(name, agent);
      }),
    ),
  );
}

async function createContainer({ name, host, networks }: ContainerPlan, agents: readonly Agent[]): Promise<Container> {
  const agent = agents[host];
  assert(agent !== undefined, `host ${host} has an agent`);
  const netns = await Netns.create(name);
  const containerId = randomUUID();
  const addresses: Ip[] = [];
  for (const [i, network] of networks.entries()) {
    const { ips } = await attach(agent, network, { containerId, netns: netns.path, ifname: `eth${i}` });
    addresses.push(...ips.map(({ address }) => addressOf(ipInterface(address))));
  }
  const ip = addresses.find((address) => familyOf(address) === 4);
  const ip6 = addresses.find((address) => familyOf(address) === 6);
  assert(ip !== undefined, `${name} has an IPv4 address`);
  return { name, host: agent.host, networks, ip, ...(ip6 !== undefined && { ip6 }), probe: await Probe.start(netns) };
}
