/**
 * Which networks may talk to each other, and what of a network may leave the cluster (docs/decisions/0032).
 *
 * Two networks talk when each lets the other in; a network that says nothing is open and lets all in. So one side alone
 * can close, none alone can open, and the answer is the same in both directions.
 */
import type { Cidr } from "./ip.ts";

/** `closed`: nobody but itself and the outside. */
export type Isolation = "closed" | { readonly allow: readonly string[] };

/**
 * How containers reach what is outside of all networks. `routed`: with their own addresses. `none`: not at all, nor are
 * they reached from there.
 */
export type Egress = "routed" | "none";

/** A network as far as agents must know it that have no share of it. */
export interface NetworkRules {
  readonly name: string;
  /** Its whole subnets, of both families. */
  readonly prefixes: readonly Cidr[];
  /** Absent: open. */
  readonly isolation?: Isolation;
  /** Absent: masquerade. */
  readonly egress?: Egress;
}

type Named = Pick<NetworkRules, "name" | "isolation">;

export function mayTalk(a: Named, b: Named): boolean {
  return a.name === b.name || (letsIn(a, b) && letsIn(b, a));
}

function letsIn({ isolation }: Named, { name }: Named): boolean {
  return isolation === undefined || (isolation !== "closed" && isolation.allow.includes(name));
}
