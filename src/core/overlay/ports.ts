/**
 * Host ports: two maps per family, first by address, protocol and port, then by protocol and port alone, asked only for
 * what is sent to an address of this host (docs/decisions/0017). Maps and chains are always there, so that attaching adds
 * elements and nothing else; a NAT chain sees no more than the first packet of a connection.
 *
 * A container answers to the source that it sees. Where that is inside the cluster, a node, or this host's loopback, the
 * answer would never pass the translation again: such connections are masqueraded. So a container's answers need no
 * rule of their own, and what it sends from a published port by itself goes as all else does.
 */
import { type Attachment, addressesOf, oneAddress, type PortMapping } from "../../model/attachment.ts";
import { type Cidr, cidr, contains, type Family, familyOf, hostCidr, type Ip, ip } from "../../model/ip.ts";
import { OWNER } from "../../model/names.ts";
import { diff } from "../host/diff.ts";
import {
  EMPTY_HOST_STATE,
  type KernelOp,
  type NftChain,
  type NftMap,
  type NftRule,
  type NftStatement,
  type NftTable,
  type NftValue,
  type Sysctl,
} from "../host/host-state.ts";
import { insidePrefixes, type OverlayContext, overlayPrefixes } from "./context.ts";

const DSTNAT_PRIORITY = -100;
const LOOPBACK = cidr("127.0.0.0/8");
const LOOPBACK6 = ip("::1");

const WORDS = {
  4: {
    table: "ip",
    saddr: "ip saddr",
    daddr: "ip daddr",
    key: "ip daddr . meta l4proto . th dport",
    ports: "inet_proto . inet_service : ipv4_addr . inet_service",
    portsAt: "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
  },
  6: {
    table: "ip6",
    saddr: "ip6 saddr",
    daddr: "ip6 daddr",
    key: "ip6 daddr . meta l4proto . th dport",
    ports: "inet_proto . inet_service : ipv6_addr . inet_service",
    portsAt: "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
  },
} as const;
const HOST_PORTS = "host-ports";
const PORTS = "ports";
const PORTS_AT = "ports-at";

const masquerade: NftStatement = { kind: "masquerade" };
const translated: NftStatement = { kind: "ct status dnat" };
const toHostPorts: NftRule = [{ kind: "fib daddr type local" }, { kind: "jump", chain: HOST_PORTS }];
const leave: NftStatement = { kind: "return" };

/** The maps of one family with the ports of all these attachments. Of two that claim the same, the first has it. */
export function portMaps(attachments: readonly Attachment[], family: Family): readonly NftMap[] {
  const anywhere = new Map<NftValue, NftValue>();
  const at = new Map<NftValue, NftValue>();
  for (const { mapping, address } of attachments.flatMap((attachment) => reached(attachment, family))) {
    const { protocol, hostPort, containerPort } = mapping;
    const hostIp = oneAddress(mapping);
    const service = `${protocol} . ${hostPort}` as const;
    const value = `${address} . ${containerPort}` as const;
    const [map, key] = hostIp === undefined ? [anywhere, service] : [at, `${hostIp} . ${service}` as const];
    if (!map.has(key)) map.set(key, value);
  }
  return [
    { name: PORTS, type: WORDS[family].ports, elements: [...anywhere] },
    { name: PORTS_AT, type: WORDS[family].portsAt, elements: [...at] },
  ];
}

/** The chains of one family; the same whatever ports there are. */
export function portChains(family: Family): readonly NftChain[] {
  const { table, key } = WORDS[family];
  return [
    {
      name: HOST_PORTS,
      rules: [
        [{ kind: "dnat", family: table, key, map: PORTS_AT }],
        [{ kind: "dnat", family: table, key: "meta l4proto . th dport", map: PORTS }],
      ],
    },
    // From outside nobody reaches a loopback address, not by a translation before the kernel looks at it either.
    natChain("prerouting", family === 4 ? [[match("ip daddr", LOOPBACK), leave], toHostPorts] : [toHostPorts]),
    // The kernel forwards no ::1, so that what listens there is left to answer.
    natChain("output", family === 4 ? [toHostPorts] : [[match("ip6 daddr", hostCidr(LOOPBACK6)), leave], toHostPorts]),
  ];
}

/**
 * The first rules of postrouting: which translated connections get a source of this host, because an answer would
 * else go by another way than back: containers', whose answer would be routed to them untranslated, and nodes', whose
 * answer would go by the tunnel.
 */
export function portMasquerade(context: OverlayContext, family: Family): readonly NftRule[] {
  const { saddr, daddr } = WORDS[family];
  const from = (...source: NftStatement[]): NftRule => [translated, ...source, masquerade];
  const fromLoopback = family === 4 ? [from(match(saddr, LOOPBACK))] : [];
  const fromHere = from({ kind: "iifname", device: `${OWNER}*` });
  // With the fallback of nodes.ts answers to nodes leave by the tunnel, and there is no map of nodes.
  if (!context.features.ingressForward)
    return [fromHere, ...overlayPrefixes(context, family).map((prefix) => from(match(daddr, prefix))), ...fromLoopback];
  return [
    fromHere,
    ...insidePrefixes(context, family).map((prefix) => from(match(saddr, prefix))),
    from({ kind: "mapped", field: saddr, map: `nodes${family}` }),
    ...fromLoopback,
  ];
}

/** The tables with nothing but the elements of this attachment; none without ports. */
export function ownPorts(attachment: Attachment, context: OverlayContext): readonly NftTable[] {
  return portFamilies(context)
    .filter((family) => reached(attachment, family).length > 0)
    .map((family) => portTable([attachment], family));
}

function portTable(attachments: readonly Attachment[], family: Family): NftTable {
  return { family: WORDS[family].table, name: OWNER, chains: [], maps: portMaps(attachments, family) };
}

/**
 * The operations for the ports of an attachment that comes or goes, on a host where its container has `siblings`: runtimes
 * say a container's ports for each of its interfaces, and the first has them. Each element by itself: one that is refused
 * is no reason to leave the others.
 */
export function addPorts(attachment: Attachment, siblings: readonly Attachment[], context: OverlayContext): KernelOp[] {
  return portFamilies(context).flatMap((family) => [
    ...portOps(siblings, [...siblings, attachment], family),
    ...forgetStrays(attachment, family),
  ]);
}

/** As `addPorts`; for each family, since what is not there is only refused. */
export function deletePorts(attachment: Attachment, siblings: readonly Attachment[]): KernelOp[] {
  return ([4, 6] as const).flatMap((family) => [
    ...portOps([attachment, ...siblings], siblings, family),
    ...forgetStrays(attachment, family),
  ]);
}

/**
 * UDP has no end: a client that goes on asking keeps its connection where its first packet went, to nobody or to a
 * container that is gone, for ever.
 */
function forgetStrays(attachment: Attachment, family: Family): KernelOp[] {
  return reached(attachment, family)
    .map(({ mapping }) => mapping)
    .flatMap((mapping): KernelOp[] => {
      const to = oneAddress(mapping);
      if (mapping.protocol !== "udp") return [];
      const which = { family, protocol: mapping.protocol, port: mapping.hostPort, ...(to === undefined ? {} : { to }) };
      return [{ op: "connections.forget", ...which }];
    });
}

function portOps(before: readonly Attachment[], after: readonly Attachment[], family: Family): KernelOp[] {
  const state = (attachments: readonly Attachment[]) => ({
    ...EMPTY_HOST_STATE,
    tables: [portTable(attachments, family)],
  });
  return diff(state(before), state(after)).flatMap(oneByOne);
}

function oneByOne(op: KernelOp): KernelOp[] {
  if (op.op === "nft.elements.add") return op.elements.map((element) => ({ ...op, elements: [element] }));
  if (op.op === "nft.elements.delete") return op.keys.map((key) => ({ ...op, keys: [key] }));
  return [op];
}

/** The families whose tables have the maps. */
function portFamilies(context: OverlayContext): readonly Family[] {
  return ([4, 6] as const).filter((family) => overlayPrefixes(context, family).length > 0);
}

/** What connects by 127.0.0.1 is sent to the container with that source, which the kernel forbids a device by default. */
export function portSysctls(attachment: Attachment): readonly Sysctl[] {
  const isLoopback = (hostIp: Ip | undefined): boolean => hostIp === undefined || contains(LOOPBACK, hostIp);
  const fromLoopback = reached(attachment, 4).some(({ mapping }) => isLoopback(oneAddress(mapping)));
  return fromLoopback ? [{ path: `net/ipv4/conf/${attachment.hostIfname}/route_localnet`, value: "1" }] : [];
}

/** The mappings that lead to the attachment in one family, each with where to. */
function reached(
  attachment: Attachment,
  family: Family,
): readonly { readonly mapping: PortMapping; readonly address: Ip }[] {
  const address = addressesOf(attachment).find((each) => familyOf(each) === family);
  if (address === undefined) return [];
  return (attachment.ports ?? [])
    .filter(({ hostIp }) => hostIp === undefined || (familyOf(hostIp) === family && hostIp !== LOOPBACK6))
    .map((mapping) => ({ mapping, address }));
}

function natChain(hook: "prerouting" | "output", rules: readonly NftRule[]): NftChain {
  return { name: hook, hook: { type: "nat", hook, priority: DSTNAT_PRIORITY, policy: "accept" }, rules };
}

function match(field: "ip saddr" | "ip daddr" | "ip6 saddr" | "ip6 daddr", prefix: Cidr): NftStatement {
  return { kind: "match", field, op: "==", prefix };
}
