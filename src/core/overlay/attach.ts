/**
 * One container's interface: a routed veth (docs/decisions/0002). The container has its address with a full-length
 * prefix and sends everything to the gateway of its half; the host has a route for just that address.
 *
 * Both ends know the other's MAC from the start, so nothing is ever asked by ARP or neighbour discovery. The host's end
 * has the same MAC on every host; it is never seen beyond the veth.
 *
 * A Docker engine takes the container's end from beside the host's, and makes its inside by itself (docs/decisions/0037);
 * until Weft has been inside as well, the container asks who has the gateway, and the host answers.
 */
import { type Attachment, addressesOf } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { gatewayOf } from "../../model/half.ts";
import { addressBits, type Cidr, cidr, contains, familyOf, hostCidr, type Ip, ip, withLength } from "../../model/ip.ts";
import { IFALIAS_MAX_BYTES } from "../../model/limits.ts";
import { INTERFACE_TABLE, OWNER, VTEP_NAME } from "../../model/names.ts";
import { diff } from "../host/diff.ts";
import {
  EMPTY_HOST_STATE,
  type HostState,
  type KernelOp,
  MAIN_TABLE,
  type NftTable,
  type Route,
  type Rule,
  type Sysctl,
} from "../host/host-state.ts";
import { shapers } from "./bandwidth.ts";
import { gatewayHolders, type OverlayContext, servedFamilies } from "./context.ts";
import { datapathLevel } from "./datapath.ts";
import { ingressChain } from "./ingress.ts";
import { addPorts, deletePorts, ownPorts, portSysctls } from "./ports.ts";
import { plainMetric } from "./subnets.ts";
import { acceptRa, disableIpv6 } from "./sysctls.ts";
import { GATEWAY_MAC, mtuOf } from "./vtep.ts";

/** Stand in where another IPAM plugin names no gateway. Only the container knows them; nobody answers at them. */
const NAMELESS_GATEWAY = ip("169.254.1.1");
const NAMELESS_GATEWAY6 = ip("fe80::57:1");

/** Inside a container, before the main table's 32766. */
const SOURCE_RULE_PRIORITY = 32_087;

/**
 * The inside of the container's namespace, as far as this attachment goes. Read what is there with the sysctl paths of
 * the result; the diff of the two is empty just when the attachment is whole.
 * @throws Fault unknown-network when this host has no half that holds the attachment's addresses
 */
export function desiredContainer(attachment: Attachment, context: OverlayContext): HostState {
  const dev = insideName(attachment);
  const addresses = servedAddresses(attachment, context);
  const gateways = addresses.map((address) => requiredGateway(attachment, address, context));
  const mtu = mtuOf(attachment, context);
  const routes = gateways.flatMap((gateway) => gatewayRoutes(attachment, gateway));
  const { docker } = attachment;
  if (docker !== undefined && docker.isOwn !== true)
    return {
      ...EMPTY_HOST_STATE,
      links: [{ kind: "veth", name: dev, up: true, mtu, mac: attachment.mac }],
      routes: routes.filter(({ table }) => table !== MAIN_TABLE),
      rules: sourceRules(attachment, addresses),
      neighbors: gateways.map((ip) => ({ dev, ip, mac: GATEWAY_MAC })),
      sysctls: [{ path: acceptRa(dev), value: "0" }],
    };
  return {
    ...EMPTY_HOST_STATE,
    links: [
      { kind: "device", name: "lo", up: true },
      { kind: "veth", name: dev, up: true, mtu, mac: attachment.mac },
    ],
    addresses: addresses.map((address) => ({ dev, address: withLength(address, addressBits(familyOf(address))) })),
    // The default route is the engine's, which moves it from network to network.
    routes:
      docker === undefined ? routes : routes.filter(({ table, via }) => table !== MAIN_TABLE || via === undefined),
    rules: sourceRules(attachment, addresses),
    neighbors: gateways.map((ip) => ({ dev, ip, mac: GATEWAY_MAC })),
    sysctls: deviceSysctls(dev, addresses),
  };
}

/** The host's side: the pair, the routes to it; of the tables only its chain at ingress and the elements of its ports. */
export function desiredAttachment(attachment: Attachment, context: OverlayContext): Partial<HostState> {
  const dev = attachment.hostIfname;
  const mtu = mtuOf(attachment, context);
  const addresses = servedAddresses(attachment, context);
  const { network, containerId, ifname } = attachment;
  return {
    links: [
      {
        kind: "veth",
        name: dev,
        up: true,
        mtu,
        mac: GATEWAY_MAC,
        alias: truncated(`${OWNER} ${network} ${containerId} ${ifname}`),
        peer: { ...otherEnd(attachment), mac: attachment.mac, mtu },
      },
    ],
    addresses: askedGateways(attachment, addresses, context).map((gateway) => ({
      dev,
      address: withLength(gateway, addressBits(6)),
    })),
    routes: addresses.map((address) => containerRoute(dev, address, sourceFor(attachment, address, context))),
    neighbors: addresses.map((ip) => ({ dev, ip, mac: attachment.mac })),
    shapers: shapers(attachment, mtu),
    sysctls: [...deviceSysctls(dev, addresses), ...portSysctls(attachment)],
    tables: [ingressOf(attachment, context), ...ownPorts(attachment, context)],
  };
}

/** The name of the container's end, in its namespace. */
export function insideName({ docker, ifname }: Attachment): string {
  return docker?.ifname ?? ifname;
}

/** Where the container's end is made: in its namespace, or here for the engine to take. */
export function otherEnd({ docker, hostIfname, ifname, netns }: Attachment): { name: string; netns?: string } {
  if (docker === undefined || docker.isOwn) return { name: docker?.ifname ?? ifname, netns };
  return { name: `wd${hostIfname.slice(OWNER.length)}` };
}

/** The kernel answers for an IPv6 address only where the address is; for an IPv4 one, wherever it is asked. */
function askedGateways(attachment: Attachment, addresses: readonly Ip[], context: OverlayContext): readonly Ip[] {
  if (attachment.docker === undefined) return [];
  return addresses
    .filter((address) => familyOf(address) === 6)
    .map((address) => requiredGateway(attachment, address, context));
}

function ingressOf(attachment: Attachment, context: OverlayContext): NftTable {
  return { family: "netdev", name: OWNER, chains: [ingressChain(attachment, context)], maps: [] };
}

/**
 * The operations that attach on a host that `desiredHost` describes, without reading it.
 * @param siblings the other attachments of the container
 */
export function attachOps(
  attachment: Attachment,
  siblings: readonly Attachment[],
  context: OverlayContext,
): KernelOp[] {
  const tables = [ingressOf(attachment, context)];
  const desired = { ...EMPTY_HOST_STATE, ...desiredAttachment(attachment, context), tables };
  const observed = { ...EMPTY_HOST_STATE, tables: tables.map((table) => ({ ...table, chains: [] })) };
  const whole = diff(observed, desired).flatMap((op) =>
    op.op === "link.add" ? [op, ...prepared(attachment, context)] : [op],
  );
  return [leaveDatapath(attachment), ...whole, ...addPorts(attachment, siblings, context)];
}

/**
 * The operations that detach. What is gone already fails with ENOENT or ENODEV, which is no failure.
 * @param siblings the other attachments of the container, which keep the ports that they have too
 */
export function detachOps(attachment: Attachment, siblings: readonly Attachment[]): KernelOp[] {
  return [
    leaveDatapath(attachment),
    ...deletePorts(attachment, siblings),
    // As long as the device is there, so is what checks it.
    { op: "link.delete", name: attachment.hostIfname },
    { op: "nft.chain.delete", family: "netdev", table: OWNER, chain: attachment.hostIfname },
  ];
}

function prepared({ hostIfname }: Attachment, context: OverlayContext): KernelOp[] {
  return datapathLevel(context).level === 0 ? [] : [{ op: "datapath.prepare", at: hostIfname }];
}

/**
 * What leads to a device goes before it, or packets would be sent to nobody instead of being refused. What leads to a new
 * one is for the next pass: who may talk to it, and what of it is guarded, is all said at once there; until then the kernel
 * carries its packets.
 */
function leaveDatapath(attachment: Attachment): KernelOp {
  return {
    op: "datapath.remove",
    dev: VTEP_NAME,
    entries: addressesOf(attachment).map((ip) => ({ map: "locals", ip })),
  };
}

/**
 * The operations that take back, inside the container, what does not go with its device; none for most. What is gone
 * already fails with ENOENT, which is no failure.
 */
export function detachInsideOps(attachment: Attachment): KernelOp[] {
  return sourceRules(attachment, addressesOf(attachment)).map((rule) => ({ op: "rule.delete", rule }));
}

/** The addresses of an attachment with the gateway of each; those that this host has no half for are left out. */
export function gatewaysOf(
  attachment: Attachment,
  context: OverlayContext,
): readonly { readonly address: Ip; readonly gateway: Ip }[] {
  return servedAddresses(attachment, context).flatMap((address) => {
    const gateway = gatewayFor(attachment, address, context);
    return gateway === undefined ? [] : [{ address, gateway }];
  });
}

/** The gateway of the half that holds the address; `undefined` when this host has none (its network was removed). */
function gatewayFor(attachment: Attachment, address: Ip, context: OverlayContext): Ip | undefined {
  const { ipam } = attachment;
  if (ipam !== undefined)
    return familyOf(address) === 4 ? (ipam.gateway ?? NAMELESS_GATEWAY) : (ipam.gateway6 ?? NAMELESS_GATEWAY6);
  const holders = gatewayHolders(context).filter((holder) => holder.network === attachment.network);
  const halves = holders.flatMap((holder) => holder.halves);
  const half = halves.find((candidate: Cidr) => contains(candidate, address)) ?? lendingHalf(address, halves, context);
  return half === undefined ? undefined : gatewayOf(half);
}

/** What this host hosts of another's slice has a gateway of this host: it is reached by its own route, whatever its prefix. */
function lendingHalf(address: Ip, halves: readonly Cidr[], { assignment }: OverlayContext): Cidr | undefined {
  if (assignment.hosted?.some((claim) => claim.address === address) !== true) return undefined;
  return halves.find((half) => familyOf(half) === familyOf(address));
}

function requiredGateway(attachment: Attachment, address: Ip, context: OverlayContext): Ip {
  const gateway = gatewayFor(attachment, address, context);
  if (gateway !== undefined) return gateway;
  throw new Fault(
    "unknown-network",
    `container ${attachment.containerId}: network ${attachment.network} has no half on this host that holds ${address}; ` +
      "see `weft networks` for what the host was given",
    { network: attachment.network, ip: address },
  );
}

/**
 * Of several interfaces in one namespace the lowest rank has the default route. What the others' addresses send leaves
 * by their own interface all the same, through a table of its own: by another it would pass for spoofed.
 */
function gatewayRoutes(attachment: Attachment, gateway: Ip): readonly Route[] {
  const { rank = 0 } = attachment;
  const family = familyOf(gateway);
  const tables = rank === 0 ? [MAIN_TABLE] : [MAIN_TABLE, INTERFACE_TABLE + rank];
  return tables.flatMap((table) => {
    const metric = plainMetric(family) + rank;
    const toGateway: Route = { dst: hostCidr(gateway), table, metric, type: "unicast", dev: insideName(attachment) };
    return [toGateway, { ...toGateway, dst: cidr(family === 4 ? "0.0.0.0/0" : "::/0"), via: gateway }];
  });
}

function sourceRules({ rank = 0 }: Attachment, addresses: readonly Ip[]): readonly Rule[] {
  if (rank === 0) return [];
  const table = INTERFACE_TABLE + rank;
  return addresses.map((address) => ({ src: hostCidr(address), table, priority: SOURCE_RULE_PRIORITY }));
}

function containerRoute(dev: string, address: Ip, src: Ip | undefined): Route {
  const metric = plainMetric(familyOf(address));
  const route: Route = { dst: hostCidr(address), table: MAIN_TABLE, metric, type: "unicast", dev };
  return src === undefined ? route : { ...route, src };
}

/** What the host sends from: the gateway, where it is the host's own. */
function sourceFor(attachment: Attachment, address: Ip, context: OverlayContext): Ip | undefined {
  return attachment.ipam === undefined ? gatewayFor(attachment, address, context) : undefined;
}

/** IPv6 is switched off where the attachment has none, so that no address appears that nobody gave. */
function deviceSysctls(dev: string, addresses: readonly Ip[]): readonly Sysctl[] {
  const hasIpv6 = addresses.some((address) => familyOf(address) === 6);
  return [
    { path: acceptRa(dev), value: "0" },
    { path: disableIpv6(dev), value: hasIpv6 ? "0" : "1" },
  ];
}

function servedAddresses(attachment: Attachment, context: OverlayContext): readonly Ip[] {
  return addressesOf(attachment).filter((address) => servedFamilies(context).includes(familyOf(address)));
}

function truncated(alias: string): string {
  return Buffer.from(alias).subarray(0, IFALIAS_MAX_BYTES).toString();
}
