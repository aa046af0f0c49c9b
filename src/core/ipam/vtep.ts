/**
 * Addresses of the tunnel's ends: one IPv4 and, where there is a pool, one IPv6 per node, and the MAC that follows from
 * the IPv4 address (spec: overlay §2.3). The first and the last address of a pool are never given.
 */
import {
  addressCount,
  addressOf,
  type Cidr,
  contains,
  type IpInterface,
  indexOfAddress,
  ipToBytes,
  lengthOf,
  nthAddress,
  withLength,
} from "../../model/ip.ts";
import { bytesToMac, type Mac, mac, macToBytes } from "../../model/mac.ts";
import type { Usage } from "./carve.ts";
import { IntervalSet } from "./interval-set.ts";

/** Three bytes of the OUI, then the low three of the VTEP's IPv4 address: unique as long as the pool is a /8 or less. */
export function vtepMac(oui: string, vtepIp: IpInterface): Mac {
  const bytes = macToBytes(mac(oui.toLowerCase()));
  bytes.set(ipToBytes(addressOf(vtepIp)).subarray(1), 3);
  return bytesToMac(bytes);
}

/** The VTEP addresses of one family, each with the length of the pool. */
export class VtepPool {
  readonly #space: Cidr;
  readonly #free: IntervalSet;

  constructor(space: Cidr) {
    this.#space = space;
    this.#free = new IntervalSet(1n, addressCount(space) - 2n);
  }

  /** The lowest free address; `undefined` when all are given out. */
  take(): IpInterface | undefined {
    const index = this.#free.takeLowest();
    return index === undefined ? undefined : withLength(nthAddress(this.#space, index), lengthOf(this.#space));
  }

  /** @returns false when the address is none of this pool, or is given out already */
  reserve(address: IpInterface): boolean {
    return this.#holds(address) && this.#free.remove(indexOfAddress(this.#space, addressOf(address)));
  }

  /** @returns false when the address is none of this pool, or is free already */
  release(address: IpInterface): boolean {
    return this.#holds(address) && this.#free.add(indexOfAddress(this.#space, addressOf(address)));
  }

  usage(): Usage {
    const size = addressCount(this.#space) - 2n;
    return { pool: this.#space, used: size - this.#free.count, size };
  }

  #holds(address: IpInterface): boolean {
    if (lengthOf(address) !== lengthOf(this.#space) || !contains(this.#space, addressOf(address))) return false;
    const index = indexOfAddress(this.#space, addressOf(address));
    return index > 0n && index < addressCount(this.#space) - 1n;
  }
}
