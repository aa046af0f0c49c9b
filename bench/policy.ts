/**
 * What isolation costs a packet that may pass: requests a second between two containers of one network on two hosts, with
 * 250 networks that allow four others each (1,000 rules), against the same 250 networks that are all open.
 */
import type { AgentOverlay } from "../src/model/cluster.ts";
import { cidr, nthSubnet } from "../src/model/ip.ts";
import type { NetworkRules } from "../src/model/isolation.ts";
import { alternate, bench, median } from "./figures.ts";
import { requestRate } from "./request-rate.ts";
import { CONTAINER, openTwoHosts, wireByWeft } from "./two-hosts.ts";

const NETWORKS = 250;
const ALLOWED = 4;
const SLICE = 27;

await bench("policy", async ({ quick, figure }) => {
  const [closed, open] = [openTwoHosts("closed"), openTwoHosts("open")];
  const networks = networksOf();
  const overlaySubnets = networks.flatMap(({ prefixes }) => prefixes);
  await wireByWeft(closed, (host) => ({ overlaySubnets, networks, overlays: sharesOf(networks, host) }));
  await wireByWeft(open, (host) => ({ overlaySubnets, overlays: sharesOf(networks, host) }));
  const seconds = quick ? 1 : 2;
  const rr = await alternate(
    quick ? 5 : 15,
    () => requestRate(closed.containers, CONTAINER[1], seconds),
    () => requestRate(open.containers, CONTAINER[1], seconds),
  );
  figure({ figure: "rr.1000", unit: "1/s", ours: median(rr.ours), peer: median(rr.peer), target: "ratio>=0.97" });
});

/** A slice of each of the others, as every agent has. */
function sharesOf(networks: readonly NetworkRules[], host: number): readonly AgentOverlay[] {
  return networks.slice(1).flatMap(({ name, prefixes: [subnet] }) => {
    if (subnet === undefined) return [];
    return [{ info: { name, subnet, prefix: SLICE, enabled: true }, subnet: nthSubnet(subnet, SLICE, BigInt(host)) }];
  });
}

/** The containers' own network first; each allows the next four. */
function networksOf(): readonly NetworkRules[] {
  const nameOf = (i: number): string => (i % NETWORKS === 0 ? "dcos" : `net${i % NETWORKS}`);
  return Array.from({ length: NETWORKS }, (_, i) => ({
    name: nameOf(i),
    prefixes: [i === 0 ? cidr("9.0.0.0/8") : cidr(`172.${16 + (i >> 6)}.${(i & 63) * 4}.0/22`)],
    isolation: { allow: Array.from({ length: ALLOWED }, (_, n) => nameOf(i + 1 + n)) },
  }));
}
