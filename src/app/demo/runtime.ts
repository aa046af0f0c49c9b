/**
 * Attaches a container as a container runtime does (CNI 1.1.0, section 4): finds the network's conflist in the host's CNI
 * folder, runs each plugin's executable in the host's namespace with `CNI_…` in the environment and the plugin's
 * configuration on stdin, and hands each one's result to the next.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Netns } from "./netns.ts";

/** A host as its runtime sees it. */
export interface RuntimeHost {
  /** Where plugins run. */
  readonly netns: Pick<Netns, "run">;
  readonly confDir: string;
  readonly binDir: string;
}

/** The part of a CNI result that is looked at here. */
export interface CniResult {
  readonly cniVersion: string;
  readonly ips: readonly { readonly address: string; readonly gateway?: string }[];
}

/** What a plugin that fails prints. */
export interface CniError {
  readonly code: number;
  readonly msg: string;
  readonly details?: string;
}

export interface CniOutcome {
  readonly status: number;
  /** A CniResult of ADD, a CniError where `status` is not 0, `undefined` where nothing was printed. */
  readonly reply: unknown;
}

export interface ContainerRef {
  readonly containerId: string;
  /** Path of its network namespace. */
  readonly netns: string;
  readonly ifname: string;
  /** What it asks for beyond the network: `bandwidth`, `portMappings`, … of the conventions. */
  readonly runtimeConfig?: object;
  /** `args` of the configuration: labels and the like. */
  readonly args?: object;
}

interface Conflist {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly { readonly type: string }[];
}

/** @throws Error that names the networks there are */
export function findConflist(confDir: string, network: string): Conflist {
  const lists = readdirSync(confDir)
    .filter((file) => file.endsWith(".conflist"))
    .map((file) => JSON.parse(readFileSync(join(confDir, file), "utf8")) as Conflist);
  const found = lists.find(({ name }) => name === network);
  if (found === undefined) throw new Error(`no network ${network} in ${confDir}: ${lists.map(({ name }) => name)}`);
  return found;
}

/** One call of all the network's plugins; ends at the first that fails. */
export async function callCni(
  host: RuntimeHost,
  command: "ADD" | "DEL" | "CHECK",
  network: string,
  container: ContainerRef,
  prevResult?: unknown,
): Promise<CniOutcome> {
  const { cniVersion, name, plugins } = findConflist(host.confDir, network);
  let outcome: CniOutcome = { status: 0, reply: prevResult };
  for (const plugin of command === "DEL" ? plugins.toReversed() : plugins) {
    const config = {
      ...plugin,
      cniVersion,
      name,
      ...(container.runtimeConfig !== undefined && { runtimeConfig: container.runtimeConfig }),
      ...(container.args !== undefined && { args: container.args }),
      ...(outcome.reply !== undefined && { prevResult: outcome.reply }),
    };
    outcome = await runPlugin(host, command, plugin.type, container, JSON.stringify(config));
    if (outcome.status !== 0) break;
  }
  return outcome;
}

async function runPlugin(
  host: RuntimeHost,
  command: string,
  type: string,
  container: ContainerRef,
  input: string,
): Promise<CniOutcome> {
  const env = {
    PATH: process.env.PATH,
    CNI_COMMAND: command,
    CNI_CONTAINERID: container.containerId,
    CNI_NETNS: container.netns,
    CNI_IFNAME: container.ifname,
    CNI_PATH: host.binDir,
    // The plugin would look its caller up by number, but the lab's /proc has the numbers of outside.
    CNI_WEFT_RUNTIME: "demo",
  };
  const { status, stdout, stderr } = await host.netns.run(join(host.binDir, type), [], { env, input });
  try {
    return { status, reply: stdout === "" ? undefined : (JSON.parse(stdout) as unknown) };
  } catch {
    throw new Error(`${type} ${command} ended with status ${status} and printed no JSON: ${stdout}${stderr}`);
  }
}

/** Attaches a container. @throws Error with the plugin's message */
export async function attach(host: RuntimeHost, network: string, container: ContainerRef): Promise<CniResult> {
  const { status, reply } = await callCni(host, "ADD", network, container);
  if (status === 0) return reply as CniResult;
  const { msg, details } = reply as CniError;
  throw new Error(
    `ADD of ${container.containerId} to ${network}: ${msg}${details === undefined ? "" : ` (${details})`}`,
  );
}
