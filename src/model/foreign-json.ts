/**
 * Reading JSON that somebody else wrote: each value is checked where it is taken, and what is wrong is noted with its
 * path, so that one answer names all of it. Nothing here throws for a wrong value.
 *
 * `null` is an absent value: the runtimes are written in Go, whose empty lists and maps become `null`.
 */
import { Fault, messageOf } from "./fault.ts";
import { type Ip, parseIp } from "./ip.ts";
import { CNI_JSON_DEPTH_MAX, CNI_PROBLEMS_SHOWN_MAX, PARAMETER_SHOWN_MAX } from "./limits.ts";

export type JsonObject = { readonly [key: string]: unknown };

/** What is wrong so far, each as `path: what it must be`. Readers append. */
export type Problems = string[];

/** @param what the bytes are, for the message. @throws Fault undecodable when they are no JSON object */
export function parseJsonObject(stdin: Uint8Array, what = "the network configuration on stdin"): JsonObject {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(stdin));
  } catch (error) {
    throw new Fault("undecodable", `${what} is no JSON: ${messageOf(error)}`);
  }
  // Read back it can be, written again it cannot: the stack ends somewhere.
  if (isDeeperThan(CNI_JSON_DEPTH_MAX, json))
    throw new Fault("undecodable", `${what} is nested more than ${CNI_JSON_DEPTH_MAX} deep`);
  if (!isObject(json)) throw new Fault("undecodable", `${what} must be a JSON object`);
  return json;
}

function isDeeperThan(levels: number, value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeperThan(levels - 1, inner));
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The string, or `undefined` when it is absent or no string. */
export function readString(value: unknown, at: string, problems: Problems): string | undefined {
  if (typeof value === "string") return value;
  if (!isAbsent(value)) problems.push(`${at}: must be a string, is ${kindOf(value)}`);
  return undefined;
}

/** The string; absent and empty are wrong too. "" when there is none. */
export function requireString(value: unknown, at: string, problems: Problems): string {
  if (isAbsent(value)) problems.push(`${at}: is missing`);
  else if (value === "") problems.push(`${at}: is empty`);
  return readString(value, at, problems) ?? "";
}

/** The object; an empty one when it is absent or none. */
export function readObject(value: unknown, at: string, problems: Problems): JsonObject {
  if (isObject(value)) return value;
  if (!isAbsent(value)) problems.push(`${at}: must be an object, is ${kindOf(value)}`);
  return {};
}

/** The list; an empty one when it is absent or none. */
export function readList(value: unknown, at: string, problems: Problems): readonly unknown[] {
  if (Array.isArray(value)) return value;
  if (!isAbsent(value)) problems.push(`${at}: must be a list, is ${kindOf(value)}`);
  return [];
}

/** The objects of a list, each with its path; what is none is left out. */
export function readObjects(value: unknown, at: string, problems: Problems): (readonly [JsonObject, string])[] {
  return readList(value, at, problems).flatMap((item, i) => {
    const path = `${at}[${i}]`;
    if (isObject(item)) return [[item, path] as const];
    problems.push(`${path}: must be an object, is ${kindOf(item)}`);
    return [];
  });
}

/** The strings of a list; what is none is left out. */
export function readStrings(value: unknown, at: string, problems: Problems): readonly string[] {
  return readList(value, at, problems).flatMap((item, i) => {
    if (typeof item === "string") return [item];
    problems.push(`${at}[${i}]: must be a string, is ${kindOf(item)}`);
    return [];
  });
}

/** The whole number from `least` to `most`; `undefined` when it is absent or none. */
export function readInteger(
  value: unknown,
  at: string,
  [least, most]: readonly [number, number],
  problems: Problems,
): number | undefined {
  if (Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most) return value as number;
  if (!isAbsent(value)) problems.push(`${at}: must be a whole number from ${least} to ${most}, is ${kindOf(value)}`);
  return undefined;
}

/** The address in its usual text form; `undefined` when it is absent or none. */
export function readIp(value: unknown, at: string, problems: Problems): Ip | undefined {
  const ip = typeof value === "string" ? parseIp(value) : undefined;
  if (ip === undefined && !isAbsent(value)) problems.push(`${at}: must be an IP address, is ${kindOf(value)}`);
  return ip;
}

/**
 * The value of a key however it is written, exactly so first: containerd writes Go's own names (`HostPort`), and plugins
 * in Go take them.
 */
export function anyCase(json: JsonObject, key: string): unknown {
  if (Object.hasOwn(json, key)) return json[key];
  const lower = key.toLowerCase();
  const other = Object.keys(json).find((candidate) => candidate.toLowerCase() === lower);
  return other === undefined ? undefined : json[other];
}

export function isAbsent(value: unknown): value is undefined | null {
  return value === undefined || value === null;
}

/** The value as a message shows it: short, and with its type. */
export function kindOf(value: unknown): string {
  if (value === undefined) return "missing";
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "an object";
  return `the ${typeof value} ${shown(JSON.stringify(value))}`;
}

/** The beginning of a text that may be of any length. */
export function shown(text: string): string {
  return text.length > PARAMETER_SHOWN_MAX ? `${text.slice(0, PARAMETER_SHOWN_MAX)}…` : text;
}

/** The first problems in one sentence; the rest is counted. */
export function listed(problems: readonly string[]): string {
  const more = problems.length - CNI_PROBLEMS_SHOWN_MAX;
  return problems.slice(0, CNI_PROBLEMS_SHOWN_MAX).join("; ") + (more > 0 ? `; and ${more} more` : "");
}
