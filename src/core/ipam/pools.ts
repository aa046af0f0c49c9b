/**
 * All pools of a cluster, and what was given back and rests: a slice that a living agent had is not given to another one
 * while somebody may still send to it. An item that rests is plain data, so that a restart does not wake it.
 */
import type { RestingItem } from "../../model/cluster.ts";
import type { Cidr, Family, IpInterface } from "../../model/ip.ts";
import { RESTING_MAX } from "../../model/limits.ts";
import { type NetworkConfig, type Overlay, type Space, spacesOf } from "../../model/network.ts";
import { subnetPool } from "./carve.ts";
import type { Pool, PoolItem, PoolUsage } from "./pool.ts";
import { vtepPool } from "./vtep.ts";

/** Whether an agent is known to have heard what it has no more. */
export type IsSettled = (agentId: string) => boolean;

interface SpacePools {
  readonly draining: boolean;
  readonly pools: Readonly<Partial<Record<Family, Pool<Cidr>>>>;
}

/** The pools of one network, space by space. */
export interface NetworkPools {
  readonly overlay: Overlay;
  readonly spaces: readonly SpacePools[];
}

export class Pools {
  readonly vteps: Pool<IpInterface>;
  readonly vteps6: Pool<IpInterface> | undefined;
  readonly #networks: ReadonlyMap<string, NetworkPools>;
  readonly #resting = new Set<RestingItem>();
  /** The same, until one comes or goes. */
  #restingList: readonly RestingItem[] | undefined;

  constructor({ vtepSubnet, vtepSubnet6, overlays }: NetworkConfig) {
    this.vteps = vtepPool(vtepSubnet);
    this.vteps6 = vtepSubnet6 && vtepPool(vtepSubnet6);
    this.#networks = new Map(
      overlays.map((overlay) => [
        overlay.name,
        { overlay, spaces: spacesOf(overlay).map((space) => poolsOf(overlay.name, space)) },
      ]),
    );
  }

  networks(): readonly NetworkPools[] {
    return [...this.#networks.values()];
  }

  network(name: string): NetworkPools | undefined {
    return this.#networks.get(name);
  }

  /** The pool that the item is of; without a network it is a VTEP address. */
  find(item: PoolItem, network?: string): Pool<PoolItem> | undefined {
    const pools = network === undefined ? [this.vteps, this.vteps6] : allOf(this.#networks.get(network));
    return pools.find((pool) => pool?.has(item));
  }

  // ---- what rests ----------------------------------------------------------------------------------------------------

  /** In the order in which it was given back; the same list as long as nothing changes. */
  get resting(): readonly RestingItem[] {
    this.#restingList ??= [...this.#resting];
    return this.#restingList;
  }

  /** Whether one more item may rest. */
  get canRest(): boolean {
    return this.#resting.size < RESTING_MAX;
  }

  /** What the agent had when it was removed, as far as nobody else may have it yet. */
  removedFrom(agentId: string): readonly RestingItem[] {
    return this.resting.filter(({ agent, removed }) => removed === true && agent === agentId);
  }

  /** @returns false when it is not given out, or no pool has it any more */
  rest(item: RestingItem): boolean {
    if (this.find(item.item, item.network)?.rest(item.item) !== true) return false;
    this.#resting.add(item);
    this.#restingList = undefined;
    return true;
  }

  /** Who had it has it again. */
  unrest(item: RestingItem): void {
    this.find(item.item, item.network)?.wake(item.item, "holder");
    this.#resting.delete(item);
    this.#restingList = undefined;
  }

  /** Frees what has rested. @param date as `Clock.date` writes it @returns whether anything woke */
  wake(date: string, isSettled: IsSettled): boolean {
    const awake = this.resting.filter(({ until, agent }) => until <= date && (agent === undefined || isSettled(agent)));
    for (const each of awake) {
      this.find(each.item, each.network)?.wake(each.item, "free");
      this.#resting.delete(each);
    }
    if (awake.length > 0) this.#restingList = undefined;
    return awake.length > 0;
  }

  /** VTEPs first, then networks in order. */
  usage(): readonly PoolUsage[] {
    const ofNetworks = this.networks().flatMap(allOf);
    return [this.vteps, this.vteps6, ...ofNetworks].flatMap((pool) => pool?.usage() ?? []);
  }
}

/**
 * Where a slice is to be taken from: the first space that is not draining and has one, else the first that is not
 * draining, which then says that it is short; `undefined` when the network has no such family.
 */
export function freshPool({ spaces }: NetworkPools, family: Family): Pool<Cidr> | undefined {
  const pools = spaces.flatMap(({ draining, pools }) => (draining ? [] : (pools[family] ?? [])));
  return pools.find(({ hasFree }) => hasFree) ?? pools[0];
}

/** Whether the item lies in a space of the network that is draining. */
export function isStale({ spaces }: NetworkPools, item: PoolItem): boolean {
  return spaces.some(
    ({ draining, pools }) => draining && [pools[4], pools[6]].some((pool) => pool?.has(item) === true),
  );
}

function allOf(network: NetworkPools | undefined): Pool<PoolItem>[] {
  return (network?.spaces ?? []).flatMap(({ pools }) => [pools[4] ?? [], pools[6] ?? []].flat());
}

function poolsOf(name: string, { subnet, prefix, subnet6, prefix6, draining }: Space): SpacePools {
  return {
    draining: draining === true,
    pools: {
      ...(subnet !== undefined && prefix !== undefined && { 4: subnetPool(name, subnet, prefix) }),
      ...(subnet6 !== undefined && prefix6 !== undefined && { 6: subnetPool(name, subnet6, prefix6) }),
    },
  };
}
