/**
 * The demo's containers: where Docker can be had, it runs half of them, and where Podman can be had, it runs two; the
 * others are attached by the CNI plugin, as a runtime does it. Without Docker the plugin attaches Docker's as well.
 */
import { assert } from "../../model/fault.ts";
import { familyOf, type Ip } from "../../model/ip.ts";
import type { LabHost } from "./lab.ts";
import type { Machine } from "./machine.ts";
import { Probe } from "./probe-client.ts";
import type { ContainerPlan, Runner, Runners, Running } from "./runners.ts";
import { step } from "./screen.ts";
import type { Agent } from "./weft-process.ts";

const CONTAINERS: readonly ContainerPlan[] = [
  { name: "web1", by: "docker", host: 0, networks: ["dcos", "dcos6"] },
  { name: "api1", by: "cni", host: 0, networks: ["dcos", "dcos6"] },
  { name: "web2", by: "docker", host: 1, networks: ["dcos", "dcos6"] },
  { name: "job2", by: "cni", host: 1, networks: ["dcos-1"] },
  { name: "web3", by: "docker", host: 2, networks: ["dcos", "dcos6"] },
  { name: "job3", by: "docker", host: 2, networks: ["dcos-1"] },
  { name: "pod1", by: "podman", host: 0, networks: ["dcos", "dcos6"] },
  { name: "pod3", by: "podman", host: 2, networks: ["dcos", "dcos6"] },
];

/** In the order in which they are made, as they are told after their number. */
const STEPS: readonly (readonly [by: Runner, what: string])[] = [
  ["cni", "containers, attached by the CNI plugin as a runtime does"],
  ["docker", "by docker run --network dcos, docker network connect dcos6"],
  ["podman", "by podman run --network dcos,dcos6"],
];

export interface Container {
  readonly name: string;
  readonly by: Runner;
  readonly host: LabHost;
  readonly networks: readonly string[];
  readonly ip: Ip;
  /** Only on a network with IPv6. */
  readonly ip6?: Ip;
  readonly probe: Probe;
  /** Where its runtime is; the plugin needs none. */
  readonly machine?: Machine;
}

/** Makes them, telling each step. @returns them in the order of the hosts, Podman's last */
export async function createContainers(agents: readonly Agent[], runners: Runners): Promise<readonly Container[]> {
  const plans = CONTAINERS.map(
    (plan): ContainerPlan => (plan.by === "docker" && runners.docker === undefined ? { ...plan, by: "cni" } : plan),
  );
  const made = new Map<string, Container>();
  for (const [by, what] of STEPS) {
    const run = runners[by];
    if (run === undefined) continue;
    const own = plans.filter((plan) => plan.by === by);
    const create = async (plan: ContainerPlan) => made.set(plan.name, await containerOf(plan, agents, await run(plan)));
    await step(`${own.length} ${what}`, () => Promise.all(own.map(create)));
  }
  return plans.flatMap(({ name }) => made.get(name) ?? []);
}

async function containerOf(plan: ContainerPlan, agents: readonly Agent[], running: Running): Promise<Container> {
  const { netns, addresses, ...where } = running;
  const { name, by, networks } = plan;
  const host = agents[plan.host]?.host;
  const ip = addresses.find((address) => familyOf(address) === 4);
  const ip6 = addresses.find((address) => familyOf(address) === 6);
  assert(host !== undefined && ip !== undefined, `${name} has a host and an IPv4 address`);
  return { name, by, host, networks, ip, ...(ip6 !== undefined && { ip6 }), probe: await Probe.start(netns), ...where };
}
