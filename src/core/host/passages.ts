/**
 * Rules of ours in chains that belong to another firewall: how such a chain is read, and what has to be written.
 *
 * Whoever owns the chain empties it, restores it from a file or puts rules before ours whenever he likes; so ours are
 * compared as a whole, with their place, and written as a whole.
 */
import { formatRule } from "./format.ts";
import type { HostState, KernelOp, NftChain, NftRule, Passage } from "./host-state.ts";
import { ownsNftRule } from "./ownership.ts";

/** The table that iptables keeps in nftables, for either family. */
export const FILTER_TABLE = "filter";
/** The chains that may hold rules of ours. */
export const PASSAGE_CHAINS = ["DOCKER-USER", "FORWARD"] as const;
/** Where one of these is, Docker decides what is forwarded; 20.10 has no DOCKER-USER for IPv6. */
const DOCKER_CHAINS = ["DOCKER-USER", "DOCKER"];

/** @param chains all of the family's FILTER_TABLE; of others than PASSAGE_CHAINS the rules do not matter */
export function observedPassages(family: Passage["family"], chains: readonly NftChain[]): Passage[] {
  const rulesOf = (name: Passage["chain"]) => chains.find((chain) => chain.name === name)?.rules;
  const forward = rulesOf("FORWARD");
  const forUsers = rulesOf("DOCKER-USER");
  if (forward === undefined) return [];
  const isAsked = chains.some(({ name }) => DOCKER_CHAINS.includes(name));
  const whole: Passage = { family, chain: "FORWARD", rules: upToOurs(forward), isAsked };
  if (forUsers === undefined) return [whole];
  return [whole, { family, chain: "DOCKER-USER", rules: upToOurs(forUsers), isAsked: forward.some(leadsToUsers) }];
}

export function diffPassages(observed: HostState["passages"], desired: HostState["passages"]): KernelOp[] {
  const unwanted = observed.filter((there) => !desired.some((want) => isSameChain(there, want)));
  const wanted = [...desired, ...unwanted.map(({ family, chain }) => ({ family, chain, rules: [] }))];
  return wanted
    .filter((want) => textOf(observed.find((there) => isSameChain(there, want))) !== textOf(want))
    .map((passage): KernelOp => ({ op: "nft.passage.replace", passage }));
}

function upToOurs(rules: readonly NftRule[]): readonly NftRule[] {
  return rules.slice(0, rules.findLastIndex(ownsNftRule) + 1);
}

/** The rule that Docker writes: a jump without a condition. */
function leadsToUsers(rule: NftRule): boolean {
  const [only, more] = rule.filter(({ kind }) => kind !== "counter" && kind !== "comment");
  return more === undefined && only?.kind === "jump" && only.chain === "DOCKER-USER";
}

function isSameChain(a: Passage, b: Passage): boolean {
  return a.family === b.family && a.chain === b.chain;
}

function textOf(passage: Passage | undefined): string {
  return (passage?.rules ?? []).map(formatRule).join("\n");
}
