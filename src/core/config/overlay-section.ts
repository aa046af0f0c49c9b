/**
 * The rules for one entry of `overlays` by itself (spec: overlay §1.4 A8–A12, B8–B10, and the list of what the original
 * checked nowhere). Rules between entries are in address-space.ts and network-section.ts.
 */
import { type Cidr, type Family, lengthOf } from "../../model/ip.ts";
import { AGENT_SUBNET_LENGTH_MAX_IPV4, AGENT_SUBNET_LENGTH_MAX_IPV6, SPACES_MAX } from "../../model/limits.ts";
import { networkNameProblem } from "../../model/names.ts";
import type { OverlaySource, SpaceSource } from "../../model/network-source.ts";
import { quote } from "./problems.ts";
import { isMapping, Section } from "./section.ts";

const SPACE_KEYS = ["subnet", "prefix", "subnet6", "prefix6", "draining"];
const KEYS = ["name", ...SPACE_KEYS, "more", "enabled", "strict_halves", "phase", "isolation", "egress"];

/** @returns what could be read of the entry; it is whole only if the section's problems did not grow */
export function readOverlay(section: Section): Partial<OverlaySource> {
  section.warnUnknown(KEYS);
  const name = readName(section);
  const space = readSpace(section);
  const more = readMore(section);
  requireLasting(section, [space, ...more]);
  const enabled = section.boolean("enabled");
  const strictHalves = section.boolean("strict_halves");
  const isolation = readIsolation(section);
  const egress = readEgress(section);
  return {
    ...(name !== undefined && { name }),
    ...space,
    ...(more.length > 0 && { more }),
    enabled: enabled ?? true,
    ...(strictHalves === true && { strict_halves: true }),
    ...readPhase(section),
    ...(isolation !== undefined && { isolation }),
    ...(egress !== undefined && { egress }),
  };
}

function readSpace(section: Section): SpaceSource {
  if (!section.has("subnet") && !section.has("subnet6"))
    section.refuse("subnet", "is missing, and subnet6 too", "give one of them or both, such as 9.0.0.0/8");
  const prefix = readSlice(section, 4);
  const prefix6 = readSlice(section, 6);
  const draining = section.boolean("draining");
  return {
    ...sourceText(section, "subnet"),
    ...(prefix !== undefined && { prefix }),
    ...sourceText(section, "subnet6"),
    ...(prefix6 !== undefined && { prefix6 }),
    ...(draining === true && { draining }),
  };
}

/** Further address spaces of the network, each by the rules of the first. */
function readMore(section: Section): SpaceSource[] {
  const right = "give a list of further address spaces, each with subnet and prefix";
  const list = section.raw("more");
  if (list === undefined) return [];
  if (!Array.isArray(list)) section.refuse("more", `${quote(list)} is not a list`, right);
  if (!Array.isArray(list)) return [];
  if (list.length >= SPACES_MAX)
    section.refuse("more", `has ${list.length} address spaces`, `give at most ${SPACES_MAX - 1}`);
  return list.slice(0, SPACES_MAX - 1).map((entry: unknown, i) => {
    const path = section.at(`more[${i}]`);
    if (!isMapping(entry)) {
      section.problems.add(path, `${quote(entry)} is not a mapping`, right);
      return {};
    }
    const space = new Section(path, entry, section.problems);
    space.warnUnknown(SPACE_KEYS);
    return readSpace(space);
  });
}

/** Where a space is draining, agents need another one of the family. */
function requireLasting(section: Section, spaces: readonly SpaceSource[]): void {
  for (const key of ["subnet", "subnet6"] as const) {
    const having = spaces.filter((space) => space[key] !== undefined);
    if (having.length > 0 && having.every(({ draining }) => draining === true))
      section.refuse(
        "draining",
        `no ${key} is left that is not draining`,
        `add the ${key} that takes its place under more, or take draining away`,
      );
  }
}

function readPhase(section: Section): Partial<OverlaySource> {
  if (!section.has("phase")) return {};
  const phase = section.raw("phase");
  if (phase === "draining") return { phase };
  section.refuse("phase", `${quote(phase)} is none`, "give draining, or leave it out");
  return {};
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
