/**
 * Further slices as a master gives and takes them back: what agents tell of their halves, the steps that follow from it
 * (core/ipam/growth.ts), and how much room is left. What agents told is not stored: each tells it anew to a new master.
 */
import type { Allocator } from "../../core/ipam/allocate.ts";
import { isUpToDate, type SliceChange, sliceChanges } from "../../core/ipam/growth.ts";
import { type PoolUsage, shortageMessage } from "../../core/ipam/pool.ts";
import { later } from "../../io/clock.ts";
import type { Log } from "../../io/log.ts";
import type { Clock } from "../../io/ports.ts";
import type { AgentRecord, HalfUsage, OverlayStatus, ReportAnswer } from "../../model/cluster.ts";
import { type Cidr, type Family, familyOf } from "../../model/ip.ts";
import { SLICE_REST_S, SLICES_MAX } from "../../model/limits.ts";
import { type ClusterConfig, prefixesOf } from "../../model/network.ts";
import type { SliceShortage } from "../../model/shortage.ts";
import type { MasterMetrics } from "./metrics.ts";

export interface ElasticDeps {
  /** In force: both are others after the configuration has changed. */
  readonly allocator: () => Allocator;
  readonly config: () => ClusterConfig;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: MasterMetrics;
  /** Makes the record durable, in the place of the one before, and with it what rests. @throws Fault storage */
  readonly commit: (record: AgentRecord, before: AgentRecord) => void;
  readonly isKnown: (agentId: string) => boolean;
}

/** What an agent told last, by network, and when. */
export interface Told {
  readonly at: string;
  readonly networks: ReadonlyMap<string, readonly HalfUsage[]>;
}

/** What is done with a slice, as the log says it. */
const DONE: Readonly<Record<SliceChange["type"], string>> = {
  grow: "further slice given",
  drain: "slice is to come back",
  resume: "slice stays",
  remove: "slice given back, and rests",
};

export class Elastic {
  readonly #deps: ElasticDeps;
  readonly #told = new Map<string, Told>();
  /** Agents that have fetched what they have since something was taken from them, or since this master began. */
  readonly #settled = new Set<string>();
  /** Networks and families that have no slice left: `dcos 4`. */
  #exhausted: ReadonlySet<string> = new Set();

  constructor(deps: ElasticDeps) {
    this.#deps = deps;
    this.noteRoom();
  }

  /** Frees what has rested. */
  wake(): void {
    const { allocator, clock, isKnown } = this.#deps;
    allocator().wake(clock.date(), (agentId) => this.#settled.has(agentId) || !isKnown(agentId));
  }

  /** The agent has just been told what it has. */
  registered(agentId: string): void {
    this.#settled.add(agentId);
    this.noteRoom();
  }

  forget(agentId: string): void {
    this.#told.delete(agentId);
    this.#settled.delete(agentId);
  }

  told(agentId: string): Told | undefined {
    return this.#told.get(agentId);
  }

  /** An agent says how full it is. @throws Fault storage */
  reported(record: AgentRecord, statuses: readonly OverlayStatus[]): ReportAnswer {
    const { enableIpv6 } = this.#deps.config();
    const networks = new Map(statuses.flatMap(({ name, usage }) => (usage === undefined ? [] : [[name, usage]])));
    this.#told.set(record.id, { at: this.#deps.clock.date(), networks: bounded(networks) });
    const isBehind = record.overlays.some((overlay) => {
      const usage = networks.get(overlay.info.name);
      return usage !== undefined && !isUpToDate(overlay, usage, enableIpv6);
    });
    const { made, shortages } = this.#reslice(record, this.#changes(record, networks));
    const short = new Set(shortages.flatMap(({ network = [] }) => network));
    return { reassigned: isBehind || made.length > 0, exhausted: [...short] };
  }

  /** Whether the network has no slice of the family for anybody. */
  isExhausted(network: string, family: Family): boolean {
    return !this.#deps.allocator().hasSlice(network, family);
  }

  /** Frees what has rested, and notes it. */
  look(): void {
    this.wake();
    this.noteRoom();
  }

  /** Says once when a network has no slice left, and once when it has some again. */
  noteRoom(): void {
    const { config, log, metrics } = this.#deps;
    const exhausted = new Set<string>();
    for (const overlay of config().network.overlays)
      for (const family of overlay.enabled ? familiesOf(prefixesOf(overlay)) : [])
        if (this.isExhausted(overlay.name, family)) exhausted.add(`${overlay.name} ${family}`);
    const before = this.#exhausted;
    this.#exhausted = exhausted;
    for (const key of exhausted) {
      if (before.has(key)) continue;
      metrics.networkExhausted();
      log.error(fieldsOf(key), "network is used up: no agent gets a slice of it until one comes back");
    }
    for (const key of before) if (!exhausted.has(key)) log.info(fieldsOf(key), "network has slices for agents again");
  }

  /** Networks and families without a slice left, as was noted last. */
  exhausted(): readonly SliceShortage[] {
    return [...this.#exhausted].map(fieldsOf);
  }

  #changes(record: AgentRecord, networks: Told["networks"]): readonly SliceChange[] {
    const config = this.#deps.config();
    const prefixes = record.overlays.flatMap(prefixesOf).length;
    const infos = new Map(config.network.overlays.map((info) => [info.name, info]));
    return record.overlays.flatMap((overlay) => {
      const usage = networks.get(overlay.info.name);
      const info = infos.get(overlay.info.name);
      if (usage === undefined || info === undefined) return [];
      const { enableIpv6, elastic } = config;
      return sliceChanges({ overlay, info, usage, enableIpv6, prefixes, threshold: elastic?.threshold });
    });
  }

  #reslice(
    record: AgentRecord,
    changes: readonly SliceChange[],
  ): { readonly made: readonly SliceChange[]; readonly shortages: readonly PoolUsage[] } {
    const { allocator, config, clock, log, metrics, commit } = this.#deps;
    if (changes.length === 0) return { made: [], shortages: [] };
    this.wake();
    const {
      record: next,
      made,
      shortages,
      undo,
    } = allocator().reslice(record, changes, later(clock.date(), config().elastic?.restSeconds ?? SLICE_REST_S));
    for (const shortage of shortages) {
      metrics.allocationFailed(shortage.kind);
      log.warn(
        { agent: record.id, ip: record.ip, reason: shortageMessage(shortage) },
        "no further slice for the agent",
      );
    }
    if (made.length === 0) return { made, shortages };
    try {
      commit(next, record);
    } catch (thrown) {
      undo();
      throw thrown;
    }
    if (made.some(({ type }) => type === "remove")) this.#settled.delete(record.id);
    for (const { type, ...what } of made) log.info({ agent: record.id, ip: record.ip, ...what }, DONE[type]);
    this.noteRoom();
    return { made, shortages };
  }
}

function familiesOf(prefixes: readonly Cidr[]): readonly Family[] {
  return ([4, 6] as const).filter((family) => prefixes.some((prefix) => familyOf(prefix) === family));
}

/** No more than an agent can have. */
function bounded(networks: Told["networks"]): Told["networks"] {
  const halvesMax = 4 * (SLICES_MAX + 1);
  return new Map([...networks].map(([name, usage]) => [name, usage.slice(0, halvesMax)]));
}

function fieldsOf(key: string): SliceShortage {
  const [network = "", family] = key.split(" ");
  return { network, family: family === "6" ? 6 : 4 };
}
