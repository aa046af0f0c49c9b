/**
 * IP addresses, prefixes and the arithmetic that carves one into the other.
 *
 * All three types are canonical text (RFC 5952 for IPv6), so that equality is `===`, a value is a usable map key, and
 * what a test or a log prints is what an operator types. They are made only here; text from outside goes through
 * `parse*` once, at the edge, and is trusted from then on. Arithmetic is on BigInt, so that no carry is ever lost.
 */
import { assert } from "./fault.ts";

declare const ipBrand: unique symbol;
declare const cidrBrand: unique symbol;
declare const interfaceBrand: unique symbol;

/** One address: `9.0.1.2`, `fd01:b::1`. Never an IPv4-mapped IPv6 address, never a zone. */
export type Ip = string & { readonly [ipBrand]: true };
/** A prefix, its host bits zero: `9.0.0.0/8`, `fd01:b::/64`. */
export type Cidr = string & { readonly [cidrBrand]: true };
/** An address together with the length of the prefix it sits in, as an interface carries it: `44.128.0.1/20`. */
export type IpInterface = string & { readonly [interfaceBrand]: true };

export type Family = 4 | 6;

/** Number of bits in an address of the family: 32 or 128. */
export function addressBits(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

export function familyOf(value: Ip | Cidr | IpInterface): Family {
  return value.includes(":") ? 6 : 4;
}

/** Parses one address in its usual text form; `undefined` for anything else (ports, zones, octal or short forms too). */
export function parseIp(text: string): Ip | undefined {
  const bytes = text.includes(":") ? parse6(text) : parse4(text);
  return bytes === undefined ? undefined : bytesToIp(bytes);
}

/** Parses `ADDRESS/LENGTH` without looking at host bits. `undefined` when either part is malformed or out of range. */
export function parseIpInterface(text: string): IpInterface | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const lengthText = text.slice(slash + 1);
  if (ip === undefined || !/^(0|[1-9]\d{0,2})$/.test(lengthText)) return undefined;
  const length = Number(lengthText);
  return length <= addressBits(familyOf(ip)) ? (`${ip}/${length}` as IpInterface) : undefined;
}

/** Parses a prefix. `undefined` when it is malformed or has host bits set; see `networkOf` for what was meant then. */
export function parseCidr(text: string): Cidr | undefined {
  const parsed = parseIpInterface(text);
  if (parsed === undefined) return undefined;
  const network = networkOf(parsed);
  return (network as string) === parsed ? network : undefined;
}

/** The address for a literal in code or a value that was validated before. Anything else is a bug. */
export function ip(text: string): Ip {
  const parsed = parseIp(text);
  assert(parsed !== undefined, `${text} is an IP address`);
  return parsed;
}

/** The prefix for a literal in code or a value that was validated before. Anything else is a bug. */
export function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  assert(parsed !== undefined, `${text} is a prefix without host bits`);
  return parsed;
}

/** The interface address for a literal in code or a value that was validated before. Anything else is a bug. */
export function ipInterface(text: string): IpInterface {
  const parsed = parseIpInterface(text);
  assert(parsed !== undefined, `${text} is an address with a prefix length`);
  return parsed;
}

export function addressOf(value: Cidr | IpInterface): Ip {
  return value.slice(0, value.indexOf("/")) as Ip;
}

export function lengthOf(value: Cidr | IpInterface): number {
  return Number(value.slice(value.indexOf("/") + 1));
}

/** The prefix that an interface address sits in: `44.128.0.1/20` → `44.128.0.0/20`. */
export function networkOf(value: Cidr | IpInterface): Cidr {
  const address = addressOf(value);
  const family = familyOf(address);
  const hostBits = BigInt(addressBits(family) - lengthOf(value));
  return `${bigIntToIp(family, (ipToBigInt(address) >> hostBits) << hostBits)}/${lengthOf(value)}` as Cidr;
}

export function withLength(address: Ip, length: number): IpInterface {
  assert(length >= 0 && length <= addressBits(familyOf(address)), `/${length} is a length for ${address}`);
  return `${address}/${length}` as IpInterface;
}

/** The prefix that holds just this address: /32 or /128. */
export function hostCidr(address: Ip): Cidr {
  return `${address}/${addressBits(familyOf(address))}` as Cidr;
}

/** Number of addresses in the prefix, network and broadcast included. */
export function addressCount(prefix: Cidr): bigint {
  return 1n << BigInt(addressBits(familyOf(prefix)) - lengthOf(prefix));
}

/** The address `index` places after the first one of the prefix (0 is the network address itself). */
export function nthAddress(prefix: Cidr, index: bigint): Ip {
  assert(index >= 0n && index < addressCount(prefix), `address ${index} lies in ${prefix}`);
  return bigIntToIp(familyOf(prefix), ipToBigInt(addressOf(prefix)) + index);
}

/** How far an address of the prefix lies behind its first one; the inverse of `nthAddress`. */
export function indexOfAddress(prefix: Cidr, address: Ip): bigint {
  assert(contains(prefix, address), `${address} lies in ${prefix}`);
  return ipToBigInt(address) - ipToBigInt(addressOf(prefix));
}

/** Number of prefixes of length `length` inside `prefix`. */
export function subnetCount(prefix: Cidr, length: number): bigint {
  assert(length >= lengthOf(prefix) && length <= addressBits(familyOf(prefix)), `${prefix} can be cut into /${length}`);
  return 1n << BigInt(length - lengthOf(prefix));
}

/** The slice number `index` (from 0) of `prefix` when it is cut into prefixes of length `length`. */
export function nthSubnet(prefix: Cidr, length: number, index: bigint): Cidr {
  assert(index >= 0n && index < subnetCount(prefix, length), `slice ${index} lies in ${prefix}`);
  const family = familyOf(prefix);
  const shift = BigInt(addressBits(family) - length);
  return `${bigIntToIp(family, ipToBigInt(addressOf(prefix)) + (index << shift))}/${length}` as Cidr;
}

/** Which slice of `prefix` the prefix `subnet` is; the inverse of `nthSubnet`. */
export function indexOfSubnet(prefix: Cidr, subnet: Cidr): bigint {
  assert(containsCidr(prefix, subnet), `${subnet} lies in ${prefix}`);
  const shift = BigInt(addressBits(familyOf(prefix)) - lengthOf(subnet));
  return (ipToBigInt(addressOf(subnet)) - ipToBigInt(addressOf(prefix))) >> shift;
}

export function contains(prefix: Cidr, address: Ip): boolean {
  const family = familyOf(prefix);
  if (familyOf(address) !== family) return false;
  const hostBits = BigInt(addressBits(family) - lengthOf(prefix));
  return ipToBigInt(address) >> hostBits === ipToBigInt(addressOf(prefix)) >> hostBits;
}

export function containsCidr(outer: Cidr, inner: Cidr): boolean {
  return lengthOf(inner) >= lengthOf(outer) && contains(outer, addressOf(inner));
}

export function overlaps(a: Cidr, b: Cidr): boolean {
  return containsCidr(a, b) || containsCidr(b, a);
}

export function ipToBigInt(address: Ip): bigint {
  const bytes = ipToBytes(address);
  return BigInt(`0x${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("hex")}`);
}

export function bigIntToIp(family: Family, value: bigint): Ip {
  const bits = addressBits(family);
  assert(value >= 0n && value >> BigInt(bits) === 0n, `${value} fits an IPv${family} address`);
  return bytesToIp(Buffer.from(value.toString(16).padStart(bits / 4, "0"), "hex"));
}

/** The 4 or 16 bytes of the address in network order. */
export function ipToBytes(address: Ip): Uint8Array {
  const bytes = address.includes(":") ? parse6(address) : parse4(address);
  assert(bytes !== undefined, `${address} was made by model/ip`);
  return bytes;
}

/** The address in 4 or 16 bytes of network order. Every IPv6 value is written in hexadecimal groups (RFC 5952 §4). */
export function bytesToIp(bytes: Uint8Array): Ip {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as Ip;
  assert(bytes.length === 16, `an address has 4 or 16 bytes, not ${bytes.length}`);
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  const zeros = longestZeroRun(groups);
  const hex = (from: number, to: number) =>
    groups
      .slice(from, to)
      .map((group) => group.toString(16))
      .join(":");
  if (zeros.length < 2) return hex(0, 8) as Ip;
  return `${hex(0, zeros.start)}::${hex(zeros.start + zeros.length, 8)}` as Ip;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = -1;
  for (let i = 0; i <= groups.length; i++) {
    if (groups[i] === 0) {
      if (start < 0) start = i;
    } else if (start >= 0) {
      if (i - start > best.length) best = { start, length: i - start };
      start = -1;
    }
  }
  return best;
}

function parse4(text: string): Uint8Array | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  const bytes = new Uint8Array(4);
  for (let i = 0; i < 4; i++) {
    const part = match[i + 1] as string;
    // A leading zero means octal to some readers and decimal to others: refuse it.
    if (Number(part) > 255 || (part.length > 1 && part.startsWith("0"))) return undefined;
    bytes[i] = Number(part);
  }
  return bytes;
}

function parse6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = parseGroups(halves[0] as string, halves.length === 1);
  const tail = halves.length === 2 ? parseGroups(halves[1] as string, true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  const bytes = new Uint8Array(16);
  [...head, ...new Array<number>(missing).fill(0), ...tail].forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  });
  return bytes;
}

/** The 16-bit groups of one side of `::`; the side that ends the address may close with a dotted IPv4 address. */
function parseGroups(text: string, endsAddress: boolean): number[] | undefined {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [i, part] of parts.entries()) {
    if (part.includes(".")) {
      const bytes = endsAddress && i === parts.length - 1 ? parse4(part) : undefined;
      if (bytes === undefined) return undefined;
      groups.push(((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0), ((bytes[2] ?? 0) << 8) | (bytes[3] ?? 0));
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) {
      groups.push(Number.parseInt(part, 16));
    } else return undefined;
  }
  return groups;
}
