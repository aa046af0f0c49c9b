/**
 * The configuration that a runtime gives a plugin on stdin (CNI 1.1.0, section 1), as far as every verb reads it. What
 * only one verb reads is elsewhere: what a container asks for in wishes.ts, the list of GC in valid-attachments.ts.
 *
 * Keys that are unknown here are other people's and ignored. A known key of a wrong type is refused, and every problem
 * of one configuration is named at once, each with its path.
 */
import { Fault } from "../../model/fault.ts";
import { networkNameProblem } from "../../model/names.ts";
import { IPAM_PLUGIN } from "./conflist.ts";
import { isAbsent, type JsonObject, kindOf, type Problems, readObject, readString, readStrings } from "./json.ts";
import { type PrevResult, readPrevResult } from "./result.ts";
import { CNI_VERSIONS, type CniVersion, isCniVersion } from "./version.ts";

export interface NetworkConfig {
  readonly cniVersion: CniVersion;
  /** The configuration's own name, by which runtimes know the network. */
  readonly name: string;
  /** The network to join: the key `network` (of `ipam`, when it is weft-ipam's), or the configuration's own name. */
  readonly network: string;
  readonly dns: JsonObject;
  readonly prevResult?: PrevResult;
  /** The other plugin that gives the addresses. */
  readonly ipam?: { readonly type: string };
  /** As it came, for handing it to another plugin. */
  readonly json: JsonObject;
}

/**
 * The version that a configuration is in, and its answer has to be in.
 *
 * Runtimes choose one of `cniVersions` and write it as `cniVersion`; where none did, the newest that we speak counts.
 * @returns `undefined` when we speak none of them
 */
export function versionOf({ cniVersion, cniVersions }: JsonObject): CniVersion | undefined {
  if (isCniVersion(cniVersion)) return cniVersion;
  if (cniVersion !== undefined || !Array.isArray(cniVersions)) return undefined;
  return CNI_VERSIONS.findLast((version) => cniVersions.includes(version));
}

/** @throws Fault unsupported-version */
export function requireVersion(json: JsonObject): CniVersion {
  const version = versionOf(json);
  if (version !== undefined) return version;
  const given = json.cniVersion === undefined ? "no cniVersion" : `cniVersion ${JSON.stringify(json.cniVersion)}`;
  throw new Fault(
    "unsupported-version",
    `the network configuration names ${given}; this plugin speaks ${CNI_VERSIONS.join(", ")}`,
    { supported: CNI_VERSIONS },
  );
}

/** `cniVersion` is what `requireVersion` said. What is wrong is appended to `problems`; then the value is of no use. */
export function readNetworkConfig(json: JsonObject, cniVersion: CniVersion, problems: Problems): NetworkConfig {
  const name = requireString(json, "name", problems);
  const ipam = readObject(json.ipam, "ipam", problems);
  const type = readString(ipam.type, "ipam.type", problems) ?? "";
  if (type.includes("/") || type === "." || type === "..")
    problems.push(`ipam.type: must be a plugin's name without '/', is ${kindOf(type)}`);
  const dns = readDns(json.dns, problems);
  const prevResult = json.prevResult === undefined ? undefined : readPrevResult(json.prevResult, problems);
  return {
    cniVersion,
    name,
    network: readNetwork(json, type === IPAM_PLUGIN ? ipam : {}, name, problems),
    dns,
    ...(prevResult === undefined ? {} : { prevResult }),
    ...(type === "" || type === IPAM_PLUGIN ? {} : { ipam: { type } }),
    json,
  };
}

function readNetwork(json: JsonObject, ipam: JsonObject, name: string, problems: Problems): string {
  const [at, network] =
    ipam.network !== undefined
      ? (["ipam.network", requireString(ipam, "network", problems, "ipam.")] as const)
      : json.network !== undefined
        ? (["network", requireString(json, "network", problems)] as const)
        : (["name", name] as const);
  const problem = network === "" ? undefined : networkNameProblem(network);
  if (problem !== undefined) problems.push(`${at}: ${network} ${problem}`);
  return network;
}

/** The string; an empty one is as wrong as none. */
function requireString(json: JsonObject, key: string, problems: Problems, prefix = ""): string {
  const value = json[key];
  if (typeof value === "string" && value !== "") return value;
  const at = `${prefix}${key}`;
  if (value === undefined) problems.push(`${at}: is missing`);
  else problems.push(value === "" ? `${at}: is empty` : `${at}: must be a string, is ${kindOf(value)}`);
  return "";
}

function readDns(value: unknown, problems: Problems): JsonObject {
  const { nameservers, domain, search, options } = readObject(value, "dns", problems);
  readString(domain, "dns.domain", problems);
  for (const [key, list] of Object.entries({ nameservers, search, options })) readStrings(list, `dns.${key}`, problems);
  return Object.fromEntries(
    Object.entries({ nameservers, domain, search, options }).filter(([, given]) => !isAbsent(given)),
  );
}
