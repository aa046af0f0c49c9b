/**
 * What the kernel must know of other nodes: per peer one neighbour and FDB entry, a route to each of its subnets, and
 * its place in the map of nodes.
 *
 * Whether a peer is believed is decided before (admission.ts). Metrics: docs/decisions/0005.
 */
import type { Peer } from "../../model/cluster.ts";
import { type Cidr, familyOf, hostCidr, type Ip, ipToBytes } from "../../model/ip.ts";
import { NODE_TABLE } from "../../model/names.ts";
import { EMPTY_HOST_STATE, type HostState, MAIN_TABLE, type NftMap, type Route } from "../host/host-state.ts";
import { type OverlayContext, servedFamilies } from "./context.ts";

/** The part of the host's state that is about peers. `nodes`: the elements of the map from node to VTEP address. */
export interface PeerEntries extends Pick<HostState, "neighbors" | "fdb" | "routes"> {
  readonly nodes4: NftMap["elements"];
  readonly nodes6: NftMap["elements"];
}

/** The entries of peers that `admitPeers` let through. */
export function peerEntries(peers: readonly Peer[], context: OverlayContext): PeerEntries {
  const neighbors: HostState["neighbors"][number][] = [];
  const fdb: HostState["fdb"][number][] = [];
  const routes: Route[] = [];
  const nodes = { 4: [] as [Ip, Ip][], 6: [] as [Ip, Ip][] };
  const dev = context.assignment.agent.backend.vtepName;
  const families = servedFamilies(context);
  for (const peer of peers) {
    const metric = peerMetric(peer.vtepIp);
    const via = { 4: peer.vtepIp, 6: families.includes(6) ? peer.vtepIp6 : undefined };
    fdb.push({ dev, mac: peer.vtepMac, dst: peer.ip });
    for (const ip of [via[4], via[6]]) if (ip !== undefined) neighbors.push({ dev, ip, mac: peer.vtepMac });
    const reach = (dst: Cidr, table: number): void => {
      const gateway = via[familyOf(dst)];
      if (gateway !== undefined) routes.push({ dst, table, metric, type: "unicast", dev, via: gateway, onlink: true });
    };
    for (const subnet of peer.subnets) reach(subnet, MAIN_TABLE);
    const family = familyOf(peer.ip);
    const vtep = via[family];
    if (!context.features.ingressForward) reach(hostCidr(peer.ip), NODE_TABLE);
    else if (vtep !== undefined) nodes[family].push([peer.ip, vtep]);
  }
  return { neighbors, fdb, routes, nodes4: nodes[4], nodes6: nodes[6] };
}

/** What the kernel has for peers now: everything on the VTEP that leads to someone else. */
export function observedPeerEntries(observed: HostState, context: OverlayContext): PeerEntries {
  const dev = context.assignment.agent.backend.vtepName;
  const maps = observed.tables.filter((table) => table.family === "netdev").flatMap((table) => table.maps);
  const elements = (name: string): NftMap["elements"] => maps.find((map) => map.name === name)?.elements ?? [];
  const families = servedFamilies(context);
  const routes = observed.routes.filter((route) => route.dev === dev && route.via !== undefined);
  return {
    neighbors: observed.neighbors.filter((entry) => entry.dev === dev && families.includes(familyOf(entry.ip))),
    fdb: observed.fdb.filter((entry) => entry.dev === dev),
    routes: routes.filter((route) => families.includes(familyOf(route.dst))),
    nodes4: elements("nodes4"),
    nodes6: elements("nodes6"),
  };
}

/** What is known, and of what else is there all that does not contradict it. */
export function withOthers(known: PeerEntries, there: PeerEntries): PeerEntries {
  const isNew = <T>(mine: readonly T[], keyOf: (entry: T) => string) => {
    const keys = new Set(mine.map(keyOf));
    return (entry: T) => !keys.has(keyOf(entry));
  };
  const nodeOf = ([node]: NftMap["elements"][number]) => String(node);
  const routeOf = ({ dst, table }: Route) => `${dst} ${table}`;
  return {
    neighbors: [...known.neighbors, ...there.neighbors.filter(isNew(known.neighbors, ({ ip }) => ip))],
    fdb: [...known.fdb, ...there.fdb.filter(isNew(known.fdb, ({ mac }) => mac))],
    routes: [...known.routes, ...there.routes.filter(isNew(known.routes, routeOf))],
    nodes4: [...known.nodes4, ...there.nodes4.filter(isNew(known.nodes4, nodeOf))],
    nodes6: [...known.nodes6, ...there.nodes6.filter(isNew(known.nodes6, nodeOf))],
  };
}

/** The state in which only routes, neighbours and FDB entries of peers are. */
export function peerState(entries: PeerEntries): HostState {
  return { ...EMPTY_HOST_STATE, neighbors: entries.neighbors, fdb: entries.fdb, routes: entries.routes };
}

/** Unique among the addresses of one VTEP pool, whose prefix is never shorter than /8; zero is not a usable metric. */
function peerMetric(vtepIp: Ip): number {
  const bytes = ipToBytes(vtepIp);
  const low = bytes.slice(-3).reduce((value, byte) => value * 256 + byte, 0);
  return low === 0 ? 1 << 24 : low;
}
