/**
 * Cuts an overlay's space into agent subnets (spec: overlay §2.3). The first and the last slice are used, and IPv6 carries
 * where the original did not (spec: overlay §6.1 #1).
 */
import { addressBits, type Cidr, familyOf, nthSubnet, subnetCount } from "../../model/ip.ts";
import { Pool } from "./pool.ts";

/** The agent subnets, each of `length`, of one family of one overlay. */
export function subnetPool(network: string, space: Cidr, length: number): Pool<Cidr> {
  return new Pool({
    kind: familyOf(space) === 4 ? "subnet" : "subnet6",
    network,
    space,
    length,
    stepBits: addressBits(familyOf(space)) - length,
    first: 0n,
    last: subnetCount(space, length) - 1n,
    itemAt: (index) => nthSubnet(space, length, index),
  });
}
