/**
 * Who gets which VTEP and which subnets (spec: overlay §2.2–§2.4). The lowest free item first; an overlay with two
 * families gives both or neither, a VTEP likewise. The records are the truth: `restore` rebuilds every pool from them.
 *
 * An agent that is known keeps what it has, whatever it now asks for, and gets what was added to the configuration since:
 * networks, a family of a network, the IPv6 address of its VTEP, the VTEP's MTU. A pool that is used up costs the
 * agent that one network and nothing else; without a VTEP there is no agent.
 */
import { canonicalJson } from "../../model/canonical-json.ts";
import type { AgentNetworkConfig, AgentOverlay, AgentRecord, Backend, Bridge } from "../../model/cluster.ts";
import { assert, Fault } from "../../model/fault.ts";
import type { Cidr, Ip, IpInterface } from "../../model/ip.ts";
import { dockerBridgeName, mesosBridgeName, VNI, VTEP_NAME } from "../../model/names.ts";
import type { NetworkConfig, Overlay } from "../../model/network.ts";
import { halves, subnetPool } from "./carve.ts";
import type { Pool, PoolItem, PoolUsage } from "./pool.ts";
import { vtepMac, vtepPool } from "./vtep.ts";

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

interface OverlayPools {
  readonly overlay: Overlay;
  readonly subnets?: Pool<Cidr>;
  readonly subnets6?: Pool<Cidr>;
}

type Subnets = Pick<AgentOverlay, "subnet" | "subnet6">;
type Bridges = Pick<AgentNetworkConfig, "mesosBridge" | "dockerBridge">;

/** One item that a record holds. Without `pool`, the configuration has none that it could be of. */
interface Holding {
  readonly item: PoolItem;
  readonly pool: Pool<PoolItem> | undefined;
  /** Absent for VTEP addresses. */
  readonly network?: string;
}

export class Allocator {
  readonly #network: NetworkConfig;
  readonly #vteps: Pool<IpInterface>;
  readonly #vteps6: Pool<IpInterface> | undefined;
  readonly #overlays: ReadonlyMap<string, OverlayPools>;

  constructor(network: NetworkConfig) {
    this.#network = network;
    this.#vteps = vtepPool(network.vtepSubnet);
    this.#vteps6 = network.vtepSubnet6 && vtepPool(network.vtepSubnet6);
    this.#overlays = new Map(network.overlays.map((overlay) => [overlay.name, poolsOf(overlay)]));
  }

  /**
   * An allocator in which everything that the records hold is given out.
   * @throws Fault corrupt-store when two records hold the same item, or one holds what no pool has
   */
  static restore(network: NetworkConfig, records: readonly AgentRecord[]): Allocator {
    const allocator = new Allocator(network);
    for (const record of records)
      for (const holding of allocator.#holdings(record))
        if (holding.pool?.reserve(holding.item) !== true) throw corrupt(record, holding);
    return allocator;
  }

  /** @param known the record that the agent has, or that it takes over from an agent of its address */
  register(agent: Registrant, known: AgentRecord | undefined): Registration {
    const draft = new Draft();
    const backend = this.#backend(known?.backend, draft);
    if (backend === undefined) return { shortages: draft.shortages };
    const kept = (known?.overlays ?? []).map((overlay) => this.#renewed(overlay, draft));
    const added = this.#newOverlays(agent.networkConfig, kept, draft);
    const { id, ip, hostname } = agent;
    const record: AgentRecord = { id, ip, hostname, backend, overlays: [...kept, ...added] };
    return { record, changed: !sameRecord(record, known), shortages: draft.shortages, undo: () => draft.undo() };
  }

  /** Frees everything that the record holds. */
  release(record: AgentRecord): void {
    for (const { pool, item } of this.#holdings(record)) pool?.release(item);
  }

  /** How much of each pool is given out: VTEPs first, then networks in order. */
  usage(): readonly PoolUsage[] {
    const ofOverlays = [...this.#overlays.values()].flatMap(({ subnets, subnets6 }) => [subnets, subnets6]);
    return [this.#vteps, this.#vteps6, ...ofOverlays].flatMap((pool) => pool?.usage() ?? []);
  }

  *#holdings({ backend, overlays }: AgentRecord): Generator<Holding> {
    yield { item: backend.vtepIp, pool: this.#vteps };
    if (backend.vtepIp6 !== undefined) yield { item: backend.vtepIp6, pool: this.#vteps6 };
    for (const { info, subnet, subnet6 } of overlays) {
      const pools = this.#overlays.get(info.name);
      if (subnet !== undefined) yield { item: subnet, pool: pools?.subnets, network: info.name };
      if (subnet6 !== undefined) yield { item: subnet6, pool: pools?.subnets6, network: info.name };
    }
  }

  /** What the agent has, and from the pools what it has not; `undefined` when there is no VTEP for it. */
  #backend(known: Backend | undefined, draft: Draft): Backend | undefined {
    const [freshIp, freshIp6] = draft.take(
      known === undefined ? this.#vteps : undefined,
      known?.vtepIp6 === undefined ? this.#vteps6 : undefined,
    );
    const vtepIp = known?.vtepIp ?? freshIp;
    const vtepIp6 = known?.vtepIp6 ?? freshIp6;
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

  #newOverlays(config: AgentNetworkConfig, kept: readonly AgentOverlay[], draft: Draft): AgentOverlay[] {
    const names = new Set(kept.map(({ info }) => info.name));
    return [...this.#overlays.values()]
      .filter(({ overlay }) => overlay.enabled && !names.has(overlay.name))
      .flatMap(({ overlay, subnets, subnets6 }) => {
        if (!config.allocateSubnet) return [{ info: overlay }];
        const taken = subnetsOf(...draft.take(subnets, subnets6));
        return hasSubnet(taken) ? [agentOverlay(overlay, taken, config)] : [];
      });
  }

  /** The overlay as it is now defined, with a family that was added since the agent got it. */
  #renewed(known: AgentOverlay, draft: Draft): AgentOverlay {
    const pools = this.#overlays.get(known.info.name);
    if (pools === undefined) return known;
    const had = subnetsOf(known.subnet, known.subnet6);
    const mayGrow = pools.overlay.enabled && hasSubnet(had);
    const [subnet, subnet6] = draft.take(
      mayGrow && had.subnet === undefined ? pools.subnets : undefined,
      mayGrow && had.subnet6 === undefined ? pools.subnets6 : undefined,
    );
    const bridges = { mesosBridge: known.mesosBridge !== undefined, dockerBridge: known.dockerBridge !== undefined };
    return agentOverlay(pools.overlay, { ...had, ...subnetsOf(subnet, subnet6) }, bridges);
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

function poolsOf(overlay: Overlay): OverlayPools {
  const { name, subnet, prefix, subnet6, prefix6 } = overlay;
  assert(subnet === undefined || prefix !== undefined, `${name}: a subnet comes with its slice length`);
  assert(subnet6 === undefined || prefix6 !== undefined, `${name}: a subnet6 comes with its slice length`);
  return {
    overlay,
    ...(subnet !== undefined && prefix !== undefined && { subnets: subnetPool(name, subnet, prefix) }),
    ...(subnet6 !== undefined && prefix6 !== undefined && { subnets6: subnetPool(name, subnet6, prefix6) }),
  };
}

function subnetsOf(subnet: Cidr | undefined, subnet6: Cidr | undefined): Subnets {
  return { ...(subnet !== undefined && { subnet }), ...(subnet6 !== undefined && { subnet6 }) };
}

function hasSubnet({ subnet, subnet6 }: Subnets): boolean {
  return subnet !== undefined || subnet6 !== undefined;
}

function agentOverlay(info: Overlay, subnets: Subnets, bridges: Bridges): AgentOverlay {
  return {
    info,
    ...subnets,
    ...(bridges.mesosBridge && { mesosBridge: bridgeOf(mesosBridgeName(info.name), subnets, "mesos") }),
    ...(bridges.dockerBridge && { dockerBridge: bridgeOf(dockerBridgeName(info.name), subnets, "docker") }),
  };
}

function bridgeOf(name: string, { subnet, subnet6 }: Subnets, half: "mesos" | "docker"): Bridge {
  return {
    name,
    ...(subnet !== undefined && { ip: halves(subnet)[half] }),
    ...(subnet6 !== undefined && { ip6: halves(subnet6)[half] }),
  };
}

/** Records are plain JSON; a stored one may have its keys in another order. */
function sameRecord(a: AgentRecord, b: AgentRecord | undefined): boolean {
  return b !== undefined && canonicalJson(a) === canonicalJson(b);
}
