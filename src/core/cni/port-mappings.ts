/**
 * Host ports that a container asks for: `runtimeConfig.portMappings` of the conventions, or what Mesos writes into
 * `network_info.port_mappings`. A mapping without a host port asks for nothing and is left out.
 */
import type { PortMapping } from "../../model/attachment.ts";
import {
  anyCase,
  isAbsent,
  type JsonObject,
  kindOf,
  type Problems,
  readInteger,
  readList,
  readObjects,
} from "../../model/foreign-json.ts";
import { PORT_MAPPINGS_MAX } from "../../model/limits.ts";
import { onePlaceEach, readHostIp } from "../../model/wishes.ts";

/** How the two write one mapping. */
interface Keys {
  readonly hostPort: string;
  readonly containerPort: string;
}

export const CONVENTION_KEYS: Keys = { hostPort: "hostPort", containerPort: "containerPort" };
export const MESOS_KEYS: Keys = { hostPort: "host_port", containerPort: "container_port" };

/** In the order in which they are given. */
export function readPortMappings(value: unknown, at: string, keys: Keys, problems: Problems): readonly PortMapping[] {
  const items = readList(value, at, problems);
  if (items.length > PORT_MAPPINGS_MAX) {
    problems.push(`${at}: has ${items.length} entries, one container may have ${PORT_MAPPINGS_MAX}`);
    return [];
  }
  const asked = readObjects(items, at, problems).flatMap(([item, path]) => {
    const mapping = readMapping(item, path, keys, problems);
    return mapping === undefined ? [] : [[path, mapping] as const];
  });
  return onePlaceEach(asked, problems);
}

function readMapping(json: JsonObject, at: string, keys: Keys, problems: Problems): PortMapping | undefined {
  const before = problems.length;
  const hostPort = readInteger(anyCase(json, keys.hostPort), `${at}.${keys.hostPort}`, [0, 65_535], problems) ?? 0;
  const inside = anyCase(json, keys.containerPort);
  const containerPort = readInteger(inside, `${at}.${keys.containerPort}`, [1, 65_535], problems);
  if (isAbsent(inside)) problems.push(`${at}.${keys.containerPort}: is missing`);
  const protocol = readProtocol(anyCase(json, "protocol"), `${at}.protocol`, problems);
  const hostIp = readHostIp([`${at}.hostIP`, anyCase(json, "hostIP")], problems);
  if (problems.length > before || containerPort === undefined || protocol === undefined || hostPort === 0)
    return undefined;
  return { protocol, hostPort, containerPort, ...(hostIp === undefined ? {} : { hostIp }) };
}

function readProtocol(value: unknown, at: string, problems: Problems): PortMapping["protocol"] | undefined {
  if (isAbsent(value) || value === "") return "tcp";
  const protocol = typeof value === "string" ? value.toLowerCase() : value;
  if (protocol === "tcp" || protocol === "udp") return protocol;
  problems.push(`${at}: must be tcp or udp, is ${kindOf(value)}`);
  return undefined;
}
