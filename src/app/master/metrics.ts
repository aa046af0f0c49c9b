/**
 * The master's metrics: the original's under the names that Telegraf gave them (slashes became underscores; spec: overlay
 * §2.8), and our own under `weft_master_`.
 */
import { Counter, Gauge, Registry } from "prom-client";
import type { PoolKind } from "../../core/ipam/pool.ts";
import type { SliceShortage } from "../../model/shortage.ts";

const INTERNAL = [
  "register_agent_messages_received",
  "register_agent_messages_dropped",
  "update_agent_overlays_messages_sent",
  "agent_registered_messages_received",
  "agent_registered_messages_dropped",
  "agent_registered_acknowledgements_sent",
] as const;
type InternalName = (typeof INTERNAL)[number];

const POOLS: readonly (PoolKind | "bridge")[] = ["ip", "ip6", "subnet", "subnet6", "bridge"];

/** What is read when metrics are asked for. */
export interface MasterGauges {
  readonly agents: number;
  readonly connected: number;
  readonly refusedChanges: number;
  /** Networks that have no slice left for agents. */
  readonly exhausted: readonly SliceShortage[];
  readonly pools: readonly {
    readonly pool: string;
    readonly network: string;
    readonly used: number;
    readonly size: number;
  }[];
}

/** `/metrics` of a master that stands by; what the cluster has is told by the leader. */
export async function standbyMetrics(): Promise<Response> {
  const registry = new Registry();
  leadingGauge(registry).set(0);
  return new Response(await registry.metrics(), { headers: { "content-type": registry.contentType } });
}

function leadingGauge(registry: Registry): Gauge {
  const help = "1 while this master leads, 0 while it stands by.";
  return new Gauge({ name: "weft_master_leading", help, registers: [registry] });
}

export class MasterMetrics {
  readonly #registry = new Registry();
  readonly #internal: ReadonlyMap<InternalName, Counter>;
  readonly #allocationFailures: ReadonlyMap<string, Counter>;
  readonly #gauges = {
    agents: this.#gauge("weft_master_agents", "Agents that have a record."),
    connected: this.#gauge("weft_master_agents_connected", "Agents that answer."),
    refused: this.#gauge("weft_master_refused_changes", "Changes of the configuration file that are not in force."),
    used: this.#gauge("weft_master_pool_used", "Items of a pool that are given out.", ["pool", "network"]),
    size: this.#gauge("weft_master_pool_size", "Items of a pool.", ["pool", "network"]),
  };
  readonly #exhausted = this.#gauge(
    "weft_master_network_exhausted",
    "1 while a network has no slice left for agents.",
    ["network", "family"],
  );
  readonly #exhaustions = this.#counter(
    "weft_master_network_exhaustions_total",
    "Times that a network had no slice left for agents.",
  );
  readonly #storeFailures = this.#counter("weft_master_store_failures_total", "Writes that the store refused.");

  constructor() {
    this.#internal = new Map(
      INTERNAL.map((name) => [name, this.#counter(`overlay_master_internal_${name}`, name.replaceAll("_", " "))]),
    );
    this.#allocationFailures = new Map(
      POOLS.map((pool) => [
        pool,
        this.#counter(`overlay_master_${pool}_allocation_failures`, `allocations refused for want of a free ${pool}`),
      ]),
    );
    this.#counter("overlay_master_process_restarts", "always 0: this master is no process inside another one");
    leadingGauge(this.#registry).set(1);
    // State is read before the first request is served.
    this.#gauge("overlay_master_recovering", "always 0 while this answers");
  }

  count(name: InternalName): void {
    this.#internal.get(name)?.inc();
  }

  allocationFailed(pool: PoolKind): void {
    this.#allocationFailures.get(pool)?.inc();
  }

  networkExhausted(): void {
    this.#exhaustions.inc();
  }

  storeFailed(): void {
    this.#storeFailures.inc();
  }

  /** All metrics in the text format of Prometheus. */
  async text(now: MasterGauges): Promise<string> {
    this.#gauges.agents.set(now.agents);
    this.#gauges.connected.set(now.connected);
    this.#gauges.refused.set(now.refusedChanges);
    this.#exhausted.reset();
    for (const { network, family } of now.exhausted) this.#exhausted.set({ network, family }, 1);
    for (const { pool, network, used, size } of now.pools) {
      this.#gauges.used.set({ pool, network }, used);
      this.#gauges.size.set({ pool, network }, size);
    }
    return this.#registry.metrics();
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  #counter(name: string, help: string): Counter {
    return new Counter({ name, help, registers: [this.#registry] });
  }

  #gauge(name: string, help: string, labelNames: string[] = []): Gauge {
    return new Gauge({ name, help, labelNames, registers: [this.#registry] });
  }
}
