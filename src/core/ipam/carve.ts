/**
 * Cuts an overlay's space into agent subnets, and an agent subnet into its two halves (spec: overlay §2.3). The lowest
 * free slice is given first, the first and the last slice are used, and IPv6 carries where the original did not
 * (spec: overlay §6.1 #1).
 */
import { type Cidr, containsCidr, indexOfSubnet, lengthOf, nthSubnet, subnetCount } from "../../model/ip.ts";
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
  readonly #free: IntervalSet;

  constructor(space: Cidr, length: number) {
    this.#space = space;
    this.#length = length;
    this.#free = new IntervalSet(0n, subnetCount(space, length) - 1n);
  }

  /** The lowest free slice; `undefined` when all are given out. */
  take(): Cidr | undefined {
    const index = this.#free.takeLowest();
    return index === undefined ? undefined : nthSubnet(this.#space, this.#length, index);
  }

  /** @returns false when `subnet` is no slice of this pool, or is given out already */
  reserve(subnet: Cidr): boolean {
    return this.#holds(subnet) && this.#free.remove(indexOfSubnet(this.#space, subnet));
  }

  /** @returns false when `subnet` is no slice of this pool, or is free already */
  release(subnet: Cidr): boolean {
    return this.#holds(subnet) && this.#free.add(indexOfSubnet(this.#space, subnet));
  }

  usage(): Usage {
    const size = subnetCount(this.#space, this.#length);
    return { pool: this.#space, used: size - this.#free.count, size };
  }

  #holds(subnet: Cidr): boolean {
    return lengthOf(subnet) === this.#length && containsCidr(this.#space, subnet);
  }
}
