/**
 * The state of one simulated network namespace, and the error with which its operations refuse.
 *
 * It holds what a kernel holds, other people's objects too: addresses in the order in which they came (the first of a
 * prefix is its primary), and routes that are not ours apart, because `observe` does not show them.
 */
import type { Datapath, FlowSample, Traffic } from "../../core/host/datapath.ts";
import type {
  Address,
  FdbEntry,
  HostState,
  Link,
  Neighbor,
  NftChain,
  NftFamily,
  NftMap,
  NftValue,
  Route,
  Rule,
  Shaper,
} from "../../core/host/host-state.ts";
import { FILTER_TABLE, observedPassages } from "../../core/host/passages.ts";
import { type Family, familyOf, type Ip } from "../../model/ip.ts";
import { type Mac, mac } from "../../model/mac.ts";
import { OWNER } from "../../model/names.ts";
import type { KernelChange } from "../ports.ts";

/** What the kernel answers an operation that it does not carry out. */
export class Refusal extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(`${message} (${code})`);
    this.code = code;
  }
}

export function refuse(code: string, message: string): never {
  throw new Refusal(code, message);
}

/** A link as `observe` shows it, and for a veth where its other end is. */
export interface FakeLink {
  readonly link: Link & { readonly mtu: number };
  readonly pair?: { readonly namespace: FakeNamespace; readonly name: string };
}

export interface FakeTable {
  readonly family: NftFamily;
  readonly name: string;
  readonly chains: Map<string, NftChain>;
  readonly maps: Map<string, { readonly type: NftMap["type"]; readonly elements: Map<NftValue, NftValue> }>;
}

export class FakeNamespace {
  /** `BOOT:COOKIE`, as Linux has it. */
  readonly id: string;
  readonly links = new Map<string, FakeLink>();
  readonly addresses: Address[] = [];
  readonly routes = new Map<string, Route>();
  /** Routes of other protocols: the host's default route and the like. */
  readonly foreignRoutes: Route[] = [];
  readonly rules = new Map<string, Rule>();
  readonly neighbors = new Map<string, Neighbor>();
  readonly fdb = new Map<string, FdbEntry>();
  readonly shapers = new Map<string, Shaper>();
  /** First packets that the kernel remembers; a test puts them there, nothing here tracks any. */
  readonly connections: { readonly protocol: "udp"; readonly to: Ip; readonly port: number }[] = [];
  readonly sysctls = new Map<string, string>();
  readonly tables = new Map<string, FakeTable>();
  datapath: Datapath | undefined;
  traffic: Traffic = { paths: {}, pairs: [] };
  readonly samples: FlowSample[] = [];
  readonly watchers = new Set<(change: KernelChange) => void>();
  #macs = 0;

  constructor(id: string) {
    this.id = id;
    this.sysctls.set("net/ipv4/ip_forward", "0");
    this.sysctls.set("net/ipv6/conf/all/forwarding", "0");
    for (const conf of ["all", "default"]) this.#addDeviceSysctls(conf, "0");
    this.addLink({ link: { kind: "device", name: "lo", up: false, mtu: 65_536 } }, "0");
  }

  /** @param addrGenMode `1`: the kernel gives no link-local address, as for every device of ours */
  addLink(link: FakeLink, addrGenMode: "0" | "1"): void {
    this.links.set(link.link.name, link);
    this.#addDeviceSysctls(link.link.name, addrGenMode);
  }

  link(name: string): FakeLink {
    return this.links.get(name) ?? refuse("ENODEV", `device ${name}: no such device`);
  }

  /** A device's MAC when nobody chose one; unique in the namespace. */
  nextMac(): Mac {
    this.#macs += 1;
    return mac(`0e:00:00:00:00:${this.#macs.toString(16).padStart(2, "0")}`);
  }

  hasIpv6On(dev: string): boolean {
    return this.sysctls.get(`net/ipv6/conf/${dev}/disable_ipv6`) === "0";
  }

  removeAddresses(isGone: (address: Address) => boolean): void {
    const left = this.addresses.filter((address) => !isGone(address));
    this.addresses.splice(0, this.addresses.length, ...left);
  }

  removeRoutes(isGone: (route: Route) => boolean): void {
    for (const [key, route] of this.routes) if (isGone(route)) this.routes.delete(key);
    const left = this.foreignRoutes.filter((route) => !isGone(route));
    this.foreignRoutes.splice(0, this.foreignRoutes.length, ...left);
  }

  removeNeighbors(isGone: (neighbor: Neighbor) => boolean): void {
    for (const [key, neighbor] of this.neighbors) if (isGone(neighbor)) this.neighbors.delete(key);
  }

  observe(sysctlPaths: readonly string[]): HostState {
    return {
      links: [...this.links.values()].map(({ link }) => link),
      addresses: [...this.addresses],
      routes: [...this.routes.values()],
      rules: [...this.rules.values()],
      neighbors: [...this.neighbors.values()],
      fdb: [...this.fdb.values()],
      shapers: [...this.shapers.values()],
      sysctls: [...new Set(sysctlPaths)].flatMap((path) => {
        const value = this.sysctls.get(path);
        return value === undefined ? [] : [{ path, value }];
      }),
      tables: [...this.tables.values()]
        .filter(({ name }) => name === OWNER)
        .map(({ family, name, chains, maps }) => ({
          family,
          name,
          chains: [...chains.values()],
          maps: [...maps].map(([map, { type, elements }]) => ({ name: map, type, elements: [...elements] })),
        })),
      passages: (["ip", "ip6"] as const).flatMap((family) => {
        const table = this.tables.get(`${family} ${FILTER_TABLE}`);
        return table === undefined ? [] : observedPassages(family, [...table.chains.values()]);
      }),
      datapaths: this.datapath === undefined ? [] : [this.datapath],
    };
  }

  #addDeviceSysctls(dev: string, addrGenMode: string): void {
    this.sysctls.set(`net/ipv4/conf/${dev}/forwarding`, this.sysctls.get("net/ipv4/conf/default/forwarding") ?? "0");
    this.sysctls.set(`net/ipv4/conf/${dev}/rp_filter`, "0");
    this.sysctls.set(`net/ipv4/conf/${dev}/route_localnet`, "0");
    this.sysctls.set(`net/ipv4/conf/${dev}/promote_secondaries`, "0");
    this.sysctls.set(`net/ipv6/conf/${dev}/accept_ra`, this.sysctls.get("net/ipv6/conf/default/accept_ra") ?? "1");
    this.sysctls.set(`net/ipv6/conf/${dev}/disable_ipv6`, "0");
    this.sysctls.set(`net/ipv6/conf/${dev}/addr_gen_mode`, addrGenMode);
  }
}

export function isOfFamily(route: Route, family: Family): boolean {
  return familyOf(route.dst) === family;
}
