/**
 * Which way a packet takes out of a simulated namespace: policy rules first, then the main table; longest prefix, then
 * lowest metric. The kernel's own routes (connected prefixes) are made from the addresses.
 */
import { MAIN_TABLE, type Route } from "../../src/core/host/host-state.ts";
import type { FakeNamespace } from "../../src/io/kernel/fake-kernel-namespace.ts";
import { addressOf, contains, familyOf, type Ip, lengthOf, networkOf } from "../../src/model/ip.ts";

/** @param src chosen already; absent while a local program has not bound an address */
export function lookUpRoute(namespace: FakeNamespace, dst: Ip, src: Ip | undefined): Route | undefined {
  const rules = [...namespace.rules.values()].sort((a, b) => a.priority - b.priority);
  for (const rule of rules) {
    if (src === undefined || !contains(rule.src, src)) continue;
    const found = inTable(namespace, rule.table, dst);
    if (found !== undefined) return found;
  }
  return inTable(namespace, MAIN_TABLE, dst);
}

function inTable(namespace: FakeNamespace, table: number, dst: Ip): Route | undefined {
  const routes = [...namespace.routes.values(), ...namespace.foreignRoutes].filter((route) => route.table === table);
  const candidates = [...routes, ...(table === MAIN_TABLE ? connected(namespace) : [])].filter(
    ({ dst: prefix }) => familyOf(prefix) === familyOf(dst) && contains(prefix, dst),
  );
  return candidates.sort((a, b) => lengthOf(b.dst) - lengthOf(a.dst) || a.metric - b.metric)[0];
}

function connected(namespace: FakeNamespace): Route[] {
  return namespace.addresses
    .filter(({ dev }) => namespace.links.get(dev)?.link.up === true)
    .map(({ dev, address }) => ({
      dst: networkOf(address),
      table: MAIN_TABLE,
      metric: familyOf(address) === 4 ? 0 : 256,
      type: "unicast",
      dev,
      src: addressOf(address),
    }));
}
