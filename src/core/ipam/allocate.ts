/**
 * Who gets which VTEP and which subnets (spec: overlay §2.2–§2.4). The lowest free item first; an overlay with two
 * families gives both or neither, a VTEP likewise. The records are the truth: `restore` rebuilds every pool from them.
 *
 * An agent that is known keeps what it has, whatever it now asks for, and gets what was added to the configuration since:
 * networks, a family of a network, the IPv6 address of its VTEP, the VTEP's MTU. A pool that is used up costs the
 * agent that one network and nothing else; without a VTEP there is no agent. Further slices come and go by `reslice`, as
 * growth.ts decides.
 */
import { canonicalJson } from "../../model/canonical-json.ts";
import {
  type AgentNetworkConfig,
  type AgentOverlay,
  type AgentRecord,
  type Backend,
  type RestingItem,
  type Slice,
  slicesOf,
} from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { type Cidr, type Family, familyOf, type Ip, type IpInterface } from "../../model/ip.ts";
import { VNI, VTEP_NAME } from "../../model/names.ts";
import { type NetworkConfig, prefixesOf } from "../../model/network.ts";
import type { SliceChange } from "./growth.ts";
import type { Pool, PoolItem, PoolUsage } from "./pool.ts";
import { freshPool, type IsSettled, isStale, Pools } from "./pools.ts";
import { agentOverlay, bridgesOf, nameOf, sliceOf, withDraining, withoutSlice } from "./slices.ts";
import { vtepMac } from "./vtep.ts";

/** Who registers, and what it wants to have. */
export interface Registrant {
  readonly id: string;
  readonly ip: Ip;
  readonly hostname: string;
  readonly networkConfig: AgentNetworkConfig;
}

export type Registration =
  | {
      readonly record: AgentRecord;
      /** Whether the record differs from the known one and must be stored. */
      readonly changed: boolean;
      /** The pools that had nothing left for this agent. */
      readonly shortages: readonly PoolUsage[];
      /** Gives back what this registration took; for when the record could not be stored. */
      undo(): void;
    }
  | { readonly record?: undefined; readonly shortages: readonly PoolUsage[] };

/** One item that a record holds. Without `pool`, the configuration has none that it could be of. */
interface Holding {
  readonly item: PoolItem;
  readonly pool: Pool<PoolItem> | undefined;
  /** Absent for VTEP addresses. */
  readonly network?: string;
}

/** What became of the steps for one agent's slices. */
export interface Reslicing {
  readonly record: AgentRecord;
  /** The steps that were made. */
  readonly made: readonly SliceChange[];
  /** The pools that had no slice left, with the networks that wanted one. */
  readonly shortages: readonly PoolUsage[];
  /** As if nothing had been asked; for when the record could not be stored. */
  undo(): void;
}

export class Allocator {
  readonly #network: NetworkConfig;
  readonly #pools: Pools;

  constructor(network: NetworkConfig) {
    this.#network = network;
    this.#pools = new Pools(network);
  }

  /**
   * An allocator in which everything that the records hold is given out, and what rests goes on resting. What rests in a
   * pool that is gone is forgotten; and a record that holds something is right about it.
   * @throws Fault corrupt-store when two records hold the same item, or one holds what no pool has
   */
  static restore(
    network: NetworkConfig,
    records: readonly AgentRecord[],
    resting: readonly RestingItem[] = [],
  ): Allocator {
    const allocator = new Allocator(network);
    for (const record of records)
      for (const holding of allocator.#holdings(record))
        if (holding.pool?.reserve(holding.item) !== true) throw corrupt(record, holding);
    for (const item of resting)
      if (allocator.#pools.find(item.item, item.network)?.reserve(item.item) === true) allocator.#pools.rest(item);
    return allocator;
  }

  /** @param known the record that the agent has, or that it takes over from an agent of its address */
  register(agent: Registrant, known: AgentRecord | undefined): Registration {
    const draft = new Draft();
    const had = known === undefined ? this.#pools.removedFrom(agent.id) : [];
    const backend = this.#backend(known?.backend, had, draft);
    if (backend === undefined) return { shortages: draft.shortages };
    const kept = (known?.overlays ?? []).map((overlay) => this.#renewed(overlay, draft));
    const added = this.#newOverlays(agent.networkConfig, kept, had, draft);
    const { id, ip, hostname } = agent;
    const phase = known?.phase;
    const overlays = [...kept, ...added];
    const record: AgentRecord = { id, ip, hostname, backend, overlays, ...(phase !== undefined && { phase }) };
    return { record, changed: !sameRecord(record, known), shortages: draft.shortages, undo: () => draft.undo() };
  }

  /** Frees everything that the record holds. */
  release(record: AgentRecord): void {
    for (const { pool, item } of [...this.#holdings(record)]) pool?.release(item);
  }

  /**
   * Takes back everything that the record of a removed agent holds; it rests until then, and the same agent gets it again.
   * @returns what undoes that, for when it could not be stored
   */
  retire(record: AgentRecord, until: string): () => void {
    const draft = new Draft();
    for (const { pool, item, network } of [...this.#holdings(record)]) {
      if (!this.#pools.canRest) {
        if (pool !== undefined) draft.release(pool, item);
        continue;
      }
      const of = network === undefined ? {} : { network };
      draft.rest(this.#pools, { item, ...of, until, agent: record.id, removed: true });
    }
    return () => draft.undo();
  }

  /** Gives the agent slices and takes others back, which then rest. @param until see RestingItem */
  reslice(record: AgentRecord, changes: readonly SliceChange[], until: string): Reslicing {
    const draft = new Draft();
    const made: SliceChange[] = [];
    const overlays = record.overlays.map((overlay) =>
      changes
        .filter(({ network }) => network === overlay.info.name)
        .reduce((sum, change) => {
          const next = this.#resliced(sum, change, draft, { until, agent: record.id });
          if (next === undefined) return sum;
          made.push(change);
          return next;
        }, overlay),
    );
    return { record: { ...record, overlays }, made, shortages: draft.shortages, undo: () => draft.undo() };
  }

  /** What was given back and rests, to be stored. */
  resting(): readonly RestingItem[] {
    return this.#pools.resting;
  }

  /** Frees what has rested. @param date the wall clock's, as `Clock.date` writes it @returns whether anything woke */
  wake(date: string, isSettled: IsSettled = () => true): boolean {
    return this.#pools.wake(date, isSettled);
  }

  /** How much of each pool is given out: VTEPs first, then networks in order. */
  usage(): readonly PoolUsage[] {
    return this.#pools.usage();
  }

  /** Whether the network has a further slice of the family to give. */
  hasSlice(network: string, family: Family): boolean {
    const pools = this.#pools.network(network);
    return pools?.overlay.enabled === true && freshPool(pools, family)?.hasFree === true;
  }

  *#holdings({ backend, overlays }: AgentRecord): Generator<Holding> {
    yield { item: backend.vtepIp, pool: this.#pools.vteps };
    if (backend.vtepIp6 !== undefined) yield { item: backend.vtepIp6, pool: this.#pools.vteps6 };
    for (const overlay of overlays)
      for (const item of prefixesOf(overlay))
        yield { item, pool: this.#pools.find(item, overlay.info.name), network: overlay.info.name };
  }

  /** What the agent has, and from the pools what it has not; `undefined` when there is no VTEP for it. */
  #backend(known: Backend | undefined, had: readonly RestingItem[], draft: Draft): Backend | undefined {
    const regained = draft.regain(
      this.#pools,
      had.filter(({ network }) => network === undefined),
    ) as IpInterface[];
    const hasIp = known?.vtepIp ?? regained.find((item) => familyOf(item) === 4);
    const hasIp6 = known?.vtepIp6 ?? regained.find((item) => familyOf(item) === 6);
    const [freshIp, freshIp6] = draft.take(
      hasIp === undefined ? this.#pools.vteps : undefined,
      hasIp6 === undefined ? this.#pools.vteps6 : undefined,
    );
    const vtepIp = hasIp ?? freshIp;
    const vtepIp6 = hasIp6 ?? freshIp6;
    if (vtepIp === undefined) return undefined;
    return {
      vni: known?.vni ?? VNI,
      vtepName: known?.vtepName ?? VTEP_NAME,
      vtepIp,
      ...(vtepIp6 !== undefined && { vtepIp6 }),
      vtepMac: known?.vtepMac ?? vtepMac(this.#network.vtepMacOui, vtepIp),
      ...(this.#network.vtepMtu !== undefined && { vtepMtu: this.#network.vtepMtu }),
    };
  }

  #newOverlays(
    config: AgentNetworkConfig,
    kept: readonly AgentOverlay[],
    had: readonly RestingItem[],
    draft: Draft,
  ): AgentOverlay[] {
    const names = new Set(kept.map(({ info }) => info.name));
    return this.#pools
      .networks()
      .filter(({ overlay }) => overlay.enabled && !names.has(overlay.name))
      .flatMap((pools) => {
        if (!config.allocateSubnet) return [{ info: pools.overlay }];
        const before = had.filter(({ item, network }) => network === pools.overlay.name && !isStale(pools, item));
        const regained = draft.regain(this.#pools, before) as Cidr[];
        const [fours, sixes] = ([4, 6] as const).map((family) => regained.filter((item) => familyOf(item) === family));
        const [four, ...more4] = fours ?? [];
        const [six, ...more6] = sixes ?? [];
        const fresh = (family: Family, has: Cidr | undefined) =>
          has === undefined ? freshPool(pools, family) : undefined;
        const [fresh4, fresh6] = draft.take(fresh(4, four), fresh(6, six));
        const taken = sliceOf(four ?? fresh4, six ?? fresh6);
        const more = [...more4.map((subnet) => ({ subnet })), ...more6.map((subnet6) => ({ subnet6 }))];
        return prefixesOf(taken).length > 0 ? [agentOverlay(pools.overlay, [taken, ...more], config)] : [];
      });
  }

  /** The overlay as it is now defined, with a family that was added since the agent got it. */
  #renewed(known: AgentOverlay, draft: Draft): AgentOverlay {
    const pools = this.#pools.network(known.info.name);
    if (pools === undefined) return known;
    const slices = slicesOf(known);
    if (slices.length === 0) return agentOverlay(pools.overlay, [], bridgesOf(known));
    const missing = (family: Family) => {
      const has = prefixesOf(known).some((prefix) => familyOf(prefix) === family);
      return pools.overlay.enabled && !has ? freshPool(pools, family) : undefined;
    };
    const added = sliceOf(...draft.take(missing(4), missing(6)));
    const stays = slices.find(({ draining }) => draining !== true) ?? slices[0];
    const grown = slices.map((slice) => (slice === stays ? { ...slice, ...added } : slice));
    return agentOverlay(pools.overlay, grown, bridgesOf(known));
  }

  /** `undefined` when the step cannot be made. */
  #resliced(
    overlay: AgentOverlay,
    change: SliceChange,
    draft: Draft,
    rest: Pick<RestingItem, "until" | "agent">,
  ): AgentOverlay | undefined {
    const slices = slicesOf(overlay);
    const withSlices = (next: readonly Slice[]) => agentOverlay(overlay.info, next, bridgesOf(overlay));
    if (change.type === "grow") {
      const pools = this.#pools.network(change.network);
      const [fresh] = draft.take(pools && freshPool(pools, change.family), undefined);
      if (fresh === undefined) return undefined;
      return withSlices([...slices, change.family === 4 ? { subnet: fresh } : { subnet6: fresh }]);
    }
    const slice = slices.find((each) => nameOf(each) === change.slice);
    if (slice === undefined) return undefined;
    if (change.type !== "remove")
      return withSlices(slices.map((each) => (each === slice ? withDraining(each, change.type === "drain") : each)));
    // It stays draining, and with its agent, until something else has rested.
    if (!this.#pools.canRest) return undefined;
    for (const item of prefixesOf(slice)) draft.rest(this.#pools, { item, network: change.network, ...rest });
    return withSlices(withoutSlice(slices, slice));
  }
}

/** What one registration takes, so that all of it can be given back, and the pools that had nothing left. */
class Draft {
  readonly shortages: PoolUsage[] = [];
  readonly #giveBacks: (() => void)[] = [];

  /** One item of each pool that is asked, or none at all. */
  take<Item extends PoolItem>(pool4: Pool<Item> | undefined, pool6: Pool<Item> | undefined): [Item?, Item?] {
    const item4 = pool4?.take();
    const item6 = pool6?.take();
    const giveBack = () => {
      if (item4 !== undefined) pool4?.release(item4);
      if (item6 !== undefined) pool6?.release(item6);
    };
    const short4 = item4 === undefined ? pool4 : undefined;
    const short6 = item6 === undefined ? pool6 : undefined;
    if (short4 === undefined && short6 === undefined) {
      this.#giveBacks.push(giveBack);
      return [item4, item6];
    }
    this.shortages.push(...[short4, short6].flatMap((pool) => pool?.usage() ?? []));
    giveBack();
    return [];
  }

  release(pool: Pool<PoolItem>, item: PoolItem): void {
    if (pool.release(item)) this.#giveBacks.push(() => pool.reserve(item));
  }

  /** What rests for this agent is its own again. */
  regain(pools: Pools, items: readonly RestingItem[]): readonly PoolItem[] {
    for (const item of items) pools.unrest(item);
    this.#giveBacks.push(() => {
      for (const item of items) pools.rest(item);
    });
    return items.map(({ item }) => item);
  }

  rest(pools: Pools, item: RestingItem): void {
    if (pools.rest(item)) this.#giveBacks.push(() => pools.unrest(item));
  }

  undo(): void {
    for (const giveBack of this.#giveBacks.splice(0)) giveBack();
  }
}

function corrupt({ id, ip }: AgentRecord, { item, network }: Holding): Fault {
  const what = network === undefined ? `VTEP address ${item}` : `subnet ${item} of network ${network}`;
  return new Fault(
    "corrupt-store",
    `agent ${id} (${ip}): ${what} is in no pool of the stored networks, or another agent has it too; ` +
      "restore the database from a backup",
    { agent: id, item: what },
  );
}

/** Records are plain JSON; a stored one may have its keys in another order. */
function sameRecord(a: AgentRecord, b: AgentRecord | undefined): boolean {
  return b !== undefined && canonicalJson(a) === canonicalJson(b);
}
