/**
 * Networks that are alike in whom they talk to, as numbers: what the datapath compares instead of prefixes.
 *
 * Networks of one group talk to each other, so that a packet within one is not looked up. A restricted network is a group
 * of its own; open ones are one for each set of restricted networks that let them in. All open ones are group 0 where
 * nothing is restricted.
 */
import { createHash } from "node:crypto";
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
  /** Two groups have one number, by chance: of 256 groups once in 100,000 clusters. */
  readonly isAmbiguous: boolean;
}

const ALL_OPEN: Groups = { ofPrefix: () => 0, ofNetwork: () => 0, talks: [], isAmbiguous: false };

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
  const members = new Map<string, NetworkRules>();
  const groupOfName = new Map<string, number>();
  for (const network of networks) {
    const friends = restricted.filter((other) => mayTalk(network, other)).map(({ name }) => name);
    const key = network.isolation === undefined ? friends.sort().join() : `= ${network.name}`;
    if (!members.has(key)) members.set(key, network);
    groupOfName.set(network.name, numberOf(key));
  }
  const numbered = [...members].map(([key, network]) => [numberOf(key), network] as const);
  const talks = numbered.flatMap(([from, a]) =>
    numbered.flatMap(([to, b]) => (from !== to && mayTalk(a, b) ? [[from, to] as const] : [])),
  );
  const ofNetwork = (name: string) => groupOfName.get(name) ?? 0;
  const groups = networks.flatMap(({ name, prefixes }) => prefixes.map((prefix) => [prefix, ofNetwork(name)] as const));
  const byPrefix = new PrefixIndex(groups);
  const isSimple = groups.every(([, group]) => group === 0);
  return {
    ofPrefix: (prefix) => (isSimple ? 0 : (byPrefix.find(prefix) ?? 0)),
    ofNetwork,
    talks,
    isAmbiguous: new Set(numbered.map(([number]) => number)).size < members.size,
  };
}

/**
 * The same for the same words for ever: what was written while the networks were others must never let anybody through
 * that it was not meant for. 32 bits of a digest; 0 for open networks that nobody restricted lets in.
 */
function numberOf(key: string): number {
  return key === "" ? 0 : createHash("sha256").update(key).digest().readUInt32LE(0);
}
