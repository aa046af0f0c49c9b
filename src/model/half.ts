/**
 * One half of an agent subnet (`m-NAME`: containers by CNI, `d-NAME`: containers by Docker) and the addresses that are
 * fixed in it. The first address is the network's, the second the gateway's; IPv4 keeps its last one as broadcast.
 * What remains is leased to containers (spec: overlay §2.3, "Capacity").
 */
import {
  addressCount,
  type Cidr,
  contains,
  familyOf,
  type Ip,
  indexOfAddress,
  lengthOf,
  nthAddress,
  nthSubnet,
} from "./ip.ts";

/** The lower half is for containers by CNI, the upper one for Docker, whichever of the two an agent asks for. */
export function halves(subnet: Cidr): { readonly mesos: Cidr; readonly docker: Cidr } {
  const length = lengthOf(subnet) + 1;
  return { mesos: nthSubnet(subnet, length, 0n), docker: nthSubnet(subnet, length, 1n) };
}

/** Where the containers of the half send what is not for themselves: `9.0.1.0/25` → `9.0.1.1`. */
export function gatewayOf(half: Cidr): Ip {
  return nthAddress(half, 1n);
}

/**
 * The addresses that containers may get, as indexes into the half (see `nthAddress`), both ends included.
 * `first > last` in a half too small for any; the validator of the configuration lets none such through.
 */
export function leaseRange(half: Cidr): { readonly first: bigint; readonly last: bigint } {
  const broadcasts = familyOf(half) === 4 ? 1n : 0n;
  return { first: 2n, last: addressCount(half) - 1n - broadcasts };
}

/** Whether the half leases the address to containers: not its network, gateway or broadcast address. */
export function isLeasable(half: Cidr, address: Ip): boolean {
  if (!contains(half, address)) return false;
  const { first, last } = leaseRange(half);
  const index = indexOfAddress(half, address);
  return index >= first && index <= last;
}

/** How many addresses the half has for containers. */
export function leasableCount(half: Cidr): bigint {
  const { first, last } = leaseRange(half);
  return last >= first ? last - first + 1n : 0n;
}
