/**
 * One CNI call as a value: what a runtime asked for, checked against the specification (CNI 1.1.0) and against the
 * strictest user of each value. Whether the network, the container and the namespace exist is for others to say.
 *
 * Everything that is wrong with a call is named at once. A call that is refused still knows the version that its answer
 * has to be written in. DEL takes the configuration as it is: what ADD was refused for must not keep it from cleaning up.
 */
import { splitCall } from "../../model/call-frame.ts";
import { Fault } from "../../model/fault.ts";
import { type JsonObject, listed, type Problems, parseJsonObject, shown } from "../../model/foreign-json.ts";
import { CNI_PROBLEMS_SHOWN_MAX } from "../../model/limits.ts";
import type { Task, Wishes } from "../../model/wishes.ts";
import { readCniArgs } from "./cni-args.ts";
import type { PluginName } from "./conflist.ts";
import {
  type CniEnvironment,
  type CniParameter,
  readCniPath,
  readParameters,
  readPlugin,
  readRuntime,
} from "./environment.ts";
import { type NetworkConfig, readNetworkConfig, requireVersion, versionOf } from "./network-config.ts";
import { readTask } from "./task.ts";
import { readValidAttachments, type ValidAttachment } from "./valid-attachments.ts";
import {
  atLeast,
  CNI_COMMANDS,
  type CniCommand,
  type CniVersion,
  firstVersionOf,
  isCniCommand,
  NEWEST_CNI_VERSION,
} from "./version.ts";
import { readSources, readWishes } from "./wishes.ts";

export type CniCall =
  | ({
      readonly command: "ADD";
      readonly netns: string;
      readonly wishes: Wishes;
      readonly task: Task;
    } & ContainerCall)
  | ({ readonly command: "CHECK"; readonly netns: string } & ContainerCall)
  /** Works without a namespace: it may be gone. */
  | ({ readonly command: "DEL"; readonly netns?: string } & ContainerCall)
  | ({ readonly command: "STATUS" } & PluginCall)
  /** `valid` is every attachment that the runtime still knows; `undefined`: it did not say. */
  | ({
      readonly command: "GC";
      readonly runtime: string;
      readonly valid: readonly ValidAttachment[] | undefined;
    } & PluginCall)
  /** `asked` is the version that the caller named, or ours; it is echoed. */
  | { readonly command: "VERSION"; readonly asked: string };

/** What every verb but VERSION comes with. */
export interface PluginCall {
  readonly config: NetworkConfig;
  /** As which plugin Weft was called. */
  readonly plugin: PluginName;
  /** Folders of plugins, in the order in which they are searched. */
  readonly cniPath: readonly string[];
}

export interface ContainerCall extends PluginCall {
  readonly containerId: string;
  readonly ifname: string;
  /** Chosen by the executable for one call and repeated when it has to send it again; empty when there is none. */
  readonly requestId: string;
  /** The program that asks, as the kernel names it (`podman`); empty when it is not known. */
  readonly runtime: string;
  /** CNI_ARGS as they came. */
  readonly args: string;
}

export interface DecodedCall {
  /** What the answer is written in. */
  readonly version: CniVersion;
  /** The verb, when it is one; some codes depend on it. */
  readonly command: CniCommand | undefined;
  readonly call: CniCall | Fault;
}

/** Decodes the frame of `splitCall`. Never throws: a bad call is a `Fault` in place of the call. */
export function decodeCall(body: Uint8Array): DecodedCall {
  let version: CniVersion = NEWEST_CNI_VERSION;
  let command: CniCommand | undefined;
  try {
    const { environment, stdin } = splitCall(body);
    command = readCommand(environment);
    if (command === "VERSION") return { version, command, call: { command, asked: askedVersion(stdin) } };
    const json = parseJsonObject(stdin);
    version = versionOf(json) ?? version;
    requireVerb(command, requireVersion(json));
    return { version, command, call: readCall(command, environment, json, version) };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return { version, command, call: error };
  }
}

function readCommand(environment: CniEnvironment): CniCommand {
  const command = environment.get("CNI_COMMAND");
  if (isCniCommand(command)) return command;
  const fact = command === undefined ? "CNI_COMMAND is missing" : `CNI_COMMAND=${shown(command)} is no verb`;
  throw new Fault("bad-environment", `${fact}; it is one of ${CNI_COMMANDS.join(", ")}`, { problems: ["CNI_COMMAND"] });
}

function requireVerb(command: CniCommand, version: CniVersion): void {
  const first = firstVersionOf(command);
  if (!atLeast(version, first))
    throw new Fault("unsupported-version", `${command} came with CNI ${first}, the configuration is of ${version}`);
}

/** What is wrong with a call: in its environment, and in its configuration. */
interface Complaints {
  readonly environment: Problems;
  readonly config: Problems;
}

type Verb = Exclude<CniCommand, "VERSION">;

function readCall(command: Verb, environment: CniEnvironment, json: JsonObject, version: CniVersion): CniCall {
  const complaints: Complaints = { environment: [], config: [] };
  // A network that cannot be was attached to by nobody, so there is nothing to detach from, which is success.
  const about = command === "DEL" ? [] : complaints.config;
  const config = readNetworkConfig(json, version, about);
  const shared: PluginCall = { config, plugin: readPlugin(environment), cniPath: readCniPath(environment) };
  const call =
    command === "STATUS"
      ? ({ command, ...shared } as const)
      : command === "GC"
        ? gcCall(shared, environment, complaints)
        : containerCall(command, shared, environment, complaints);
  refuse(complaints);
  return call;
}

function gcCall(shared: PluginCall, environment: CniEnvironment, { config }: Complaints): CniCall {
  const valid = readValidAttachments(shared.config.json, config);
  return { command: "GC", ...shared, runtime: readRuntime(environment), valid };
}

const PARAMETERS: Readonly<Record<"ADD" | "CHECK" | "DEL", readonly CniParameter[]>> = {
  ADD: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"],
  CHECK: ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"],
  DEL: ["CNI_CONTAINERID", "CNI_IFNAME"],
};

function containerCall(
  command: "ADD" | "CHECK" | "DEL",
  shared: PluginCall,
  environment: CniEnvironment,
  complaints: Complaints,
): CniCall {
  const parameters = readParameters(environment, PARAMETERS[command], complaints.environment);
  const [containerId = "", ifname = "", netns = ""] = parameters;
  const args = environment.get("CNI_ARGS") ?? "";
  const requestId = environment.get("CNI_WEFT_REQUEST_ID") ?? "";
  const who: ContainerCall = { ...shared, containerId, ifname, requestId, runtime: readRuntime(environment), args };
  if (command === "DEL") {
    const gone = environment.get("CNI_NETNS") ?? "";
    return { command, ...who, ...(gone === "" ? {} : { netns: gone }) };
  }
  if (command === "CHECK") {
    if (shared.config.prevResult === undefined)
      complaints.config.push("prevResult: is missing, CHECK needs the result of the last ADD");
    return { command, ...who, netns };
  }
  return { command, ...who, netns, ...readWishesAndTask(who, complaints) };
}

function readWishesAndTask(
  { config, containerId, args }: ContainerCall,
  complaints: Complaints,
): { readonly wishes: Wishes; readonly task: Task } {
  const sources = readSources(config.json, readCniArgs(args, complaints.environment), complaints.config);
  const wishes = readWishes(sources, [config.name, config.network], complaints.config);
  return { wishes, task: readTask(sources, { containerId, aliases: wishes.aliases }, complaints.config) };
}

/** @throws Fault bad-environment, bad-request with all problems in `facts.problems` */
function refuse({ environment, config }: Complaints): void {
  const problems = [...environment, ...config];
  if (problems.length === 0) return;
  const of = config.length === 0 ? "" : "the network configuration cannot be used: ";
  const text = [listed(environment), of + listed(config)].filter((part) => part !== "").join("; ");
  throw new Fault(environment.length > 0 ? "bad-environment" : "bad-request", text, {
    problems: problems.slice(0, CNI_PROBLEMS_SHOWN_MAX),
  });
}

/** VERSION is asked before anything is agreed on, so no stdin is bad enough to refuse it. */
function askedVersion(stdin: Uint8Array): string {
  try {
    const { cniVersion } = parseJsonObject(stdin);
    if (typeof cniVersion === "string" && /^[0-9.]{1,16}$/.test(cniVersion)) return cniVersion;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
  }
  return NEWEST_CNI_VERSION;
}
