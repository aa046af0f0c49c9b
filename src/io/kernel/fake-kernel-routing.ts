/**
 * Addresses, routes, policy rules, neighbours, FDB entries and shapers of the simulated kernel, with Linux's refusals: a gateway
 * must be on the link, a preferred source must be an address of the host, a device must be up to have routes.
 */
import type { KernelOp, Route } from "../../core/host/host-state.ts";
import { addressOf, type Cidr, cidr, contains, type Family, familyOf, type Ip, networkOf } from "../../model/ip.ts";
import { forgetSources } from "./fake-kernel-links.ts";
import { type FakeNamespace, isOfFamily, refuse } from "./fake-kernel-namespace.ts";

const LINK_LOCAL = cidr("fe80::/10");

type Op<K extends KernelOp["op"]> = Extract<KernelOp, { op: K }>;

export function replaceAddress(namespace: FakeNamespace, { address }: Op<"address.replace">): void {
  namespace.link(address.dev);
  if (familyOf(address.address) === 6 && !namespace.hasIpv6On(address.dev))
    refuse("EACCES", `add ${address.address} dev ${address.dev}: IPv6 is disabled on this device`);
  const isThere = namespace.addresses.some((a) => a.dev === address.dev && a.address === address.address);
  if (!isThere) namespace.addresses.push(address);
}

export function deleteAddress(namespace: FakeNamespace, { address }: Op<"address.delete">): void {
  namespace.link(address.dev);
  const at = namespace.addresses.findIndex((a) => a.dev === address.dev && a.address === address.address);
  if (at < 0) refuse("EADDRNOTAVAIL", `delete ${address.address} dev ${address.dev}: address not found`);
  const family = familyOf(address.address);
  const isMate = (a: typeof address): boolean =>
    a.dev === address.dev && networkOf(a.address) === networkOf(address.address);
  // The first of a prefix is its primary; the others live and die with it, unless they are promoted.
  const isPromoted = namespace.sysctls.get(`net/ipv4/conf/${address.dev}/promote_secondaries`) === "1";
  const goesWithIt = family === 4 && !isPromoted && namespace.addresses.findIndex(isMate) === at;
  const lost = namespace.addresses.filter((a, i) => i === at || (goesWithIt && isMate(a)));
  namespace.removeAddresses((a) => lost.includes(a));
  const isBare = !namespace.addresses.some((a) => a.dev === address.dev && familyOf(a.address) === 4);
  if (family === 4 && isBare) namespace.removeRoutes((route) => route.dev === address.dev && isOfFamily(route, 4));
  forgetSources(
    namespace,
    lost.map((a) => addressOf(a.address)),
  );
}

export function replaceRoute(namespace: FakeNamespace, { route }: Op<"route.replace">): void {
  const family = familyOf(route.dst);
  if (route.type === "unicast") checkWay(namespace, route, family);
  const metric = family === 6 && route.metric === 0 ? 1024 : route.metric;
  const stored = { ...route, metric };
  namespace.routes.set(routeKey(stored), stored);
}

function checkWay(namespace: FakeNamespace, route: Route, family: Family): void {
  const what = `add route ${route.dst}`;
  if (route.dev === undefined) refuse("EINVAL", `${what}: no device`);
  if (!namespace.link(route.dev).link.up) refuse("ENETDOWN", `${what}: nexthop device ${route.dev} is not up`);
  if (family === 6 && !namespace.hasIpv6On(route.dev))
    refuse("EACCES", `${what}: IPv6 is disabled on nexthop device ${route.dev}`);
  if (route.via !== undefined && isLocal(namespace, route.via))
    refuse("EINVAL", `${what}: gateway ${route.via} is an address of this host`);
  if (route.via !== undefined && route.onlink !== true && !isOnLink(namespace, route.via, route.dev))
    refuse(family === 4 ? "ENETUNREACH" : "EHOSTUNREACH", `${what}: gateway ${route.via} is not on ${route.dev}`);
  if (route.src !== undefined && !isLocal(namespace, route.src))
    refuse("EINVAL", `${what}: this host has no address ${route.src}`);
}

export function deleteRoute(namespace: FakeNamespace, { route }: Op<"route.delete">): void {
  if (!namespace.routes.delete(routeKey(route))) refuse("ESRCH", `delete route ${route.dst}: no such process`);
}

export function addRule(namespace: FakeNamespace, { rule }: Op<"rule.add">): void {
  const key = JSON.stringify([rule.priority, rule.src, rule.table]);
  if (namespace.rules.has(key)) refuse("EEXIST", `add rule from ${rule.src}: file exists`);
  namespace.rules.set(key, rule);
}

export function deleteRule(namespace: FakeNamespace, { rule }: Op<"rule.delete">): void {
  const key = JSON.stringify([rule.priority, rule.src, rule.table]);
  if (!namespace.rules.delete(key)) refuse("ENOENT", `delete rule from ${rule.src}: no such file or directory`);
}

export function replaceNeighbor(namespace: FakeNamespace, { neighbor }: Op<"neighbor.replace">): void {
  namespace.link(neighbor.dev);
  if (familyOf(neighbor.ip) === 6 && !namespace.hasIpv6On(neighbor.dev))
    refuse("EINVAL", `add neighbour ${neighbor.ip}: IPv6 is disabled on ${neighbor.dev}`);
  namespace.neighbors.set(`${neighbor.dev} ${neighbor.ip}`, neighbor);
}

export function deleteNeighbor(namespace: FakeNamespace, { neighbor }: Op<"neighbor.delete">): void {
  namespace.link(neighbor.dev);
  if (!namespace.neighbors.delete(`${neighbor.dev} ${neighbor.ip}`))
    refuse("ENOENT", `delete neighbour ${neighbor.ip} dev ${neighbor.dev}: no such file or directory`);
}

export function replaceFdb(namespace: FakeNamespace, { entry }: Op<"fdb.replace">): void {
  const { link } = namespace.link(entry.dev);
  if (link.kind !== "vxlan") refuse("ENOTSUP", `add fdb ${entry.mac} dev ${entry.dev}: not a VXLAN device`);
  if (link.local !== undefined && familyOf(link.local) !== familyOf(entry.dst))
    refuse("EAFNOSUPPORT", `add fdb ${entry.mac}: ${entry.dst} is not of the tunnel's family`);
  namespace.fdb.set(`${entry.dev} ${entry.mac}`, entry);
}

export function deleteFdb(namespace: FakeNamespace, { entry }: Op<"fdb.delete">): void {
  namespace.link(entry.dev);
  if (!namespace.fdb.delete(`${entry.dev} ${entry.mac}`))
    refuse("ENOENT", `delete fdb ${entry.mac} dev ${entry.dev}: no such file or directory`);
}

export function replaceShaper(namespace: FakeNamespace, { shaper }: Op<"shaper.replace">): void {
  namespace.link(shaper.dev);
  namespace.shapers.set(shaper.dev, shaper);
}

export function deleteShaper(namespace: FakeNamespace, { shaper }: Op<"shaper.delete">): void {
  namespace.link(shaper.dev);
  if (!namespace.shapers.delete(shaper.dev))
    refuse("ENOENT", `delete qdisc tbf dev ${shaper.dev}: no such file or directory`);
}

export function forgetConnections(namespace: FakeNamespace, op: Op<"connections.forget">): void {
  const left = namespace.connections.filter(({ protocol, to, port }) => {
    const isOurs = op.to === undefined ? isLocal(namespace, to) : op.to === to;
    return !(isOurs && familyOf(to) === op.family && protocol === op.protocol && port === op.port);
  });
  namespace.connections.splice(0, namespace.connections.length, ...left);
}

export function setSysctl(namespace: FakeNamespace, { sysctl }: Op<"sysctl.set">): void {
  const old = namespace.sysctls.get(sysctl.path);
  if (old === undefined) refuse("ENOENT", `set ${sysctl.path}: no such file or directory`);
  // One word for all devices, later ones too; said again, it says nothing.
  if (sysctl.path === "net/ipv4/ip_forward" && sysctl.value !== old)
    for (const path of namespace.sysctls.keys())
      if (/^net\/ipv4\/conf\/[^/]+\/forwarding$/.test(path)) namespace.sysctls.set(path, sysctl.value);
  namespace.sysctls.set(sysctl.path, sysctl.value);
  const dev = /^net\/ipv6\/conf\/([^/]+)\/disable_ipv6$/.exec(sysctl.path)?.[1];
  if (dev === undefined || sysctl.value !== "1") return;
  const isOn = (object: { readonly dev?: string | undefined }): boolean => object.dev === dev;
  namespace.removeAddresses((address) => isOn(address) && familyOf(address.address) === 6);
  namespace.removeRoutes((route) => isOn(route) && isOfFamily(route, 6));
  namespace.removeNeighbors((neighbor) => isOn(neighbor) && familyOf(neighbor.ip) === 6);
}

/** Is it one of the host's own addresses? */
export function isLocal(namespace: FakeNamespace, address: Ip): boolean {
  return namespace.addresses.some((a) => addressOf(a.address) === address);
}

/** The prefixes that are reached over the device without a gateway. */
function onLinkPrefixes(namespace: FakeNamespace, dev: string): readonly Cidr[] {
  const routes = [...namespace.routes.values(), ...namespace.foreignRoutes];
  return [
    ...namespace.addresses.filter((a) => a.dev === dev).map((a) => networkOf(a.address)),
    ...routes.filter((r) => r.dev === dev && r.via === undefined && r.type === "unicast").map((r) => r.dst),
  ];
}

function isOnLink(namespace: FakeNamespace, gateway: Ip, dev: string): boolean {
  return contains(LINK_LOCAL, gateway) || onLinkPrefixes(namespace, dev).some((prefix) => contains(prefix, gateway));
}

function routeKey({ table, metric, dst }: Route): string {
  return `${table} ${metric} ${dst}`;
}
