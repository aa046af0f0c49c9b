/**
 * Host ports that a container asks for: `runtimeConfig.portMappings` of the conventions, or what Mesos writes into
 * `network_info.port_mappings`.
 *
 * A mapping without a host port asks for nothing and is left out. Two that say the same are one; two that lead one host
 * port to different ports of the container are refused, because only one of them could be true.
 */
import type { PortMapping } from "../../model/attachment.ts";
import { familyOf, type Ip, ipToBigInt } from "../../model/ip.ts";
import { PORT_MAPPINGS_MAX } from "../../model/limits.ts";
import {
  anyCase,
  isAbsent,
  type JsonObject,
  kindOf,
  type Problems,
  readInteger,
  readIp,
  readList,
  readObjects,
} from "./json.ts";

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
  const byPlace = new Map<string, PortMapping>();
  for (const [item, path] of readObjects(items, at, problems)) {
    const mapping = readMapping(item, path, keys, problems);
    if (mapping === undefined) continue;
    const place = `${mapping.protocol} ${mapping.hostIp ?? ""} ${mapping.hostPort}`;
    const earlier = byPlace.get(place)?.containerPort ?? mapping.containerPort;
    if (earlier !== mapping.containerPort)
      problems.push(
        `${path}: leads ${mapping.protocol} port ${mapping.hostPort} of the host to port ${mapping.containerPort}, an earlier one to ${earlier}`,
      );
    else byPlace.set(place, mapping);
  }
  return [...byPlace.values()];
}

function readMapping(json: JsonObject, at: string, keys: Keys, problems: Problems): PortMapping | undefined {
  const before = problems.length;
  const hostPort = readInteger(anyCase(json, keys.hostPort), `${at}.${keys.hostPort}`, [0, 65_535], problems) ?? 0;
  const inside = anyCase(json, keys.containerPort);
  const containerPort = readInteger(inside, `${at}.${keys.containerPort}`, [1, 65_535], problems);
  if (isAbsent(inside)) problems.push(`${at}.${keys.containerPort}: is missing`);
  const protocol = readProtocol(anyCase(json, "protocol"), `${at}.protocol`, problems);
  const hostIp = readHostIp(anyCase(json, "hostIP"), `${at}.hostIP`, problems);
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

/** `undefined` for every address of the host; 0.0.0.0 and :: are every address of one family. */
function readHostIp(value: unknown, at: string, problems: Problems): Ip | undefined {
  const ip = value === "" ? undefined : readIp(value, at, problems);
  if (ip === undefined) return undefined;
  const problem = hostIpProblem(ip);
  if (problem === undefined) return ip;
  problems.push(`${at}: ${ip} ${problem}`);
  return undefined;
}

function hostIpProblem(ip: Ip): string | undefined {
  if (ip === "::1")
    return "cannot be led to a container, Linux routes IPv6 loopback to nobody; use 127.0.0.1, or leave hostIP out";
  const isMulticast = familyOf(ip) === 4 ? ipToBigInt(ip) >> 28n === 0xen : ipToBigInt(ip) >> 120n === 0xffn;
  return isMulticast || ip === "255.255.255.255" ? "is no address that a host can have" : undefined;
}
