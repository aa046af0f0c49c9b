/**
 * Which address the next container gets: round robin through what a half has to lease, so that an address that was
 * just given back rests as long as possible; before one that still rests is given, the other half lends one, and when
 * nothing has rested anywhere, the one that rested longest is given (docs/decisions/0015).
 *
 * A half that has nothing to give is known by counting. In one that has, the steps are bounded by the number of leases
 * and resting addresses, not by the size of the half (an IPv6 half may have 2^47 addresses).
 */
import { leasableCount, leaseRange } from "../../model/half.ts";
import {
  addressOf,
  bigIntToIp,
  type Cidr,
  contains,
  familyOf,
  type Ip,
  indexOfAddress,
  ipToBigInt,
} from "../../model/ip.ts";
import type { Ledger } from "./ledger.ts";

export interface Pick {
  readonly address: Ip;
  readonly half: Cidr;
  /** It was given before it had rested. */
  readonly isEarly: boolean;
  /** It was kept for the container's name, and says nothing of which comes next. */
  readonly isReserved?: true;
}

/**
 * @param halves of one family, the own one first
 * @param isKept an address that is reserved for some name
 * @returns `undefined` when every address is held
 */
export function pickAddress(
  halves: readonly Cidr[],
  ledger: Ledger,
  now: number,
  isKept: (address: Ip) => boolean = () => false,
): Pick | undefined {
  for (const half of halves) {
    const { held, resting, last } = ledger.taken(half, now);
    if (BigInt(held + resting.size) >= leasableCount(half)) continue;
    const address = nextFree(half, last, (candidate) => {
      return ledger.holder(candidate) === undefined && ledger.restsUntil(candidate) <= now && !isKept(candidate);
    });
    if (address !== undefined) return { address, half, isEarly: false };
  }
  return longestRested(halves, ledger, now, isKept);
}

function longestRested(
  halves: readonly Cidr[],
  ledger: Ledger,
  now: number,
  isKept: (address: Ip) => boolean,
): Pick | undefined {
  const eldest = halves.flatMap((half): Pick[] => {
    const address = ledger
      .taken(half, now)
      .resting.values()
      .find((each) => !isKept(each));
    return address === undefined ? [] : [{ address, half, isEarly: true }];
  });
  return eldest.sort((a, b) => ledger.restsUntil(a.address) - ledger.restsUntil(b.address))[0];
}

/** The first free address behind `last`, from the beginning again after the end. */
function nextFree(half: Cidr, last: Ip | undefined, isFree: (address: Ip) => boolean): Ip | undefined {
  const { first } = leaseRange(half);
  const size = leasableCount(half);
  const lastIndex = last !== undefined && contains(half, last) ? indexOfAddress(half, last) : 0n;
  const start = lastIndex < first ? 0n : lastIndex - first + 1n;
  const family = familyOf(half);
  const base = ipToBigInt(addressOf(half)) + first;
  for (let step = 0n; step < size; step++) {
    const address = bigIntToIp(family, base + ((start + step) % size));
    if (isFree(address)) return address;
  }
  return undefined;
}
