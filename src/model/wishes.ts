/**
 * What a container asks for beyond a network, whichever protocol its runtime speaks: addresses, a MAC, host ports, a
 * bandwidth, further names; and what the runtime says of the task that it is.
 *
 * The readers check one value each against the strictest of its users. `at` is where the runtime wrote it; what is wrong
 * is appended to `problems`.
 */
import type { Bandwidth, PortMapping } from "./attachment.ts";
import { kindOf, type Problems, readIp, shown } from "./foreign-json.ts";
import { addressOf, familyOf, type Ip, ipToBigInt, parseIp, parseIpInterface } from "./ip.ts";
import { ALIASES_MAX } from "./limits.ts";
import { type Mac, macToBytes, parseMac } from "./mac.ts";
import { hostNameProblem } from "./names.ts";

export interface Wishes {
  /** At most one of each family, IPv4 first; for a family without one any address will do. */
  readonly ips: readonly Ip[];
  readonly mac?: Mac;
  readonly ports: readonly PortMapping[];
  readonly bandwidth?: Bandwidth;
  /** Legal host names in lower case. */
  readonly aliases: readonly string[];
}

export interface Task {
  readonly name?: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A value as it came, and where. */
export type Asked = readonly [at: string, value: unknown];

/** At most one of each family, IPv4 first. */
export function readIps(asked: readonly Asked[], problems: Problems): readonly Ip[] {
  const byFamily = new Map<number, Ip>();
  for (const [at, text] of asked) {
    const ip = typeof text === "string" ? parseAddress(text.trim()) : undefined;
    if (ip === undefined) problems.push(`${at}: must be an IP address, is ${kindOf(text)}`);
    else if ((byFamily.get(familyOf(ip)) ?? ip) !== ip)
      problems.push(`${at}: ${ip} is a second IPv${familyOf(ip)} address, an interface has one of each family`);
    else byFamily.set(familyOf(ip), ip);
  }
  return [4, 6].flatMap((family) => byFamily.get(family) ?? []);
}

/** The length of a prefix may be there and means nothing: Weft's addresses are routed one by one. */
function parseAddress(text: string): Ip | undefined {
  const withLength = parseIpInterface(text);
  return withLength === undefined ? parseIp(text) : addressOf(withLength);
}

/** Of one device. */
export function readMac([at, text]: Asked, problems: Problems): Mac | undefined {
  const mac = typeof text === "string" ? parseMac(text) : undefined;
  if (mac === undefined) problems.push(`${at}: must be a MAC address as 02:57:00:00:00:01, is ${kindOf(text)}`);
  else if (((macToBytes(mac)[0] ?? 0) & 1) === 1)
    problems.push(`${at}: ${mac} is a group's address, not of one device`);
  else if (mac === "00:00:00:00:00:00") problems.push(`${at}: ${mac} is no device's address`);
  else return mac;
  return undefined;
}

/** Each once. `at` is the place of all of them. */
export function readAliases(asked: readonly (readonly [at: string, name: string])[], at: string, problems: Problems) {
  const aliases = new Set<string>();
  for (const [path, text] of asked) {
    const name = text.toLowerCase();
    const problem = hostNameProblem(name);
    if (problem === undefined) aliases.add(name);
    else problems.push(`${path}: ${shown(JSON.stringify(name))} ${problem}`);
  }
  if (aliases.size > ALIASES_MAX)
    problems.push(`${at}: has ${aliases.size} names, one container may have ${ALIASES_MAX}`);
  return [...aliases];
}

/** `undefined` for every address of the host; 0.0.0.0 and :: are every address of one family. */
export function readHostIp([at, value]: Asked, problems: Problems): Ip | undefined {
  const ip = value === "" ? undefined : readIp(value, at, problems);
  if (ip === undefined) return undefined;
  const problem = hostIpProblem(ip);
  if (problem === undefined) return ip;
  problems.push(`${at}: ${ip} ${problem}`);
  return undefined;
}

function hostIpProblem(ip: Ip): string | undefined {
  if (ip === "::1")
    return "cannot be led to a container, Linux routes IPv6 loopback to nobody; use 127.0.0.1, or leave it out";
  const isMulticast = familyOf(ip) === 4 ? ipToBigInt(ip) >> 28n === 0xen : ipToBigInt(ip) >> 120n === 0xffn;
  return isMulticast || ip === "255.255.255.255" ? "is no address that a host can have" : undefined;
}

/**
 * In the order in which they are given. Two that say the same are one; two that lead one host port to different ports of
 * the container are refused, because only one of them could be true.
 */
export function onePlaceEach(
  asked: readonly (readonly [at: string, mapping: PortMapping])[],
  problems: Problems,
): readonly PortMapping[] {
  const byPlace = new Map<string, PortMapping>();
  for (const [at, mapping] of asked) {
    const place = `${mapping.protocol} ${mapping.hostIp ?? ""} ${mapping.hostPort}`;
    const earlier = byPlace.get(place)?.containerPort ?? mapping.containerPort;
    if (earlier !== mapping.containerPort)
      problems.push(
        `${at}: leads ${mapping.protocol} port ${mapping.hostPort} of the host to port ${mapping.containerPort}, an earlier one to ${earlier}`,
      );
    else byPlace.set(place, mapping);
  }
  return [...byPlace.values()];
}
