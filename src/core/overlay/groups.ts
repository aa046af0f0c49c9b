/**
 * Networks that are alike in whom they talk to, as numbers: what the datapath compares instead of prefixes.
 *
 * Networks of one group talk to each other, so that a packet within one is not looked up. A restricted network is a group
 * of its own; open ones are one for each set of restricted networks that let them in. All open ones are group 0 where
 * nothing is restricted.
 */
import type { Assignment } from "../../model/cluster.ts";
import { addressOf, type Cidr, lengthOf, networkOf, withLength } from "../../model/ip.ts";
import { mayTalk, type NetworkRules } from "../../model/isolation.ts";

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
  return { ofPrefix: prefixIndex(networks, ofNetwork), ofNetwork, talks };
}

/** By the lengths that networks have, of which there are few: there may be 10,000 prefixes and 256 networks. */
function prefixIndex(networks: readonly NetworkRules[], ofNetwork: (name: string) => number): Groups["ofPrefix"] {
  const byPrefix = new Map(networks.flatMap(({ name, prefixes }) => prefixes.map((prefix) => [prefix, name] as const)));
  const lengths = [...new Set([...byPrefix.keys()].map(lengthOf))].sort((a, b) => b - a);
  const isSimple = networks.every((network) => ofNetwork(network.name) === 0);
  return (prefix) => {
    if (isSimple) return 0;
    for (const length of lengths) {
      if (length > lengthOf(prefix)) continue;
      const name = byPrefix.get(networkOf(withLength(addressOf(prefix), length)));
      if (name !== undefined) return ofNetwork(name);
    }
    return 0;
  };
}
