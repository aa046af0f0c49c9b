/**
 * Who may not share addresses: overlays with each other (spec: overlay §1.4 B11), with the VTEP pools, with nodes named in
 * the same file, with Calico (A14), and all of them with ranges that are never routed. The original checked only the
 * first and Calico; any other overlap takes packets away from whoever had the addresses before.
 */
import { type Cidr, cidr, contains, type Ip, overlaps } from "../../model/ip.ts";
import type { Problems } from "./problems.ts";

/** A prefix and where the file says it. */
export interface Claim {
  readonly path: string;
  readonly prefix: Cidr;
  readonly kind: "vtep" | "overlay";
}

export interface Placed {
  readonly path: string;
  readonly ip: Ip;
}

/** IANA special-purpose registries: "this network", loopback, link-local, multicast and reserved space. */
const UNROUTABLE: readonly (readonly [Cidr, string])[] = [
  [cidr("0.0.0.0/8"), "this network"],
  [cidr("127.0.0.0/8"), "loopback"],
  [cidr("169.254.0.0/16"), "link-local"],
  [cidr("224.0.0.0/3"), "multicast and reserved"],
  [cidr("::/127"), "loopback"],
  [cidr("::ffff:0:0/96"), "IPv4-mapped"],
  [cidr("fe80::/10"), "link-local"],
  [cidr("ff00::/8"), "multicast"],
];

/** @param claims in the order of the file: of two that overlap, the later one is the problem */
export function checkAddressSpace(
  claims: readonly Claim[],
  nodes: readonly Placed[],
  calico: Cidr | undefined,
  problems: Problems,
): void {
  claims.forEach((claim, i) => {
    const unroutable = UNROUTABLE.find(([prefix]) => overlaps(prefix, claim.prefix));
    if (unroutable !== undefined)
      problems.add(
        claim.path,
        `${claim.prefix} overlaps ${unroutable[0]} (${unroutable[1]})`,
        "give a private network such as 9.0.0.0/8 or fd01:b::/64",
      );
    for (const earlier of claims.slice(0, i))
      if (overlaps(earlier.prefix, claim.prefix))
        problems.add(
          claim.path,
          `${claim.prefix} overlaps ${earlier.prefix} of ${earlier.path}`,
          "give a network with addresses of its own",
        );
    const node = nodes.find(({ ip }) => contains(claim.prefix, ip));
    if (node !== undefined)
      problems.add(
        claim.path,
        `${claim.prefix} overlaps the underlay: it covers ${node.ip} of ${node.path}`,
        "give a network that no node is in",
      );
    if (calico !== undefined && claim.kind === "overlay" && overlaps(calico, claim.prefix))
      problems.add(
        claim.path,
        `${claim.prefix} overlaps ${calico} of calico_network_cidr`,
        "give a network that Calico does not use",
      );
  });
}
