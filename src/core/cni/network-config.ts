/**
 * The configuration that a runtime gives a plugin on stdin (CNI 1.1.0, section 1), as far as Weft reads it.
 *
 * Keys that are unknown here are other people's and ignored. A known key of a wrong type is refused, and every problem
 * of one configuration is named at once, each with its path.
 */
import { Fault, messageOf } from "../../model/fault.ts";
import { type IpInterface, parseIp, parseIpInterface } from "../../model/ip.ts";
import { networkNameProblem } from "../../model/names.ts";
import { CNI_VERSIONS, type CniVersion, isCniVersion } from "./version.ts";

export type JsonObject = { readonly [key: string]: unknown };

export interface NetworkConfig {
  readonly cniVersion: CniVersion;
  /** The network to join: the key `network`, or the configuration's own name. */
  readonly network: string;
  readonly dns: JsonObject;
  readonly prevResult?: PrevResult;
}

/** What an earlier plugin of the chain answered to ADD, or, for CHECK and DEL, what the whole chain did. */
export interface PrevResult {
  /** As it came, for handing it on. */
  readonly json: JsonObject;
  readonly interfaces: readonly { readonly name: string; readonly sandbox: string }[];
  readonly ips: readonly { readonly address: IpInterface; readonly interface?: number }[];
}

/** @throws Fault undecodable when the bytes are no JSON object */
export function parseJsonObject(stdin: Uint8Array): JsonObject {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(stdin));
  } catch (error) {
    throw new Fault("undecodable", `the network configuration on stdin is no JSON: ${messageOf(error)}`);
  }
  if (!isObject(json)) throw new Fault("undecodable", "the network configuration on stdin must be a JSON object");
  return json;
}

/**
 * @throws Fault unsupported-version; bad-request with all problems in `facts.problems`
 */
export function readNetworkConfig(json: JsonObject): NetworkConfig {
  const cniVersion = readVersion(json);
  const problems: string[] = [];
  const name = readString(json, "name", problems);
  const network = json.network === undefined ? name : readString(json, "network", problems);
  if (network !== undefined) {
    const problem = networkNameProblem(network);
    if (problem !== undefined)
      problems.push(`${json.network === undefined ? "name" : "network"}: ${network} ${problem}`);
  }
  const dns = readDns(json.dns, problems);
  const prevResult = json.prevResult === undefined ? undefined : readPrevResult(json.prevResult, problems);
  if (problems.length > 0 || network === undefined)
    throw new Fault("bad-request", `the network configuration cannot be used: ${problems.join("; ")}`, { problems });
  return { cniVersion, network, dns, ...(prevResult === undefined ? {} : { prevResult }) };
}

function readVersion(json: JsonObject): CniVersion {
  if (isCniVersion(json.cniVersion)) return json.cniVersion;
  const given = json.cniVersion === undefined ? "no cniVersion" : `cniVersion ${JSON.stringify(json.cniVersion)}`;
  throw new Fault(
    "unsupported-version",
    `the network configuration names ${given}; this plugin speaks ${CNI_VERSIONS.join(", ")}`,
    { supported: CNI_VERSIONS },
  );
}

function readString(json: JsonObject, key: string, problems: string[]): string | undefined {
  const value = json[key];
  if (typeof value === "string") return value;
  problems.push(value === undefined ? `${key}: is missing` : `${key}: must be a string, is ${kindOf(value)}`);
  return undefined;
}

function readDns(value: unknown, problems: string[]): JsonObject {
  if (value === undefined) return {};
  if (!isObject(value)) {
    problems.push(`dns: must be an object, is ${kindOf(value)}`);
    return {};
  }
  const { nameservers, domain, search, options } = value;
  if (domain !== undefined && typeof domain !== "string")
    problems.push(`dns.domain: must be a string, is ${kindOf(domain)}`);
  for (const [key, list] of Object.entries({ nameservers, search, options }))
    if (list !== undefined) readList(list, `dns.${key}`, problems, (item) => typeof item === "string" || "a string");
  return JSON.parse(JSON.stringify({ nameservers, domain, search, options })) as JsonObject;
}

function readPrevResult(value: unknown, problems: string[]): PrevResult {
  const at = "prevResult";
  const before = problems.length;
  const json = isObject(value) ? value : {};
  if (!isObject(value)) problems.push(`${at}: must be an object, is ${kindOf(value)}`);
  const interfaces = json.interfaces ?? [];
  const ips = json.ips ?? [];
  readList(interfaces, `${at}.interfaces`, problems, interfaceProblem);
  readList(ips, `${at}.ips`, problems, ipProblem);
  readList(json.routes ?? [], `${at}.routes`, problems, (item) => isObject(item) || "an object");
  if (problems.length > before) return { json, interfaces: [], ips: [] };
  return {
    json,
    interfaces: (interfaces as { name: string; sandbox?: string }[]).map(({ name, sandbox }) => ({
      name,
      sandbox: sandbox ?? "",
    })),
    ips: (ips as { address: string; interface?: number }[]).map((item) => ({
      address: parseIpInterface(item.address) as IpInterface,
      ...(item.interface === undefined ? {} : { interface: item.interface }),
    })),
  };
}

/** `true`, or what the item should have been. */
type ItemRule = (item: unknown) => true | string;

const interfaceProblem: ItemRule = (item) =>
  (isObject(item) && typeof item.name === "string" && ["string", "undefined"].includes(typeof item.sandbox)) ||
  "an object with the strings name and sandbox";

const ipProblem: ItemRule = (item) =>
  (isObject(item) &&
    typeof item.address === "string" &&
    parseIpInterface(item.address) !== undefined &&
    (item.gateway === undefined || (typeof item.gateway === "string" && parseIp(item.gateway) !== undefined)) &&
    (item.interface === undefined || Number.isSafeInteger(item.interface))) ||
  "an object with an address in CIDR notation";

function readList(value: unknown, at: string, problems: string[], rule: ItemRule): void {
  if (!Array.isArray(value)) {
    problems.push(`${at}: must be a list, is ${kindOf(value)}`);
    return;
  }
  for (const [i, item] of value.entries()) {
    const expected = rule(item);
    if (expected !== true) problems.push(`${at}[${i}]: must be ${expected}, is ${kindOf(item)}`);
  }
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The value as a message shows it: short, and with its type. */
function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  return `the ${typeof value} ${JSON.stringify(value).slice(0, 40)}`;
}
