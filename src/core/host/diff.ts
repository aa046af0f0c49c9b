/**
 * The operations that lead from one state to another, in an order in which each finds what it needs.
 *
 * Laws: `diff(s, s)` is empty; after its operations are applied, a second diff is empty; nothing is deleted that
 * `ownership.ts` does not claim. The second law needs to know what the kernel does by itself: a deleted device takes
 * with it what was on it, the last address of a device its IPv4 routes, a new MAC its neighbours.
 */
import { addressOf, familyOf, networkOf } from "../../model/ip.ts";
import { diffDatapath } from "./diff-datapath.ts";
import { diffLinks, isMadeByUs, type LinkChanges } from "./diff-links.ts";
import { diffNft } from "./diff-nft.ts";
import type { Address, FdbEntry, HostState, KernelOp, Neighbor, Route, Rule, Shaper, Sysctl } from "./host-state.ts";
import { deviceOfSysctl } from "./op-device.ts";
import { type Ownership, ownership } from "./ownership.ts";
import { diffPassages } from "./passages.ts";

/** @returns what to do, to be applied in this order */
export function diff(observed: HostState, desired: HostState): KernelOp[] {
  const links = diffLinks(observed.links, desired.links);
  const owns = ownership(observed, desired, links.blocked);
  const there = survivors(observed, links);
  const want = withoutBlocked(desired, links.blocked);
  const addresses = diffAddresses(there, want, owns);
  const vanished = routesTakenBy(addresses.removed, there);
  const routes = compare(there.routes, want.routes, routeKey, isSameRoute);
  const neighbors = compare(there.neighbors, want.neighbors, neighborKey, (a, b) => a.mac === b.mac);
  const fdb = compare(there.fdb, want.fdb, fdbKey, (a, b) => a.dst === b.dst);
  const rules = compare(there.rules, want.rules, ruleKey, () => true);
  const shapers = compare(there.shapers, want.shapers, ({ dev }) => dev, isSameShaper);
  const added = new Set(links.added.map((link) => link.name));
  const nft = diffNft(observed.tables, want.tables, links.gone, added);
  const sysctls = diffSysctls(there, want, added);
  const datapath = diffDatapath(observed.datapaths[0], desired.datapaths[0], new Set([...links.gone, ...added]));
  const routesToWrite = [...routes.write, ...routes.same.filter((route) => vanished.has(route))];
  return [
    ...datapath.before,
    ...nft.before,
    ...rules.extra.filter(owns.rule).map((rule): KernelOp => ({ op: "rule.delete", rule })),
    ...routes.extra.filter(owns.route).map((route): KernelOp => ({ op: "route.delete", route })),
    ...fdb.extra.filter((e) => owns.onDevice(e.dev)).map((entry): KernelOp => ({ op: "fdb.delete", entry })),
    ...neighbors.extra
      .filter((e) => owns.onDevice(e.dev))
      .map((neighbor): KernelOp => ({ op: "neighbor.delete", neighbor })),
    ...shapers.extra.filter((e) => owns.onDevice(e.dev)).map((shaper): KernelOp => ({ op: "shaper.delete", shaper })),
    ...addresses.removed.map((address): KernelOp => ({ op: "address.delete", address })),
    ...links.deleted.map((link): KernelOp => ({ op: "link.delete", name: link.name })),
    ...sysctls.ofHost,
    ...links.added.flatMap((link) => {
      const guard = nft.guards.get(link.name);
      const settings = (sysctls.ofDevice.get(link.name) ?? []).map(setSysctl);
      return addLink(link, [...settings, ...(guard === undefined ? [] : [guard])], links.blocked);
    }),
    ...links.set,
    ...addresses.write.map((address): KernelOp => ({ op: "address.replace", address })),
    ...neighbors.write.map((neighbor): KernelOp => ({ op: "neighbor.replace", neighbor })),
    ...shapers.write.map((shaper): KernelOp => ({ op: "shaper.replace", shaper })),
    ...fdb.write.map((entry): KernelOp => ({ op: "fdb.replace", entry })),
    ...gatewaysFirst(routesToWrite).map((route): KernelOp => ({ op: "route.replace", route })),
    ...rules.write.map((rule): KernelOp => ({ op: "rule.add", rule })),
    ...nft.after,
    ...diffPassages(observed.passages, desired.passages),
    ...datapath.after,
  ];
}

/** What is left of the observed state once the links have changed. */
function survivors(observed: HostState, { gone, renumbered }: LinkChanges): HostState {
  if (gone.size === 0 && renumbered.size === 0) return observed;
  const isThere = ({ dev }: { readonly dev?: string | undefined }): boolean => dev === undefined || !gone.has(dev);
  return {
    ...observed,
    addresses: observed.addresses.filter(isThere),
    routes: observed.routes.filter(isThere),
    neighbors: observed.neighbors.filter((neighbor) => isThere(neighbor) && !renumbered.has(neighbor.dev)),
    fdb: observed.fdb.filter(isThere),
    shapers: observed.shapers.filter(isThere),
    sysctls: observed.sysctls.filter(({ path }) => isThere({ dev: deviceOfSysctl(path) })),
  };
}

/** A device of somebody else's under a name of ours gets nothing of ours. */
function withoutBlocked(desired: HostState, blocked: ReadonlySet<string>): HostState {
  if (blocked.size === 0) return desired;
  const isFree = ({ dev }: { readonly dev?: string | undefined }): boolean => dev === undefined || !blocked.has(dev);
  return {
    ...desired,
    addresses: desired.addresses.filter(isFree),
    routes: desired.routes.filter(isFree),
    neighbors: desired.neighbors.filter(isFree),
    fdb: desired.fdb.filter(isFree),
    shapers: desired.shapers.filter(isFree),
    sysctls: desired.sysctls.filter(({ path }) => isFree({ dev: deviceOfSysctl(path) })),
  };
}

/** The kernel deletes an address together with those that came to its device after it in the same IPv4 prefix. */
function diffAddresses(there: HostState, want: HostState, owns: Ownership) {
  const { extra, write, same } = compare(there.addresses, want.addresses, addressKey, () => true);
  const removed = extra.filter((address) => owns.onDevice(address.dev));
  const prefixes = new Set(removed.map(prefixKey));
  return {
    removed,
    write: [...write, ...(removed.length === 0 ? [] : same.filter((a) => prefixes.has(prefixKey(a))))],
  };
}

/** Routes that the kernel drops with the addresses: those that prefer one of them, and IPv4 ones of a bare device. */
function routesTakenBy(removed: readonly Address[], there: HostState): ReadonlySet<Route> {
  if (removed.length === 0) return new Set();
  const sources = new Set(removed.map(({ address }) => addressOf(address)));
  const devices = new Set(removed.filter(({ address }) => familyOf(address) === 4).map(({ dev }) => dev));
  const isTaken = ({ src, dev, dst }: Route): boolean =>
    (src !== undefined && sources.has(src)) || (dev !== undefined && devices.has(dev) && familyOf(dst) === 4);
  return new Set(there.routes.filter(isTaken));
}

/** Those of new devices go between making and raising them; forwarding comes after what protects from its effects. */
function diffSysctls(there: HostState, want: HostState, added: ReadonlySet<string>) {
  const { write } = compare(
    there.sysctls,
    want.sysctls,
    ({ path }) => path,
    (a, b) => a.value === b.value,
  );
  const ofDevice = new Map<string, Sysctl[]>();
  const ofHost: Sysctl[] = [];
  for (const sysctl of write) {
    const dev = deviceOfSysctl(sysctl.path);
    if (dev === undefined || !added.has(dev)) ofHost.push(sysctl);
    else ofDevice.set(dev, [...(ofDevice.get(dev) ?? []), sysctl]);
  }
  const isForwarding = ({ path }: Sysctl): boolean => path.endsWith("forward") || path.endsWith("forwarding");
  const ordered = [...ofHost.filter((s) => !isForwarding(s)), ...ofHost.filter(isForwarding)];
  return { ofHost: ordered.map(setSysctl), ofDevice };
}

function setSysctl(sysctl: Sysctl): KernelOp {
  return { op: "sysctl.set", sysctl };
}

/** @param beforeUp what has to be done between making and raising it */
function addLink(link: HostState["links"][number], beforeUp: readonly KernelOp[], blocked: ReadonlySet<string>) {
  const ops: KernelOp[] = isMadeByUs(link) ? [{ op: "link.add", link }] : [];
  if (blocked.has(link.name)) return ops;
  ops.push(...beforeUp);
  return link.up ? [...ops, { op: "link.set", name: link.name, up: true } satisfies KernelOp] : ops;
}

/** A route through a gateway may need the one that puts the gateway on the link. */
function gatewaysFirst(routes: readonly Route[]): Route[] {
  return [...routes.filter(({ via }) => via === undefined), ...routes.filter(({ via }) => via !== undefined)];
}

interface Comparison<T> {
  /** Observed, and not desired at all. */
  readonly extra: T[];
  /** Desired, and missing or different. */
  readonly write: T[];
  /** The observed objects that are as desired. */
  readonly same: T[];
}

/** By keys that are cheap to make: a pass over ten thousand peers compares thirty thousand objects. */
function compare<T>(
  observed: readonly T[],
  desired: readonly T[],
  keyOf: (object: T) => string,
  isSame: (a: T, b: T) => boolean,
): Comparison<T> {
  const left = new Map<string, T>();
  for (const object of observed) left.set(keyOf(object), object);
  const write: T[] = [];
  const same: T[] = [];
  for (const object of desired) {
    const key = keyOf(object);
    const there = left.get(key);
    if (there !== undefined && isSame(there, object)) same.push(there);
    else write.push(object);
    left.delete(key);
  }
  return { extra: [...left.values()], write, same };
}

function isSameShaper(a: Shaper, b: Shaper): boolean {
  return a.rate === b.rate && a.burst === b.burst;
}

function isSameRoute(a: Route, b: Route): boolean {
  return (
    a.via === b.via &&
    a.dev === b.dev &&
    a.type === b.type &&
    a.src === b.src &&
    (a.onlink ?? false) === (b.onlink ?? false)
  );
}

function addressKey({ dev, address }: Address): string {
  return `${dev} ${address}`;
}

function prefixKey({ dev, address }: Address): string {
  return `${dev} ${networkOf(address)}`;
}

function routeKey({ table, metric, dst }: Route): string {
  return `${table} ${metric} ${dst}`;
}

function neighborKey({ dev, ip }: Neighbor): string {
  return `${dev} ${ip}`;
}

function fdbKey({ dev, mac }: FdbEntry): string {
  return `${dev} ${mac}`;
}

function ruleKey({ src, table, priority }: Rule): string {
  return `${priority} ${src} ${table}`;
}
