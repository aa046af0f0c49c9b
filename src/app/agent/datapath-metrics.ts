/**
 * What the datapath is and counted, for Prometheus, under `weft_datapath_`: its level and why it is not higher, packets by
 * path, and those of each container and of each other host. At level 0 the level and its reasons are all that there is.
 *
 * Counters never go down while the agent lives: what a datapath counted before another came in its place is kept and added.
 */
import { Counter, Gauge, Registry } from "prom-client";
import { type DatapathPath, FAST_PATHS, PATHS, type Traffic, type TrafficCount } from "../../core/host/datapath.ts";
import type { BothWays } from "../../core/overlay/traffic-book.ts";
import { addressesOf, type Lease } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import type { DatapathWatch } from "./datapath-watch.ts";

const KINDS = [
  ["fast", "program"],
  ["kernel", "kernel"],
] as const;
const DIRECTIONS = ["sent", "received"] as const;

export interface DatapathMetricsDeps {
  readonly datapath: Pick<DatapathWatch, "report" | "traffic" | "book">;
  readonly leases: () => readonly Lease[];
}

/** One for each agent, since it remembers what was counted. */
export class DatapathMetrics {
  readonly #deps: DatapathMetricsDeps;
  readonly #registry = new Registry();
  readonly #paths = new PathSums();
  readonly #level = new Gauge({
    name: "weft_datapath_level",
    help: "0: the plain kernel. 1: programs around its VXLAN device. 2: programs in its place.",
    registers: [this.#registry],
  });
  readonly #info = new Gauge({
    name: "weft_datapath_info",
    help: "1 for each reason why the level is not higher.",
    labelNames: ["reason"],
    registers: [this.#registry],
  });
  readonly #byPath = this.#counters("", "by the path that they took", ["path"]);
  readonly #byContainer = this.#counters("container_", "of a container of this host", [
    "container",
    "network",
    "address",
    "direction",
  ]);
  readonly #byPeer = this.#counters("peer_", "to and from another host, by its address", ["peer", "direction"]);

  constructor(deps: DatapathMetricsDeps) {
    this.#deps = deps;
  }

  /** All of it in the text format of Prometheus. */
  async text(): Promise<string> {
    const reading = await this.#read();
    // All at once: nobody else who asks sees half of it, or adds to it.
    const { level, reasons } = this.#deps.datapath.report;
    this.#level.set(level);
    this.#info.reset();
    for (const reason of reasons) this.#info.set({ reason }, 1);
    for (const { packets, bytes } of [this.#byPath, this.#byContainer, this.#byPeer]) {
      packets.reset();
      bytes.reset();
    }
    if (reading !== undefined) this.#count(reading.traffic);
    return this.#registry.metrics();
  }

  #count(traffic: Traffic | undefined): void {
    const { datapath, leases } = this.#deps;
    this.#paths.note(traffic);
    for (const [path, count] of this.#paths.sums())
      add(this.#byPath, { path, carried_by: FAST_PATHS.includes(path) ? "program" : "kernel" }, count);
    const containers = datapath.book.containers();
    for (const lease of leases())
      for (const address of addressesOf(lease)) {
        const ways = containers.get(address);
        if (ways === undefined) continue;
        const container = lease.name ?? lease.docker?.containerId ?? lease.containerId;
        addWays(this.#byContainer, { container, network: lease.network, address }, ways);
      }
    for (const [peer, ways] of datapath.book.nodes()) addWays(this.#byPeer, { peer }, ways);
  }

  /** Nothing at level 0. What cannot be read now costs no other metric. */
  async #read(): Promise<{ readonly traffic: Traffic | undefined } | undefined> {
    const { datapath } = this.#deps;
    if (datapath.report.level === 0) return undefined;
    try {
      return { traffic: await datapath.traffic() };
    } catch (thrown) {
      if (thrown instanceof Fault) return undefined;
      throw thrown;
    }
  }

  #counters(kind: string, whose: string, labelNames: readonly string[]): Counters {
    const counter = (what: string, help: string) =>
      new Counter({
        name: `weft_datapath_${kind}${what}_total`,
        help: `${help} ${whose}; carried by a program, or left to the kernel.`,
        labelNames: [...labelNames, "carried_by"],
        registers: [this.#registry],
      });
    return { packets: counter("packets", "Packets"), bytes: counter("bytes", "Bytes from the IP header on") };
  }
}

interface Counters {
  readonly packets: Counter;
  readonly bytes: Counter;
}

type Labels = Readonly<Record<string, string>>;

function addWays(counters: Counters, labels: Labels, ways: BothWays): void {
  for (const direction of DIRECTIONS)
    for (const [kind, carrier] of KINDS)
      add(counters, { ...labels, direction, carried_by: carrier }, ways[direction][kind]);
}

function add(counters: Counters, labels: Labels, { packets, bytes }: TrafficCount): void {
  counters.packets.inc(labels, packets);
  counters.bytes.inc(labels, bytes);
}

/** What took which path, over all datapaths that were seen. All paths begin anew together, with another datapath. */
class PathSums {
  readonly #before = new Map<DatapathPath, TrafficCount>();
  #now: Traffic["paths"] = {};

  /** @param traffic `undefined`: there is no datapath, and the next one is another */
  note(traffic: Traffic | undefined): void {
    const paths = traffic?.paths ?? {};
    if (PATHS.some((path) => isLess(paths[path], this.#now[path])))
      for (const [path, sum] of this.sums()) this.#before.set(path, sum);
    this.#now = paths;
  }

  sums(): readonly (readonly [DatapathPath, TrafficCount])[] {
    return PATHS.flatMap((path) => {
      const [before, now] = [this.#before.get(path), this.#now[path]];
      if (before === undefined && now === undefined) return [];
      const packets = (before?.packets ?? 0) + (now?.packets ?? 0);
      return [[path, { packets, bytes: (before?.bytes ?? 0) + (now?.bytes ?? 0) }] as const];
    });
  }
}

function isLess(now: TrafficCount | undefined, before: TrafficCount | undefined): boolean {
  if (before === undefined) return false;
  return now === undefined || now.packets < before.packets || now.bytes < before.bytes;
}
