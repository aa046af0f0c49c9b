/**
 * Who gets which VTEP and which subnets (spec: overlay §2.2–§2.4). The lowest free item first; an overlay with two
 * families gives both or neither, a VTEP likewise. The records are the truth: `restore` rebuilds every pool from them.
 *
 * An agent that is known keeps what it has, whatever it now asks for, and gets what was added to the configuration since:
 * networks, a family of a network, the IPv6 address of its VTEP, the VTEP's MTU. A pool that is used up costs the
 * agent that one network and nothing else; without a VTEP there is no agent.
 */
import type { AgentNetworkConfig, AgentOverlay, AgentRecord, Backend, Bridge } from "../../model/cluster.ts";
import { assert, Fault } from "../../model/fault.ts";
import type { Cidr, Ip } from "../../model/ip.ts";
import { dockerBridgeName, mesosBridgeName, VNI, VTEP_NAME } from "../../model/names.ts";
import type { NetworkConfig, Overlay } from "../../model/network.ts";
import { halves, SubnetPool } from "./carve.ts";
import { type Refusal, refusal } from "./refusal.ts";
import { VtepPool, vtepMac } from "./vtep.ts";

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
      /** What the agent did not get. */
      readonly refusals: readonly Refusal[];
      /** Gives back what this registration took; for when the record could not be stored. */
      undo(): void;
    }
  | { readonly record?: undefined; readonly refusals: readonly Refusal[] };

interface OverlayPools {
  readonly overlay: Overlay;
  readonly subnets?: SubnetPool;
  readonly subnets6?: SubnetPool;
}

interface Subnets {
  readonly subnet?: Cidr;
  readonly subnet6?: Cidr;
}

/** What one registration took and must give back should it fail. */
type Taken = (() => void)[];

export class Allocator {
  readonly #network: NetworkConfig;
  readonly #vteps: VtepPool;
  readonly #vteps6: VtepPool | undefined;
  readonly #overlays: ReadonlyMap<string, OverlayPools>;

  constructor(network: NetworkConfig) {
    this.#network = network;
    this.#vteps = new VtepPool(network.vtepSubnet);
    this.#vteps6 = network.vtepSubnet6 && new VtepPool(network.vtepSubnet6);
    this.#overlays = new Map(network.overlays.map((overlay) => [overlay.name, poolsOf(overlay)]));
  }

  /**
   * An allocator in which everything that the records hold is given out.
   * @throws Fault corrupt-store when two records hold the same item, or one holds what no pool has
   */
  static restore(network: NetworkConfig, records: readonly AgentRecord[]): Allocator {
    const allocator = new Allocator(network);
    for (const record of records) allocator.#reserve(record);
    return allocator;
  }

  /** @param known the record that the agent has, or that it takes over from an agent of its address */
  register(agent: Registrant, known: AgentRecord | undefined): Registration {
    const taken: Taken = [];
    const refusals: Refusal[] = [];
    const backend =
      known === undefined ? this.#newBackend(taken, refusals) : this.#renewBackend(known.backend, taken, refusals);
    if (backend === undefined) return { refusals };
    const kept = (known?.overlays ?? []).map((overlay) => this.#renewOverlay(overlay, taken, refusals));
    const added = this.#newOverlays(agent.networkConfig, kept, taken, refusals);
    const { id, ip, hostname } = agent;
    const record: AgentRecord = { id, ip, hostname, backend, overlays: [...kept, ...added] };
    return { record, changed: !sameRecord(record, known), refusals, undo: () => rollBack(taken) };
  }

  /** Frees everything that the record holds. */
  release(record: AgentRecord): void {
    this.#vteps.release(record.backend.vtepIp);
    if (record.backend.vtepIp6 !== undefined) this.#vteps6?.release(record.backend.vtepIp6);
    for (const { info, subnet, subnet6 } of record.overlays) {
      const pools = this.#overlays.get(info.name);
      if (subnet !== undefined) pools?.subnets?.release(subnet);
      if (subnet6 !== undefined) pools?.subnets6?.release(subnet6);
    }
  }

  /** How much of each pool is given out, as if each had just refused: VTEPs first, then networks in order. */
  usage(): readonly Refusal[] {
    return [
      refusal("ip", this.#vteps.usage()),
      ...(this.#vteps6 === undefined ? [] : [refusal("ip6", this.#vteps6.usage())]),
      ...[...this.#overlays.values()].flatMap(({ overlay, subnets, subnets6 }) => [
        ...(subnets === undefined ? [] : [refusal("subnet", subnets.usage(), overlay.name)]),
        ...(subnets6 === undefined ? [] : [refusal("subnet6", subnets6.usage(), overlay.name)]),
      ]),
    ];
  }

  #reserve(record: AgentRecord): void {
    const { vtepIp, vtepIp6 } = record.backend;
    const check = (reserved: boolean | undefined, what: string) => {
      if (reserved !== true)
        throw new Fault(
          "corrupt-store",
          `agent ${record.id} (${record.ip}): ${what} is in no pool of the stored networks, or another agent has it too; ` +
            "restore the database from a backup",
          { agent: record.id, item: what },
        );
    };
    check(this.#vteps.reserve(vtepIp), `VTEP address ${vtepIp}`);
    if (vtepIp6 !== undefined) check(this.#vteps6?.reserve(vtepIp6), `VTEP address ${vtepIp6}`);
    for (const { info, subnet, subnet6 } of record.overlays) {
      const pools = this.#overlays.get(info.name);
      if (subnet !== undefined) check(pools?.subnets?.reserve(subnet), `subnet ${subnet} of network ${info.name}`);
      if (subnet6 !== undefined) check(pools?.subnets6?.reserve(subnet6), `subnet ${subnet6} of network ${info.name}`);
    }
  }

  #newBackend(taken: Taken, refusals: Refusal[]): Backend | undefined {
    const vtepIp = takeFrom(this.#vteps, taken);
    const vtepIp6 = this.#vteps6 && takeFrom(this.#vteps6, taken);
    if (vtepIp === undefined) refusals.push(refusal("ip", this.#vteps.usage()));
    if (this.#vteps6 !== undefined && vtepIp6 === undefined) refusals.push(refusal("ip6", this.#vteps6.usage()));
    if (vtepIp === undefined || refusals.length > 0) {
      rollBack(taken);
      return undefined;
    }
    return {
      vni: VNI,
      vtepName: VTEP_NAME,
      vtepIp,
      ...(vtepIp6 !== undefined && { vtepIp6 }),
      vtepMac: vtepMac(this.#network.vtepMacOui, vtepIp),
      ...(this.#network.vtepMtu !== undefined && { vtepMtu: this.#network.vtepMtu }),
    };
  }

  #renewBackend(known: Backend, taken: Taken, refusals: Refusal[]): Backend {
    let vtepIp6 = known.vtepIp6;
    if (vtepIp6 === undefined && this.#vteps6 !== undefined) {
      vtepIp6 = takeFrom(this.#vteps6, taken);
      if (vtepIp6 === undefined) refusals.push(refusal("ip6", this.#vteps6.usage()));
    }
    return {
      vni: known.vni,
      vtepName: known.vtepName,
      vtepIp: known.vtepIp,
      ...(vtepIp6 !== undefined && { vtepIp6 }),
      vtepMac: known.vtepMac,
      ...(this.#network.vtepMtu !== undefined && { vtepMtu: this.#network.vtepMtu }),
    };
  }

  #newOverlays(
    config: AgentNetworkConfig,
    kept: readonly AgentOverlay[],
    taken: Taken,
    refusals: Refusal[],
  ): AgentOverlay[] {
    const names = new Set(kept.map(({ info }) => info.name));
    return [...this.#overlays.values()]
      .filter(({ overlay }) => overlay.enabled && !names.has(overlay.name))
      .flatMap((pools) => {
        if (!config.allocateSubnet) return [{ info: pools.overlay }];
        const subnets = takeSubnets(pools, taken, refusals);
        return subnets === undefined ? [] : [agentOverlay(pools.overlay, subnets, config)];
      });
  }

  /** The overlay as it is now defined, with a family that was added since the agent got it. */
  #renewOverlay(known: AgentOverlay, taken: Taken, refusals: Refusal[]): AgentOverlay {
    const pools = this.#overlays.get(known.info.name);
    if (pools === undefined) return known;
    const had: Subnets = subnetsOf(known);
    const mayGrow = pools.overlay.enabled && (had.subnet !== undefined || had.subnet6 !== undefined);
    const missing: OverlayPools = {
      overlay: pools.overlay,
      ...(had.subnet === undefined && { subnets: pools.subnets }),
      ...(had.subnet6 === undefined && { subnets6: pools.subnets6 }),
    };
    const added = mayGrow ? takeSubnets(missing, taken, refusals) : undefined;
    return agentOverlay(
      pools.overlay,
      { ...had, ...added },
      {
        mesosBridge: known.mesosBridge !== undefined,
        dockerBridge: known.dockerBridge !== undefined,
      },
    );
  }
}

function poolsOf(overlay: Overlay): OverlayPools {
  const { subnet, prefix, subnet6, prefix6 } = overlay;
  assert(subnet === undefined || prefix !== undefined, `${overlay.name}: a subnet comes with its slice length`);
  assert(subnet6 === undefined || prefix6 !== undefined, `${overlay.name}: a subnet6 comes with its slice length`);
  return {
    overlay,
    ...(subnet !== undefined && prefix !== undefined && { subnets: new SubnetPool(subnet, prefix) }),
    ...(subnet6 !== undefined && prefix6 !== undefined && { subnets6: new SubnetPool(subnet6, prefix6) }),
  };
}

function takeFrom<T>(pool: { take(): T | undefined; release(item: T): boolean }, taken: Taken): T | undefined {
  const item = pool.take();
  if (item !== undefined) taken.push(() => pool.release(item));
  return item;
}

function rollBack(taken: Taken): void {
  for (const giveBack of taken.splice(0).reverse()) giveBack();
}

/** A slice of each pool that is there, or nothing at all and the refusals. */
function takeSubnets(pools: OverlayPools, taken: Taken, refusals: Refusal[]): Subnets | undefined {
  const mine: Taken = [];
  const before = refusals.length;
  const subnet = pools.subnets && takeFrom(pools.subnets, mine);
  const subnet6 = pools.subnets6 && takeFrom(pools.subnets6, mine);
  const name = pools.overlay.name;
  if (pools.subnets !== undefined && subnet === undefined)
    refusals.push(refusal("subnet", pools.subnets.usage(), name));
  if (pools.subnets6 !== undefined && subnet6 === undefined)
    refusals.push(refusal("subnet6", pools.subnets6.usage(), name));
  if (refusals.length > before) {
    rollBack(mine);
    return undefined;
  }
  taken.push(...mine);
  return { ...(subnet !== undefined && { subnet }), ...(subnet6 !== undefined && { subnet6 }) };
}

function subnetsOf({ subnet, subnet6 }: AgentOverlay): Subnets {
  return { ...(subnet !== undefined && { subnet }), ...(subnet6 !== undefined && { subnet6 }) };
}

function agentOverlay(
  info: Overlay,
  subnets: Subnets,
  bridges: Pick<AgentNetworkConfig, "mesosBridge" | "dockerBridge">,
): AgentOverlay {
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

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, part: unknown) =>
    typeof part === "object" && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}
