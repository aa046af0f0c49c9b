/**
 * The three ways to run a container in the demo: the CNI plugin alone, Docker and Podman, one of each on each host, as
 * somebody would who has followed README. Only the image is of its own kind: the programs in it are the machine's
 * (/usr, read only), so that no registry is needed.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { STAND_IN } from "../../core/docker/engine.ts";
import { assert, messageOf } from "../../model/fault.ts";
import { addressOf, contains, type Ip, ip, ipInterface } from "../../model/ip.ts";
import { Docker, dockerProblem } from "./docker.ts";
import { LAB_DIR } from "./enter-lab.ts";
import { Machine } from "./machine.ts";
import { mustRun, Netns } from "./netns.ts";
import { Podman, podmanProblem } from "./podman.ts";
import { attach } from "./runtime.ts";
import { note, step } from "./screen.ts";
import { waitFor } from "./wait.ts";
import type { Agent } from "./weft-process.ts";

export type Runner = "docker" | "podman" | "cni";

export interface ContainerPlan {
  readonly name: string;
  readonly by: Runner;
  /** Index of its host. */
  readonly host: number;
  /** In the order of its interfaces: eth0, eth1. */
  readonly networks: readonly string[];
}

/** What came of a plan. */
export interface Running {
  readonly netns: Netns;
  readonly addresses: readonly Ip[];
  readonly machine?: Machine;
}

type Run = (plan: ContainerPlan) => Promise<Running>;

/** Without those that cannot be had here. */
export type Runners = Partial<Record<Runner, Run>>;

const IMAGE = "usr";
/** What a merged /usr has in the root. */
const LINKS = ["bin", "sbin", "lib", "lib64"];
const USR = ["-v", "/usr:/usr:ro"];
const PROGRAM = ["sleep", "infinity"];
const NETWORKS_TIMEOUT_MS = 20_000;

/** Starts the runtimes that can be had here, and tells of the others. The agents need not have started yet. */
export async function createRunners(agents: readonly Agent[]): Promise<Runners> {
  const noPodman = podmanProblem();
  let noDocker = dockerProblem();
  const needed = noPodman === undefined || noDocker === undefined ? agents : [];
  const machines = await Promise.all(needed.map((agent) => Machine.start(agent)));
  const runners: Runners = {
    cni: (plan) => attachByPlugin(plan, at(agents, plan.host)),
  };
  if (noPodman === undefined) runners.podman = (plan) => runByPodman(plan, at(machines, plan.host));
  if (noDocker === undefined)
    try {
      const engines = await step("Docker Engine on each host", () => startEngines(machines, agents));
      runners.docker = (plan) => runByDocker(plan, at(engines, plan.host));
    } catch (error) {
      // An engine that does not like it in a lab says nothing about Weft.
      noDocker = messageOf(error);
    }
  if (noDocker !== undefined) note(`no containers of Docker: ${noDocker}`);
  if (noPodman !== undefined) note(`no containers of Podman: ${noPodman}`);
  return runners;
}

function at<T>(list: readonly T[], host: number): T {
  const found = list[host];
  assert(found !== undefined, `host ${host} has one`);
  return found;
}

async function attachByPlugin({ name, networks }: ContainerPlan, agent: Agent): Promise<Running> {
  const netns = await Netns.create(name);
  const containerId = randomUUID();
  const args = { cni: { labels: [{ key: "weft.name", value: name }] } };
  const addresses: Ip[] = [];
  for (const [i, network] of networks.entries()) {
    const { ips } = await attach(agent, network, { containerId, netns: netns.path, ifname: `eth${i}`, args });
    addresses.push(...ips.map(({ address }) => addressOf(ipInterface(address))));
  }
  return { netns, addresses };
}

async function runByPodman({ name, networks }: ContainerPlan, machine: Machine): Promise<Running> {
  const podman = await Podman.on(machine);
  const network = ["--network", networks.join(",")];
  await podman.mustRun(["run", "-d", "--name", name, ...network, ...USR, "--rootfs", rootFolder(name), ...PROGRAM]);
  return running(podman, name);
}

/** An engine on each machine, with the image in its store. */
async function startEngines(machines: readonly Machine[], agents: readonly Agent[]): Promise<Docker[]> {
  const image = join(LAB_DIR, `${IMAGE}.tar`);
  await mustRun("tar", ["-C", rootFolder(IMAGE), "-cf", image, "."]);
  const start = async (machine: Machine, host: number) => {
    // With firewall rules of its own it would load br_netfilter, which changes what the real machine's bridges do.
    const docker = await Docker.on(machine, at(agents, host), { iptables: false });
    await docker.start();
    await docker.mustRun(["import", image, IMAGE]);
    return docker;
  };
  return Promise.all(machines.map(start));
}

async function runByDocker({ name, networks }: ContainerPlan, docker: Docker): Promise<Running> {
  await waitFor(`${networks.join(" and ")} to come to Docker`, NETWORKS_TIMEOUT_MS, async () =>
    (await docker.run(["network", "inspect", ...networks])).status === 0 ? true : undefined,
  );
  const [first = "", ...more] = networks;
  await docker.mustRun(["run", "-d", "--name", name, "--network", first, ...USR, IMAGE, ...PROGRAM]);
  for (const network of more) await docker.mustRun(["network", "connect", network, name]);
  return running(docker, name);
}

/** As the runtime itself tells it. */
async function running(runtime: Docker | Podman, name: string): Promise<Running> {
  const [container] = JSON.parse(await runtime.mustRun(["inspect", name])) as [Inspected];
  const { SandboxKey, Networks } = container.NetworkSettings;
  const addresses = Object.values(Networks)
    .flatMap(({ IPAddress, GlobalIPv6Address }) => [IPAddress, GlobalIPv6Address])
    .filter((address) => address !== "")
    .map(ip)
    .filter((address) => !contains(STAND_IN, address));
  return { netns: new Netns(name, SandboxKey), addresses, machine: runtime.machine };
}

/** The part of `inspect` that is looked at here, the same of both. */
interface Inspected {
  readonly NetworkSettings: {
    /** Path of the network namespace, which the lab sees as well. */
    readonly SandboxKey: string;
    readonly Networks: Readonly<Record<string, { readonly IPAddress: string; readonly GlobalIPv6Address: string }>>;
  };
}

/** With the programs of the machine, once /usr is mounted in it. */
function rootFolder(name: string): string {
  const folder = join(LAB_DIR, "rootfs", name);
  mkdirSync(folder, { recursive: true });
  for (const link of LINKS) symlinkSync(join("usr", link), join(folder, link));
  return folder;
}
