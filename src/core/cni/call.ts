/**
 * One CNI call as a value: what a runtime asked for, checked against the specification (CNI 1.1.0) and against the
 * strictest user of each value. Whether the network, the container and the namespace exist is for others to say.
 *
 * A call that is refused still knows the version that its answer has to be written in.
 */
import { Fault } from "../../model/fault.ts";
import { type CniEnvironment, readParameters, splitCall } from "./environment.ts";
import { type NetworkConfig, parseJsonObject, readNetworkConfig } from "./network-config.ts";
import {
  atLeast,
  CNI_COMMANDS,
  type CniCommand,
  type CniVersion,
  firstVersionOf,
  isCniCommand,
  isCniVersion,
  NEWEST_CNI_VERSION,
} from "./version.ts";

export type CniCall =
  | ({ readonly command: "ADD"; readonly netns: string } & ContainerCall)
  | ({ readonly command: "CHECK"; readonly netns: string } & ContainerCall)
  /** Works without a namespace: it may be gone. */
  | ({ readonly command: "DEL" } & ContainerCall)
  | { readonly command: "STATUS" | "GC"; readonly config: NetworkConfig }
  /** `asked` is the version that the caller named, or ours; it is echoed. */
  | { readonly command: "VERSION"; readonly asked: string };

export interface ContainerCall {
  readonly containerId: string;
  readonly ifname: string;
  readonly config: NetworkConfig;
  /** Chosen by the executable for one call and repeated when it has to send it again; empty when there is none. */
  readonly requestId: string;
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
    if (isCniVersion(json.cniVersion)) version = json.cniVersion;
    const config = readNetworkConfig(json);
    requireVerb(command, version);
    return { version, command, call: readCall(command, environment, config) };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return { version, command, call: error };
  }
}

function readCommand(environment: CniEnvironment): CniCommand {
  const command = environment.get("CNI_COMMAND");
  if (isCniCommand(command)) return command;
  const fact = command === undefined ? "CNI_COMMAND is missing" : `CNI_COMMAND=${command} is no verb`;
  throw new Fault("bad-environment", `${fact}; it is one of ${CNI_COMMANDS.join(", ")}`, { problems: ["CNI_COMMAND"] });
}

function requireVerb(command: CniCommand, version: CniVersion): void {
  const first = firstVersionOf(command);
  if (!atLeast(version, first))
    throw new Fault("unsupported-version", `${command} came with CNI ${first}, the configuration is of ${version}`);
}

function readCall(
  command: Exclude<CniCommand, "VERSION">,
  environment: CniEnvironment,
  config: NetworkConfig,
): CniCall {
  if (command === "STATUS" || command === "GC") return { command, config };
  const requestId = environment.get("CNI_WEFT_REQUEST_ID") ?? "";
  if (command === "DEL") {
    const [containerId = "", ifname = ""] = readParameters(environment, ["CNI_CONTAINERID", "CNI_IFNAME"]);
    return { command, containerId, ifname, config, requestId };
  }
  const parameters = readParameters(environment, ["CNI_CONTAINERID", "CNI_IFNAME", "CNI_NETNS"]);
  const [containerId = "", ifname = "", netns = ""] = parameters;
  if (command === "CHECK" && config.prevResult === undefined)
    throw new Fault("bad-request", "CHECK needs prevResult in the network configuration: the result of the last ADD");
  return { command, containerId, ifname, netns, config, requestId };
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
