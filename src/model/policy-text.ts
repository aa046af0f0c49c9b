/**
 * Policies as people write and read them: `app=web,tier=1` selects by labels, `tcp/5432,tcp/8000-8010` are ports.
 */
import type { PolicyPorts, Selector } from "./policy.ts";

/** `undefined`: it is none. A comma in a value cannot be written; the HTTP interface takes any. */
export function parseSelector(text: string): Selector | undefined {
  const pairs = text.split(",").map((part) => /^([^=]+)=(.*)$/.exec(part.trim())?.slice(1));
  const whole = pairs.filter((pair) => pair !== undefined);
  const keys = new Set(whole.map(([key]) => key));
  if (whole.length < pairs.length || keys.size < whole.length) return undefined;
  return Object.fromEntries(whole.map(([key = "", value = ""]) => [key, value]));
}

/** `undefined`: they are none. */
export function parsePolicyPorts(text: string): readonly PolicyPorts[] | undefined {
  const parts = text.split(",").map((part): PolicyPorts | undefined => {
    const [, protocol, from = "", to = from] = /^(tcp|udp)\/(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim()) ?? [];
    const [first, last] = [Number(from), Number(to)];
    if ((protocol !== "tcp" && protocol !== "udp") || first < 1 || last > 65_535 || last < first) return undefined;
    return { protocol, first, last };
  });
  const whole = parts.filter((part) => part !== undefined);
  return whole.length < parts.length ? undefined : whole;
}

export function selectorText(selector: Selector): string {
  return Object.entries(selector)
    .map(([key, value]) => `${key}=${value}`)
    .join();
}

export function policyPortsText(ports: readonly PolicyPorts[]): string {
  if (ports.length === 0) return "all";
  return ports.map(({ protocol, first, last }) => `${protocol}/${first}${last === first ? "" : `-${last}`}`).join();
}
