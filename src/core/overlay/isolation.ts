/**
 * Which networks talk, and what of them may leave, as nftables: at each veth's ingress what its container sends, and in
 * the hook `forward` what comes to a container from wherever (docs/decisions/0032). Each end refuses by itself.
 *
 * A packet that stays in its network meets one compare at either end. Only another is looked up: few prefixes are
 * compared one by one, many are keys of a map, one for each length that they have, because a hash lookup of masked
 * addresses costs a fraction of a set of intervals. Nothing here knows connections: a rule that closes, closes at once.
 *
 * Where all networks are open there is nothing of this at all.
 */
import type { Assignment } from "../../model/cluster.ts";
import { type Cidr, type Family, familyOf } from "../../model/ip.ts";
import { mayTalk, type NetworkRules } from "../../model/isolation.ts";
import type { NftChain, NftMap, NftRule, NftStatement, NftVerdict } from "../host/host-state.ts";
import { type OverlayContext, ownPrefixes, servedFamilies, vtepPrefixes } from "./context.ts";
import { type Choice, choose, match, type Side } from "./prefix-rules.ts";

/** One network of this host whose packets are looked at. */
interface Gate {
  readonly network: NetworkRules;
  /** Others that it talks to, as far as `isRefused` would hit them. */
  readonly exceptions: readonly NetworkRules[];
  /** Whom it does not talk to, but for the exceptions: all others, or those that are not open; nobody. */
  readonly refuses: "networks" | "restricted" | undefined;
}

const FORWARD = "forward";
const FILTER_PRIORITY = 0;
const nothing: Choice = { rules: [], maps: [] };
const accept: NftStatement = { kind: "accept" };
const drop: NftStatement = { kind: "drop" };
const jump = (chain: string): NftStatement => ({ kind: "jump", chain });

// ---- at the veths' ingress ---------------------------------------------------------------------------------------

/** The chain that a packet of this network with a leased source goes on to. */
export function leasedChainOf(network: string, family: Family, context: OverlayContext): string {
  const gate = gatesOf(context).find((each) => each.network.name === network);
  return gate === undefined ? leasedChainName(family) : `${leasedChainName(family)}-${network}`;
}

export function leasedChainName(family: Family): string {
  return `leased${family}`;
}

/** For the table at ingress. `leased4` and its like must be there. */
export function senderGates(context: OverlayContext): { chains: readonly NftChain[]; maps: readonly NftMap[] } {
  const gates = gatesOf(context);
  const parts = servedFamilies(context).flatMap((family) =>
    gates.map((gate) => {
      const on = jump(leasedChainName(family));
      const { rules, maps } = passing(gate, family, "daddr", on, context);
      return { chain: { name: `${leasedChainName(family)}-${gate.network.name}`, rules }, maps };
    }),
  );
  return gathered(parts);
}

// ---- at the other end --------------------------------------------------------------------------------------------

/** For the table of one family: what comes to this host's containers from elsewhere than the host itself. */
export function receiverGates(
  context: OverlayContext,
  family: Family,
): { chains: readonly NftChain[]; maps: readonly NftMap[] } {
  const isHere = ({ network }: Gate): boolean => ofFamily(network.prefixes, family).length > 0;
  const gates = gatesOf(context).filter(isHere);
  const entries = gates.flatMap(({ network: { name } }) =>
    ofFamily(ownPrefixes(context, name), family).map((prefix) => [prefix, `jump ${toChain(name, family)}`] as const),
  );
  if (entries.length === 0) return { chains: [], maps: [] };
  const which = choose("to", family, "daddr", entries);
  const parts = gates.map((gate) => {
    const { rules, maps } = passing(gate, family, "saddr", accept, context);
    return { chain: { name: toChain(gate.network.name, family), rules }, maps };
  });
  const forward: NftChain = {
    name: FORWARD,
    hook: { type: "filter", hook: "forward", priority: FILTER_PRIORITY, policy: "accept" },
    // What goes to other hosts is looked at there, and was looked at when it was sent.
    rules: [[{ kind: "oifname", device: context.assignment.agent.backend.vtepName }, accept], ...which.rules],
  };
  const { chains, maps } = gathered(parts);
  return { chains: [forward, ...chains], maps: [...which.maps, ...maps] };
}

function toChain(network: string, family: Family): string {
  return `to${family}-${network}`;
}

// ---- both --------------------------------------------------------------------------------------------------------

/** The overlays' prefixes of one family whose packets leave with the host's address. */
export function masqueraded(context: OverlayContext, prefixes: readonly Cidr[]): readonly Cidr[] {
  const others = (context.assignment.networks ?? []).filter(({ egress }) => egress !== undefined);
  return prefixes.filter((prefix) => !others.some((network) => network.prefixes.includes(prefix)));
}

/**
 * The rules of one network, about the other side of its packets.
 * @param on what becomes of a packet that may pass
 */
function passing(gate: Gate, family: Family, side: Side, on: NftStatement, context: OverlayContext): Choice {
  const { network, exceptions, refuses } = gate;
  const all = context.assignment.networks ?? [];
  const verdict = on.kind === "jump" ? (`jump ${on.chain}` as const) : "accept";
  const entries = (networks: readonly NetworkRules[], what: NftVerdict) =>
    networks.flatMap(({ prefixes }) => ofFamily(prefixes, family).map((prefix) => [prefix, what] as const));
  const refused = refuses === "networks" ? all : refuses === "restricted" ? all.filter(isRestricted) : [];
  const decided = new Set([network, ...exceptions].flatMap(({ prefixes }) => prefixes));
  // A map whose name is not this network's is the same for all that ask it.
  const parts: Choice[] = [
    { rules: ofFamily(network.prefixes, family).map((prefix) => [match(family, side, prefix), on]), maps: [] },
    choose(`but-${network.name}`, family, side, entries(exceptions, verdict)),
    refuses === undefined ? nothing : choose(refuses, family, side, entries(refused, "drop"), decided),
    network.egress === "none" ? insideOnly(gate, family, side, on, context) : { rules: [[on]], maps: [] },
  ];
  return { rules: parts.flatMap(({ rules }) => rules), maps: parts.flatMap(({ maps }) => maps) };
}

/** What is left is inside the cluster, or it is dropped. Whom it does not talk to is out already. */
function insideOnly(gate: Gate, family: Family, side: Side, on: NftStatement, context: OverlayContext): Choice {
  const verdict = on.kind === "jump" ? (`jump ${on.chain}` as const) : "accept";
  const others = gate.refuses === "networks" ? [] : (context.assignment.networks ?? []);
  const entries = others.flatMap(({ prefixes }) =>
    ofFamily(prefixes, family).map((prefix) => [prefix, verdict] as const),
  );
  const { rules, maps } = choose("inside", family, side, entries, new Set(gate.network.prefixes));
  const nodes: readonly NftRule[] = vtepPrefixes(context, family).map((prefix) => [match(family, side, prefix), on]);
  return { rules: [...rules, ...nodes, [drop]], maps };
}

function ofFamily(prefixes: readonly Cidr[], family: Family): readonly Cidr[] {
  return prefixes.filter((prefix) => familyOf(prefix) === family);
}

/** A map that several chains ask is there once. */
function gathered(parts: readonly { readonly chain: NftChain; readonly maps: readonly NftMap[] }[]) {
  const maps = new Map(parts.flatMap((part) => part.maps).map((map) => [map.name, map]));
  return { chains: parts.map(({ chain }) => chain), maps: [...maps.values()] };
}

function isRestricted({ isolation }: NetworkRules): boolean {
  return isolation !== undefined;
}

/** The same for each attachment of each pass: by the assignment, because two may share their networks, or their agent. */
const cache = new WeakMap<Assignment, readonly Gate[]>();

/** Those of this host's networks that do not let everything through. */
function gatesOf({ assignment }: OverlayContext): readonly Gate[] {
  const { networks, agent } = assignment;
  if (networks === undefined) return [];
  const known = cache.get(assignment);
  if (known !== undefined) return known;
  const names = new Set(agent.overlays.map(({ info }) => info.name));
  const gates = networks
    .filter(({ name }) => names.has(name))
    .map((network) => gateOf(network, networks))
    .filter(({ network, refuses }) => refuses !== undefined || network.egress === "none");
  cache.set(assignment, gates);
  return gates;
}

function gateOf(network: NetworkRules, networks: readonly NetworkRules[]): Gate {
  const others = networks.filter(({ name }) => name !== network.name);
  const refused = others.filter((other) => !mayTalk(network, other));
  if (refused.length === 0) return { network, exceptions: [], refuses: undefined };
  const refuses = isRestricted(network) ? "networks" : "restricted";
  const within = refuses === "networks" ? others : others.filter(isRestricted);
  return { network, exceptions: within.filter((other) => mayTalk(network, other)), refuses };
}
