/**
 * What the programs counted, told of containers and of other hosts: sums that only grow, from counts by pair that come
 * and go. Pairs that say nothing for a while are given up, so that new ones find room in the map.
 */
import type { Ip } from "../../model/ip.ts";
import { FAST_PATHS, type PairKey, type PairTraffic, type Traffic } from "../host/datapath.ts";
import type { PrefixIndex } from "./prefix-index.ts";

export type Direction = "sent" | "received";

/** Of one container of this host or one other host: packets and bytes that a program carried, and that the kernel did. */
export interface Sums {
  readonly fast: { packets: number; bytes: number };
  readonly kernel: { packets: number; bytes: number };
}

export type BothWays = Readonly<Record<Direction, Sums>>;

/** Who has which address. */
export interface Whereabouts {
  /** Addresses of this host's containers. */
  readonly locals: ReadonlySet<Ip>;
  /** Addresses of other hosts on the underlay, by the prefixes that they have. */
  readonly nodes: PrefixIndex<Ip>;
}

interface Seen {
  readonly packets: number;
  readonly bytes: number;
  /** When it last grew. */
  readonly at: number;
}

export class TrafficBook {
  readonly #idleMs: number;
  readonly #seen = new Map<string, Seen>();
  /** By the address on this host, and by the node that has the other one. */
  readonly #containers = new Map<Ip, BothWays>();
  readonly #nodes = new Map<Ip, BothWays>();

  /** @param idleMs after which a pair is given up */
  constructor(idleMs: number) {
    this.#idleMs = idleMs;
  }

  /**
   * Takes in a reading.
   * @returns pairs to be forgotten in the kernel
   */
  note(traffic: Traffic, where: Whereabouts, now: number): readonly PairKey[] {
    const idle: PairKey[] = [];
    const present = new Set<string>();
    for (const pair of traffic.pairs) {
      const key = `${pair.source} ${pair.destination} ${pair.path}`;
      present.add(key);
      const before = this.#seen.get(key);
      const grown = growth(before, pair);
      if (grown.packets === 0) {
        if (before !== undefined && now - before.at >= this.#idleMs) idle.push(pair);
        continue;
      }
      this.#seen.set(key, { packets: pair.packets, bytes: pair.bytes, at: now });
      this.#add(pair, grown, where);
    }
    for (const key of this.#seen.keys()) if (!present.has(key)) this.#seen.delete(key);
    for (const { source, destination, path } of idle) this.#seen.delete(`${source} ${destination} ${path}`);
    for (const address of this.#containers.keys()) if (!where.locals.has(address)) this.#containers.delete(address);
    const nodes = new Set(where.nodes.values());
    for (const node of this.#nodes.keys()) if (!nodes.has(node)) this.#nodes.delete(node);
    return idle;
  }

  containers(): ReadonlyMap<Ip, BothWays> {
    return this.#containers;
  }

  /** By their addresses on the underlay. */
  nodes(): ReadonlyMap<Ip, BothWays> {
    return this.#nodes;
  }

  #add({ source, destination, path }: PairKey, grown: Growth, where: Whereabouts): void {
    const kind = FAST_PATHS.includes(path) ? "fast" : "kernel";
    const count = (book: Map<Ip, BothWays>, key: Ip | undefined, direction: Direction): void => {
      if (key === undefined) return;
      const sums = book.get(key) ?? { sent: noSums(), received: noSums() };
      book.set(key, sums);
      sums[direction][kind].packets += grown.packets;
      sums[direction][kind].bytes += grown.bytes;
    };
    const [from, to] = [where.locals.has(source), where.locals.has(destination)];
    count(this.#containers, from ? source : undefined, "sent");
    count(this.#containers, to ? destination : undefined, "received");
    count(this.#nodes, to ? undefined : where.nodes.find(destination), "sent");
    count(this.#nodes, from ? undefined : where.nodes.find(source), "received");
  }
}

interface Growth {
  readonly packets: number;
  readonly bytes: number;
}

/** Since the last reading; all of it where the count began anew. */
function growth(before: Seen | undefined, now: PairTraffic): Growth {
  if (before === undefined || now.packets < before.packets || now.bytes < before.bytes) return now;
  return { packets: now.packets - before.packets, bytes: now.bytes - before.bytes };
}

function noSums(): Sums {
  return { fast: { packets: 0, bytes: 0 }, kernel: { packets: 0, bytes: 0 } };
}
