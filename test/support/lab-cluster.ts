/**
 * The real programs on the hosts of a lab: a master on the first host and an agent on each, with a configuration of the
 * test's own. For end-to-end tests; everything ends with the lab.
 */
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { installPlugin } from "../../src/app/cni-shim/install.ts";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import { createLab, type Lab, type LabHost, type LabOptions } from "../../src/app/demo/lab.ts";
import { Netns, type Output, runProgram } from "../../src/app/demo/netns.ts";
import { Probe } from "../../src/app/demo/probe-client.ts";
import { attach } from "../../src/app/demo/runtime.ts";
import { Agent, knowEachOther, Master, WEFT } from "../../src/app/demo/weft-process.ts";
import { addressOf, familyOf, type Ip, ipInterface } from "../../src/model/ip.ts";

export interface ClusterOptions extends LabOptions {
  /** The text of the master's configuration; absent: the defaults `dcos` and `dcos6`. */
  readonly config?: string;
  /** How many of the hosts, from the first on, have an agent; absent: all. */
  readonly agents?: number;
  /** More of each agent's command line, by the host's number from 1. */
  readonly agentArgs?: (host: number) => readonly string[];
  /** What is on the hosts already when the agents come. */
  readonly beforeAgents?: (lab: Lab) => Promise<void>;
  /** The underlay that the agents use; absent: 4. */
  readonly underlay?: 4 | 6;
  /** Executables of another version; absent: this one's. */
  readonly masterProgram?: string;
  readonly agentProgram?: string;
}

/** For tests of what the plain kernel lets through: programs pass its hook `forward` by. */
export const PLAIN: ClusterOptions["agentArgs"] = () => ["--datapath-level", "0"];

export interface Cluster {
  readonly lab: Lab;
  readonly master: Master;
  readonly agents: readonly Agent[];
}

export interface TestContainer {
  readonly netns: Netns;
  readonly containerId: string;
  readonly ip: Ip;
  readonly ip6: Ip;
  readonly probe: Probe;
}

/** Writes a configuration and returns its path. */
export function configFile(text: string, name = "config.yaml"): string {
  const path = join(LAB_DIR, name);
  writeFileSync(path, text);
  return path;
}

/** Starts master and agents, one after another, so that host 1 has the first slice of each network, host 2 the second. */
export async function createCluster(options: ClusterOptions): Promise<Cluster> {
  const { config = "", agents: count = options.hosts, agentArgs = () => [], underlay = 4 } = options;
  const lab = await createLab(options);
  await options.beforeAgents?.(lab);
  // Members of one gossip speak one family.
  const args = underlay === 6 ? ["--gossip", `[${hostOf(lab, 1).address6}]:62502`] : [];
  const master = new Master({
    host: hostOf(lab, 1),
    folder: join(LAB_DIR, "master"),
    config: configFile(config),
    args,
    ...(options.masterProgram !== undefined && { program: options.masterProgram }),
  });
  await master.start();
  const agents = lab.hosts.slice(0, count).map((host, i) => {
    const folder = join(LAB_DIR, host.name);
    const ip = underlay === 4 ? host.address : host.address6;
    const { joinTokenFile } = master;
    const program = options.agentProgram === undefined ? {} : { program: options.agentProgram };
    return new Agent({ host, folder, masters: [master.url], ip, joinTokenFile, args: agentArgs(i + 1), ...program });
  });
  for (const agent of agents) {
    await agent.start();
    await agent.ready();
    await installPlugin(agent.binDir);
  }
  await knowEachOther(agents);
  return { lab, master, agents };
}

/** Hosts are counted from 1, as their names are. */
export function hostOf(lab: Lab, number: number): LabHost {
  const host = lab.hosts[number - 1];
  assert.ok(host !== undefined, `the lab has ${number} hosts`);
  return host;
}

export function agentOf(cluster: Cluster, number: number): Agent {
  const agent = cluster.agents[number - 1];
  assert.ok(agent !== undefined, `the cluster has ${number} agents`);
  return agent;
}

/** A container with a probe in it; one of its networks must have IPv4, one IPv6, or it lacks that address (`""`). */
export async function startContainer(
  cluster: Cluster,
  host: number,
  name: string,
  networks: readonly string[],
): Promise<TestContainer> {
  const netns = await Netns.create(name);
  const containerId = randomUUID();
  const addresses: Ip[] = [];
  for (const [i, network] of networks.entries()) {
    const result = await attach(agentOf(cluster, host), network, {
      containerId,
      netns: netns.path,
      ifname: `eth${i}`,
    });
    addresses.push(...result.ips.map(({ address }) => addressOf(ipInterface(address))));
  }
  const [ip = "" as Ip] = addresses.filter((address) => familyOf(address) === 4);
  const [ip6 = "" as Ip] = addresses.filter((address) => familyOf(address) === 6);
  return { netns, containerId, ip, ip6, probe: await Probe.start(netns) };
}

/** Runs the command line to its end. */
export function weft(args: readonly string[]): Promise<Output> {
  return runProgram(WEFT, args);
}

/** The body of the answer to a GET that a host sends over its own network. */
export function httpGet(from: Netns, url: string): Promise<string> {
  const script = "const answer = await fetch(process.argv[1]); process.stdout.write(await answer.text());";
  return from.mustRun(process.execPath, ["--input-type=module", "-e", script, url]);
}
