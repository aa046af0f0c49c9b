/**
 * What a changed configuration may do to a cluster that runs (docs/decisions/0009-configuration-changes.md). Additions
 * are taken. What agents use, or is reserved, stays as it is stored, and each change of it is refused by one sentence; all
 * else is served. So no file, however different, keeps the master from starting.
 *
 * Invariant: what comes out holds every resource of every record, and no two of its prefixes overlap. Parts of one file
 * never overlap each other (the validator saw to it), so only what deviates from the file can be in the way.
 */
import type { AgentRecord } from "../../model/cluster.ts";
import { type Cidr, cidr, containsCidr, familyOf, overlaps } from "../../model/ip.ts";
import { OVERLAYS_MAX } from "../../model/limits.ts";
import { prefixesOf } from "../../model/network.ts";
import {
  type NetworkSource,
  type OverlaySource,
  type SpaceSource,
  spaceSourcesOf,
} from "../../model/network-source.ts";
import { isWithin, type Reservation } from "../../model/reservation.ts";

export interface Reconfiguration {
  readonly network: NetworkSource;
  /** One sentence for each change of the file that is not in force. */
  readonly refused: readonly string[];
}

type PoolKey = "vtep_subnet" | "vtep_subnet6";

interface Claim {
  readonly owner: string;
  readonly prefix: Cidr;
}

/**
 * @param stored undefined at the first start
 * @param reserved addresses that are kept for names: what holds one stays, as if an agent had it
 */
export function reconfigure(
  stored: NetworkSource | undefined,
  records: readonly AgentRecord[],
  file: NetworkSource,
  reserved: readonly Reservation[] = [],
): Reconfiguration {
  if (stored === undefined || (records.length === 0 && reserved.length === 0)) return { network: file, refused: [] };
  const merge = new Merge(stored, { records, reserved }, file);
  const users6 = records.filter(({ backend }) => backend.vtepIp6 !== undefined).length;
  const kept = merge.keepPool("vtep_subnet", records.length);
  const kept6 = merge.keepPool("vtep_subnet6", users6);
  merge.keepOverlays();
  const vtepSubnet = kept ?? merge.addPool("vtep_subnet") ?? file.vtep_subnet;
  const vtepSubnet6 = kept6 ?? merge.addPool("vtep_subnet6");
  merge.extendOverlays();
  merge.addOverlays();
  const network: NetworkSource = {
    vtep_subnet: vtepSubnet,
    ...(vtepSubnet6 !== undefined && { vtep_subnet6: vtepSubnet6 }),
    vtep_mac_oui: file.vtep_mac_oui,
    ...(file.vtep_mtu !== undefined && { vtep_mtu: file.vtep_mtu }),
    overlays: merge.overlays(),
  };
  return { network, refused: merge.refused };
}

/** What is not to lose what it has. */
interface Holders {
  readonly records: readonly AgentRecord[];
  readonly reserved: readonly Reservation[];
}

class Merge {
  readonly refused: string[] = [];
  readonly #stored: NetworkSource;
  readonly #file: NetworkSource;
  /** How many agents have a share of the network. */
  readonly #users: ReadonlyMap<string, number>;
  /** The slices that agents have of it. */
  readonly #held: ReadonlyMap<string, readonly Cidr[]>;
  readonly #reserved: readonly Reservation[];
  readonly #claims: Claim[] = [];
  readonly #overlays = new Map<string, OverlaySource>();

  constructor(stored: NetworkSource, { records, reserved }: Holders, file: NetworkSource) {
    this.#stored = stored;
    this.#reserved = reserved;
    this.#file = file;
    const names = records.flatMap(({ overlays }) => overlays.map(({ info }) => info.name));
    const shares = Map.groupBy(
      records.flatMap(({ overlays }) => overlays),
      ({ info }) => info.name,
    );
    this.#held = new Map([...shares].map(([name, each]) => [name, each.flatMap((overlay) => prefixesOf(overlay))]));
    this.#users = new Map([...Map.groupBy(names, (name) => name)].map(([name, each]) => [name, each.length]));
  }

  /** In the order of the file; what it does not name any more comes last. */
  overlays(): readonly OverlaySource[] {
    const named = this.#file.overlays.flatMap(({ name }) => this.#overlays.get(name) ?? []);
    return [...named, ...[...this.#overlays.values()].filter((overlay) => !named.includes(overlay))];
  }

  /** The stored pool, in the file's own words if it means the same there; `undefined` when nobody has anything of it. */
  keepPool(key: PoolKey, users: number): string | undefined {
    const before = this.#stored[key];
    const after = this.#file[key];
    if (before === undefined || users === 0) return undefined;
    this.#claim(key, before);
    if (sameCidr(before, after)) return after;
    this.refused.push(
      `${key}: ${before} cannot ${after === undefined ? "go" : `become ${after}`} while ${agents(users)} VTEP addresses of it; ` +
        `it stays ${before} until those agents are deleted and the change is made again`,
    );
    return before;
  }

  /** The file's pool, where nobody has anything of the stored one. */
  addPool(key: PoolKey): string | undefined {
    const after = this.#file[key];
    const inTheWay = after && this.#overlapOf([after]);
    if (!inTheWay) {
      if (after !== undefined) this.#claim(key, after);
      return after;
    }
    this.refused.push(`${key}: ${after} overlaps ${inTheWay}, which stays; it is not added`);
    const before = this.#stored[key];
    if (before !== undefined) this.#claim(key, before);
    return before;
  }

  keepOverlays(): void {
    for (const before of this.#stored.overlays) {
      const holder = this.#holderOf(before.name);
      if (holder === undefined) continue;
      const after = this.#file.overlays.find(({ name }) => name === before.name);
      const change = after === undefined ? `be removed while ${holder}` : this.#incompatibleChange(before, after);
      if (change !== undefined)
        this.refused.push(`network ${before.name}: it cannot ${change} and the change is made again`);
      const kept = change === undefined && after !== undefined ? withDrainingOf(before, after) : before;
      this.#accept(after === undefined ? kept : withoutAllocations(kept, after));
    }
  }

  /** Gives networks in use the family that the file adds to them. */
  extendOverlays(): void {
    for (const kept of [...this.#overlays.values()]) {
      const after = this.#file.overlays.find(({ name }) => name === kept.name);
      if (after === undefined || this.#incompatibleChange(kept, after) !== undefined) continue;
      const added = prefixesOf(after).filter((prefix) => !prefixesOf(kept).some((had) => sameCidr(had, prefix)));
      const inTheWay = this.#overlapOf(added);
      if (inTheWay === undefined) this.#accept(after);
      else
        this.refused.push(`network ${kept.name}: ${added.join()} overlaps ${inTheWay}, which stays; it is not added`);
    }
  }

  /** Networks in which nothing is held: those of the file, and for one that is refused its stored definition if that fits. */
  addOverlays(): void {
    const fallBack: OverlaySource[] = [];
    for (const overlay of this.#file.overlays) {
      if (this.#overlays.has(overlay.name)) continue;
      const reason = this.#reasonAgainst(overlay);
      if (reason === undefined) {
        this.#accept(overlay);
        continue;
      }
      const before = this.#stored.overlays.find(({ name }) => name === overlay.name);
      if (before !== undefined) fallBack.push(before);
      this.refused.push(`network ${overlay.name}: ${reason}; it is not ${before === undefined ? "added" : "changed"}`);
    }
    for (const before of fallBack) if (this.#reasonAgainst(before) === undefined) this.#accept(before);
  }

  /** What the file would do to a network, and who holds what it would take away; `undefined`: it takes nothing of that. */
  #incompatibleChange(before: OverlaySource, after: OverlaySource): string | undefined {
    const later = spaceSourcesOf(after).flatMap(poolsOf);
    const pools = spaceSourcesOf(before).flatMap(poolsOf);
    for (const { subnet, length } of pools) {
      if (later.some((pool) => sameCidr(pool.subnet, subnet) && pool.length === length)) continue;
      // One of several goes when nothing of it is held any more.
      const others = pools.filter((pool) => familyOf(cidr(pool.subnet)) === familyOf(cidr(subnet)));
      const isLast = others.length === 1 && this.#users.has(before.name);
      const holder = this.#holderOf(before.name, isLast ? undefined : cidr(subnet));
      if (holder === undefined) continue;
      const same = later.filter((pool) => familyOf(cidr(pool.subnet)) === familyOf(cidr(subnet)));
      const became = same.map((pool) => `${pool.subnet} in /${pool.length}`).join(" and ");
      return `change from ${subnet} in /${length} to ${became || "nothing"} while ${holder}`;
    }
    return undefined;
  }

  /** Who holds something of the network, or of one of its spaces, and until when. */
  #holderOf(network: string, space?: Cidr): string | undefined {
    const users = this.#users.get(network);
    const held = this.#held.get(network) ?? [];
    if (users !== undefined && (space === undefined || held.some((slice) => containsCidr(space, slice))))
      return `${agents(users)} a share of it; its stored definition stays in force until those agents are deleted`;
    for (const { name, addresses } of this.#reserved.filter((each) => each.network === network)) {
      const found = addresses.find((address) => space === undefined || isWithin([space], address));
      if (found !== undefined)
        return `${found} is reserved for ${name}; its stored definition stays in force until that ends ('weft reserve --remove ${network} ${name}')`;
    }
    return undefined;
  }

  #reasonAgainst(overlay: OverlaySource): string | undefined {
    const inTheWay = this.#overlapOf(prefixesOf(overlay));
    if (inTheWay !== undefined) return `${prefixesOf(overlay).join()} overlaps ${inTheWay}, which stays`;
    const twin = [...this.#overlays.keys()].find((name) => name.toLowerCase() === overlay.name.toLowerCase());
    if (twin !== undefined) return `its name differs only by case from ${twin}, which stays`;
    return this.#overlays.size >= OVERLAYS_MAX ? `there are ${OVERLAYS_MAX} networks already` : undefined;
  }

  #accept(overlay: OverlaySource): void {
    this.#overlays.set(overlay.name, overlay);
    for (const prefix of prefixesOf(overlay)) this.#claim(`network ${overlay.name}`, prefix);
  }

  #claim(owner: string, prefix: string): void {
    this.#claims.push({ owner, prefix: cidr(prefix) });
  }

  /** What overlaps one of the prefixes: `9.0.0.0/8 of network dcos`. */
  #overlapOf(prefixes: readonly string[]): string | undefined {
    const found = this.#claims.find((claim) => prefixes.some((prefix) => overlaps(claim.prefix, cidr(prefix))));
    return found && `${found.prefix} of ${found.owner}`;
  }
}

/** The pools of a space, one for each family. */
function poolsOf({ subnet, prefix, subnet6, prefix6 }: SpaceSource): { subnet: string; length: number | undefined }[] {
  return [
    ...(subnet === undefined ? [] : [{ subnet, length: prefix }]),
    ...(subnet6 === undefined ? [] : [{ subnet: subnet6, length: prefix6 }]),
  ];
}

/** The stored definition, with what of the file's is no allocation and applies whatever else is refused. */
function withoutAllocations(before: OverlaySource, after: OverlaySource): OverlaySource {
  const { isolation: _, egress: __, phase: ___, ...rest } = before;
  return {
    ...rest,
    enabled: after.enabled,
    ...(after.phase !== undefined && { phase: after.phase }),
    ...(after.isolation !== undefined && { isolation: after.isolation }),
    ...(after.egress !== undefined && { egress: after.egress }),
  };
}

/** The stored spaces, each draining as the file now says of it. */
function withDrainingOf(before: OverlaySource, after: OverlaySource): OverlaySource {
  const drained = (space: SpaceSource) => {
    const { draining: _, ...plain } = space;
    const same = spaceSourcesOf(after).find((other) =>
      prefixesOf(plain).some((prefix) => prefixesOf(other).some((each) => sameCidr(each, prefix))),
    );
    return { ...plain, ...(same?.draining === true && { draining: true }) };
  };
  const { more, draining, ...rest } = before;
  const first = drained({ ...spaceSourcesOf(before)[0] });
  return {
    ...rest,
    ...(first.draining === true && { draining: true }),
    ...(more !== undefined && { more: more.map(drained) }),
  };
}

function sameCidr(a: string, b: string | undefined): boolean {
  return b !== undefined && cidr(a) === cidr(b);
}

function agents(count: number): string {
  return count === 1 ? "1 agent has" : `${count} agents have`;
}
