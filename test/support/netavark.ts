/**
 * Who speaks to netavark's plugin: the real netavark, where one is found, and a stand-in that says what its plugin API
 * documents. Both run on a host of a lab, so that one table of tests holds for both.
 *
 * A container is one call for all of its networks; when one of them fails, those before it are torn down again.
 */
import { accessSync, constants, mkdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { installNetavarkPlugin } from "../../src/app/cni-shim/install.ts";
import { LAB_DIR } from "../../src/app/demo/enter-lab.ts";
import { type Output, runProgram } from "../../src/app/demo/netns.ts";
import type { Agent } from "../../src/app/demo/weft-process.ts";

/** `Network` of netavark's types, as Podman keeps it. */
export interface PodmanNetwork {
  readonly name: string;
  readonly subnets?: readonly { readonly subnet: string; readonly gateway?: string }[];
  readonly [key: string]: unknown;
}

export interface PodmanContainer {
  readonly id: string;
  readonly name: string;
  /** Path of its network namespace. */
  readonly netns: string;
  /** Its networks in their order, each with `network_options`. */
  readonly networks: readonly (readonly [
    PodmanNetwork,
    { readonly interface_name: string; readonly [key: string]: unknown },
  ])[];
  readonly ports?: readonly object[];
}

export interface StatusBlock {
  readonly interfaces: Readonly<
    Record<
      string,
      {
        readonly mac_address: string;
        readonly subnets: readonly { readonly ipnet: string; readonly gateway: string }[];
      }
    >
  >;
}

/** By the name of the network. */
export type Statuses = Readonly<Record<string, StatusBlock>>;

export interface Speaker {
  create(network: PodmanNetwork): Promise<Output>;
  setup(container: PodmanContainer): Promise<Output>;
  teardown(container: PodmanContainer): Promise<Output>;
}

/** What `podman network create -d weft NAME` asks the plugin for. */
export function asked(name: string, more: Readonly<Record<string, unknown>> = {}): PodmanNetwork {
  return {
    name,
    id: Buffer.from(name).toString("hex").padEnd(64, "0").slice(0, 64),
    driver: "weft",
    created: "2026-01-02T03:04:05.678901234Z",
    ipv6_enabled: false,
    internal: false,
    dns_enabled: true,
    ipam_options: {},
    ...more,
  };
}

const FOLDERS = ["/usr/local/libexec/podman", "/usr/libexec/podman", "/usr/local/lib/podman", "/usr/lib/podman"];

/** A netavark that takes plugins (from 1.6 on), or why there is none. */
export async function findNetavark(): Promise<
  { readonly path: string; readonly version: string } | { readonly reason: string }
> {
  const named = process.env.WEFT_NETAVARK;
  const places = [...(process.env.PATH ?? "").split(delimiter), ...FOLDERS].map((folder) => join(folder, "netavark"));
  const path = named ?? places.find(isExecutable);
  if (path === undefined) return { reason: "netavark is not installed here; name one with WEFT_NETAVARK" };
  const { stdout } = await runProgram(path, ["--version"]);
  const [, version, major, minor] = /netavark ((\d+)\.(\d+)\S*)/.exec(stdout) ?? [];
  if (version === undefined) return { reason: `${path} says no version: ${stdout.trim()}` };
  const takesPlugins = Number(major) > 1 || Number(minor) >= 6;
  return takesPlugins ? { path, version } : { reason: `${path} is ${version}; netavark takes plugins from 1.6 on` };
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** What Podman gives the plugin by itself. */
async function pluginOf(agent: Agent): Promise<{ readonly folder: string; readonly env: NodeJS.ProcessEnv }> {
  const folder = join(LAB_DIR, "netavark-plugins");
  await installNetavarkPlugin(folder);
  return { folder, env: { PATH: process.env.PATH, WEFT_SOCKET: agent.socket } };
}

/** The documented messages, straight to the plugin. */
export async function standIn(agent: Agent): Promise<Speaker> {
  const { folder, env } = await pluginOf(agent);
  const run = (args: readonly string[], input: object) =>
    agent.host.run(join(folder, "weft"), args, { env, input: JSON.stringify(input) });
  const message = ({ id, name, ports }: PodmanContainer, [network, options]: PodmanContainer["networks"][number]) => ({
    container_id: id,
    container_name: name,
    port_mappings: ports ?? null,
    network,
    network_options: options,
  });
  const teardown = async (container: PodmanContainer, networks = container.networks) => {
    const outputs = await Promise.all(
      networks.map((one) => run(["teardown", container.netns], message(container, one))),
    );
    return outputs.find(({ status }) => status !== 0) ?? { status: 0, stdout: "", stderr: "" };
  };
  return {
    create: (network) => run(["create"], network),
    teardown,
    async setup(container) {
      const statuses: Record<string, unknown> = {};
      for (const [i, one] of container.networks.entries()) {
        const output = await run(["setup", container.netns], message(container, one));
        if (output.status !== 0) {
          await teardown(container, container.networks.slice(0, i));
          return output;
        }
        statuses[one[0].name] = JSON.parse(output.stdout);
      }
      return { status: 0, stdout: JSON.stringify(statuses), stderr: "" };
    },
  };
}

/** The real one. From 2 on it asks the plugin for `create`, too; before, Podman does that. */
export async function realNetavark(agent: Agent, path: string, version: string): Promise<Speaker> {
  const { folder, env } = await pluginOf(agent);
  const config = join(agent.folder, "netavark");
  mkdirSync(config, { recursive: true });
  const args = ["--config", config, "--plugin-directory", folder, "--firewall-driver", "none"];
  const run = (more: readonly string[], input: object) =>
    agent.host.run(path, [...args, ...more], { env, input: JSON.stringify(input) });
  const message = ({ id, name, ports, networks }: PodmanContainer) => ({
    container_id: id,
    container_name: name,
    ...(ports !== undefined && { port_mappings: ports }),
    networks: Object.fromEntries(networks.map(([network, options]) => [network.name, options])),
    network_info: Object.fromEntries(networks.map(([network]) => [network.name, network])),
  });
  const creation = (network: PodmanNetwork) => ({
    network,
    used: { interfaces: [], names: {}, subnets: [] },
    options: { subnet_pools: [], default_interface_name: "podman", check_used_subnets: false },
  });
  const { create } = await standIn(agent);
  return {
    create: version.startsWith("1.") ? create : (network) => run(["create"], creation(network)),
    setup: (container) => run(["setup", container.netns], message(container)),
    teardown: (container) => run(["teardown", container.netns], message(container)),
  };
}
