/**
 * Clusters for property tests: from a small description of overlays, hosts and containers, what the master would assign
 * and what attachments there would be. Slices go to hosts in their order; addresses to containers in theirs.
 */
import fc from "fast-check";
import type { OverlayContext } from "../../src/core/overlay/context.ts";
import type { Attachment, PortMapping } from "../../src/model/attachment.ts";
import type { AgentOverlay, AgentRecord, Bridge } from "../../src/model/cluster.ts";
import { halves } from "../../src/model/half.ts";
import {
  type Cidr,
  cidr,
  type Family,
  familyOf,
  type Ip,
  ip,
  nthAddress,
  nthSubnet,
  withLength,
} from "../../src/model/ip.ts";
import type { NetworkRules } from "../../src/model/isolation.ts";
import { mac } from "../../src/model/mac.ts";
import type { Overlay } from "../../src/model/network.ts";

export interface ClusterShape {
  /** The families of each overlay. */
  readonly overlays: readonly (readonly Family[])[];
  /** What each overlay says of others and of the outside, by its place; absent: nothing. */
  readonly rules?: readonly Pick<Overlay, "isolation" | "egress">[];
  /** Per host: whether it has containers at all, and for each container the overlay it is in (by place). */
  readonly hosts: readonly { readonly bridges: boolean; readonly containers: readonly number[] }[];
  /** In which order the networks' rules are told, by their places; those left out come last. Absent: as they stand. */
  readonly networkOrder?: readonly number[];
  readonly underlay: Family;
  readonly ingressForward: boolean;
  readonly enableIpv6: boolean;
}

export interface ClusterHost {
  readonly name: string;
  readonly context: OverlayContext;
  readonly attachments: readonly Attachment[];
}

/** Where further slices begin. */
const FURTHER = 100;
const VTEP4 = cidr("44.128.0.0/20");
const VTEP6 = cidr("fd01:a::/64");
export const UNDERLAY: Readonly<Record<Family, Cidr>> = { 4: cidr("10.0.0.0/16"), 6: cidr("fd00::/64") };
export const UNDERLAY_MTU = 1500;

export function clusterHosts(shape: ClusterShape): ClusterHost[] {
  const overlays = shape.overlays.map((families, place) => ({
    ...overlayOf(families, place),
    ...shape.rules?.[place],
  }));
  return shape.hosts.map(({ bridges, containers }, n) => {
    const agent: AgentRecord = {
      id: `agent-${n}`,
      ip: underlayAddress(shape.underlay, n),
      hostname: `host${n}`,
      backend: {
        vni: 1024,
        vtepName: "vtep1024",
        vtepIp: withLength(nthAddress(VTEP4, BigInt(n + 1)), 20),
        vtepIp6: withLength(nthAddress(VTEP6, BigInt(n + 1)), 64),
        vtepMac: mac(`70:b3:d5:80:00:${hex(n + 1)}`),
      },
      overlays: overlays.map((overlay) => agentOverlay(overlay, n, bridges)),
    };
    const context: OverlayContext = {
      assignment: {
        agent,
        overlaySubnets: overlays.flatMap(({ subnet, subnet6 }) => present([subnet, subnet6])),
        ...(shape.rules === undefined ? {} : { networks: inOrder(overlays, shape.networkOrder).map(rulesOf) }),
        vtepSubnets: [VTEP4, VTEP6],
        enableIpv6: shape.enableIpv6,
      },
      facts: { underlayDev: "eth0", underlayMtu: UNDERLAY_MTU, foreignDevs: ["eth0"], uplinks: ["eth0"] },
      features: { ingressForward: shape.ingressForward },
    };
    const wanted = bridges ? containers : [];
    const attachments = wanted.map((place, i) => attachmentOf(agent, n, i, place % overlays.length, shape.enableIpv6));
    return {
      name: `host${n}`,
      context,
      attachments: attachments.filter((a) => a.ip !== undefined || a.ip6 !== undefined),
    };
  });
}

/** Host number `n` on the underlay; both families are there, whichever the tunnel uses. */
export function underlayAddress(family: Family, n: number): Ip {
  return nthAddress(UNDERLAY[family], BigInt(10 + n));
}

function overlayOf(families: readonly Family[], place: number): Overlay {
  return {
    name: `net${place}`,
    enabled: true,
    ...(families.includes(4) ? { subnet: cidr(`9.${place}.0.0/16`), prefix: 24 } : {}),
    ...(families.includes(6) ? { subnet6: cidr(`fd01:b:${hex(place + 1)}::/64`), prefix6: 80 } : {}),
  };
}

function inOrder(overlays: readonly Overlay[], order: readonly number[] = []): readonly Overlay[] {
  return [...new Set([...order.flatMap((place) => overlays[place] ?? []), ...overlays])];
}

/** As the master tells agents. */
export function rulesOf(overlay: Overlay): NetworkRules {
  const { name, subnet, subnet6, isolation, egress } = overlay;
  return {
    name,
    prefixes: present([subnet, subnet6]),
    ...(isolation === undefined ? {} : { isolation }),
    ...(egress === undefined ? {} : { egress }),
  };
}

function agentOverlay(info: Overlay, n: number, bridges: boolean): AgentOverlay {
  const subnet = info.subnet && nthSubnet(info.subnet, info.prefix ?? 24, BigInt(n));
  const subnet6 = info.subnet6 && nthSubnet(info.subnet6, info.prefix6 ?? 80, BigInt(n));
  const half = (prefix: string, which: bigint): Bridge => ({
    name: `${prefix}-${info.name}`,
    ...(subnet === undefined ? {} : { ip: nthSubnet(subnet, 25, which) }),
    ...(subnet6 === undefined ? {} : { ip6: nthSubnet(subnet6, 81, which) }),
  });
  return {
    info,
    ...(subnet === undefined ? {} : { subnet }),
    ...(subnet6 === undefined ? {} : { subnet6 }),
    ...(bridges ? { mesosBridge: half("m", 0n), dockerBridge: half("d", 1n) } : {}),
    // Every other host has filled its first slice once.
    ...(n % 2 === 1 && info.subnet !== undefined
      ? { more: [{ subnet: nthSubnet(info.subnet, info.prefix ?? 24, BigInt(n + FURTHER)) }] }
      : {}),
  };
}

function attachmentOf(agent: AgentRecord, n: number, i: number, place: number, enableIpv6: boolean): Attachment {
  const overlay = agent.overlays[place];
  const [further] = overlay?.more ?? [];
  const mesos =
    i % 2 === 1 && further?.subnet !== undefined
      ? { ...overlay?.mesosBridge, ip: halves(further.subnet).mesos }
      : overlay?.mesosBridge;
  const at = BigInt(2 + i);
  return {
    containerId: `h${n}c${i}`,
    ifname: "eth0",
    network: overlay?.info.name ?? "",
    netns: `/run/netns/h${n}c${i}`,
    netnsId: `boot-1:${i}`,
    hostIfname: `weft${hex(n)}${hex(i)}`,
    mac: mac(`02:57:00:01:${hex(n)}:${hex(i)}`),
    ...(mesos?.ip === undefined ? {} : { ip: nthAddress(mesos.ip, at) }),
    ...(mesos?.ip6 === undefined || !enableIpv6 ? {} : { ip6: nthAddress(mesos.ip6, at) }),
    state: "attached",
    requestId: "r",
    runtime: "podman",
    since: "2026-11-21T08:00:00Z",
    ports: portsOf(i, agent.ip),
  };
}

/** A port of every address; one that the first container has at the host's own address, and the second everywhere. */
function portsOf(i: number, hostIp: Ip): readonly PortMapping[] {
  const elsewhere = nthAddress(UNDERLAY[familyOf(hostIp)], BigInt(200 + i));
  const contested: PortMapping = { protocol: "tcp", hostPort: 7000, containerPort: 81 };
  return [
    { protocol: "tcp", hostPort: 8000 + i, containerPort: 80 },
    { protocol: "udp", hostPort: 5300, containerPort: 53, hostIp: elsewhere },
    ...(i === 0 ? [{ ...contested, hostIp }] : []),
    ...(i === 1 ? [contested] : []),
  ];
}

const families = fc.constantFrom<readonly Family[]>([4], [6], [4, 6]);
const host = fc.record({
  bridges: fc.constantFrom(true, true, false),
  containers: fc.array(fc.nat(7), { maxLength: 3 }),
});

/** 2–12 hosts, 1–3 overlays, some containers, IPv6 mostly on, either underlay, either way to nodes. */
export const anyShape: fc.Arbitrary<ClusterShape> = fc.record({
  overlays: fc.array(families, { minLength: 1, maxLength: 3 }),
  hosts: fc.array(host, { minLength: 2, maxLength: 12 }),
  underlay: fc.constantFrom<Family>(4, 6),
  ingressForward: fc.boolean(),
  enableIpv6: fc.constantFrom(true, true, true, false),
});

/** An address that no host of any cluster has. */
export const INTERNET: Readonly<Record<Family, Ip>> = { 4: ip("8.8.8.8"), 6: ip("2001:db8::8") };

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

function present<T>(values: readonly (T | undefined)[]): T[] {
  return values.filter((value) => value !== undefined);
}
