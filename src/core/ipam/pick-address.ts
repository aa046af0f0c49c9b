/**
 * Which address the next container gets: round robin through what a half has to lease, so that an address that was
 * just given back rests as long as possible before another container is seen under it.
 *
 * Pure: what is leased and what was given last are arguments. The step count is bounded by the number of leases, not by
 * the size of the half (an IPv6 half may have 2^47 addresses).
 */
import { Fault } from "../../model/fault.ts";
import { leaseRange } from "../../model/half.ts";
import { type Cidr, contains, type Ip, indexOfAddress, nthAddress } from "../../model/ip.ts";

export interface Pool {
  readonly network: string;
  /** The agent's own address, for the message. */
  readonly agent: Ip;
  readonly half: Cidr;
}

/**
 * The first free address behind `last`, from the beginning again after the end. A `last` outside the half counts as
 * none. `leased` may hold addresses of other halves.
 * @throws Fault exhausted
 */
export function pickAddress(pool: Pool, leased: ReadonlySet<Ip>, last: Ip | undefined): Ip {
  const { half } = pool;
  const { first, last: end } = leaseRange(half);
  const size = end - first + 1n;
  const lastIndex = last !== undefined && contains(half, last) ? indexOfAddress(half, last) : 0n;
  const start = lastIndex < first ? 0n : lastIndex - first + 1n;
  for (let step = 0n; step < size; step++) {
    const address = nthAddress(half, first + ((start + step) % size));
    if (!leased.has(address)) return address;
  }
  throw exhausted(pool, size > 0n ? size : 0n);
}

function exhausted({ network, agent, half }: Pool, size: bigint): Fault {
  return new Fault(
    "exhausted",
    `agent ${agent}: network ${network} has no free address in ${half} (${size} of ${size} leased); remove containers of ` +
      "this host from the network, or configure it with a shorter prefix, which gives every agent more",
    { network, agent, half, leased: Number(size) },
  );
}
