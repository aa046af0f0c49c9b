/**
 * What must hold of whole hosts: at each moment nothing is programmed that the cluster did not say, and after each quiet
 * period all hosts are wired alike, rightly, and without a rest of who was removed.
 */
import type { HostState } from "../../src/core/host/host-state.ts";
import type { FakeNamespace } from "../../src/io/kernel/fake-kernel-namespace.ts";
import { type Attachment, addressesOf } from "../../src/model/attachment.ts";
import type { Peer } from "../../src/model/cluster.ts";
import { addressOf } from "../../src/model/ip.ts";
import { VTEP_NAME } from "../../src/model/names.ts";
import { trace, type World as Wires } from "../../test/support/packet-tracer.ts";
import { peerOf } from "../../test/support/seed-cluster.ts";
import { seededRandom } from "../../test/support/seeded-random.ts";
import { type Invariant, living, type Problem, type World } from "../invariants.ts";
import type { SimMember } from "../member.ts";
import type { Hosts } from "./hosts.ts";
import type { Issued } from "./master-records.ts";
import type { SimHost } from "./sim-host.ts";

export interface HostInvariant extends Invariant {
  /** The host's peers, or its kernel, may have changed. */
  changed?(host: SimHost): Problem;
}

type MakeHostInvariant = (world: World, hosts: Hosts) => HostInvariant;

/** All pairs up to this many; of more, so many by chance. */
const PAIRS_MAX = 60;

interface Living {
  readonly member: SimMember;
  readonly host: SimHost;
}

/** None where one member is alone: it waits for others as long as there are none. */
function livingHosts(world: World, hosts: Hosts): Living[] {
  const members = living(world);
  return (members.length < 2 ? [] : members).flatMap((member) => {
    const host = hosts.hostOf(member);
    return host === undefined ? [] : [{ member, host }];
  });
}

function first<T>(things: Iterable<T>, problem: (thing: T) => Problem): Problem {
  for (const thing of things) {
    const found = problem(thing);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** By itself, so that the product's own comparison is under test too. */
function isOlder(one: Issued, other: Issued): boolean {
  return one.epoch < other.epoch || (one.epoch === other.epoch && one.revision < other.revision);
}

const onlySignedIsProgrammed: MakeHostInvariant = (_, { records }) => {
  const checked = new WeakMap<Peer, Issued>();
  /** What each process took last of each agent. */
  const taken = new WeakMap<SimHost, { life: number; byId: Map<string, Issued> }>();
  const issuedOf = (peer: Peer): Issued | undefined => {
    const known = checked.get(peer);
    if (known !== undefined) return known;
    const text = JSON.stringify(peer);
    const issued = records.issued.get(peer.id)?.findLast((each) => JSON.stringify(each.peer) === text);
    if (issued !== undefined) checked.set(peer, issued);
    return issued;
  };
  return {
    name: "H6 what is programmed was signed for that agent, and is never an older word",
    changed: (host) => {
      let last = taken.get(host);
      if (last?.life !== host.life) {
        last = { life: host.life, byId: new Map() };
        taken.set(host, last);
      }
      const { byId } = last;
      return first(host.peers.values(), (peer) => {
        const issued = issuedOf(peer);
        if (peer.id === host.agentId) return `${host.agentId} takes itself for a peer`;
        if (issued === undefined) return `${host.agentId} believes ${JSON.stringify(peer)}, which nobody signed`;
        const before = byId.get(peer.id);
        if (before !== undefined && isOlder(issued, before))
          return `${host.agentId} went back to epoch ${issued.epoch}, revision ${issued.revision} of ${peer.id}`;
        byId.set(peer.id, issued);
        return undefined;
      });
    },
  };
};

const noSurprise: MakeHostInvariant = () => ({
  name: "H7 what is programmed at once is what a pass would have done",
  changed: ({ agentId, surprise }) =>
    surprise.length === 0 ? undefined : `${agentId}: a pass had to ${JSON.stringify(surprise.slice(0, 2))}`,
});

const knownIsProgrammed: MakeHostInvariant = () => {
  /** A peer that two claimed until now is programmed by the pass that follows. */
  const wasContested = new WeakSet<SimHost>();
  return {
    name: "H9 a peer that is known is programmed at once, whether all are known or not",
    changed: (host) => {
      const { fdb } = host.kernel.namespace;
      const peers = host.settledPeers();
      if (peers.length < host.peers.size) {
        wasContested.add(host);
        return undefined;
      }
      const lost = peers.find(({ ip, vtepMac }) => fdb.get(`${VTEP_NAME} ${vtepMac}`)?.dst !== ip);
      if (lost === undefined) wasContested.delete(host);
      if (lost === undefined || wasContested.has(host)) return undefined;
      return `${host.agentId} has ${lost.id} at ${fdb.get(`${VTEP_NAME} ${lost.vtepMac}`)?.dst}, and not at ${lost.ip}`;
    },
  };
};

const nothingGoesEarly: MakeHostInvariant = (_, { records }) => {
  /** By the kernel, which is another one after each boot. */
  const before = new WeakMap<FakeNamespace, { reached: ReadonlySet<string>; isComplete: boolean }>();
  const words = function* (mac: string) {
    for (const issued of records.issued.values()) for (const word of issued) if (word.peer.vtepMac === mac) yield word;
  };
  /**
   * Nobody who had it was ever removed: a removal ends what the kernel has, also under the next one who has it. And no
   * word on it fell under the floor: who has not heard the newer one by then has none until it comes.
   */
  const isHeldBySameAgent = (mac: string, own: string): boolean =>
    [...words(mac)].every(
      ({ agentId, memberId, epoch }) =>
        agentId !== own && records.memberOf(agentId) === memberId && epoch >= records.epochs.floor,
    );
  const reachedBy = ({ kernel }: SimHost) =>
    new Set([...kernel.namespace.fdb.values()].map(({ mac }) => mac as string));
  return {
    name: "H8 who is not removed stays: until all peers can be known, and as long as the host runs",
    changed: (host) => {
      const { namespace } = host.kernel;
      const known = before.get(namespace);
      const { arePeersComplete: isComplete } = host;
      const reached = reachedBy(host);
      before.set(namespace, { reached, isComplete });
      // At this one moment what is not known goes.
      if (known === undefined || (isComplete && !known.isComplete)) return undefined;
      const dropped = [...known.reached].find((mac) => !reached.has(mac) && isHeldBySameAgent(mac, host.agentId));
      return dropped && `${host.agentId} dropped ${dropped}, whose agent was never removed`;
    },
  };
};

const hostsAgree: MakeHostInvariant = (world, hosts) => {
  const viewOf = ({ peers, papers, agentId }: SimHost): Map<string, string> => {
    const all = [...peers.values(), ...(papers === undefined ? [] : [peerOf(papers.assignment.agent)])];
    return new Map(all.map((peer) => [peer.id, JSON.stringify(peer)] as const).filter(([id]) => id !== agentId));
  };
  return {
    name: "H1 all hosts program the same peers: those that the masters know of",
    atRest: () => {
      const all = livingHosts(world, hosts);
      const { agents } = hosts.records;
      const [one] = all;
      return first(all, ({ host }) => {
        if (!host.arePeersComplete || !host.hasItsPlace) return `${host.agentId} still waits to know its peers`;
        const view = viewOf(host);
        const odd = [...view.keys()].find((id) => !agents.has(id));
        if (odd !== undefined) return `${host.agentId} has ${odd} as a peer, which is not in the cluster`;
        const missed = all.find(({ host: other }) => {
          const record = agents.get(other.agentId);
          const text = record && JSON.stringify(peerOf(record));
          return other !== host && text !== view.get(other.agentId);
        });
        if (missed !== undefined)
          return `${host.agentId} has of ${missed.host.agentId}, which lives: ${view.get(missed.host.agentId)}`;
        const reference = one === undefined ? undefined : viewOf(one.host);
        const differing = [...agents.keys()].find(
          (id) => id !== host.agentId && id !== one?.host.agentId && view.get(id) !== reference?.get(id),
        );
        return differing && `${host.agentId} and ${one?.host.agentId} differ about ${differing}`;
      });
    },
  };
};

const nothingToDo: MakeHostInvariant = (world, hosts) => ({
  name: "H3 a further pass finds nothing to do",
  atRest: () =>
    first(livingHosts(world, hosts), ({ host }) => {
      const ops = host.pending();
      return ops.length === 0 ? undefined : `${host.agentId}: ${JSON.stringify(ops.slice(0, 2))}`;
    }),
});

const oneHolderEach: MakeHostInvariant = (world, hosts) => ({
  name: "H4 no address has two holders",
  atRest: () => {
    const holders = new Map<string, string>();
    const hold = (what: string, who: string): Problem => {
      const other = holders.get(what);
      holders.set(what, who);
      return other !== undefined && other !== who ? `${what} is held by ${other} and by ${who}` : undefined;
    };
    return first(livingHosts(world, hosts), ({ host: { agentId, machine, attachments, papers } }) => {
      const inRoot = machine.root.addresses.filter(({ dev }) => dev !== "lo").map(({ address }) => addressOf(address));
      const subnets = papers === undefined ? [] : peerOf(papers.assignment.agent).subnets;
      const inside = attachments.flatMap(({ netns }) =>
        (machine.netns(netns)?.addresses ?? []).map(({ address }) => addressOf(address)),
      );
      return first([...inRoot, ...subnets, ...inside], (what) => hold(what, agentId));
    });
  },
});

/** Of peers: what leads to them in a kernel, one text each. */
function traces({ fdb, neighbors, routes, tables }: HostState): Set<string> {
  const elements = tables.flatMap(({ maps }) => maps.flatMap((map) => map.elements.flat().map(String)));
  return new Set([
    ...fdb.flatMap(({ mac, dst }) => [`mac ${mac}`, `node ${dst}`]),
    ...neighbors.map(({ ip }) => `vtep ${ip}`),
    ...routes.flatMap(({ dst, via }) => [`subnet ${dst}`, ...(via === undefined ? [] : [`vtep ${via}`])]),
    ...elements.map((element) => `node ${element}`),
  ]);
}

function claimsOf({ ip, vtepIp, vtepIp6, vtepMac, subnets }: Peer): string[] {
  return [
    `node ${ip}`,
    `mac ${vtepMac}`,
    ...[vtepIp, vtepIp6].filter((v) => v !== undefined).map((vtep) => `vtep ${vtep}`),
    ...subnets.map((subnet) => `subnet ${subnet}`),
  ];
}

const removedLeaveNothing: MakeHostInvariant = (world, hosts) => {
  /** Agents that all living hosts programmed at the last rest. */
  let known = new Set<string>();
  return {
    name: "H5 of who was removed nothing is left, of who is dead everything",
    atRest: () => {
      const all = livingHosts(world, hosts);
      const { records } = hosts;
      const problem = first(all, ({ host }) => {
        const own = host.papers === undefined ? [] : [peerOf(host.papers.assignment.agent)];
        const valid = new Set([...host.peers.values(), ...own].flatMap(claimsOf));
        const there = traces(host.kernel.namespace.observe([]));
        const issued = [...records.issued.values()].flat();
        const left = first(issued, (word) => {
          const rest = claimsOf(word.peer).find((claim) => there.has(claim) && !valid.has(claim));
          return rest && `${host.agentId} still has ${rest} of ${word.agentId}, revision ${word.revision}`;
        });
        if (left !== undefined) return left;
        const lost = [...known].find((id) => records.agents.has(id) && id !== host.agentId && !host.peers.has(id));
        if (lost !== undefined) return `${host.agentId} lost ${lost}, which was not removed`;
        return first(host.peers.values(), (peer) => {
          const missing = claimsOf(peer).find((claim) => !there.has(claim));
          return missing && `${host.agentId} lacks ${missing} of ${peer.id}`;
        });
      });
      const ids = all.map(({ host }) => new Set([host.agentId, ...host.peers.keys()]));
      known = new Set([...(ids[0] ?? [])].filter((id) => ids.every((set) => set.has(id))));
      return problem;
    },
  };
};

interface End {
  readonly place: string;
  readonly attachment: Attachment;
}

const containersConnect: MakeHostInvariant = (world, hosts) => {
  const { fraction } = seededRandom(0x7ace);
  const placeOf = ({ number }: SimHost, inside?: string) => `h${number}${inside === undefined ? "" : ` ${inside}`}`;
  const wires = (): Wires => ({
    underlayDev: "eth0",
    places: hosts.machines
      .filter(({ isOff }) => !isOff)
      .flatMap((host) => [
        { name: placeOf(host), namespace: host.machine.root },
        ...host.attachments.flatMap(({ containerId, netns }) => {
          const namespace = host.machine.netns(netns);
          return namespace === undefined ? [] : [{ name: placeOf(host, containerId), namespace }];
        }),
      ]),
  });
  return {
    name: "H2 containers of one network reach each other from any host to any other",
    atRest: () => {
      const ends = livingHosts(world, hosts).flatMap(({ host }): End[] =>
        host.attachments.map((attachment) => ({ place: placeOf(host, attachment.containerId), attachment })),
      );
      const pairs = ends.flatMap((from) =>
        ends
          .filter((to) => to !== from && to.attachment.network === from.attachment.network)
          .map((to) => ({ from, to })),
      );
      while (pairs.length > PAIRS_MAX) {
        const at = Math.floor(fraction() * pairs.length);
        pairs[at] = pairs.at(-1) as (typeof pairs)[number];
        pairs.pop();
      }
      const all = wires();
      return first(pairs, ({ from, to }) =>
        first(addressesOf(to.attachment), (address) => {
          const { arrived, place, reason, src } = trace(all, from.place, address);
          const isWhole = arrived && place === to.place && addressesOf(from.attachment).includes(src);
          return isWhole ? undefined : `from ${from.place} to ${to.place} ${address}: ${place}: ${reason ?? src}`;
        }),
      );
    },
  };
};

const HOST_INVARIANTS: readonly MakeHostInvariant[] = [
  hostsAgree,
  onlySignedIsProgrammed,
  noSurprise,
  knownIsProgrammed,
  nothingGoesEarly,
  nothingToDo,
  oneHolderEach,
  removedLeaveNothing,
  containersConnect,
];

export function hostInvariants(world: World, hosts: Hosts): readonly HostInvariant[] {
  return HOST_INVARIANTS.map((make) => make(world, hosts));
}
