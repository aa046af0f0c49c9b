/**
 * The configuration that a runtime gives a plugin on stdin (CNI 1.1.0, section 1), as far as every verb reads it. What
 * only one verb reads is elsewhere: what a container asks for in wishes.ts, the list of GC in valid-attachments.ts.
 *
 * Keys that are unknown here are other people's and ignored. A known key of a wrong type is refused, and every problem
 * of one configuration is named at once, each with its path.
 */
import { Fault } from "../../model/fault.ts";
import {
  isAbsent,
  type JsonObject,
  kindOf,
  type Problems,
  readObject,
  readString,
  requireString,
  shown,
} from "../../model/foreign-json.ts";
import { networkNameProblem } from "../../model/names.ts";
import { IPAM_PLUGIN } from "./conflist.ts";
import { readDns } from "./dns.ts";
import { type PrevResult, readPrevResult } from "./result.ts";
import { CNI_VERSIONS, type CniVersion, isCniVersion } from "./version.ts";

export interface NetworkConfig {
  readonly cniVersion: CniVersion;
  /** The configuration's own name, by which runtimes know the network. */
  readonly name: string;
  /** The network to join: the key `network` (of `ipam`, when it is weft-ipam's), or the configuration's own name. */
  readonly network: string;
  /** The resolver of a container, for the result: the configuration's, or what the runtime would rather have. */
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
  const given =
    json.cniVersion === undefined ? "no cniVersion" : `cniVersion ${shown(JSON.stringify(json.cniVersion))}`;
  throw new Fault(
    "unsupported-version",
    `the network configuration names ${given}; this plugin speaks ${CNI_VERSIONS.join(", ")}`,
    { supported: CNI_VERSIONS },
  );
}

/** `cniVersion` is what `requireVersion` said. What is wrong is appended to `problems`; then the value is of no use. */
export function readNetworkConfig(json: JsonObject, cniVersion: CniVersion, problems: Problems): NetworkConfig {
  const name = requireString(json.name, "name", problems);
  const ipam = readObject(json.ipam, "ipam", problems);
  const type = readString(ipam.type, "ipam.type", problems) ?? "";
  if (type.includes("/") || type === "." || type === "..")
    problems.push(`ipam.type: must be a plugin's name without '/', is ${kindOf(type)}`);
  const dns = readDns(json, problems);
  const prevResult = isAbsent(json.prevResult) ? undefined : readPrevResult(json.prevResult, problems);
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
  const [at, network] = !isAbsent(ipam.network)
    ? (["ipam.network", requireString(ipam.network, "ipam.network", problems)] as const)
    : !isAbsent(json.network)
      ? (["network", requireString(json.network, "network", problems)] as const)
      : (["name", name] as const);
  const problem = network === "" ? undefined : networkNameProblem(network);
  if (problem !== undefined) problems.push(`${at}: ${shown(network)} ${problem}`);
  return network;
}
