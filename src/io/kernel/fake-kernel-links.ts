/**
 * Links of the simulated kernel: what may be made, and what a device takes with it when it goes or goes down
 * (checked by hand on Linux 6.18, and by the contract suite).
 */
import type { KernelOp, Link } from "../../core/host/host-state.ts";
import { familyOf } from "../../model/ip.ts";
import { withoutDevice } from "./fake-kernel-datapath.ts";
import { type FakeLink, type FakeNamespace, isOfFamily, refuse } from "./fake-kernel-namespace.ts";

const DEFAULT_MTU = 1500;

type Op<K extends KernelOp["op"]> = Extract<KernelOp, { op: K }>;

/** @param findNamespace by path; `undefined` when there is none */
export function addLink(
  namespace: FakeNamespace,
  { link }: Op<"link.add">,
  findNamespace: (path: string) => FakeNamespace | undefined,
): void {
  if (namespace.links.has(link.name)) refuse("EEXIST", `add ${link.name}: file exists`);
  if (link.kind === "vxlan" && hasVni(namespace, link.vni, link.port))
    refuse("EEXIST", `add ${link.name}: a VXLAN device with the specified VNI already exists`);
  if (link.kind !== "veth") {
    namespace.addLink({ link: made(link, namespace) }, "1");
    return;
  }
  const { peer, ...end } = link;
  if (peer === undefined) refuse("EINVAL", `add ${link.name}: a pair needs its other end`);
  const { name, netns } = peer;
  const found = netns === undefined ? namespace : findNamespace(netns);
  const other = found ?? refuse("ENOENT", `add ${link.name}: ${netns}: no such file`);
  if (other.links.has(name)) refuse("EEXIST", `add ${link.name}: ${name} in ${netns ?? "the same"}: file exists`);
  namespace.addLink({ link: made(end, namespace), pair: { namespace: other, name: peer.name } }, "1");
  const inner: Link = { kind: "veth", name: peer.name, up: false, mac: peer.mac, mtu: peer.mtu };
  other.addLink({ link: made(inner, other), pair: { namespace, name: link.name } }, "1");
}

function made(link: Link, namespace: FakeNamespace): FakeLink["link"] {
  return { ...link, up: false, mtu: link.mtu ?? DEFAULT_MTU, mac: link.mac ?? namespace.nextMac() };
}

function hasVni(namespace: FakeNamespace, vni: number, port: number): boolean {
  return [...namespace.links.values()].some(
    ({ link }) => link.kind === "vxlan" && link.vni === vni && link.port === port,
  );
}

export function setLink(namespace: FakeNamespace, { op: _, name, ...change }: Op<"link.set">): void {
  const there = namespace.link(name);
  if (change.mtu !== undefined && (change.mtu < 68 || change.mtu > 65_535))
    refuse("EINVAL", `set ${name}: mtu ${change.mtu} is out of range`);
  namespace.links.set(name, { ...there, link: { ...there.link, ...change } });
  if (change.mac !== undefined && change.mac !== there.link.mac)
    namespace.removeNeighbors((neighbor) => neighbor.dev === name);
  if (change.up === false && there.link.up) goDown(namespace, name);
}

/** A device that is down has no routes, no neighbours and no IPv6 addresses; its IPv4 addresses stay. */
function goDown(namespace: FakeNamespace, dev: string): void {
  namespace.removeRoutes((route) => route.dev === dev);
  namespace.removeNeighbors((neighbor) => neighbor.dev === dev);
  namespace.removeAddresses((address) => address.dev === dev && familyOf(address.address) === 6);
}

export function deleteLink(namespace: FakeNamespace, { name }: Op<"link.delete">): void {
  const { link, pair } = namespace.link(name);
  if (link.kind === "device") refuse("ENOTSUP", `delete ${name}: operation not supported`);
  removeLink(namespace, name);
  if (pair !== undefined) removeLink(pair.namespace, pair.name);
}

/** Puts a device into another namespace, as a container runtime does: down, and with nothing on it. */
export function moveLink(from: FakeNamespace, name: string, to: FakeNamespace, newName: string): void {
  const { link, pair } = from.link(name);
  if (to.links.has(newName)) refuse("EEXIST", `move ${name}: ${newName}: file exists`);
  removeLink(from, name);
  to.addLink({ link: { ...link, name: newName, up: false }, ...(pair && { pair }) }, "1");
  const other = pair?.namespace.link(pair.name);
  if (pair !== undefined && other !== undefined)
    pair.namespace.links.set(pair.name, { ...other, pair: { namespace: to, name: newName } });
}

/** Removes a device and all that is on it. Chains at its ingress stay, bound to its name. */
export function removeLink(namespace: FakeNamespace, dev: string): void {
  namespace.links.delete(dev);
  const isOn = (object: { readonly dev?: string | undefined }): boolean => object.dev === dev;
  const lost = namespace.addresses.filter(isOn);
  namespace.removeAddresses(isOn);
  namespace.removeRoutes(isOn);
  namespace.removeNeighbors(isOn);
  for (const [key, entry] of namespace.fdb) if (isOn(entry)) namespace.fdb.delete(key);
  namespace.shapers.delete(dev);
  for (const path of [...namespace.sysctls.keys()]) if (path.split("/")[3] === dev) namespace.sysctls.delete(path);
  forgetSources(
    namespace,
    lost.map(({ address }) => address.slice(0, address.indexOf("/"))),
  );
  staleForwards(namespace, dev);
  if (namespace.datapath !== undefined) namespace.datapath = withoutDevice(namespace.datapath, dev);
}

/** IPv4 routes go with the address that they prefer as source, IPv6 ones stay and prefer none. */
export function forgetSources(namespace: FakeNamespace, addresses: readonly string[]): void {
  const held = new Set(namespace.addresses.map(({ address }) => address.slice(0, address.indexOf("/"))));
  const gone = new Set(addresses.filter((address) => !held.has(address)));
  namespace.removeRoutes((route) => route.src !== undefined && gone.has(route.src) && isOfFamily(route, 4));
  for (const [key, route] of namespace.routes) {
    if (route.src === undefined || !gone.has(route.src)) continue;
    const { src: _, ...rest } = route;
    namespace.routes.set(key, rest);
  }
}

/** A rule holds the number of the device that it forwards to, not its name; a new device has a new number. */
function staleForwards(namespace: FakeNamespace, dev: string): void {
  for (const table of namespace.tables.values())
    for (const [name, chain] of table.chains) {
      const rules = chain.rules.map((rule) =>
        rule.map((part) =>
          part.kind === "forward" && part.device === dev
            ? ({ kind: "unknown", text: `fwd to ${part.field} map @${part.map} device (gone)` } as const)
            : part,
        ),
      );
      table.chains.set(name, { ...chain, rules });
    }
}
