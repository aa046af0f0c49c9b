/**
 * Addresses of the tunnel's ends: one IPv4 and, where there is a pool, one IPv6 per node, and the MAC that follows from
 * the IPv4 address (spec: overlay §2.3). The first and the last address of a pool are never given.
 */
import {
  addressCount,
  addressOf,
  type Cidr,
  familyOf,
  type IpInterface,
  ipToBigInt,
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
  readonly #first: bigint;
  /** The first and the last address are not counted. */
  readonly #size: bigint;
  readonly #free: IntervalSet;

  constructor(space: Cidr) {
    this.#space = space;
    this.#first = ipToBigInt(addressOf(space));
    this.#size = addressCount(space) - 2n;
    this.#free = new IntervalSet(1n, this.#size);
  }

  /** The lowest free address; `undefined` when all are given out. */
  take(): IpInterface | undefined {
    const index = this.#free.takeLowest();
    return index === undefined ? undefined : withLength(nthAddress(this.#space, index), lengthOf(this.#space));
  }

  /** @returns false when the address is none of this pool, or is given out already */
  reserve(address: IpInterface): boolean {
    const index = this.#indexOf(address);
    return index !== undefined && this.#free.remove(index);
  }

  /** @returns false when the address is none of this pool, or is free already */
  release(address: IpInterface): boolean {
    const index = this.#indexOf(address);
    return index !== undefined && this.#free.add(index);
  }

  usage(): Usage {
    return { pool: this.#space, used: this.#size - this.#free.count, size: this.#size };
  }

  #indexOf(address: IpInterface): bigint | undefined {
    if (lengthOf(address) !== lengthOf(this.#space) || familyOf(address) !== familyOf(this.#space)) return undefined;
    const index = ipToBigInt(addressOf(address)) - this.#first;
    return index > 0n && index <= this.#size ? index : undefined;
  }
}
