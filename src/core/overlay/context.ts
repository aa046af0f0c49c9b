/**
 * What every part of a host's desired state is computed from, and the few questions that several parts ask of it.
 * Source of truth: the master's assignment; the rest are facts of this host that its kernel told.
 */
import { type Assignment, halvesOf } from "../../model/cluster.ts";
import { gatewayOf } from "../../model/half.ts";
import type { Hosting } from "../../model/hosting.ts";
import { addressOf, type Cidr, type Family, familyOf, hostCidr, type Ip } from "../../model/ip.ts";
import { prefixesOf } from "../../model/network.ts";
import type { PolicyMember } from "../../model/policy.ts";
import { isWithin } from "../../model/reservation.ts";
import type { DatapathFeature } from "../host/datapath.ts";
import type { HostFacts } from "./facts.ts";

export interface OverlayContext {
  readonly assignment: Assignment;
  readonly facts: HostFacts;
  /** Labelled containers of the whole cluster, this host's with them; absent: none. */
  readonly members?: readonly PolicyMember[];
  /** There may be more on other hosts than `members` has. */
  readonly otherMembersStay?: boolean;
  /** Which agent hosts which reserved address; absent: none does. */
  readonly hosting?: Hosting;
  /** The part of the port's `KernelFeatures` that decides how containers reach nodes. */
  readonly features: {
    readonly ingressForward: boolean;
    readonly bandwidth?: boolean;
    readonly datapath?: DatapathFeature;
  };
  /** How high the operator lets the datapath go, and of how many packets one is told; absent: level 0. */
  readonly datapath?: { readonly maxLevel: 0 | 1 | 2; readonly sampleEvery: number };
  /** Addresses that somebody translates on this host; absent: none. */
  readonly services?: readonly Ip[];
}

/** IPv6 is left out of everything when the cluster's configuration turns it off. */
export function servedFamilies(context: OverlayContext): readonly Family[] {
  return context.assignment.enableIpv6 ? [4, 6] : [4];
}

/** The overlays' whole subnets of one family; none of a family that is not served. */
export function overlayPrefixes(context: OverlayContext, family: Family): readonly Cidr[] {
  return served(context, context.assignment.overlaySubnets, family);
}

/** The pools that VTEP addresses come from, of one family. */
export function vtepPrefixes(context: OverlayContext, family: Family): readonly Cidr[] {
  return served(context, context.assignment.vtepSubnets, family);
}

/** What is inside the cluster's network, of one family: overlays and VTEP addresses; none without an overlay. */
export function insidePrefixes(context: OverlayContext, family: Family): readonly Cidr[] {
  if (overlayPrefixes(context, family).length === 0) return [];
  return [...overlayPrefixes(context, family), ...vtepPrefixes(context, family)];
}

function served(context: OverlayContext, prefixes: readonly Cidr[], family: Family): readonly Cidr[] {
  if (!servedFamilies(context).includes(family)) return [];
  return prefixes.filter((prefix) => familyOf(prefix) === family);
}

/** One device that holds gateways, with the network it belongs to and its halves (of all slices) of served families. */
export interface Holder {
  readonly network: string;
  readonly name: string;
  readonly halves: readonly Cidr[];
}

/** The bridges of this host; none on a host without containers and for an overlay without a subnet. */
export function gatewayHolders(context: OverlayContext): readonly Holder[] {
  const families = servedFamilies(context);
  return context.assignment.agent.overlays.flatMap((overlay) =>
    (["mesos", "docker"] as const).flatMap((which) => {
      const bridge = which === "mesos" ? overlay.mesosBridge : overlay.dockerBridge;
      const halves = halvesOf(overlay, which).map(({ half }) => half);
      const servedHalves = halves.filter((half) => families.includes(familyOf(half)));
      return bridge === undefined || servedHalves.length === 0
        ? []
        : [{ network: overlay.info.name, name: bridge.name, halves: servedHalves }];
    }),
  );
}

/** What of a network is on this host: its slices, and what it hosts of others' by the cluster's word. */
export function ownPrefixes({ assignment }: OverlayContext, network: string): readonly Cidr[] {
  const overlay = assignment.agent.overlays.find(({ info }) => info.name === network);
  const slices = overlay === undefined ? [] : prefixesOf(overlay);
  const hosted = (assignment.hosted ?? []).filter((claim) => claim.network === network);
  return [...slices, ...hosted.flatMap(({ address }) => (isWithin(slices, address) ? [] : [hostCidr(address)]))];
}

/** The addresses that this host itself has inside the cluster's network, of one family: its VTEP's and its gateways. */
export function ownAddresses(context: OverlayContext, family: Family): readonly Ip[] {
  const { vtepIp, vtepIp6 } = context.assignment.agent.backend;
  const vtep = family === 4 ? vtepIp : vtepIp6;
  if (!servedFamilies(context).includes(family)) return [];
  const gateways = gatewayHolders(context).flatMap((holder) => holder.halves.map(gatewayOf));
  return [...(vtep === undefined ? [] : [addressOf(vtep)]), ...gateways].filter(
    (address) => familyOf(address) === family,
  );
}
