/**
 * Our nftables as the kernel would run them on one packet: base chains of a hook by priority, jumps, verdicts.
 * A statement that it does not know is an error of the test, never skipped.
 */
import type { NftChain, NftHook, NftStatement, NftTransportField } from "../../src/core/host/host-state.ts";
import type { FakeNamespace, FakeTable } from "../../src/io/kernel/fake-kernel-namespace.ts";
import { isLocal } from "../../src/io/kernel/fake-kernel-routing.ts";
import { addressOf, contains, familyOf, type Ip, ip, networkOf, withLength } from "../../src/model/ip.ts";

export interface NftPacket {
  readonly src: Ip;
  readonly dst: Ip;
  /** Absent: a protocol that no rule looks into. */
  readonly transport?: Transport;
  /** Of the frame that it came in. */
  readonly srcMac?: string;
  readonly isUntracked?: boolean;
  /** It answers a packet that began the connection. */
  readonly isReply?: boolean;
  /** Its destination was translated on the way. */
  readonly isTranslated?: boolean;
}

export type Transport =
  | { readonly protocol: "tcp" | "udp"; readonly sport: number; readonly dport: number }
  | { readonly protocol: "icmp" | "icmpv6"; readonly type: number };

export interface NftResult {
  readonly dropped?: boolean;
  readonly notrack?: boolean;
  readonly masquerade?: boolean;
  readonly forward?: { readonly device: string; readonly to: Ip };
  readonly dnat?: { readonly to: Ip; readonly port: number };
  /** `TABLE CHAIN: RULE'S VERDICT`, for the list of hops. */
  readonly note?: string;
}

export interface NftDevices {
  readonly iifname?: string;
  readonly oifname?: string;
}

type Verdict = "accept" | "drop" | "return" | "stolen";

/** Runs the packet through all base chains of the hook, in the netdev family through those of the device it came by. */
export function runHook(
  namespace: FakeNamespace,
  hook: NftHook["hook"],
  packet: NftPacket,
  devices: NftDevices,
): NftResult {
  const family = hook === "ingress" ? "netdev" : familyOf(packet.dst) === 4 ? "ip" : "ip6";
  const tables = [...namespace.tables.values()].filter((table) => table.family === family);
  const chains = tables
    .flatMap((table) => [...table.chains.values()].map((chain) => ({ table, chain })))
    .filter(({ chain }) => chain.hook?.hook === hook && (hook !== "ingress" || chain.hook.device === devices.iifname))
    .sort((a, b) => (a.chain.hook?.priority ?? 0) - (b.chain.hook?.priority ?? 0));
  const run = new Run(namespace, packet, devices);
  for (const { table, chain } of chains) {
    if (chain.hook?.type === "nat" && (packet.isUntracked === true || run.result.notrack === true)) continue;
    const verdict = run.chain(table, chain) ?? chain.hook?.policy;
    if (verdict === "stolen") break;
    if (verdict === "drop")
      return { ...run.result, dropped: true, note: `${family} ${table.name} ${chain.name}: drop` };
  }
  return run.result;
}

class Run {
  result: NftResult = {};
  readonly #namespace: FakeNamespace;
  readonly #packet: NftPacket;
  readonly #devices: NftDevices;

  constructor(namespace: FakeNamespace, packet: NftPacket, devices: NftDevices) {
    this.#namespace = namespace;
    this.#packet = packet;
    this.#devices = devices;
  }

  chain(table: FakeTable, chain: NftChain): Verdict | undefined {
    for (const rule of chain.rules) {
      const verdict = this.#rule(table, rule);
      if (verdict === "return") return undefined;
      if (verdict !== undefined) return verdict;
    }
    return undefined;
  }

  /** A match that fails ends the rule; a verdict ends it too. */
  #rule(table: FakeTable, rule: readonly NftStatement[]): Verdict | undefined {
    for (const part of rule) {
      const outcome = this.#statement(table, part);
      if (outcome === false) return undefined;
      if (outcome !== true) return outcome;
    }
    return undefined;
  }

  #statement(table: FakeTable, part: NftStatement): boolean | Verdict {
    const { src, dst } = this.#packet;
    switch (part.kind) {
      case "match": {
        const value = part.field.endsWith("saddr") ? src : dst;
        const hasField = familyOf(dst) === (part.field.startsWith("ip6") ? 6 : 4);
        return hasField && contains(part.prefix, value) === (part.op === "==");
      }
      case "range": {
        const value = fieldOf(this.#packet.transport, part.field);
        return value !== undefined && part.first <= value && value <= part.last;
      }
      case "ether saddr":
        return this.#packet.srcMac !== undefined && (this.#packet.srcMac === part.mac) === (part.op === "==");
      case "arp saddr ip":
        return false; // only IP is followed
      case "fib daddr type local":
        return isLocal(this.#namespace, dst);
      case "ct direction reply":
        return this.#packet.isReply === true && this.#packet.isUntracked !== true;
      case "ct status dnat":
        return this.#packet.isTranslated === true;
      case "dnat": {
        const dnat = this.#translation(table, part);
        if (dnat === undefined) return false;
        this.result = { ...this.result, dnat };
        return "accept";
      }
      case "iifname":
      case "oifname":
        return isNamed(this.#devices[part.kind], part.device);
      case "mapped": {
        const value = part.field.endsWith("saddr") ? src : dst;
        return table.maps.get(part.map)?.elements.has(value) === true;
      }
      case "vmap": {
        const value = part.field.endsWith("saddr") ? src : dst;
        if (familyOf(value) !== (part.field.startsWith("ip6") ? 6 : 4)) return false;
        const key = addressOf(networkOf(withLength(value, part.length)));
        const verdict = table.maps.get(part.map)?.elements.get(key);
        if (verdict === undefined) return false;
        if (verdict.startsWith("jump ")) return this.#jump(table, verdict.slice("jump ".length));
        return verdict === "drop" ? "drop" : "accept";
      }
      case "limit over":
        return false; // nobody here sends that much
      case "notrack":
        this.result = { ...this.result, notrack: true };
        return true;
      case "masquerade":
        this.result = { ...this.result, masquerade: true };
        return "accept";
      case "jump":
        return this.#jump(table, part.chain);
      case "forward": {
        const isField = familyOf(dst) === (part.field === "ip daddr" ? 4 : 6);
        const to = isField ? table.maps.get(part.map)?.elements.get(dst) : undefined;
        if (to === undefined) return false;
        this.result = { ...this.result, forward: { device: part.device, to: ip(to) } };
        return "stolen";
      }
      case "counter":
      case "comment":
        return true;
      case "unknown":
        throw new Error(`the tracer cannot follow a packet through the unknown statement: ${part.text}`);
      default:
        return part.kind;
    }
  }

  #jump(table: FakeTable, name: string): boolean | Verdict {
    const target = table.chains.get(name);
    if (target === undefined) throw new Error(`jump to ${name}, which is not there`);
    return this.chain(table, target) ?? true;
  }

  #translation(table: FakeTable, { key, map }: Extract<NftStatement, { kind: "dnat" }>): NftResult["dnat"] {
    const { dst, transport } = this.#packet;
    if (transport === undefined || !("dport" in transport)) return undefined;
    const service = `${transport.protocol} . ${transport.dport}` as const;
    const found = table.maps.get(map)?.elements.get(key.includes("daddr") ? `${dst} . ${service}` : service);
    const [to, port] = found?.split(" . ") ?? [];
    return to === undefined ? undefined : { to: ip(to), port: Number(port) };
  }
}

function fieldOf(transport: Transport | undefined, field: NftTransportField): number | undefined {
  const [protocol, name] = field.split(" ");
  if (transport === undefined || transport.protocol !== protocol) return undefined;
  if ("type" in transport) return transport.type;
  return name === "sport" ? transport.sport : transport.dport;
}

function isNamed(device: string | undefined, name: string): boolean {
  return name.endsWith("*") ? device?.startsWith(name.slice(0, -1)) === true : device === name;
}
