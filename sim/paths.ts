/**
 * The ways between simulated members: which are cut, which were, and how good the network is. Judging who may be called
 * dead needs to know for how long two could talk.
 */
import type { GossipCluster } from "./gossip-cluster.ts";
import { isGoodShape } from "./invariants.ts";
import type { SimMember } from "./member.ts";
import type { NetworkShape } from "./network.ts";

export class Paths {
  /** Nothing was cut, mended or made better or worse since then, virtual ms. */
  since = 0;
  /** The network was not worse than good since then. */
  qualitySince = 0;
  readonly #cluster: GossipCluster;
  readonly #cuts = new Set<string>();
  /** When each pair was last cut that is not cut any more. */
  readonly #cutAt = new Map<string, number>();
  #side = new Map<string, number>();

  constructor(cluster: GossipCluster) {
    this.#cluster = cluster;
  }

  /** Packets from the one to the other are lost. */
  cut(from: SimMember, to: SimMember): void {
    this.#cuts.add(`${from.address} ${to.address}`);
    this.#change();
  }

  /** The first share of all members and the rest do not hear each other; who joins later is with the first ones. */
  partition(share: number): void {
    const { members } = this.#cluster;
    const first = Math.round(share * members.length);
    this.#side = new Map(members.map(({ address }, n) => [address, n < first ? 1 : 2]));
    this.#change();
  }

  heal(): void {
    this.#cuts.clear();
    this.#side = new Map();
    this.#change();
  }

  shape(shape: NetworkShape): void {
    const { network, engine } = this.#cluster;
    // From good to good nobody has to get used to anything.
    if (!isGoodShape(network.shape)) this.qualitySince = engine.now;
    network.shape = shape;
    this.since = engine.now;
  }

  cutAt(one: SimMember, other: SimMember): number {
    const { network, engine } = this.#cluster;
    const isCut = network.isCut(one.address, other.address) || network.isCut(other.address, one.address);
    return isCut ? engine.now : (this.#cutAt.get(pairOf(one, other)) ?? Number.NEGATIVE_INFINITY);
  }

  /** What is cut until now is noted before it changes. */
  #change(): void {
    const { members, engine, network } = this.#cluster;
    this.since = engine.now;
    for (const [n, one] of members.entries())
      for (const other of members.slice(0, n))
        if (this.cutAt(one, other) === engine.now) this.#cutAt.set(pairOf(one, other), engine.now);
    const [cuts, side] = [new Set(this.#cuts), this.#side];
    const isCut = (from: string, to: string) =>
      cuts.has(`${from} ${to}`) || (side.get(from) ?? 1) !== (side.get(to) ?? 1);
    network.cut(cuts.size === 0 && side.size === 0 ? undefined : isCut);
  }
}

function pairOf(one: SimMember, other: SimMember): string {
  return one.id < other.id ? `${one.id} ${other.id}` : `${other.id} ${one.id}`;
}
