/**
 * What becomes of a packet by the prefix that its address is in: few prefixes are compared one by one, many are keys of
 * maps, one for each length that they have. A hash lookup of masked addresses costs about as much as a few compares, and
 * a fraction of a set of intervals.
 */
import { addressOf, type Cidr, type Family, lengthOf } from "../../model/ip.ts";
import { PREFIXES_COMPARED_MAX } from "../../model/limits.ts";
import type { NftMap, NftRule, NftStatement, NftVerdict } from "../host/host-state.ts";

export type Side = "saddr" | "daddr";

/** Rules, and the maps that they ask. */
export interface Choice {
  readonly rules: readonly NftRule[];
  readonly maps: readonly NftMap[];
}

/**
 * Prefixes do not overlap, so their order means nothing.
 * @param decided prefixes that an earlier rule took; a map that others ask too has them all the same
 */
export function choose(
  name: string,
  family: Family,
  side: Side,
  entries: readonly (readonly [prefix: Cidr, verdict: NftVerdict])[],
  decided: ReadonlySet<Cidr> = new Set(),
): Choice {
  if (!areMany(entries)) {
    const open = entries.filter(([prefix]) => !decided.has(prefix));
    const rules = open.map(([prefix, verdict]): NftRule => [match(family, side, prefix), statementOf(verdict)]);
    return { rules, maps: [] };
  }
  const lengths = [...Map.groupBy(entries, ([prefix]) => lengthOf(prefix))].sort(([a], [b]) => a - b);
  const maps = lengths.map(
    ([length, each]): NftMap => ({
      name: `${name}${family}-${length}`,
      type: family === 4 ? "ipv4_addr : verdict" : "ipv6_addr : verdict",
      elements: each.map(([prefix, verdict]) => [addressOf(prefix), verdict] as const),
    }),
  );
  const rules = lengths.map(([length], i): NftRule => {
    const map = maps[i]?.name ?? "";
    return [{ kind: "vmap", field: fieldOf(family, side), length, map }];
  });
  return { rules, maps };
}

/** More than are compared one by one. */
export function areMany(prefixes: readonly unknown[]): boolean {
  return prefixes.length > PREFIXES_COMPARED_MAX;
}

function statementOf(verdict: NftVerdict): NftStatement {
  return verdict === "accept" || verdict === "drop"
    ? { kind: verdict }
    : { kind: "jump", chain: verdict.slice("jump ".length) };
}

export function match(family: Family, side: Side, prefix: Cidr): NftStatement {
  return { kind: "match", field: fieldOf(family, side), op: "==", prefix };
}

function fieldOf(family: Family, side: Side) {
  return family === 4 ? (`ip ${side}` as const) : (`ip6 ${side}` as const);
}
