/**
 * The tables `ip weft` and `ip6 weft`: which packets leave masqueraded, which are not tracked, and host ports (ports.ts).
 *
 * Masqueraded is what leaves all overlays by something else than the tunnel, unless its network is routed. Not tracked is what only passes through:
 * the tunnel's own packets, container to container, and container to node, whose request left at the veth's ingress
 * (nodes.ts) where connection tracking never saw it. What this host itself sends or receives stays tracked, so that a
 * stateful firewall knows its replies. Plain compares, one per prefix, or maps where they are many (prefix-rules.ts):
 * interval sets cost about 6 %.
 */
import type { Attachment } from "../../model/attachment.ts";
import { type Cidr, type Family, familyOf, hostCidr } from "../../model/ip.ts";
import { OWNER, VXLAN_PORT } from "../../model/names.ts";
import type { NftChain, NftMap, NftRule, NftStatement, NftTable } from "../host/host-state.ts";
import { insidePrefixes, type OverlayContext, overlayPrefixes, ownAddresses } from "./context.ts";
import { masqueraded, receiverGates } from "./isolation.ts";
import { type NodeEntries, nodeMap } from "./nodes.ts";
import type { PeerEntries } from "./peers.ts";
import { policyGates, trackedRules } from "./policies.ts";
import { portChains, portMaps, portMasquerade } from "./ports.ts";
import { areMany, choose } from "./prefix-rules.ts";

/** The chain of what comes to the tunnel, and the map that it asks. */
const TUNNEL = "tunnel";
const RAW_PRIORITY = -300;
const SRCNAT_PRIORITY = 100;

const tunnelPacket: NftStatement = { kind: "range", field: "udp dport", first: VXLAN_PORT, last: VXLAN_PORT };
const accept: NftStatement = { kind: "accept" };
const drop: NftStatement = { kind: "drop" };
const notrack: NftStatement = { kind: "notrack" };
const leave: NftStatement = { kind: "return" };
const toOverlays: NftStatement = { kind: "jump", chain: "to-overlays" };

/** One table for each family that is spoken inside an overlay or on the underlay. */
export function natTables(
  context: OverlayContext,
  attachments: readonly Attachment[],
  nodes: NodeEntries & Pick<PeerEntries, "fdb">,
  there: readonly NftTable[] = [],
): readonly NftTable[] {
  return ([4, 6] as const).flatMap((family) => {
    const isUnderlay = familyOf(context.assignment.agent.ip) === family;
    const isInside = overlayPrefixes(context, family).length > 0;
    const raw = rawChains(context, family, isUnderlay);
    const gates = isInside ? receiverGates(context, family) : { chains: [], maps: [] };
    const policies = isInside ? policyGates(context, family, there) : { chains: [], maps: [] };
    const chains = [
      ...raw.chains,
      ...(isInside ? [postrouting(context, family), ...portChains(family)] : []),
      ...gates.chains,
      ...policies.chains,
    ];
    const maps = [
      ...(isInside ? portMaps(attachments, family) : []),
      ...peerMaps(context, family, nodes),
      ...raw.maps,
      ...gates.maps,
      ...policies.maps,
    ];
    return chains.length === 0 ? [] : [{ family: family === 4 ? "ip" : "ip6", name: OWNER, chains, maps }];
  });
}

/** Which sources are nodes, for host ports; and from whom the tunnel takes packets. */
export function peerMaps(
  context: OverlayContext,
  family: Family,
  entries: NodeEntries & Pick<PeerEntries, "fdb">,
): readonly NftMap[] {
  const isInside = overlayPrefixes(context, family).length > 0;
  const hosts = new Set(entries.fdb.map(({ dst }) => dst));
  const tunnel: NftMap = {
    name: TUNNEL,
    type: family === 4 ? "ipv4_addr : verdict" : "ipv6_addr : verdict",
    elements: [...hosts].filter((host) => familyOf(host) === family).map((host) => [host, "accept"] as const),
  };
  return [
    ...(context.features.ingressForward && isInside ? [nodeMap(entries, family)] : []),
    ...(familyOf(context.assignment.agent.ip) === family ? [tunnel] : []),
  ];
}

interface Part {
  readonly chains: readonly NftChain[];
  readonly maps: readonly NftMap[];
}

function rawChains(context: OverlayContext, family: Family, isUnderlay: boolean): Part {
  const inside = insidePrefixes(context, family);
  // Whoever sends elsewhere from or to a port of this number is tracked like everybody.
  const own = hostCidr(context.assignment.agent.ip);
  const outer: readonly NftRule[] = isUnderlay ? [[daddr(own), tunnelPacket, { kind: "jump", chain: TUNNEL }]] : [];
  // With the fallback of nodes.ts requests to nodes are tracked on their way out, so their replies must be as well.
  const fromTunnel: readonly NftRule[] =
    context.features.ingressForward && inside.length > 0
      ? [[{ kind: "iifname", device: context.assignment.agent.backend.vtepName }, toOverlays]]
      : [];
  const from = choose(
    "from",
    family,
    "saddr",
    inside.map((prefix) => [prefix, "jump to-overlays"]),
  );
  const through = passingThrough(context, family, inside);
  const prerouting = [...outer, ...fromTunnel, ...from.rules];
  const chains = [
    ...(inside.length === 0 ? [] : through.chains),
    ...(outer.length === 0 ? [] : [fromPeers(family)]),
    ...(prerouting.length === 0 ? [] : [rawChain("prerouting", prerouting)]),
    ...(outer.length === 0 ? [] : [rawChain("output", [[saddr(own), tunnelPacket, notrack]])]),
  ];
  return { chains, maps: [...from.maps, ...through.maps] };
}

/** A VTEP unpacks what anybody sends; so what does not come from a node that the cluster signed gets no further. */
function fromPeers(family: Family): NftChain {
  const [field, length] = family === 4 ? (["ip saddr", 32] as const) : (["ip6 saddr", 128] as const);
  return { name: TUNNEL, rules: [[notrack], [{ kind: "vmap", field, length, map: TUNNEL }], [drop]] };
}

function rawChain(hook: "prerouting" | "output", rules: readonly NftRule[]): NftChain {
  return { name: `raw-${hook}`, hook: { type: "filter", hook, priority: RAW_PRIORITY, policy: "accept" }, rules };
}

function passingThrough(context: OverlayContext, family: Family, inside: readonly Cidr[]): Part {
  const own = ownAddresses(context, family).map((address) => hostCidr(address));
  const mine = choose(
    "here",
    family,
    "daddr",
    own.map((prefix) => [prefix, "accept"]),
  );
  const untracked: NftChain = { name: "untracked", rules: [[notrack, accept]] };
  const others = areMany(inside)
    ? choose(
        "to-inside",
        family,
        "daddr",
        inside.map((prefix) => [prefix, "jump untracked"]),
      )
    : { rules: inside.map((prefix) => [daddr(prefix), notrack, accept]), maps: [] };
  const chain: NftChain = {
    name: "to-overlays",
    rules: [...mine.rules, ...trackedRules(context, family), ...others.rules],
  };
  return { chains: areMany(inside) ? [untracked, chain] : [chain], maps: [...mine.maps, ...others.maps] };
}

function postrouting(context: OverlayContext, family: Family): NftChain {
  return {
    name: "postrouting",
    hook: { type: "nat", hook: "postrouting", priority: SRCNAT_PRIORITY, policy: "accept" },
    rules: [
      ...portMasquerade(context, family),
      [{ kind: "oifname", device: context.assignment.agent.backend.vtepName }, leave],
      ...insidePrefixes(context, family).map((prefix) => [daddr(prefix), leave]),
      ...masqueraded(context, overlayPrefixes(context, family)).map(
        (prefix): NftRule => [saddr(prefix), { kind: "masquerade" }],
      ),
    ],
  };
}

function saddr(prefix: Cidr): NftStatement {
  return { kind: "match", field: familyOf(prefix) === 4 ? "ip saddr" : "ip6 saddr", op: "==", prefix };
}

function daddr(prefix: Cidr): NftStatement {
  return { kind: "match", field: familyOf(prefix) === 4 ? "ip daddr" : "ip6 daddr", op: "==", prefix };
}
