/**
 * Networks that are alike in whom they talk to, as numbers: what the datapath compares instead of prefixes.
 *
 * Networks of one group talk to each other, so that a packet within one is not looked up. A restricted network is a group
 * of its own; open ones are one for each set of restricted networks that let them in. All open ones are group 0 where
 * nothing is restricted.
 */
import type { Assignment } from "../../model/cluster.ts";
import type { Cidr } from "../../model/ip.ts";
import { mayTalk, type NetworkRules } from "../../model/isolation.ts";
import { PrefixIndex } from "./prefix-index.ts";

export interface Groups {
  /** Of what lies in none of the networks: 0. */
  ofPrefix(prefix: Cidr): number;
  ofNetwork(name: string): number;
  /** Pairs of different groups that talk; each in both directions. */
  readonly talks: readonly (readonly [from: number, to: number])[];
}

const ALL_OPEN: Groups = { ofPrefix: () => 0, ofNetwork: () => 0, talks: [] };

/** The same for each attachment of each pass, as the gates of isolation.ts. */
const cache = new WeakMap<readonly NetworkRules[], Groups>();

export function groupsOf({ networks }: Assignment): Groups {
  if (networks === undefined) return ALL_OPEN;
  const known = cache.get(networks) ?? makeGroups(networks);
  cache.set(networks, known);
  return known;
}

function makeGroups(networks: readonly NetworkRules[]): Groups {
  const restricted = networks.filter(({ isolation }) => isolation !== undefined);
  // The empty set first: it is group 0, whatever else there is.
  const members = new Map<string, NetworkRules | undefined>([["", undefined]]);
  const groupOfName = new Map<string, number>();
  for (const network of networks) {
    const friends = restricted.filter((other) => mayTalk(network, other)).map(({ name }) => name);
    const key = network.isolation === undefined ? friends.sort().join() : `= ${network.name}`;
    if (members.get(key) === undefined) members.set(key, network);
    groupOfName.set(network.name, [...members.keys()].indexOf(key));
  }
  const representatives = [...members.values()];
  const talks = representatives.flatMap((a, from) =>
    representatives.flatMap((b, to) => (a && b && from !== to && mayTalk(a, b) ? [[from, to] as const] : [])),
  );
  const ofNetwork = (name: string) => groupOfName.get(name) ?? 0;
  const groups = networks.flatMap(({ name, prefixes }) => prefixes.map((prefix) => [prefix, ofNetwork(name)] as const));
  const byPrefix = new PrefixIndex(groups);
  const isSimple = groups.every(([, group]) => group === 0);
  return { ofPrefix: (prefix) => (isSimple ? 0 : (byPrefix.find(prefix) ?? 0)), ofNetwork, talks };
}
