/**
 * Policies between groups of containers, as nftables: in the hook `forward` of the sender's and of the receiver's host,
 * the same rules at both (docs/decisions/0033).
 *
 * One lookup by the destination tells whether a packet is for somebody who is guarded at all. Connections of guarded
 * containers are tracked, for one thing alone: to know answers to what they began themselves. Whether a packet in the
 * other direction may pass is asked for each, so that a rule that closes cuts what is open.
 */
import { createHash } from "node:crypto";
import { addressBits, contains, type Family, familyOf, type Ip } from "../../model/ip.ts";
import { type Policy, type PolicyMember, type PolicyPorts, selects } from "../../model/policy.ts";
import type { NftChain, NftMap, NftRule, NftStatement, NftTable, NftValue, NftVerdict } from "../host/host-state.ts";
import { type OverlayContext, overlayPrefixes, ownPrefixes } from "./context.ts";
import { type Choice, choose, type Side } from "./prefix-rules.ts";

/** After isolation (isolation.ts), which is asked first only because it costs less. */
const PRIORITY = 1;
const STRANGER = "stranger";
const BASE = "policy";
const GUARDED = "guarded";
/** The map of all containers that a policy guards. */
export const TRACKED = "tracked";
const HASH_LENGTH = 12;

const accept: NftStatement = { kind: "accept" };

/** Policies that guard the same containers. */
interface Guard {
  readonly policies: readonly Policy[];
  readonly addresses: readonly Ip[];
}

interface Gates {
  readonly chains: readonly NftChain[];
  readonly maps: readonly NftMap[];
}

/**
 * For the table of one family; nothing without policies.
 * @param there what the kernel has: of other hosts' containers it stays as long as not all have told who is where
 */
export function policyGates(context: OverlayContext, family: Family, there: readonly NftTable[] = []): Gates {
  const { policies = [] } = context.assignment;
  if (policies.length === 0) return { chains: [], maps: [] };
  const made = madeGates(context, family, policies, context.members ?? []);
  const observed = there.find((table) => table.family === (family === 4 ? "ip" : "ip6"));
  if (context.otherMembersStay !== true || observed === undefined) return made;
  return { ...made, maps: made.maps.map((map) => withOthers(map, made, observed, context)) };
}

/** Of this host's own containers all is known; what leads to a chain that is not needed any more is of no use. */
function withOthers(map: NftMap, { chains }: Gates, observed: NftTable, context: OverlayContext): NftMap {
  const own = context.assignment.agent.overlays.flatMap(({ info }) => ownPrefixes(context, info.name));
  const known = new Set(map.elements.map(([key]) => key));
  const verdicts = new Set<NftValue>(["accept", ...chains.map(({ name }) => `jump ${name}` as const)]);
  const isElse = (address: Ip): boolean =>
    !own.some((prefix) => familyOf(prefix) === familyOf(address) && contains(prefix, address));
  const others = (observed.maps.find(({ name }) => name === map.name)?.elements ?? []).filter(
    ([key, verdict]) => !known.has(key) && verdicts.has(verdict) && isElse(key as Ip),
  );
  return map.name.startsWith(STRANGER) ? map : { ...map, elements: [...map.elements, ...others] };
}

function madeGates(
  context: OverlayContext,
  family: Family,
  policies: readonly Policy[],
  members: readonly PolicyMember[],
): Gates {
  const guards = guardsOf(context, family);
  const strangers = choose(
    STRANGER,
    family,
    "saddr",
    overlayPrefixes(context, family).map((prefix) => [prefix, "drop"]),
  );
  const chains = guards.map((guard): NftChain => {
    return { name: chainName(guard, family), rules: guardRules(guard, family, strangers) };
  });
  const base: NftChain = {
    name: BASE,
    hook: { type: "filter", hook: "forward", priority: PRIORITY, policy: "accept" },
    rules: [[lookup(family, "daddr", GUARDED)]],
  };
  const byAddress = (verdict: (guard: Guard) => NftVerdict) =>
    guards.flatMap((guard) => guard.addresses.map((address) => [address, verdict(guard)] as const));
  return {
    chains: [base, ...chains],
    maps: [
      mapOf(
        GUARDED,
        family,
        byAddress((guard) => `jump ${chainName(guard, family)}`),
      ),
      mapOf(
        TRACKED,
        family,
        byAddress(() => "accept"),
      ),
      ...policies.map((policy) => mapOf(fromMap(policy), family, sendersOf(policy, members, family))),
      ...strangers.maps,
    ],
  };
}

/** For what decides about connection tracking: what guarded containers send and get is tracked. */
export function trackedRules(context: OverlayContext, family: Family): readonly NftRule[] {
  if ((context.assignment.policies ?? []).length === 0) return [];
  return (["daddr", "saddr"] as const).map((side): NftRule => [lookup(family, side, TRACKED)]);
}

function guardRules({ policies }: Guard, family: Family, strangers: Choice): readonly NftRule[] {
  const allowed = policies.flatMap((policy): NftRule[] => {
    const from = lookup(family, "saddr", fromMap(policy));
    return policy.ports.length === 0 ? [[from]] : policy.ports.map((ports) => [range(ports), from]);
  });
  return [[{ kind: "ct direction reply" }, accept], ...allowed, ...strangers.rules];
}

/** Containers of one family that policies select, with which: each set of policies once. */
function guardsOf({ assignment, members = [] }: OverlayContext, family: Family): readonly Guard[] {
  const { policies = [] } = assignment;
  const guards = new Map<string, { policies: readonly Policy[]; addresses: Ip[] }>();
  const seen = new Set<Ip>();
  for (const member of members) {
    const selecting = policies.filter((policy) => selects(policy.to, policy, member));
    if (selecting.length === 0) continue;
    const key = selecting.map(({ name }) => name).join();
    const guard = guards.get(key) ?? { policies: selecting, addresses: [] };
    guards.set(key, guard);
    // Of two that claim an address the first has it; both are somebody's word.
    for (const address of addressesIn(member, family))
      if (!seen.has(address)) {
        seen.add(address);
        guard.addresses.push(address);
      }
  }
  return [...guards.values()].filter(({ addresses }) => addresses.length > 0);
}

function sendersOf(policy: Policy, members: readonly PolicyMember[], family: Family) {
  const senders = members.filter((member) => selects(policy.from, policy, member));
  const addresses = new Set(senders.flatMap((member) => addressesIn(member, family)));
  return [...addresses].map((address) => [address, "accept"] as const);
}

function addressesIn({ addresses }: PolicyMember, family: Family): readonly Ip[] {
  return addresses.filter((address) => familyOf(address) === family);
}

function fromMap({ name }: Policy): string {
  return `policy-${name}`;
}

/** Names of many policies are longer than the kernel's names may be. */
function chainName({ policies }: Guard, family: Family): string {
  const names = policies.map(({ name }) => name).join();
  return `guard${family}-${createHash("sha256").update(names).digest("hex").slice(0, HASH_LENGTH)}`;
}

function mapOf(name: string, family: Family, elements: NftMap["elements"]): NftMap {
  return { name, type: family === 4 ? "ipv4_addr : verdict" : "ipv6_addr : verdict", elements };
}

function lookup(family: Family, side: Side, map: string): NftStatement {
  return { kind: "vmap", field: family === 4 ? `ip ${side}` : `ip6 ${side}`, length: addressBits(family), map };
}

function range({ protocol, first, last }: PolicyPorts): NftStatement {
  return { kind: "range", field: `${protocol} dport`, first, last };
}
