/**
 * Which peers are believed, and how much of each.
 *
 * One bad entry blocks no other: a peer that cannot be reached or that claims what is not its own is left out, with the
 * reason; a subnet that is wrong is left out alone. Between two peers that claim the same, the one whose id is smaller
 * keeps it, so that the answer does not depend on the order in which they came. What a peer hosts of the slices of others,
 * this host's own with them, is believed as far as the newest word of the cluster says so (model/hosting.ts).
 */
import type { Peer } from "../../model/cluster.ts";
import { hostedBy, NO_HOSTING } from "../../model/hosting.ts";
import { addressOf, type Cidr, familyOf, hostCidr, type Ip } from "../../model/ip.ts";
import type { Mac } from "../../model/mac.ts";
import { prefixesOf } from "../../model/network.ts";
import { type OverlayContext, servedFamilies } from "./context.ts";
import { PrefixSet } from "./prefix-set.ts";

/** Something about a peer that is not served, and why. `id` is the peer's. */
export interface PeerProblem {
  readonly id: string;
  readonly problem: string;
  /** The peer has it of a network that was removed, and has not heard of that: nothing is wrong. */
  readonly isStale?: true;
}

export interface Admission {
  readonly peers: readonly Peer[];
  readonly problems: readonly PeerProblem[];
}

/** @returns the peers as they may be programmed, what they host as subnets, without the parts that `problems` name */
export function admitPeers(peers: readonly Peer[], context: OverlayContext): Admission {
  const doorkeeper = new Doorkeeper(context);
  const byId = [...peers].sort((a, b) => (a.id < b.id ? -1 : a.id > b.id ? 1 : 0));
  return { peers: byId.flatMap((peer) => doorkeeper.admit(peer)), problems: doorkeeper.problems };
}

const NO_OVERLAY = "lies in no overlay";

class Doorkeeper {
  readonly problems: PeerProblem[] = [];
  readonly #context: OverlayContext;
  readonly #overlays: PrefixSet;
  readonly #pools: PrefixSet;
  readonly #own: PrefixSet;
  /** Values that only one node can have, with who has them. */
  readonly #taken = new Map<string, string>();

  constructor(context: OverlayContext) {
    const { agent, overlaySubnets, vtepSubnets } = context.assignment;
    this.#context = context;
    this.#overlays = new PrefixSet(overlaySubnets);
    this.#pools = new PrefixSet(vtepSubnets);
    this.#own = new PrefixSet(agent.overlays.flatMap(prefixesOf));
    const { vtepIp, vtepIp6, vtepMac } = agent.backend;
    for (const value of present<string>([
      agent.id,
      agent.ip,
      addressOf(vtepIp),
      vtepIp6 && addressOf(vtepIp6),
      vtepMac,
    ]))
      this.#taken.set(value, "this host");
  }

  admit(peer: Peer): Peer[] {
    const problem = this.#problemOf(peer);
    if (problem !== undefined) {
      this.problems.push({ id: peer.id, problem });
      return [];
    }
    for (const value of identityOf(peer)) this.#taken.set(value, `peer ${peer.id}`);
    const wrong = new Map<Cidr, string>();
    for (const subnet of peer.subnets) {
      const reason = this.#subnetProblem(peer, subnet);
      if (reason === undefined) this.#taken.set(subnet, `peer ${peer.id}`);
      else wrong.set(subnet, reason);
    }
    for (const [subnet, reason] of wrong)
      this.problems.push({
        id: peer.id,
        problem: `subnet ${subnet} ${reason}`,
        ...(reason === NO_OVERLAY && { isStale: true }),
      });
    const hosted = this.#hostedBy(peer);
    if (wrong.size === 0 && hosted.length === 0) return [peer];
    return [{ ...peer, subnets: [...peer.subnets.filter((subnet) => !wrong.has(subnet)), ...hosted] }];
  }

  #hostedBy(peer: Peer): readonly Cidr[] {
    if (peer.hosted === undefined) return [];
    return hostedBy(peer, this.#context.hosting ?? NO_HOSTING)
      .map(hostCidr)
      .filter((address) => this.#overlays.covers(address))
      .filter((address) => familyOf(address) === 4 || peer.vtepIp6 !== undefined);
  }

  #problemOf(peer: Peer): string | undefined {
    const { ip } = this.#context.assignment.agent;
    if (familyOf(peer.ip) !== familyOf(ip))
      return `its address ${peer.ip} is not of the family of this host's ${ip}; a tunnel has one family at both ends`;
    for (const value of identityOf(peer)) {
      const holder = this.#taken.get(value);
      if (holder !== undefined) return `${value} is taken by ${holder}`;
    }
    if (this.#overlays.holds(peer.ip) || this.#pools.holds(peer.ip))
      return `its address ${peer.ip} lies inside the network that the tunnel carries`;
    for (const vtep of present([peer.vtepIp, peer.vtepIp6]))
      if (!this.#pools.holds(vtep)) return `its VTEP address ${vtep} lies in no VTEP subnet`;
    return isUnicast(peer.vtepMac) ? undefined : `its VTEP MAC ${peer.vtepMac} is no unicast address`;
  }

  #subnetProblem(peer: Peer, subnet: Cidr): string | undefined {
    if (!servedFamilies(this.#context).includes(familyOf(subnet))) return undefined;
    if (!this.#overlays.covers(subnet)) return NO_OVERLAY;
    if (this.#own.overlaps(subnet)) return "overlaps this host's own";
    if (familyOf(subnet) === 6 && peer.vtepIp6 === undefined) return "has no way: the peer has no IPv6 VTEP address";
    const holder = this.#taken.get(subnet);
    return holder === undefined ? undefined : `is taken by ${holder}`;
  }
}

function identityOf(peer: Peer): readonly (string | Ip | Mac)[] {
  return present<string>([peer.id, peer.ip, peer.vtepIp, peer.vtepIp6, peer.vtepMac]);
}

/** The all-zero MAC would make the peer the destination of every unknown frame. */
function isUnicast(value: Mac): boolean {
  return value !== "00:00:00:00:00:00" && (Number.parseInt(value.slice(0, 2), 16) & 1) === 0;
}

function present<T>(values: readonly (T | undefined)[]): T[] {
  return values.filter((value) => value !== undefined);
}
