/**
 * One object of the configuration, read key by key: each reader returns the value in its type, or adds the problem and
 * returns `undefined`. A key that is absent is `undefined` without a problem; who needs it asks with `require`.
 */
import { type Cidr, type Family, familyOf, networkOf, parseCidr, parseIp, parseIpInterface } from "../../model/ip.ts";
import { type Problems, quote } from "./problems.ts";

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

export class Section {
  readonly path: string;
  readonly problems: Problems;
  readonly #values: Readonly<Record<string, unknown>>;

  constructor(path: string, values: Readonly<Record<string, unknown>>, problems: Problems) {
    this.path = path;
    this.#values = values;
    this.problems = problems;
  }

  at(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`;
  }

  has(key: string): boolean {
    return Object.hasOwn(this.#values, key);
  }

  /** The value as it was written. */
  raw(key: string): unknown {
    return this.has(key) ? this.#values[key] : undefined;
  }

  /** The string as it was written; empty where something else stands, which its own reader refuses. */
  verbatim(key: string): string {
    const value = this.raw(key);
    return typeof value === "string" ? value : "";
  }

  refuse(key: string, wrong: string, right: string): undefined {
    this.problems.add(this.at(key), wrong, right);
    return undefined;
  }

  /** Whether the key is there; a problem otherwise. `example` is a value that would be right. */
  require(key: string, example: string): boolean {
    if (!this.has(key)) this.refuse(key, "is missing", `give one, such as ${example}`);
    return this.has(key);
  }

  text(key: string, right: string): string | undefined {
    const value = this.raw(key);
    if (value === undefined || typeof value === "string") return value;
    return this.refuse(key, `${quote(value)} is not a string`, right);
  }

  /** An integer in `[min, max]`, or its decimal digits as a string: generators of such files quote numbers. */
  integer(key: string, min: number, max: number): number | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    const number = typeof value === "string" && /^[+-]?\d{1,15}$/.test(value) ? Number(value) : value;
    if (typeof number === "number" && Number.isSafeInteger(number) && number >= min && number <= max) return number;
    const wrong = typeof number === "number" && Number.isInteger(number) ? "is out of range" : "is not an integer";
    return this.refuse(key, `${quote(value)} ${wrong}`, `give an integer from ${min} to ${max}`);
  }

  /** Seconds, written with a unit: `30s`, `10m`, `24h`, `7d`. */
  duration(key: string, min: number, max: number): number | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    const [, number, unit] = typeof value === "string" ? (/^(\d{1,9})([smhd])$/.exec(value) ?? []) : [];
    const seconds = Number(number) * (UNIT_SECONDS[unit ?? ""] ?? Number.NaN);
    if (seconds >= min && seconds <= max) return seconds;
    const wrong = Number.isNaN(seconds) ? "is no time with a unit" : "is out of range";
    return this.refuse(key, `${quote(value)} ${wrong}`, `give one such as 10m or 24h, from ${min}s to ${max}s`);
  }

  boolean(key: string): boolean | undefined {
    const value = this.raw(key);
    if (value === undefined || typeof value === "boolean") return value;
    return this.refuse(key, `${quote(value)} is not a boolean`, "give true or false, without quotes");
  }

  /** A boolean, or one of the strings `true` and `false`, as the original's installer wrote its parameters. */
  flag(key: string): boolean | undefined {
    const value = this.raw(key);
    if (value === "true" || value === "false") return value === "true";
    if (value === undefined || typeof value === "boolean") return value;
    return this.refuse(key, `${quote(value)} is not a boolean`, "give true or false");
  }

  cidr(key: string, family: Family): Cidr | undefined {
    const value = this.raw(key);
    if (value === undefined) return undefined;
    const example = family === 4 ? "9.0.0.0/8" : "fd01:b::/64";
    const right = `give an IPv${family} network such as ${example}`;
    if (typeof value !== "string") return this.refuse(key, `${quote(value)} is not an IPv${family} network`, right);
    const prefix = parseCidr(value);
    if (prefix !== undefined && familyOf(prefix) === family) return prefix;
    return this.refuse(key, `${quote(value)} ${cidrProblem(value, family)}`, cidrRemedy(value, family) ?? right);
  }

  /** Keys that nobody reads are accepted; in these sections they are most likely misspelt. */
  warnUnknown(known: readonly string[]): void {
    for (const key of Object.keys(this.#values))
      if (!known.includes(key))
        this.problems.warn(this.at(key), `is not a known key and has no effect; known are ${known.join(", ")}`);
  }
}

function cidrProblem(text: string, family: Family): string {
  const parsed = parseIpInterface(text);
  if (parsed !== undefined && familyOf(parsed) !== family)
    return `is an IPv${familyOf(parsed)} network, not an IPv${family} one`;
  if (parsed !== undefined) return "has host bits set";
  const address = parseIp(text);
  return address === undefined ? `is not an IPv${family} network` : "has no prefix length";
}

function cidrRemedy(text: string, family: Family): string | undefined {
  const parsed = parseIpInterface(text);
  return parsed !== undefined && familyOf(parsed) === family ? `did you mean ${networkOf(parsed)}?` : undefined;
}

/** Whether the value is a mapping, as opposed to a list, a scalar or nothing. */
export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
