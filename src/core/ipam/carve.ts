/**
 * Cuts an overlay's space into agent subnets, and an agent subnet into its two halves (spec: overlay §2.3). The lowest
 * free slice is given first, the first and the last slice are used, and IPv6 carries where the original did not
 * (spec: overlay §6.1 #1).
 */
import {
  addressBits,
  addressOf,
  type Cidr,
  familyOf,
  ipToBigInt,
  lengthOf,
  nthSubnet,
  subnetCount,
} from "../../model/ip.ts";
import { IntervalSet } from "./interval-set.ts";

/** How much of a pool is given out. */
export interface Usage {
  readonly pool: Cidr;
  readonly used: bigint;
  readonly size: bigint;
}

/** The lower half is for containers by CNI, the upper one for Docker, whichever of the two an agent asks for. */
export function halves(subnet: Cidr): { readonly mesos: Cidr; readonly docker: Cidr } {
  const length = lengthOf(subnet) + 1;
  return { mesos: nthSubnet(subnet, length, 0n), docker: nthSubnet(subnet, length, 1n) };
}

/** The agent subnets of one family of one overlay. */
export class SubnetPool {
  readonly #space: Cidr;
  readonly #length: number;
  readonly #first: bigint;
  readonly #size: bigint;
  readonly #free: IntervalSet;

  constructor(space: Cidr, length: number) {
    this.#space = space;
    this.#length = length;
    this.#first = ipToBigInt(addressOf(space));
    this.#size = subnetCount(space, length);
    this.#free = new IntervalSet(0n, this.#size - 1n);
  }

  /** The lowest free slice; `undefined` when all are given out. */
  take(): Cidr | undefined {
    const index = this.#free.takeLowest();
    return index === undefined ? undefined : nthSubnet(this.#space, this.#length, index);
  }

  /** @returns false when `subnet` is no slice of this pool, or is given out already */
  reserve(subnet: Cidr): boolean {
    const index = this.#indexOf(subnet);
    return index !== undefined && this.#free.remove(index);
  }

  /** @returns false when `subnet` is no slice of this pool, or is free already */
  release(subnet: Cidr): boolean {
    const index = this.#indexOf(subnet);
    return index !== undefined && this.#free.add(index);
  }

  usage(): Usage {
    return { pool: this.#space, used: this.#size - this.#free.count, size: this.#size };
  }

  /** Which slice of the pool this is; a restart asks it for every slice of the cluster, so it converts once. */
  #indexOf(subnet: Cidr): bigint | undefined {
    const family = familyOf(this.#space);
    if (lengthOf(subnet) !== this.#length || familyOf(subnet) !== family) return undefined;
    const index = (ipToBigInt(addressOf(subnet)) - this.#first) >> BigInt(addressBits(family) - this.#length);
    return index >= 0n && index < this.#size ? index : undefined;
  }
}
