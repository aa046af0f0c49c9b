/**
 * One call of netavark, or of Podman, to its plugin `weft` as a value: `create`, `setup` or `teardown`, checked against
 * netavark's plugin API 1.0.0 and against the strictest user of each value. Whether the network, the container and the
 * namespace exist is for others to say.
 *
 * Everything that is wrong with a call is named at once. `teardown` reads only what names the attachment: what `setup`
 * was refused for must not keep it from cleaning up. The frame is that of model/call-frame.ts with COMMAND and NETNS, the
 * arguments that the executable was started with, and REQUEST_ID.
 */
import { type CallVariables, splitCall } from "../../model/call-frame.ts";
import { Fault } from "../../model/fault.ts";
import {
  isAbsent,
  type JsonObject,
  listed,
  type Problems,
  parseJsonObject,
  readObject,
  readString,
  readStrings,
  requireString,
  shown,
} from "../../model/foreign-json.ts";
import { CNI_PROBLEMS_SHOWN_MAX, TASK_NAME_MAX_BYTES } from "../../model/limits.ts";
import { containerIdProblem, ifnameProblem, netnsPathProblem } from "../../model/names.ts";
import { type Asked, readAliases, readIps, readMac, type Task, type Wishes } from "../../model/wishes.ts";
import { type AskedNetwork, type NamedNetwork, readAskedNetwork, readNamedNetwork } from "./network.ts";
import { readPortMappings } from "./port-mappings.ts";

/** Podman and Buildah have netavark, and the program that it is called by may be gone before the container. */
export const RUNTIME = "podman";

export const COMMANDS = ["create", "setup", "teardown"] as const;
type Command = (typeof COMMANDS)[number];

export type NetavarkCall =
  | { readonly command: "create"; readonly asked: AskedNetwork }
  | ({ readonly command: "setup"; readonly wishes: Wishes; readonly task: Task } & ContainerCall)
  /** The namespace may be gone. */
  | ({ readonly command: "teardown" } & ContainerCall);

export interface ContainerCall extends NamedNetwork {
  readonly containerId: string;
  readonly ifname: string;
  readonly netns: string;
  /** Chosen by the executable for one call and repeated when it has to send it again. */
  readonly requestId: string;
}

/** @throws Fault bad-request, bad-environment, undecodable */
export function decodeNetavarkCall(body: Uint8Array): NetavarkCall {
  const { environment, stdin } = splitCall(body);
  const command = requireCommand(environment.get("COMMAND") ?? "");
  const json = parseJsonObject(stdin, "what netavark wrote on stdin");
  const problems: Problems = [];
  const call = readCall(command, environment, json, problems);
  if (problems.length === 0) return call;
  throw new Fault("bad-request", `${command} cannot be carried out: ${listed(problems)}`, {
    problems: problems.slice(0, CNI_PROBLEMS_SHOWN_MAX),
  });
}

function requireCommand(text: string): Command {
  const command = COMMANDS.find((candidate) => candidate === text);
  if (command !== undefined) return command;
  throw new Fault(
    "bad-environment",
    `the netavark plugin was started with ${shown(JSON.stringify(text))}; it is one of ${COMMANDS.join(", ")}, info`,
  );
}

function readCall(command: Command, variables: CallVariables, json: JsonObject, problems: Problems): NetavarkCall {
  if (command === "create") return { command, asked: readAskedNetwork(json, problems) };
  const options = readObject(json.network_options, "network_options", problems);
  const who = readContainer(variables, json, options, problems);
  if (command === "teardown") return { command, ...who };
  for (const key of Object.keys(readObject(options.options, "network_options.options", problems)))
    problems.push(
      `network_options.options.${shown(key)}: is no option that a container may have with Weft; leave it out`,
    );
  return { command, ...who, wishes: readWishes(json, options, problems), task: readTask(json, problems) };
}

function readContainer(
  variables: CallVariables,
  json: JsonObject,
  options: JsonObject,
  problems: Problems,
): ContainerCall {
  const checked = (value: unknown, at: string, rule: (text: string) => string | undefined) => {
    const text = requireString(value, at, problems);
    const problem = text === "" ? undefined : rule(text);
    if (problem !== undefined) problems.push(`${at}: ${shown(text)} ${problem}`);
    return text;
  };
  return {
    ...readNamedNetwork(readObject(json.network, "network", problems), "network.", problems),
    containerId: checked(json.container_id, "container_id", containerIdProblem),
    ifname: checked(options.interface_name, "network_options.interface_name", ifnameProblem),
    netns: checked(variables.get("NETNS"), "the network namespace behind the command", netnsPathProblem),
    requestId: variables.get("REQUEST_ID") ?? "",
  };
}

function readWishes(json: JsonObject, options: JsonObject, problems: Problems): Wishes {
  const listOf = (key: string): (readonly [string, string])[] =>
    readStrings(options[key], `network_options.${key}`, problems).map((text, i) => [
      `network_options.${key}[${i}]`,
      text,
    ]);
  const askedMac: Asked = ["network_options.static_mac", options.static_mac];
  const mac = isAbsent(options.static_mac) || options.static_mac === "" ? undefined : readMac(askedMac, problems);
  return {
    ips: readIps(listOf("static_ips"), problems),
    ...(mac === undefined ? {} : { mac }),
    ports: readPortMappings(json.port_mappings, problems),
    aliases: readAliases(listOf("aliases"), "network_options.aliases", problems),
  };
}

/** netavark says nothing of a container's labels. */
function readTask(json: JsonObject, problems: Problems): Task {
  const name = readString(json.container_name, "container_name", problems) ?? "";
  if (Buffer.byteLength(name) > TASK_NAME_MAX_BYTES)
    problems.push(`container_name: has ${Buffer.byteLength(name)} bytes, at most ${TASK_NAME_MAX_BYTES} are taken`);
  return { ...(name === "" ? {} : { name }), labels: {} };
}
