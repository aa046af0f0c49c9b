/**
 * The datapath of a host: how high it may go, and what its maps say (docs/decisions/0041, 0042).
 *
 * It says again what routes, neighbours, FDB entries and nftables say, and is made of just these. Where something is not
 * known, does not fit or is somebody else's to decide, it says less: then the kernel does it.
 */
import { type Attachment, addressesOf } from "../../model/attachment.ts";
import {
  DATAPATH_GUARDED_MAX,
  DATAPATH_LENGTHS_MAX,
  DATAPATH_LOCALS_MAX,
  DATAPATH_PEERS_MAX,
  DATAPATH_SPECIAL_MAX,
  DATAPATH_TALK_MAX,
} from "../../model/datapath-limits.ts";
import { type Cidr, contains, type Family, familyOf, hostCidr, type Ip, lengthOf } from "../../model/ip.ts";
import { VXLAN_OVERHEAD_IPV4 } from "../../model/limits.ts";
import type { Mac } from "../../model/mac.ts";
import {
  type AttachedProgram,
  type Datapath,
  type DatapathEntry,
  type DatapathFeature,
  type DatapathSettings,
  entryFamily,
} from "../host/datapath.ts";
import { MAIN_TABLE, type NftTable } from "../host/host-state.ts";
import { type OverlayContext, overlayPrefixes, servedFamilies } from "./context.ts";
import { groupsOf } from "./groups.ts";
import type { PeerEntries } from "./peers.ts";
import { TRACKED } from "./policies.ts";
import { PrefixSet } from "./prefix-set.ts";
import { GATEWAY_MAC, mtuOf, vtepMtu } from "./vtep.ts";

/** 0: the plain kernel. 1: programs around its VXLAN device. 2: programs in its place. */
export type DatapathLevel = 0 | 1 | 2;

/** What a host's datapath is, for people. */
export interface DatapathReport {
  readonly level: DatapathLevel;
  /** Why it is not higher, one phrase each; empty at level 2. */
  readonly reasons: readonly string[];
  /** What of it is left to the kernel, and why. */
  readonly notes: readonly string[];
}

/** How high this host may go, before anything is known of peers and containers. */
export function datapathLevel(context: OverlayContext): Pick<DatapathReport, "level" | "reasons"> {
  const { facts, features, assignment, datapath } = context;
  const wanted = datapath?.maxLevel ?? 0;
  const none: string[] = [];
  if (wanted === 0) none.push("it is set to 0");
  if (!isThere(features.datapath)) none.push(features.datapath?.missing ?? "the kernel was not asked");
  if (none.length > 0) return { level: 0, reasons: none };
  const low: string[] = [];
  if (wanted === 1) low.push("it is set to 1");
  if (isThere(features.datapath) && !features.datapath.encapsulates)
    low.push("this kernel cannot encapsulate in programs");
  if (familyOf(assignment.agent.ip) === 6) low.push("the hosts reach each other by IPv6");
  if (facts.underlayMac === undefined) low.push(`${facts.underlayDev} is no Ethernet device`);
  if (facts.isEncrypted === true) low.push("IPsec policies are in force, which programs would pass by");
  if (vtepMtu(context) > facts.underlayMtu - VXLAN_OVERHEAD_IPV4)
    low.push(
      `the tunnel's MTU of ${vtepMtu(context)} does not fit ${facts.underlayDev}, which has ${facts.underlayMtu}`,
    );
  return low.length > 0 ? { level: 1, reasons: low } : { level: 2, reasons: [] };
}

export interface DatapathInput {
  readonly attachments: readonly Attachment[];
  readonly entries: PeerEntries;
  /** What the kernel does with packets, as it is desired. */
  readonly tables: readonly NftTable[];
}

/** None at level 0, and where what must be known of all packets does not fit: then packets would go where they must not. */
export function desiredDatapath(
  context: OverlayContext,
  { attachments, entries, tables }: DatapathInput,
): readonly Datapath[] {
  const { level } = datapathLevel(context);
  const guarded = guardedAddresses(tables);
  const services = context.services ?? [];
  const locals = attachments.flatMap((attachment) => localEntries(attachment, context));
  // Without all of these packets would go where they must not.
  if (isOver(guarded, DATAPATH_GUARDED_MAX) || isOver(services, DATAPATH_SPECIAL_MAX)) return [];
  if (
    level === 0 ||
    groupsOf(context.assignment).isAmbiguous ||
    isOver(locals.map(addressOfLocal), DATAPATH_LOCALS_MAX)
  )
    return [];
  const peers = peerRoutes(context, entries);
  const talk = groupsOf(context.assignment).talks.map(([from, to]): DatapathEntry => ({ map: "talk", from, to }));
  return [
    {
      ...nameOf(context),
      settings: settingsOf(context, peers, { hasGuarded: guarded.length > 0, hasSpecial: services.length > 0 }),
      programs: programsOf(context, level, attachments),
      entries: [
        ...locals,
        ...fitting(talk, DATAPATH_TALK_MAX),
        ...fitting(peers, DATAPATH_PEERS_MAX),
        ...guarded.map((ip): DatapathEntry => ({ map: "guarded", ip })),
        ...services.map((ip): DatapathEntry => ({ map: "special", ip })),
      ],
    },
  ];
}

/** @param datapath what `desiredDatapath` made of it */
export function datapathReport(context: OverlayContext, datapath: Datapath | undefined): DatapathReport {
  const { level, reasons } = datapathLevel(context);
  if (level === 0) return { level, reasons, notes: [] };
  if (datapath === undefined)
    return { level: 0, reasons: ["more is guarded or attached here than fits the datapath's maps"], notes: [] };
  return { level, reasons, notes: notesOf(datapath, level) };
}

// ---- parts, as operations without a reading need them ------------------------------------------------------------------

/** A datapath with nothing but peers; none at level 0. */
export function peersDatapath(context: OverlayContext, entries: PeerEntries): readonly Datapath[] {
  if (datapathLevel(context).level === 0 || groupsOf(context.assignment).isAmbiguous) return [];
  return [{ ...emptyDatapath(context), entries: peerRoutes(context, entries) }];
}

function emptyDatapath(context: OverlayContext): Datapath {
  const settings = settingsOf(context, [], { hasGuarded: false, hasSpecial: false });
  return { ...nameOf(context), settings, programs: [], entries: [] };
}

// ---- inside --------------------------------------------------------------------------------------------------------------

function isThere(feature: DatapathFeature | undefined): feature is Exclude<DatapathFeature, { missing: string }> {
  return feature !== undefined && "hook" in feature;
}

function nameOf({ assignment, features }: OverlayContext): Pick<Datapath, "dev" | "code"> {
  const { datapath } = features;
  return { dev: assignment.agent.backend.vtepName, code: isThere(datapath) ? datapath.code : "" };
}

function settingsOf(
  context: OverlayContext,
  peers: readonly PeerRoute[],
  has: Pick<DatapathSettings, "hasGuarded" | "hasSpecial">,
): DatapathSettings {
  const { agent } = context.assignment;
  const { features } = context;
  const lengths = (family: Family) =>
    [...new Set(peers.filter(({ prefix }) => familyOf(prefix) === family).map(({ prefix }) => lengthOf(prefix)))]
      .sort((a, b) => b - a)
      // A shorter one that is not looked up is the kernel's; a longer one that is not would be sent astray.
      .slice(0, DATAPATH_LENGTHS_MAX);
  return {
    underlay: context.facts.underlayDev,
    ...(familyOf(agent.ip) === 4 && { node: agent.ip }),
    vni: agent.backend.vni,
    mac: agent.backend.vtepMac,
    gatewayMac: GATEWAY_MAC,
    mtu: vtepMtu(context),
    sampleEvery: context.datapath?.sampleEvery ?? 0,
    lengths: { 4: lengths(4), 6: lengths(6) },
    decapsulatesIpv6: isThere(features.datapath) && features.datapath.decapsulatesIpv6,
    ...has,
  };
}

function programsOf(
  context: OverlayContext,
  level: DatapathLevel,
  attachments: readonly Attachment[],
): readonly AttachedProgram[] {
  const { vtepName } = context.assignment.agent.backend;
  return [
    { dev: vtepName, program: "tunnel" },
    ...(level === 2 ? [{ dev: context.facts.underlayDev, program: "underlay" } as const] : []),
    ...attachments.map(({ hostIfname }) => ({ dev: hostIfname, program: "container" }) as const),
  ];
}

function localEntries(attachment: Attachment, context: OverlayContext): readonly LocalEntry[] {
  const inside = new PrefixSet(servedFamilies(context).flatMap((family) => overlayPrefixes(context, family)));
  return addressesOf(attachment)
    .filter((address) => servedFamilies(context).includes(familyOf(address)))
    .map((ip) => ({
      map: "locals",
      ip,
      dev: attachment.hostIfname,
      mac: attachment.mac,
      group: groupsOf(context.assignment).ofNetwork(attachment.network),
      mtu: mtuOf(attachment, context),
      // A queue and a limit are on the veth; an address of another plugin's may be tracked and translated by others.
      isLimited: attachment.bandwidth !== undefined || !inside.holds(ip),
    }));
}

type LocalEntry = Extract<DatapathEntry, { readonly map: "locals" }>;
type PeerRoute = Extract<DatapathEntry, { readonly map: "peers" }>;

/** The routes to other hosts, with what neighbours and FDB entries say of where they lead. */
function peerRoutes(context: OverlayContext, { routes, neighbors, fdb }: PeerEntries): readonly PeerRoute[] {
  const { level } = datapathLevel(context);
  const groups = groupsOf(context.assignment);
  const macs = new Map<Ip, Mac>(neighbors.map(({ ip, mac }) => [ip, mac]));
  const nodes = new Map<Mac, Ip>(fdb.map(({ mac, dst }) => [mac, dst]));
  return routes.flatMap(({ dst, table, via }): readonly PeerRoute[] => {
    const mac = via === undefined ? undefined : macs.get(via);
    const node = mac === undefined ? undefined : nodes.get(mac);
    if (table !== MAIN_TABLE || via === undefined || mac === undefined || node === undefined) return [];
    return [
      {
        map: "peers",
        prefix: dst,
        ...(familyOf(node) === 4 && { node }),
        vtep: via,
        mac,
        group: groups.ofPrefix(dst),
        level: level === 2 && isOnLink(node, context) ? 2 : 1,
      },
    ];
  });
}

/** Further away the kernel knows the way, and the MTU of it. A peer that is new is asked for by the next pass. */
function isOnLink(node: Ip, { facts }: OverlayContext): boolean {
  const { underlayPrefix, elsewhere } = facts;
  if (elsewhere?.has(node) === true) return false;
  return underlayPrefix !== undefined && familyOf(underlayPrefix) === familyOf(node) && contains(underlayPrefix, node);
}

/** What guarded containers send and get is tracked; so the table that says so knows them all. */
function guardedAddresses(tables: readonly NftTable[]): readonly Ip[] {
  const maps = tables.flatMap((table) => table.maps).filter(({ name }) => name === TRACKED);
  return maps.flatMap(({ elements }) => elements.map(([key]) => key as Ip));
}

function addressOfLocal(entry: LocalEntry): Ip {
  return entry.ip;
}

function isOver(addresses: readonly Ip[], most: number): boolean {
  return ([4, 6] as const).some((family) => addresses.filter((ip) => familyOf(ip) === family).length > most);
}

/** The first of each family that fit. Of peers the longest prefixes come first: what is left out must not be covered. */
function fitting(entries: readonly DatapathEntry[], most: number): readonly DatapathEntry[] {
  if (entries.length <= most) return entries;
  const lengthOfEntry = (entry: DatapathEntry) => (entry.map === "peers" ? lengthOf(entry.prefix) : 0);
  const families = Map.groupBy(entries, (entry) => (entry.map === "talk" ? 4 : familyOf(keyOf(entry))));
  return [...families.values()].flatMap((family) =>
    family.toSorted((a, b) => lengthOfEntry(b) - lengthOfEntry(a)).slice(0, most),
  );
}

function keyOf(entry: Exclude<DatapathEntry, { map: "talk" }>): Cidr {
  return entry.map === "peers" ? entry.prefix : hostCidr(entry.ip);
}

function notesOf({ entries, settings }: Datapath, level: DatapathLevel): readonly string[] {
  const peers = entries.filter((entry) => entry.map === "peers");
  const far = new Set(peers.filter((peer) => peer.level < level).map(({ mac }) => mac));
  const counts = new Map<string, number>();
  for (const entry of entries) {
    const name = `${entry.map}${entryFamily(entry) ?? ""}`;
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  const full = (["peers", "talk"] as const).flatMap((map) =>
    ["", "4", "6"].map((family) => `${map}${family}`).filter((name) => counts.get(name) === SIZES[map]),
  );
  const isShort = ([4, 6] as const).some((family) => settings.lengths[family].length === DATAPATH_LENGTHS_MAX);
  return [
    ...(far.size === 0 ? [] : [`not on this host's link, and so reached at level 1: ${far.size} of its peers`]),
    ...full.map((name) => `the map ${name} is full: the rest is left to the kernel`),
    ...(isShort
      ? [`prefixes of ${DATAPATH_LENGTHS_MAX} lengths are looked up: shorter ones are left to the kernel`]
      : []),
  ];
}

const SIZES = { peers: DATAPATH_PEERS_MAX, talk: DATAPATH_TALK_MAX } as const;
