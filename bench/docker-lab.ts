/**
 * The two hosts of a lab that benchmarks of Docker work on: each with an agent of one cluster and an engine of its own,
 * and, where that is asked for, both engines in one swarm with an attachable overlay network, which is the peer.
 *
 * A benchmark calls `enterLab` first of all: all of this is in namespaces of its process, and goes with it.
 */
import { enterLab } from "../src/app/demo/enter-lab.ts";
import { waitFor } from "../src/app/demo/wait.ts";
import type { Agent } from "../src/app/demo/weft-process.ts";
import { type DockerHost, dockerSkip, startDocker } from "../test/support/docker.ts";
import { agentOf, type Cluster, createCluster } from "../test/support/lab-cluster.ts";
import { imageTar } from "../test/support/podman.ts";
import { SocketHttp } from "./socket-http.ts";

/** Room for 2,045 containers on a host. */
const CONFIG = `dcos_overlay_network:
  vtep_subnet: 44.128.0.0/20
  vtep_mac_oui: 70:B3:D5:00:00:00
  overlays:
    - {name: dcos, subnet: 9.0.0.0/8, prefix: 20}
`;
const SETTLE_MS = 20_000;
/** That of a swarm by default has the underlay's addresses in it. */
const SWARM_POOL = "172.30.0.0/16";
const SWARM_SUBNET = "172.31.0.0/16";

/** Names of Docker networks. */
export const OURS = "dcos";
export const SWARM = "swarm";

export interface BenchHost extends DockerHost {
  readonly agent: Agent;
  readonly api: SocketHttp;
}

export interface DockerLab {
  readonly cluster: Cluster;
  readonly hosts: readonly [BenchHost, BenchHost];
}

/** @throws Error where Docker cannot run in a lab */
export async function enterDockerLab(): Promise<void> {
  const problem = dockerSkip();
  if (problem !== undefined) throw new Error(problem);
  await enterLab();
}

/**
 * @param config of the master; absent: network dcos alone
 * @param between what is done on a host when its agent runs and its engine is not started yet
 */
export async function openDockerLab(
  config = CONFIG,
  between: (agent: Agent, host: number) => Promise<void> = async () => {},
): Promise<DockerLab> {
  const cluster = await createCluster({ hosts: 2, config });
  const tar = await imageTar();
  const open = async (number: number) => {
    const agent = agentOf(cluster, number);
    await between(agent, number);
    const docker = await startDocker(agent, tar);
    const host = Object.assign(docker, { agent, api: new SocketHttp(agent.dockerSocket) });
    await waitFor(`the networks to come to Docker on host ${number}`, SETTLE_MS, () => hasOurs(host));
    return host;
  };
  return { cluster, hosts: [await open(1), await open(2)] };
}

async function hasOurs({ api }: BenchHost): Promise<true | undefined> {
  const networks = await api.get<{ Name: string }[]>("/networks");
  return networks.some(({ Name }) => Name === OURS) || undefined;
}

/** Both engines become a swarm with a network that containers outside of services may use. */
export async function joinSwarm({ cluster, hosts: [one, two] }: DockerLab): Promise<void> {
  const [first, second] = cluster.lab.hosts.map(({ address }) => address);
  const own = (address: string | undefined) => ["--advertise-addr", `${address}`, "--listen-addr", `${address}:2377`];
  await one.do("swarm", "init", ...own(first), "--default-addr-pool", SWARM_POOL, "--data-path-port", "4789");
  const token = (await one.do("swarm", "join-token", "--quiet", "worker")).trim();
  await two.do("swarm", "join", ...own(second), "--token", token, `${first}:2377`);
  await one.do("network", "create", "--driver", "overlay", "--attachable", "--subnet", SWARM_SUBNET, SWARM);
}
