/**
 * The `dcos_overlay_network` object: all its rules except those that need the rest of the file. One validator for what
 * the original split between its installer and its master (spec: overlay §1.4 A1–A13, B1–B12).
 */
import { type Cidr, familyOf, lengthOf, parseCidr } from "../../model/ip.ts";
import {
  MTU_MAX,
  MTU_MIN,
  OVERLAYS_MAX,
  VTEP_SUBNET_LENGTH_MAX_IPV4,
  VTEP_SUBNET_LENGTH_MAX_IPV6,
  VTEP_SUBNET_LENGTH_MIN,
} from "../../model/limits.ts";
import { macToBytes, parseMac } from "../../model/mac.ts";
import type { NetworkSource, OverlaySource, SpaceSource } from "../../model/network-source.ts";
import type { Claim } from "./address-space.ts";
import { readOverlay } from "./overlay-section.ts";
import { quote } from "./problems.ts";
import { isMapping, Section } from "./section.ts";

const KEYS = ["vtep_subnet", "vtep_subnet6", "vtep_mac_oui", "vtep_mtu", "overlays"];

export interface NetworkSection {
  /** A valid source only when no problem was added. */
  readonly source: NetworkSource;
  readonly claims: readonly Claim[];
}

/** @param needsVtep6 whether overlays with IPv6 need a pool of IPv6 VTEP addresses: not when IPv6 is switched off */
export function readNetwork(section: Section, needsVtep6: boolean): NetworkSection {
  section.warnUnknown(KEYS);
  const vtepSubnet = readVtepSubnet(section);
  const vtepSubnet6 = readVtepSubnet6(section);
  checkOui(section);
  const vtepMtu = section.integer("vtep_mtu", MTU_MIN, MTU_MAX);
  const overlays = readOverlays(section);
  const v6 = overlays.find((overlay) => hasIpv6(overlay));
  if (needsVtep6 && v6 !== undefined && !section.has("vtep_subnet6"))
    section.refuse(
      "vtep_subnet6",
      `is missing, but the overlay ${quote(v6.name)} has subnet6`,
      "give one, such as fd01:a::/64",
    );
  return {
    source: {
      vtep_subnet: section.verbatim("vtep_subnet"),
      ...(section.has("vtep_subnet6") && { vtep_subnet6: section.verbatim("vtep_subnet6") }),
      vtep_mac_oui: section.verbatim("vtep_mac_oui"),
      ...(vtepMtu !== undefined && { vtep_mtu: vtepMtu }),
      overlays: overlays as readonly OverlaySource[],
    },
    claims: [
      ...claimOf(section.at("vtep_subnet"), vtepSubnet, "vtep"),
      ...claimOf(section.at("vtep_subnet6"), vtepSubnet6, "vtep"),
      ...overlays.flatMap((overlay, i) => overlayClaims(section.at(`overlays[${i}]`), overlay)),
    ],
  };
}

function hasIpv6({ subnet6, more = [] }: Partial<OverlaySource>): boolean {
  return [{ subnet6 }, ...more].some((space) => space.subnet6 !== undefined);
}

function readVtepSubnet(section: Section): Cidr | undefined {
  if (!section.require("vtep_subnet", "44.128.0.0/20")) return undefined;
  const subnet = section.cidr("vtep_subnet", 4);
  if (subnet !== undefined && lengthOf(subnet) < VTEP_SUBNET_LENGTH_MIN)
    section.refuse(
      "vtep_subnet",
      `${subnet} is larger than /${VTEP_SUBNET_LENGTH_MIN}: the last 24 bits make each VTEP's MAC and must be unique`,
      `give a network of /${VTEP_SUBNET_LENGTH_MIN} or longer`,
    );
  checkVtepRoom(section, "vtep_subnet", subnet);
  return subnet;
}

function readVtepSubnet6(section: Section): Cidr | undefined {
  const subnet = section.cidr("vtep_subnet6", 6);
  checkVtepRoom(section, "vtep_subnet6", subnet);
  return subnet;
}

function checkVtepRoom(section: Section, key: string, subnet: Cidr | undefined): void {
  if (subnet === undefined) return;
  const longest = familyOf(subnet) === 4 ? VTEP_SUBNET_LENGTH_MAX_IPV4 : VTEP_SUBNET_LENGTH_MAX_IPV6;
  if (lengthOf(subnet) > longest)
    section.refuse(key, `${subnet} has no room for VTEP addresses`, `give a network of /${longest} or shorter`);
}

function checkOui(section: Section): void {
  const right = "give three bytes and three zeros, such as 70:B3:D5:00:00:00";
  if (!section.require("vtep_mac_oui", "70:B3:D5:00:00:00")) return;
  const text = section.text("vtep_mac_oui", right);
  if (text === undefined) return;
  const oui = parseMac(text);
  if (oui === undefined) {
    section.refuse("vtep_mac_oui", `${quote(text)} is not six bytes in hexadecimal with colons`, right);
    return;
  }
  const bytes = macToBytes(oui);
  if (bytes.slice(3).some((byte) => byte !== 0))
    section.refuse("vtep_mac_oui", `the last three bytes of ${quote(text)} are not zero`, right);
  if (((bytes[0] ?? 0) & 1) !== 0)
    section.refuse("vtep_mac_oui", `${quote(text)} is a multicast address: its first byte is odd`, right);
}

function readOverlays(section: Section): Partial<OverlaySource>[] {
  const right = "give a list with at least one network";
  if (!section.has("overlays")) section.refuse("overlays", "is missing", right);
  if (!section.has("overlays")) return [];
  const list = section.raw("overlays");
  if (!Array.isArray(list)) section.refuse("overlays", `${quote(list)} is not a list`, right);
  if (!Array.isArray(list)) return [];
  if (list.length === 0) section.refuse("overlays", "is empty", right);
  if (list.length > OVERLAYS_MAX)
    section.refuse("overlays", `has ${list.length} networks`, `give at most ${OVERLAYS_MAX}`);
  const overlays = list.slice(0, OVERLAYS_MAX).map((entry: unknown, i) => {
    const path = section.at(`overlays[${i}]`);
    if (isMapping(entry)) return readOverlay(new Section(path, entry, section.problems));
    section.problems.add(path, `${quote(entry)} is not a mapping`, "give name, subnet and prefix");
    return {};
  });
  checkUniqueNames(section, overlays);
  return overlays;
}

/** Only of a file: what is stored may allow a network that was refused when it was to be added. */
export function checkAllowed(section: Section, { overlays }: NetworkSource): void {
  const names = overlays.flatMap(({ name }) => name ?? []);
  overlays.forEach(({ isolation }, i) => {
    if (typeof isolation !== "object") return;
    for (const name of isolation.allow)
      if (!names.includes(name))
        section.problems.add(
          section.at(`overlays[${i}].isolation.allow`),
          `there is no network ${quote(name)}`,
          `give names of networks in this file: ${quote(names.join(", "))}`,
        );
  });
}

/** Names that differ only by case are refused too: file systems and rule names may not tell them apart. */
function checkUniqueNames(section: Section, overlays: readonly Partial<OverlaySource>[]): void {
  const first = new Map<string, { name: string; path: string }>();
  overlays.forEach(({ name }, i) => {
    if (name === undefined) return;
    const path = section.at(`overlays[${i}].name`);
    const earlier = first.get(name.toLowerCase());
    if (earlier === undefined) {
      first.set(name.toLowerCase(), { name, path });
      return;
    }
    const how = earlier.name === name ? "is also the name" : "differs only by case from the name";
    section.problems.add(path, `${quote(name)} ${how} at ${earlier.path}`, "give each network a name of its own");
  });
}

function overlayClaims(path: string, overlay: Partial<OverlaySource>): Claim[] {
  return [
    ...spaceClaims(path, overlay),
    ...(overlay.more ?? []).flatMap((space, i) => spaceClaims(`${path}.more[${i}]`, space)),
  ];
}

function spaceClaims(path: string, space: SpaceSource): Claim[] {
  return [
    ...claimOf(`${path}.subnet`, familyCidr(space.subnet, 4), "overlay"),
    ...claimOf(`${path}.subnet6`, familyCidr(space.subnet6, 6), "overlay"),
  ];
}

function familyCidr(text: string | undefined, family: 4 | 6): Cidr | undefined {
  const prefix = parseCidr(text ?? "");
  return prefix !== undefined && familyOf(prefix) === family ? prefix : undefined;
}

function claimOf(path: string, prefix: Cidr | undefined, kind: Claim["kind"]): Claim[] {
  return prefix === undefined ? [] : [{ path, prefix, kind }];
}
