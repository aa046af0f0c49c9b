/**
 * The rules for one entry of `overlays` by itself (spec: overlay §1.4 A8–A12, B8–B10, and the list of what the original
 * checked nowhere). Rules between entries are in address-space.ts and network-section.ts.
 */
import { type Cidr, type Family, lengthOf } from "../../model/ip.ts";
import { AGENT_SUBNET_LENGTH_MAX_IPV4, AGENT_SUBNET_LENGTH_MAX_IPV6 } from "../../model/limits.ts";
import { networkNameProblem } from "../../model/names.ts";
import type { OverlaySource } from "../../model/network-source.ts";
import { quote } from "./problems.ts";
import { isMapping, type Section } from "./section.ts";

const KEYS = ["name", "subnet", "prefix", "subnet6", "prefix6", "enabled", "strict_halves", "isolation", "egress"];

/** @returns what could be read of the entry; it is whole only if the section's problems did not grow */
export function readOverlay(section: Section): Partial<OverlaySource> {
  section.warnUnknown(KEYS);
  const name = readName(section);
  if (!section.has("subnet") && !section.has("subnet6"))
    section.refuse("subnet", "is missing, and subnet6 too", "give one of them or both, such as 9.0.0.0/8");
  const prefix = readSlice(section, 4);
  const prefix6 = readSlice(section, 6);
  const enabled = section.boolean("enabled");
  const strictHalves = section.boolean("strict_halves");
  const isolation = readIsolation(section);
  const egress = readEgress(section);
  return {
    ...(name !== undefined && { name }),
    ...sourceText(section, "subnet"),
    ...(prefix !== undefined && { prefix }),
    ...sourceText(section, "subnet6"),
    ...(prefix6 !== undefined && { prefix6 }),
    enabled: enabled ?? true,
    ...(strictHalves === true && { strict_halves: true }),
    ...(isolation !== undefined && { isolation }),
    ...(egress !== undefined && { egress }),
  };
}

function readName(section: Section): string | undefined {
  if (!section.require("name", "dcos")) return undefined;
  const name = section.text("name", "give a name such as dcos");
  if (name === undefined) return undefined;
  const problem = networkNameProblem(name);
  if (problem === undefined) return name;
  return section.refuse("name", `${quote(name)} ${problem}`, "give a short name such as dcos-1");
}

/** Reads a family's subnet and slice length, and checks that each agent's half has room for a container. */
function readSlice(section: Section, family: Family): number | undefined {
  const [subnetKey, prefixKey] = family === 4 ? ["subnet", "prefix"] : ["subnet6", "prefix6"];
  const longest = family === 4 ? AGENT_SUBNET_LENGTH_MAX_IPV4 : AGENT_SUBNET_LENGTH_MAX_IPV6;
  const subnet: Cidr | undefined = section.cidr(subnetKey, family);
  if (!section.has(subnetKey)) {
    if (section.has(prefixKey)) section.problems.warn(section.at(prefixKey), `has no effect without ${subnetKey}`);
    return section.integer(prefixKey, 0, family === 4 ? 32 : 128);
  }
  if (!section.require(prefixKey, family === 4 ? "24" : "80")) return undefined;
  if (subnet === undefined || lengthOf(subnet) <= longest)
    return section.integer(prefixKey, subnet === undefined ? 0 : lengthOf(subnet), longest);
  section.refuse(
    subnetKey,
    `${subnet} is too small: the longest slice that two halves with containers fit in is /${longest}`,
    `give a network of /${longest} or shorter`,
  );
  return undefined;
}

/** Whether the networks that it names are there is checked where all are known. */
function readIsolation(section: Section): OverlaySource["isolation"] {
  const value = section.raw("isolation");
  if (value === undefined || value === "open" || value === "closed") return value;
  const right = "give open, closed or { allow: [NETWORK, …] }";
  const allow = isMapping(value) && Object.keys(value).join() === "allow" ? value.allow : undefined;
  if (!Array.isArray(allow)) return section.refuse("isolation", `${quote(value)} is no isolation`, right);
  const odd = allow.find((name: unknown) => typeof name !== "string");
  if (odd !== undefined) return section.refuse("isolation.allow", `${quote(odd)} is not a network's name`, right);
  return { allow: [...new Set(allow as string[])] };
}

function readEgress(section: Section): OverlaySource["egress"] {
  const value = section.raw("egress");
  if (value === undefined || value === "masquerade" || value === "routed" || value === "none") return value;
  return section.refuse("egress", `${quote(value)} is no egress`, "give masquerade, routed or none");
}

function sourceText(section: Section, key: "subnet" | "subnet6"): Partial<OverlaySource> {
  const value = section.raw(key);
  return typeof value === "string" ? { [key]: value } : {};
}
