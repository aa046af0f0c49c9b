/**
 * Which address the next container gets: round robin through what a half has to lease, so that an address that was
 * just given back rests as long as possible; before one that still rests is given, the other half lends one, and when
 * nothing has rested anywhere, the one that rested longest is given (docs/decisions/0015).
 *
 * The step count is bounded by the number of leases and resting addresses, not by the size of the half (an IPv6 half may
 * have 2^47 addresses).
 */
import { leaseRange } from "../../model/half.ts";
import { type Cidr, contains, type Ip, indexOfAddress, nthAddress } from "../../model/ip.ts";
import type { Ledger } from "./ledger.ts";

export interface Pick {
  readonly address: Ip;
  readonly half: Cidr;
  /** It was given before it had rested. */
  readonly isEarly: boolean;
}

/** @param halves of one family, the own one first. @returns `undefined` when every address is held */
export function pickAddress(halves: readonly Cidr[], ledger: Ledger, now: number): Pick | undefined {
  for (const half of halves) {
    const address = nextFree(half, ledger.lastGiven(half), (candidate) => {
      return ledger.holder(candidate) === undefined && !ledger.isResting(candidate, now);
    });
    if (address !== undefined) return { address, half, isEarly: false };
  }
  for (const address of ledger.resting(now)) {
    const half = halves.find((candidate) => isLeasable(candidate, address));
    if (half !== undefined && ledger.holder(address) === undefined) return { address, half, isEarly: true };
  }
  return undefined;
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

/** The first free address behind `last`, from the beginning again after the end. */
function nextFree(half: Cidr, last: Ip | undefined, isFree: (address: Ip) => boolean): Ip | undefined {
  const { first } = leaseRange(half);
  const size = leasableCount(half);
  const lastIndex = last !== undefined && contains(half, last) ? indexOfAddress(half, last) : 0n;
  const start = lastIndex < first ? 0n : lastIndex - first + 1n;
  for (let step = 0n; step < size; step++) {
    const address = nthAddress(half, first + ((start + step) % size));
    if (isFree(address)) return address;
  }
  return undefined;
}
