/**
 * What is ours to delete. Everything else is other people's and is never deleted, whatever the desired state says.
 *
 * A link is ours by its alias, a rule in another firewall's chain by its comment. What hangs on a link is ours when the link is; routes and rules carry ROUTE_PROTOCOL and
 * tables OWNER, and are not even observed without them. A route over a device of somebody else's is left alone unless
 * the desired state speaks of that device: inside a container, one attachment must not clear the routes of another, nor
 * the rules that lead to another's table.
 */
import { isInterfaceTable, OWNER } from "../../model/names.ts";
import type { HostState, Link, NftRule, Route, Rule } from "./host-state.ts";

export function ownsLink(link: Link): boolean {
  return (link.alias ?? "").startsWith(OWNER);
}

/** For chains that are not ours. */
export function ownsNftRule(rule: NftRule): boolean {
  return rule.some((part) => part.kind === "comment" && part.text === OWNER);
}

export interface Ownership {
  /** Addresses, neighbours, FDB entries and shapers on the device. */
  onDevice(dev: string): boolean;
  route(route: Route): boolean;
  rule(rule: Rule): boolean;
}

/**
 * A link that is desired with our alias counts as ours from the start: one without alias but with the right kind and
 * attributes is taken over.
 * @param blocked names desired with our alias that somebody else's device holds; that one is not taken over
 */
export function ownership(observed: HostState, desired: HostState, blocked: ReadonlySet<string>): Ownership {
  const named = [...observed.links, ...desired.links].filter(ownsLink).map((link) => link.name);
  const ours = new Set(named.filter((name) => !blocked.has(name)));
  const spokenOf = new Set(desired.links.map((link) => link.name));
  const tables = new Set(desired.rules.map(({ table }) => table));
  return {
    onDevice: (dev) => ours.has(dev),
    route: ({ dev }) => dev === undefined || ours.has(dev) || (spokenOf.has(dev) && !blocked.has(dev)),
    rule: ({ table }) => !isInterfaceTable(table) || tables.has(table),
  };
}
