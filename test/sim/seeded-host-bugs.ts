/**
 * Plausible bugs of what whole hosts stand on: which words are believed, what is programmed for peers, who has which
 * address. As in seeded-bugs.ts; each run has kernels.
 */
import type { SeededBug } from "./seeded-bugs.ts";

const DIRECTORY = "src/core/trust/directory.ts";
const STANDING = "src/model/trust/standing.ts";

const BUGS: readonly Omit<SeededBug, "kernels">[] = [
  {
    name: "an assignment that nobody signed is believed",
    by: "H6",
    file: "src/model/trust/assignment-statement.ts",
    find: 'if (!verify(clusterKey, signedBytes("weft assignment v1", json), signature)) return undefined;',
    replace: "",
    seed: 1,
  },
  {
    name: "another agent's assignment is believed of who republishes it",
    by: "H8",
    file: DIRECTORY,
    find: 'if (memberIdOf(publicKey) !== memberId) return "not-its-own";',
    replace: "",
    seed: 9,
  },
  {
    name: "an older epoch with a higher revision counts as newer",
    by: "H1",
    file: STANDING,
    find: "return a.epoch === b.epoch ? a.revision > b.revision : a.epoch > b.epoch;",
    replace: "return a.revision > b.revision;",
    seed: 6,
    scenario: "hosts-let-in-again",
  },
  {
    name: "an older assignment replaces a newer one",
    by: "H6",
    file: STANDING,
    find: "return a.epoch === b.epoch ? a.revision > b.revision : a.epoch > b.epoch;",
    replace: "return false;",
    seed: 1,
    scenario: "hosts-stale",
  },
  {
    name: "the epoch floor is ignored",
    by: "I9",
    file: STANDING,
    find: "if (named.epoch < floor) return true;",
    replace: "",
    seed: 1,
    scenario: "hosts-floor",
  },
  {
    name: "a removed agent's old credential lets it in again",
    by: "I9",
    file: DIRECTORY,
    find: "if (isRefused({ agentId, memberId, epoch }, this.#refusals())) return undefined;",
    replace: "",
    seed: 3,
  },
  {
    name: "a removal does not end what was believed before",
    by: "I9",
    file: DIRECTORY,
    find: "this.#removals.set(removal.memberId, removal);\n    return this.#sweep();",
    replace: "this.#removals.set(removal.memberId, removal);\n    return [];",
    seed: 1,
  },
  {
    name: "a removal is believed of anybody",
    by: "H8",
    file: "src/model/trust/removal.ts",
    find: 'if (!verify(clusterKey, signedBytes("weft removal v1", payload), signature)) return undefined;',
    replace: "",
    seed: 9,
  },
  {
    name: "an epoch floor is believed of anybody",
    by: "H8",
    file: "src/model/trust/removal.ts",
    find: 'return verify(clusterKey, signedBytes("weft epoch floor v1", payload), signature) ? floor : undefined;',
    replace: "return floor;",
    seed: 4,
  },
  {
    name: "a removed peer is not told to be gone",
    by: "H1",
    file: DIRECTORY,
    find: 'return statement.peer.id === this.#ownAgentId ? [] : [{ type: "gone", id: statement.peer.id }];',
    replace: "return [];",
    seed: 3,
  },
  {
    name: "a bad word makes a host forget the good one before it",
    by: "H8",
    file: DIRECTORY,
    find: "if (why !== undefined) this.disbelief[why] += 1;\n    return [];",
    replace: "if (why !== undefined) this.disbelief[why] += 1;\n    return this.#forget(memberId);",
    seed: 4,
  },
  {
    name: "the own assignment is programmed as a peer's",
    by: "H6",
    file: DIRECTORY,
    find: "if (isSame || peer.id === this.#ownAgentId) return changes;",
    replace: "if (isSame) return changes;",
    seed: 1,
  },
  {
    name: "peers are pruned before all can be known",
    by: "H8",
    file: "src/core/overlay/desired.ts",
    find: "input.otherPeersStay === true ? withOthers(known, observedPeerEntries(input.observed, context)) : known;",
    replace: "known;",
    seed: 1,
  },
  {
    name: "a peer that moved keeps its old FDB entry",
    by: "H5",
    file: "src/core/host/diff.ts",
    find: "(a, b) => a.dst === b.dst);",
    replace: "() => true);",
    seed: 7,
  },
  {
    name: "the map of nodes is not changed with a peer",
    by: "H7",
    file: "src/core/overlay/desired.ts",
    find: '{ family: "netdev", maps: nodeMaps(entries, context) } as const,',
    replace: "",
    seed: 3,
  },
  {
    name: "neighbours of peers that are gone stay",
    by: "H5",
    file: "src/core/host/diff.ts",
    find: "...neighbors.extra\n",
    replace: "...neighbors.extra.slice(0, 0)\n",
    seed: 1,
  },
  {
    name: "an address is given to two agents",
    by: "H4",
    file: "src/core/ipam/interval-set.ts",
    find: "if (lowest !== undefined) this.remove(lowest);",
    replace: "",
    seed: 1,
  },
];

export const HOST_BUGS: readonly SeededBug[] = BUGS.map((bug) => ({ ...bug, kernels: true }));
