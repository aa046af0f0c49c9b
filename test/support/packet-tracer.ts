/**
 * Follows one packet through fake kernels that share an underlay: does it arrive, with which source, by which hops, and
 * if not, where and why did it die?
 *
 * It knows what our wiring uses: veth pairs, VXLAN with static entries, routes and policy rules, reverse-path filters,
 * MTUs, our nftables. Nothing is resolved by ARP except on the underlay, because nothing of ours may need it.
 */
import type { Route } from "../../src/core/host/host-state.ts";
import type { FakeLink, FakeNamespace } from "../../src/io/kernel/fake-kernel-namespace.ts";
import { isLocal } from "../../src/io/kernel/fake-kernel-routing.ts";
import { addressOf, familyOf, type Ip } from "../../src/model/ip.ts";
import { VXLAN_OVERHEAD_IPV4, VXLAN_OVERHEAD_IPV6 } from "../../src/model/limits.ts";
import { type NftPacket, type NftResult, runHook, type Transport } from "./nft-interpreter.ts";
import { lookUpRoute } from "./route-lookup.ts";

export interface World {
  /** Every namespace a packet can be in, with the name that hops show. */
  readonly places: readonly { readonly name: string; readonly namespace: FakeNamespace }[];
  /** The device that joins the hosts. */
  readonly underlayDev: string;
}

export interface Trace {
  readonly arrived: boolean;
  /** Where it arrived or died. */
  readonly place: string;
  /** The source that the receiver sees. */
  readonly src: Ip;
  readonly hops: readonly string[];
  /** Why it died. */
  readonly reason?: string;
}

interface Packet extends NftPacket {
  /** Bytes of the IP packet. */
  readonly size: number;
  readonly inner?: { readonly packet: Packet; readonly mac: string; readonly vni: number };
}

/** A packet's end; thrown so that it leaves all hops at once. */
class End extends Error {
  readonly trace: Omit<Trace, "hops">;

  constructor(trace: Omit<Trace, "hops">) {
    super(trace.reason ?? "arrived");
    this.trace = trace;
  }
}

const HOPS_MAX = 64;
const FIRST_PACKET_BYTES = 60;

/**
 * @param from name of the place whose program sends, from `src` or from what the route prefers
 * @param transport of the first packet of a connection; absent: a protocol that no rule looks into, as large as may be
 */
export function trace(world: World, from: string, dst: Ip, src?: Ip, transport?: Transport): Trace {
  const tracer = new Tracer(world);
  try {
    tracer.send(from, dst, src, transport);
  } catch (end) {
    if (!(end instanceof End)) throw end;
    return { ...end.trace, hops: tracer.hops };
  }
  throw new Error("a packet arrives or dies");
}

class Tracer {
  readonly hops: string[] = [];
  readonly #world: World;

  constructor(world: World) {
    this.#world = world;
  }

  send(from: string, dst: Ip, src?: Ip, transport?: Transport): void {
    const namespace = this.#world.places.find(({ name }) => name === from)?.namespace;
    if (namespace === undefined) throw new Error(`no place is called ${from}`);
    const route = lookUpRoute(namespace, dst, src);
    const source = src ?? (isLocal(namespace, dst) ? dst : sourceFor(namespace, route, dst));
    const largest = namespace.links.get(route?.dev ?? "lo")?.link.mtu ?? 0;
    const size = transport === undefined ? largest : FIRST_PACKET_BYTES;
    if (source === undefined) throw this.#died(namespace, { src: dst, dst, size }, `no route to ${dst}`);
    this.#output(namespace, { src: source, dst, size, ...(transport === undefined ? {} : { transport }) });
  }

  /** A packet of a program on the host itself, the tunnel's included. */
  #output(namespace: FakeNamespace, packet: Packet): never {
    const { notrack, dnat } = runHook(namespace, "output", packet, {});
    const sent = this.#redirect(namespace, { ...packet, isUntracked: notrack === true }, dnat);
    if (isLocal(namespace, sent.dst)) return this.#deliver(namespace, sent);
    return this.#route(namespace, sent, undefined);
  }

  #input(namespace: FakeNamespace, packet: Packet, iifname: string): never {
    if (this.hops.length > HOPS_MAX) throw this.#died(namespace, packet, "it goes in circles");
    const link = namespace.links.get(iifname)?.link;
    if (link?.up !== true) throw this.#died(namespace, packet, `link ${iifname} is down`);
    const { forward, dropped, note } = runHook(namespace, "ingress", packet, { iifname });
    if (dropped === true) throw this.#died(namespace, packet, note ?? "dropped");
    if (forward !== undefined) {
      this.#hop(namespace, `netdev weft ${iifname}: fwd to ${forward.to} device ${forward.device}`);
      return this.#emit(namespace, packet, forward.device, forward.to);
    }
    this.#checkReversePath(namespace, packet, iifname);
    const raw = runHook(namespace, "prerouting", packet, { iifname });
    if (raw.dropped === true) throw this.#died(namespace, packet, raw.note ?? "dropped");
    const come = this.#redirect(namespace, { ...packet, isUntracked: raw.notrack === true }, raw.dnat);
    if (isLocal(namespace, come.dst)) return this.#deliver(namespace, come);
    const forwarding = `net/ipv${familyOf(come.dst)}/conf/${familyOf(come.dst) === 4 ? iifname : "all"}/forwarding`;
    if (namespace.sysctls.get(forwarding) !== "1")
      throw this.#died(namespace, come, `${come.dst} is not local and ${forwarding} is off`);
    return this.#route(namespace, come, iifname);
  }

  #redirect(namespace: FakeNamespace, packet: Packet, dnat: NftResult["dnat"]): Packet {
    const { transport } = packet;
    if (dnat === undefined || transport === undefined || !("dport" in transport)) return packet;
    this.#hop(namespace, `${packet.dst}:${transport.dport} translated to ${dnat.to}:${dnat.port}`);
    return { ...packet, dst: dnat.to, transport: { ...transport, dport: dnat.port }, isTranslated: true };
  }

  #route(namespace: FakeNamespace, packet: Packet, iifname: string | undefined): never {
    const route = lookUpRoute(namespace, packet.dst, packet.src);
    if (route === undefined) throw this.#died(namespace, packet, `no route to ${packet.dst}`);
    if (route.type === "unreachable" || route.dev === undefined)
      throw this.#died(namespace, packet, `unreachable ${route.dst}`);
    const via = route.via === undefined ? "" : ` via ${route.via}`;
    this.#hop(namespace, `${packet.src} → ${packet.dst}: ${route.dst}${via} dev ${route.dev}`);
    const devices = { ...(iifname === undefined ? {} : { iifname }), oifname: route.dev };
    const passed = iifname === undefined ? {} : runHook(namespace, "forward", packet, devices);
    if (passed.dropped === true) throw this.#died(namespace, packet, passed.note ?? "dropped");
    const out = this.#translate(namespace, packet, devices);
    return this.#emit(namespace, out, route.dev, route.via ?? packet.dst);
  }

  #translate(namespace: FakeNamespace, packet: Packet, devices: { oifname: string }): Packet {
    if (packet.isUntracked === true) return packet;
    if (runHook(namespace, "postrouting", packet, devices).masquerade !== true) return packet;
    // A device without one borrows from another.
    const src = addressOn(namespace, devices.oifname, packet.dst) ?? addressOn(namespace, undefined, packet.dst);
    if (src === undefined) throw this.#died(namespace, packet, `there is no address to masquerade with`);
    this.#hop(namespace, `masqueraded to ${src}`);
    return { ...packet, src };
  }

  #emit(namespace: FakeNamespace, sent: Packet, dev: string, nextHop: Ip): never {
    // What the namespace noted of the packet stays in it.
    const { srcMac: _, isUntracked: __, isTranslated: ___, ...packet } = sent;
    const there = namespace.links.get(dev);
    if (there === undefined) throw this.#died(namespace, packet, `device ${dev} is not there`);
    const { link } = there;
    if (!link.up) throw this.#died(namespace, packet, `link ${dev} is down`);
    if (packet.size > link.mtu) throw this.#died(namespace, packet, `${packet.size} bytes exceed the mtu of ${dev}`);
    if (link.kind === "vxlan") return this.#encapsulate(namespace, packet, there, nextHop);
    if (link.kind === "veth") return this.#cross(namespace, packet, there, nextHop);
    if (dev === this.#world.underlayDev) return this.#crossUnderlay(namespace, packet, nextHop);
    throw this.#died(namespace, packet, `no neighbour ${nextHop} on ${dev}`);
  }

  #encapsulate(namespace: FakeNamespace, inner: Packet, { link }: FakeLink, nextHop: Ip): never {
    const mac = this.#neighbor(namespace, inner, link.name, nextHop);
    const entry = namespace.fdb.get(`${link.name} ${mac}`);
    if (entry === undefined) throw this.#died(namespace, inner, `no FDB entry for ${mac} on ${link.name}`);
    if (link.kind !== "vxlan" || link.local === undefined) throw new Error("our VXLAN devices have a local address");
    this.#hop(namespace, `${link.name}: vni ${link.vni} to ${mac} at ${entry.dst}`);
    const overhead = familyOf(entry.dst) === 4 ? VXLAN_OVERHEAD_IPV4 : VXLAN_OVERHEAD_IPV6;
    const transport = { protocol: "udp", sport: 1, dport: link.port } as const;
    const outer = { src: link.local, dst: entry.dst, transport, size: inner.size + overhead };
    return this.#output(namespace, { ...outer, inner: { packet: inner, mac, vni: link.vni } });
  }

  #cross(namespace: FakeNamespace, packet: Packet, { link, pair }: FakeLink, nextHop: Ip): never {
    const mac = this.#neighbor(namespace, packet, link.name, nextHop);
    const other = pair?.namespace.links.get(pair.name)?.link;
    if (pair === undefined || other === undefined) throw new Error(`${link.name} has no other end`);
    if (other.mac !== mac) throw this.#died(pair.namespace, packet, `frame for ${mac} at ${other.mac}`);
    return this.#input(pair.namespace, { ...packet, srcMac: link.mac ?? "" }, pair.name);
  }

  #crossUnderlay(namespace: FakeNamespace, packet: Packet, nextHop: Ip): never {
    const { underlayDev, places } = this.#world;
    const target = places.find(({ namespace: candidate }) => holds(candidate, underlayDev, nextHop));
    if (target === undefined) throw this.#died(namespace, packet, `no neighbour ${nextHop} on ${underlayDev}`);
    return this.#input(target.namespace, packet, underlayDev);
  }

  #neighbor(namespace: FakeNamespace, packet: Packet, dev: string, nextHop: Ip): string {
    const neighbor = namespace.neighbors.get(`${dev} ${nextHop}`);
    if (neighbor === undefined) throw this.#died(namespace, packet, `no neighbour ${nextHop} on ${dev}`);
    return neighbor.mac;
  }

  #deliver(namespace: FakeNamespace, packet: Packet): never {
    if (packet.inner === undefined) throw new End({ arrived: true, place: this.#nameOf(namespace), src: packet.src });
    const { packet: inner, mac, vni } = packet.inner;
    const port = packet.transport !== undefined && "dport" in packet.transport ? packet.transport.dport : undefined;
    const vtep = [...namespace.links.values()].find(
      ({ link }) => link.kind === "vxlan" && link.vni === vni && link.port === port && link.up,
    )?.link;
    if (vtep?.kind !== "vxlan" || (vtep.local !== undefined && vtep.local !== packet.dst))
      throw this.#died(namespace, packet, `nobody listens for vni ${vni} on ${packet.dst}`);
    if (vtep.mac !== mac) throw this.#died(namespace, inner, `frame for ${mac} at ${vtep.mac}`);
    return this.#input(namespace, inner, vtep.name);
  }

  /** The larger of the device's and the host's value counts (Documentation/networking/ip-sysctl). */
  #checkReversePath(namespace: FakeNamespace, packet: Packet, iifname: string): void {
    if (familyOf(packet.src) === 6) return;
    const values = [iifname, "all"].map((dev) => Number(namespace.sysctls.get(`net/ipv4/conf/${dev}/rp_filter`) ?? 0));
    const mode = Math.max(...values);
    const back = lookUpRoute(namespace, packet.src, undefined);
    const isKnown = back?.type === "unicast" && (mode !== 1 || back.dev === iifname);
    if (mode !== 0 && !isKnown) throw this.#died(namespace, packet, `rp_filter=${mode} on ${iifname}: ${packet.src}`);
  }

  #hop(namespace: FakeNamespace, text: string): void {
    this.hops.push(`${this.#nameOf(namespace)} ${text}`);
  }

  #died(namespace: FakeNamespace, packet: Packet, reason: string): End {
    return new End({ arrived: false, place: this.#nameOf(namespace), src: packet.src, reason });
  }

  #nameOf(namespace: FakeNamespace): string {
    return this.#world.places.find((place) => place.namespace === namespace)?.name ?? namespace.id;
  }
}

function sourceFor(namespace: FakeNamespace, route: Route | undefined, dst: Ip): Ip | undefined {
  if (route === undefined) return undefined;
  return route.src ?? addressOn(namespace, route.dev ?? "", dst) ?? addressOn(namespace, undefined, dst);
}

/** The first address of the packet's family on the device, or on any. */
function addressOn(namespace: FakeNamespace, dev: string | undefined, dst: Ip): Ip | undefined {
  const found = namespace.addresses.find(
    (a) => (dev === undefined || a.dev === dev) && familyOf(a.address) === familyOf(dst),
  );
  return found && addressOf(found.address);
}

function holds(namespace: FakeNamespace, dev: string, address: Ip): boolean {
  return (
    namespace.links.get(dev)?.link.up === true &&
    namespace.addresses.some((a) => a.dev === dev && addressOf(a.address) === address)
  );
}
