/**
 * Reads a network namespace into a HostState. What the kernel can leave out by itself (other protocols' routes,
 * counters, other devices' forwarding tables) it is asked to leave out.
 *
 * Each list is consistent in itself; between two lists the kernel may change, which the next event and pass set right.
 * The nftables lists belong together and are read again until they are of one generation.
 */
import { setImmediate } from "node:timers/promises";
import type { HostState, NftChain, NftMap, Sysctl } from "../../core/host/host-state.ts";
import { FILTER_TABLE } from "../../core/host/passages.ts";
import { Fault } from "../../model/fault.ts";
import { addressOf, familyOf, type Ip } from "../../model/ip.ts";
import { KERNEL_READ_ATTEMPTS, NETLINK_BATCH_MESSAGES } from "../../model/limits.ts";
import { OWNER } from "../../model/names.ts";
import type { KernelSockets } from "./kernel-sockets.ts";
import { decodeAddress, encodeAddressDump } from "./netlink/address-messages.ts";
import { settingAt } from "./netlink/device-conf.ts";
import { decodeLink, encodeLinkGet, type NameOf, type NumberedLink } from "./netlink/link-messages.ts";
import { type Message, MessageWriter } from "./netlink/message.ts";
import { decodeFdbEntry, decodeNeighbor, encodeNeighborDump } from "./netlink/neighbor-messages.ts";
import { decodeReach, decodeRoute, encodeRouteDump, encodeRouteGet } from "./netlink/route-messages.ts";
import { decodeRule, encodeRuleDump } from "./netlink/rule-messages.ts";
import { decodeShaper, encodeShaperDump, TBF } from "./netlink/shaper-messages.ts";
import { type NetlinkSocket, refusal } from "./netlink-socket.ts";
import { decodeElements, decodeMap } from "./nftables/maps.ts";
import * as nft from "./nftables/objects.ts";
import { readPassages } from "./nftables/passages.ts";
import type { TableKey } from "./nftables/request.ts";

/** @throws Fault no-rights, kernel-refused */
export async function observeKernel(sockets: KernelSockets, sysctlPaths: readonly string[]): Promise<HostState> {
  const { route } = sockets;
  const list = <T>(
    what: string,
    encode: (writer: MessageWriter) => void,
    decode: (message: Message) => T | undefined,
  ) => dumpOf(route, what, encode, decode);

  const numbered = observeLinks(sockets);
  const names = new Map(numbered.map(({ ifindex, link }) => [ifindex, link.name]));
  const nameOf = (ifindex: number) => names.get(ifindex);
  const addresses = list("addresses", encodeAddressDump, (message) => decodeAddress(message, nameOf));
  await setImmediate();
  const readRoute = (message: Message) => decodeRoute(message, nameOf);
  // Asked for a family that it does not have, the kernel answers with all.
  const families = sockets.hasIpv6() ? ([4, 6] as const) : ([4] as const);
  const routes = families.flatMap((family) => list("routes", (writer) => encodeRouteDump(writer, family), readRoute));
  const rules = list("rules", encodeRuleDump, decodeRule);
  await setImmediate();
  const neighbors = list("neighbors", encodeNeighborDump, (message) => decodeNeighbor(message, nameOf));
  await setImmediate();
  const fdb = numbered.flatMap(({ ifindex, link }) =>
    link.kind === "vxlan"
      ? list(
          `forwarding table of ${link.name}`,
          (writer) => encodeNeighborDump(writer, ifindex),
          (message) => decodeFdbEntry(message, link.name),
        )
      : [],
  );
  const elsewhere = readElsewhere(sockets, { links: numbered.map(({ link }) => link), addresses, fdb }, nameOf);
  const isShaped = numbered.some(({ qdisc }) => qdisc === TBF);
  const shapers = isShaped ? list("qdiscs", encodeShaperDump, (message) => decodeShaper(message, nameOf)) : [];
  await setImmediate();
  const netfilter = sockets.netfilter();
  return {
    links: numbered.map(({ link }) => link),
    addresses,
    routes,
    rules,
    neighbors,
    fdb,
    shapers,
    sysctls: readSysctls(sockets, sysctlPaths, numbered),
    ...(elsewhere.length > 0 && { elsewhere }),
    ...(sockets.encrypts() && { encrypts: true as const }),
    datapaths: sockets.datapath()?.observe(numbered, nameOf) ?? [],
    ...(netfilter === undefined ? { tables: [], passages: [] } : readRuleset(netfilter, nameOf)),
  };
}

/** Nodes that the kernel does not reach straight by the device from which the tunnel sends. */
function readElsewhere(
  { route }: KernelSockets,
  { links, addresses, fdb }: Pick<HostState, "links" | "addresses" | "fdb">,
  nameOf: NameOf,
): readonly Ip[] {
  return links.flatMap((link) => {
    if (link.kind !== "vxlan" || link.local === undefined || familyOf(link.local) !== 4) return [];
    const { local } = link;
    const underlay = addresses.find(({ address }) => addressOf(address) === local)?.dev;
    const nodes = [...new Set(fdb.filter(({ dev }) => dev === link.name).map(({ dst }) => dst))];
    const straight = new Set<Ip>();
    for (let at = 0; at < nodes.length; at += NETLINK_BATCH_MESSAGES) {
      const question = new MessageWriter();
      for (const node of nodes.slice(at, at + NETLINK_BATCH_MESSAGES)) encodeRouteGet(question, node, local);
      route.ask(question, (message) => {
        const reach = decodeReach(message, nameOf);
        if (reach?.dev !== undefined && reach.dev === underlay) straight.add(reach.dst);
      });
    }
    return nodes.filter((node) => !straight.has(node));
  });
}

/** What links tell is taken from there, the rest from /proc. */
function readSysctls(
  sockets: KernelSockets,
  paths: readonly string[],
  links: readonly NumberedLink[],
): readonly Sysctl[] {
  const confs = new Map(links.map(({ link, conf }) => [link.name, conf]));
  const told = new Map<string, string>();
  for (const path of paths) {
    const value = settingAt(path, (dev) => confs.get(dev));
    if (value !== undefined) told.set(path, value);
  }
  const others = paths.filter((path) => !told.has(path));
  for (const [i, value] of sockets.readSysctls(others).entries())
    if (value !== undefined) told.set(others[i] ?? "", value);
  return paths.flatMap((path) => {
    const value = told.get(path);
    return value === undefined ? [] : [{ path, value }];
  });
}

/** @throws Fault no-rights, kernel-refused */
export function observeLinks({ route }: KernelSockets): readonly NumberedLink[] {
  return dumpOf(route, "links", encodeLinkGet, decodeLink);
}

function dumpOf<T>(
  socket: NetlinkSocket,
  what: string,
  encode: (writer: MessageWriter) => void,
  decode: (message: Message) => T | undefined,
): T[] {
  const question = new MessageWriter();
  encode(question);
  return socket.dump(what, question, decode);
}

type Ruleset = Pick<HostState, "tables" | "passages">;

function readRuleset(socket: NetlinkSocket, nameOf: NameOf): Ruleset {
  for (let attempt = 0; attempt < KERNEL_READ_ATTEMPTS; attempt++) {
    const generation = readGeneration(socket);
    const ruleset = readRulesetOnce(socket, nameOf);
    if (readGeneration(socket) === generation) return ruleset;
  }
  throw new Fault(
    "kernel-refused",
    `cannot read nftables: the rules changed during each of ${KERNEL_READ_ATTEMPTS} readings; find out what changes them without pause`,
  );
}

function readGeneration(socket: NetlinkSocket): number {
  let generation = 0;
  const question = new MessageWriter();
  nft.encodeGenerationGet(question);
  const verdict = socket.ask(question, (message) => {
    generation = nft.decodeGeneration(message);
  });
  if (verdict.errno !== 0) throw refusal("read nftables", verdict);
  return generation;
}

function readRulesetOnce(socket: NetlinkSocket, nameOf: NameOf): Ruleset {
  const tables = dumpOf(socket, "tables", (writer) => nft.encodeDumpAll(writer, "table"), nft.decodeTable);
  if (!tables.some(({ name }) => name === OWNER || name === FILTER_TABLE)) return { tables: [], passages: [] };
  const chains = dumpOf(socket, "chains", (writer) => nft.encodeDumpAll(writer, "chain"), nft.decodeChain);
  const ours = tables.filter(({ name }) => name === OWNER);
  const read = ours.map((table) => ({
    ...table,
    chains: readChains(
      socket,
      table,
      chains.filter((chain) => chain.table.family === table.family && chain.table.name === table.name),
      nameOf,
    ),
    maps: readMaps(socket, table),
  }));
  return { tables: read, passages: readPassages(socket, chains, nameOf) };
}

function readChains(
  socket: NetlinkSocket,
  table: TableKey,
  chains: readonly nft.ObservedChain[],
  nameOf: NameOf,
): NftChain[] {
  const rules = dumpOf(
    socket,
    "rules",
    (writer) => nft.encodeDumpOf(writer, "rule", table),
    (message) => nft.decodeRule(message, nameOf),
  );
  const byChain = Map.groupBy(rules, (rule) => rule.chain);
  return chains.map(({ name, hook, foreign }) => ({
    name,
    ...(hook !== undefined && { hook }),
    rules: [
      ...(foreign === undefined ? [] : [[{ kind: "unknown" as const, text: foreign }]]),
      ...(byChain.get(name) ?? []).map(({ rule }) => rule),
    ],
  }));
}

function readMaps(socket: NetlinkSocket, table: TableKey): NftMap[] {
  const maps = dumpOf(socket, "maps", (writer) => nft.encodeDumpOf(writer, "set", table), decodeMap);
  return maps.map((map) => ({
    ...map,
    elements: dumpOf(
      socket,
      `map ${map.name}`,
      (writer) => nft.encodeDumpOf(writer, "element", table, map.name),
      (message) => decodeElements(message, map.type),
    ).flat(),
  }));
}
