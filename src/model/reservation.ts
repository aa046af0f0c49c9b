/**
 * Addresses that are kept for containers of a name (docs/decisions/0035). Nobody else gets them, and the container that
 * comes with the name gets one, on whichever host: on another than the one whose slice holds the address it is *hosted*,
 * by a claim that the cluster signed.
 */
import { z } from "zod";
import { halves, isLeasable } from "./half.ts";
import {
  addressOf,
  bigIntToIp,
  type Cidr,
  contains,
  familyOf,
  type Ip,
  ipToBigInt,
  networkOf,
  parseIp,
  withLength,
} from "./ip.ts";
import { CLAIM_REVISION_MAX, RESERVED_ADDRESSES_MAX, TASK_NAME_MAX_BYTES } from "./limits.ts";
import { type Overlay, spacesOf } from "./network.ts";

export interface Reservation {
  readonly network: string;
  /** What the runtime calls the container. */
  readonly name: string;
  /** In the order in which they are given; at least one, of either family. */
  readonly addresses: readonly Ip[];
}

/** Of two claims to an address the one with the greater revision counts; the cluster gives each revision once. */
export interface Hosted {
  readonly address: Ip;
  readonly revision: number;
}

/** What the cluster says that an agent hosts. */
export interface Claim extends Hosted {
  readonly network: string;
  readonly name: string;
}

/** A reserved address that a container has, as its agent tells. */
export interface ReservedUse {
  readonly address: Ip;
  readonly containerId: string;
  /** The container's; that of the reservation, unless the container was there before it. */
  readonly name?: string;
}

/** Where reservations are kept. Listed by network and name, in the order of code units. */
export interface ReservationBook {
  list(): readonly Reservation[];
  /** Adds, or takes the place of the one of this network and name. */
  put(reservation: Reservation, who: string): void;
  /** @returns whether there was one */
  remove(network: string, name: string, who: string): boolean;
}

/** Becomes part of URLs, keys and lines. */
export const reservedNameSchema = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, {
    error: "is not letters, digits, '.', '_' and '-', and begins with one of the first two",
  })
  .max(TASK_NAME_MAX_BYTES);

const addressSchema = z.string().refine((text) => parseIp(text) === text, {
  error: "is not an IP address in canonical form",
}) as unknown as z.ZodType<Ip, Ip>;

export const reservationSchema: z.ZodType<Reservation> = z.object({
  network: z.string(),
  name: reservedNameSchema,
  addresses: z
    .array(addressSchema)
    .min(1)
    .max(RESERVED_ADDRESSES_MAX)
    .refine((addresses) => new Set(addresses).size === addresses.length, { error: "names an address twice" }),
});

const revisionSchema = z.int().min(1).max(CLAIM_REVISION_MAX);
export const hostedSchema: z.ZodType<Hosted> = z.object({ address: addressSchema, revision: revisionSchema });
export const claimSchema: z.ZodType<Claim> = z.object({
  network: z.string(),
  name: z.string(),
  address: addressSchema,
  revision: revisionSchema,
});
export const reservedUseSchema: z.ZodType<ReservedUse> = z.object({
  address: addressSchema,
  containerId: z.string(),
  name: z.string().optional(),
});

/** Why the network gives the address to nobody; `undefined`: it does. */
export function unreservable(address: Ip, overlay: Overlay): string | undefined {
  const family = familyOf(address);
  for (const { subnet, prefix, subnet6, prefix6 } of spacesOf(overlay)) {
    const [space, length] = family === 4 ? [subnet, prefix] : [subnet6, prefix6];
    if (space === undefined || length === undefined || !contains(space, address)) continue;
    const { mesos, docker } = halves(networkOf(withLength(address, length)));
    return [mesos, docker].some((half) => isLeasable(half, address))
      ? undefined
      : "is the network's, the gateway's or the broadcast address of its half";
  }
  return `lies in no address space of network ${overlay.name}`;
}

/** `9.0.1.77,9.0.1.80-9.0.1.83,fd01:b::7`. `undefined`: it is no such list, or one of too many addresses. */
export function parseReserved(text: string): readonly Ip[] | undefined {
  const all: Ip[] = [];
  for (const part of text.split(",")) {
    const [from = "", to = from, ...rest] = part.trim().split("-");
    const [first, last] = [parseIp(from), parseIp(to)];
    if (first === undefined || last === undefined || rest.length > 0 || familyOf(first) !== familyOf(last))
      return undefined;
    const [low, high] = [ipToBigInt(first), ipToBigInt(last)];
    if (high < low || high - low >= BigInt(RESERVED_ADDRESSES_MAX - all.length)) return undefined;
    for (let value = low; value <= high; value++) all.push(bigIntToIp(familyOf(first), value));
  }
  return new Set(all).size === all.length ? all : undefined;
}

/** As `parseReserved` reads it, neighbours as one range. */
export function reservedText(addresses: readonly Ip[]): string {
  const ranges: { first: Ip; last: Ip }[] = [];
  for (const address of addresses) {
    const range = ranges.at(-1);
    const follows =
      range !== undefined &&
      familyOf(range.last) === familyOf(address) &&
      ipToBigInt(address) === ipToBigInt(range.last) + 1n;
    if (follows) range.last = address;
    else ranges.push({ first: address, last: address });
  }
  return ranges.map(({ first, last }) => (first === last ? first : `${first}-${last}`)).join();
}

/** Whose each reserved address is: the names of its containers, by address. The lists are those of one assignment. */
export function reservedNames(reservations: readonly Reservation[]): ReadonlyMap<Ip, Reservation> {
  const known = cache.get(reservations);
  if (known !== undefined) return known;
  const names = new Map(reservations.flatMap((each) => each.addresses.map((address) => [address, each] as const)));
  cache.set(reservations, names);
  return names;
}

/** The same for each address that is given. */
const cache = new WeakMap<object, ReadonlyMap<Ip, Reservation>>();

/** Whether one of the prefixes holds the address. */
export function isWithin(prefixes: readonly Cidr[], address: Ip): boolean {
  return prefixes.some((prefix) => familyOf(addressOf(prefix)) === familyOf(address) && contains(prefix, address));
}
