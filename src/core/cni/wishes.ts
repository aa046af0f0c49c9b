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
import {
  anyCase,
  isAbsent,
  type JsonObject,
  type Problems,
  readInteger,
  readList,
  readObject,
  readObjects,
  readStrings,
  shown,
} from "../../model/foreign-json.ts";
import type { Ip } from "../../model/ip.ts";
import {
  BANDWIDTH_BURST_DEFAULT_MIN,
  BANDWIDTH_BURST_DEFAULT_MS,
  BANDWIDTH_BURST_MAX,
  BANDWIDTH_BURST_MIN,
  BANDWIDTH_RATE_MAX,
  BANDWIDTH_RATE_MIN,
} from "../../model/limits.ts";
import type { Mac } from "../../model/mac.ts";
import { type Asked, readAliases, readIps, readMac, type Wishes } from "../../model/wishes.ts";
import type { CniArgs } from "./cni-args.ts";
import { CONVENTION_KEYS, MESOS_KEYS, readPortMappings } from "./port-mappings.ts";

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
  const mac = askedMac(sources, problems);
  const bandwidth = readBandwidth(sources.runtimeConfig.bandwidth, problems);
  return {
    ips: askedIps(sources, problems),
    ...(mac === undefined ? {} : { mac }),
    ports: readPorts(sources, problems),
    ...(bandwidth === undefined ? {} : { bandwidth }),
    aliases: askedAliases(sources.runtimeConfig.aliases, networks, problems),
  };
}

// ---- addresses -------------------------------------------------------------------------------------------------------

function askedIps({ runtimeConfig, args, mesos, cniArgs }: WishSources, problems: Problems): readonly Ip[] {
  const lists = [
    listOf(runtimeConfig.ips, "runtimeConfig.ips", problems),
    listOf(args.ips, "args.cni.ips", problems),
    mesosAddresses(mesos, problems),
    (cniArgs.get("IP") ?? "").split(",").flatMap((text): Asked[] => (text === "" ? [] : [["CNI_ARGS: IP", text]])),
  ];
  return readIps(lists.find((list) => list.length > 0) ?? [], problems);
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

function askedMac({ runtimeConfig, args, cniArgs }: WishSources, problems: Problems): Mac | undefined {
  const given = [
    ["runtimeConfig.mac", runtimeConfig.mac],
    ["args.cni.mac", args.mac],
    ["CNI_ARGS: MAC", cniArgs.get("MAC")],
  ] as const;
  const asked = given.find(([, value]) => !isAbsent(value) && value !== "");
  return asked === undefined ? undefined : readMac(asked, problems);
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

/** Those for this network. Runtimes say them for every network of the container. */
function askedAliases(value: unknown, networks: readonly string[], problems: Problems): readonly string[] {
  const at = "runtimeConfig.aliases";
  const json = readObject(value, at, problems);
  const asked = [...new Set(networks)].flatMap((network) => {
    if (!Object.hasOwn(json, network)) return [];
    const path = `${at}.${shown(JSON.stringify(network))}`;
    return readStrings(json[network], path, problems).map((name, i) => [`${path}[${i}]`, name] as const);
  });
  return readAliases(asked, at, problems);
}
