/**
 * What a container asks for beyond a network: addresses, a MAC, host ports, a bandwidth, further names.
 *
 * Several places may say the same thing. The first that says anything counts, alone: `runtimeConfig` (a capability of
 * ours, so the runtime relies on it), then `args.cni`, then Mesos' `network_info`, then CNI_ARGS. That is the order of
 * the reference plugins (docs/decisions/0021).
 *
 * Source of truth: the conventions beside CNI 1.1.0; `NetworkInfo` of Mesos.
 */
import type { Bandwidth, PortMapping } from "../../model/attachment.ts";
import { addressOf, familyOf, type Ip, parseIp, parseIpInterface } from "../../model/ip.ts";
import {
  ALIASES_MAX,
  BANDWIDTH_BURST_DEFAULT_MIN,
  BANDWIDTH_BURST_DEFAULT_MS,
  BANDWIDTH_BURST_MAX,
  BANDWIDTH_BURST_MIN,
  BANDWIDTH_RATE_MAX,
  BANDWIDTH_RATE_MIN,
} from "../../model/limits.ts";
import { type Mac, macToBytes, parseMac } from "../../model/mac.ts";
import { hostNameProblem } from "../../model/names.ts";
import type { CniArgs } from "./cni-args.ts";
import {
  anyCase,
  isAbsent,
  type JsonObject,
  kindOf,
  type Problems,
  readInteger,
  readList,
  readObject,
  readObjects,
  readStrings,
  shown,
} from "./json.ts";
import { CONVENTION_KEYS, MESOS_KEYS, readPortMappings } from "./port-mappings.ts";

export interface Wishes {
  /** At most one of each family, IPv4 first; for a family without one any address will do. */
  readonly ips: readonly Ip[];
  readonly mac?: Mac;
  readonly ports: readonly PortMapping[];
  readonly bandwidth?: Bandwidth;
  /** Legal host names in lower case. */
  readonly aliases: readonly string[];
}

/** The places of one call where a container's wishes, name and labels are. */
export interface WishSources {
  readonly runtimeConfig: JsonObject;
  /** `args.cni`. */
  readonly args: JsonObject;
  /** `args."org.apache.mesos".network_info`. */
  readonly mesos: JsonObject;
  readonly cniArgs: CniArgs;
}

export const MESOS_PATH = 'args."org.apache.mesos".network_info';

export function readSources({ runtimeConfig, args }: JsonObject, cniArgs: CniArgs, problems: Problems): WishSources {
  const all = readObject(args, "args", problems);
  const mesos = readObject(all["org.apache.mesos"], 'args."org.apache.mesos"', problems);
  return {
    runtimeConfig: readObject(runtimeConfig, "runtimeConfig", problems),
    args: readObject(all.cni, "args.cni", problems),
    mesos: readObject(mesos.network_info, MESOS_PATH, problems),
    cniArgs,
  };
}

/** `networks`: by which names the runtime may call this network. What is wrong is appended to `problems`. */
export function readWishes(sources: WishSources, networks: readonly string[], problems: Problems): Wishes {
  const mac = readMac(sources, problems);
  const bandwidth = readBandwidth(sources.runtimeConfig.bandwidth, problems);
  return {
    ips: readIps(sources, problems),
    ...(mac === undefined ? {} : { mac }),
    ports: readPorts(sources, problems),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    aliases: readAliases(sources.runtimeConfig.aliases, networks, problems),
  };
}

// ---- addresses -------------------------------------------------------------------------------------------------------

/** An address as it is written, and where. */
type Asked = readonly [at: string, text: unknown];

function readIps({ runtimeConfig, args, mesos, cniArgs }: WishSources, problems: Problems): readonly Ip[] {
  const lists = [
    listOf(runtimeConfig.ips, "runtimeConfig.ips", problems),
    listOf(args.ips, "args.cni.ips", problems),
    mesosAddresses(mesos, problems),
    (cniArgs.get("IP") ?? "").split(",").flatMap((text): Asked[] => (text === "" ? [] : [["CNI_ARGS: IP", text]])),
  ];
  return pickIps(lists.find((list) => list.length > 0) ?? [], problems);
}

function listOf(value: unknown, at: string, problems: Problems): Asked[] {
  return readList(value, at, problems).map((text, i): Asked => [`${at}[${i}]`, text]);
}

/** Mesos lists what it would like, mostly `{}` or a protocol alone. */
function mesosAddresses({ ip_addresses }: JsonObject, problems: Problems): Asked[] {
  const at = `${MESOS_PATH}.ip_addresses`;
  return readObjects(ip_addresses, at, problems).flatMap(([{ ip_address }, path]): Asked[] =>
    isAbsent(ip_address) ? [] : [[`${path}.ip_address`, ip_address]],
  );
}

function pickIps(asked: readonly Asked[], problems: Problems): readonly Ip[] {
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

function readMac({ runtimeConfig, args, cniArgs }: WishSources, problems: Problems): Mac | undefined {
  const given = [
    ["runtimeConfig.mac", runtimeConfig.mac],
    ["args.cni.mac", args.mac],
    ["CNI_ARGS: MAC", cniArgs.get("MAC")],
  ] as const;
  const [at, text] = given.find(([, value]) => !isAbsent(value) && value !== "") ?? [];
  if (at === undefined) return undefined;
  const mac = typeof text === "string" ? parseMac(text) : undefined;
  if (mac === undefined) problems.push(`${at}: must be a MAC address as 02:57:00:00:00:01, is ${kindOf(text)}`);
  else if (((macToBytes(mac)[0] ?? 0) & 1) === 1)
    problems.push(`${at}: ${mac} is a group's address, not of one device`);
  else if (mac === "00:00:00:00:00:00") problems.push(`${at}: ${mac} is no device's address`);
  else return mac;
  return undefined;
}

// ---- ports, bandwidth, names -----------------------------------------------------------------------------------------

function readPorts({ runtimeConfig, mesos }: WishSources, problems: Problems): readonly PortMapping[] {
  const ports = readPortMappings(runtimeConfig.portMappings, "runtimeConfig.portMappings", CONVENTION_KEYS, problems);
  const mesosPorts = readPortMappings(mesos.port_mappings, `${MESOS_PATH}.port_mappings`, MESOS_KEYS, problems);
  return ports.length > 0 ? ports : mesosPorts;
}

function readBandwidth(value: unknown, problems: Problems): Bandwidth | undefined {
  const json = readObject(value, "runtimeConfig.bandwidth", problems);
  const ingress = readRate(json, "ingress", problems);
  const egress = readRate(json, "egress", problems);
  if (ingress === undefined && egress === undefined) return undefined;
  return {
    ...(ingress === undefined ? {} : { ingressRate: ingress.rate, ingressBurst: ingress.burst }),
    ...(egress === undefined ? {} : { egressRate: egress.rate, egressBurst: egress.burst }),
  };
}

function readRate(
  json: JsonObject,
  direction: "ingress" | "egress",
  problems: Problems,
): { readonly rate: number; readonly burst: number } | undefined {
  const at = `runtimeConfig.bandwidth.${direction}`;
  const rate = readPositive(
    anyCase(json, `${direction}Rate`),
    `${at}Rate`,
    [BANDWIDTH_RATE_MIN, BANDWIDTH_RATE_MAX],
    problems,
  );
  const burst = readPositive(
    anyCase(json, `${direction}Burst`),
    `${at}Burst`,
    [BANDWIDTH_BURST_MIN, BANDWIDTH_BURST_MAX],
    problems,
  );
  if (rate === undefined) {
    if (burst !== undefined && !anyCase(json, `${direction}Rate`))
      problems.push(`${at}Burst: needs ${direction}Rate beside it`);
    return undefined;
  }
  return { rate, burst: burst ?? defaultBurst(rate) };
}

/** 0 is what runtimes write for no limit. */
function readPositive(
  value: unknown,
  at: string,
  range: readonly [number, number],
  problems: Problems,
): number | undefined {
  return value === 0 ? undefined : readInteger(value, at, range, problems);
}

function defaultBurst(rate: number): number {
  const bits = Math.ceil((rate * BANDWIDTH_BURST_DEFAULT_MS) / 1_000);
  return Math.min(Math.max(bits, BANDWIDTH_BURST_DEFAULT_MIN), BANDWIDTH_BURST_MAX);
}

/** Those for this network, each once. Runtimes say them for every network of the container. */
function readAliases(value: unknown, networks: readonly string[], problems: Problems): readonly string[] {
  const at = "runtimeConfig.aliases";
  const json = readObject(value, at, problems);
  const aliases = new Set<string>();
  for (const network of new Set(networks)) {
    if (!Object.hasOwn(json, network)) continue;
    const path = `${at}.${shown(JSON.stringify(network))}`;
    for (const [i, item] of readStrings(json[network], path, problems).entries()) {
      const name = item.toLowerCase();
      const problem = hostNameProblem(name);
      if (problem === undefined) aliases.add(name);
      else problems.push(`${path}[${i}]: ${shown(JSON.stringify(name))} ${problem}`);
    }
  }
  if (aliases.size > ALIASES_MAX)
    problems.push(`${at}: has ${aliases.size} names, one container may have ${ALIASES_MAX}`);
  return [...aliases];
}
