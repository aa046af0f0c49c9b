/**
 * Host ports as netavark writes them: ranges (`range` ports from both numbers on) and several protocols in one text,
 * which become single mappings here. Podman has chosen every host port before.
 *
 * netavark sends the ports of a container with each of its networks.
 */
import type { PortMapping } from "../../model/attachment.ts";
import {
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

const PORTS = [1, 65_535] as const;
const AT = "port_mappings";

type Placed = readonly [at: string, mapping: PortMapping];

/** What is wrong is appended to `problems`. */
export function readPortMappings(value: unknown, problems: Problems): readonly PortMapping[] {
  if (readList(value, AT, problems).length > PORT_MAPPINGS_MAX) return tooMany(problems);
  const asked: Placed[] = [];
  for (const [json, at] of readObjects(value, AT, problems)) {
    for (const placed of readRange(json, at, problems))
      if (asked.push(placed) > PORT_MAPPINGS_MAX) return tooMany(problems);
  }
  return onePlaceEach(asked, problems);
}

function tooMany(problems: Problems): readonly PortMapping[] {
  problems.push(`${AT}: are more than ${PORT_MAPPINGS_MAX} ports, one container may have so many`);
  return [];
}

function* readRange(json: JsonObject, at: string, problems: Problems): Generator<Placed> {
  const before = problems.length;
  const range = readInteger(json.range, `${at}.range`, [0, 65_535], problems) || 1;
  const hostPort = readPort(json, "host_port", at, range, problems);
  const containerPort = readPort(json, "container_port", at, range, problems);
  const protocols = readProtocols(json.protocol, `${at}.protocol`, problems);
  const hostIp = readHostIp([`${at}.host_ip`, json.host_ip], problems);
  if (problems.length > before) return;
  const rest = hostIp === undefined ? {} : { hostIp };
  for (const protocol of protocols)
    for (let i = 0; i < range; i++)
      yield [at, { protocol, hostPort: hostPort + i, containerPort: containerPort + i, ...rest }];
}

/** The first port of the range. */
function readPort(json: JsonObject, key: string, at: string, range: number, problems: Problems): number {
  if (isAbsent(json[key])) problems.push(`${at}.${key}: is missing`);
  const port = readInteger(json[key], `${at}.${key}`, PORTS, problems) ?? 1;
  if (port + range - 1 > PORTS[1]) problems.push(`${at}.${key}: ${range} ports from ${port} on go beyond ${PORTS[1]}`);
  return port;
}

function readProtocols(value: unknown, at: string, problems: Problems): readonly PortMapping["protocol"][] {
  if (isAbsent(value) || value === "") return ["tcp"];
  const words = typeof value === "string" ? value.toLowerCase().split(",") : [];
  const protocols = words.filter((word) => word === "tcp" || word === "udp");
  if (words.length > 0 && protocols.length === words.length) return [...new Set(protocols)];
  problems.push(`${at}: must be tcp, udp or both with a comma, is ${kindOf(value)}`);
  return [];
}
