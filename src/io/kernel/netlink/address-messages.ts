/**
 * Addresses of devices in rtnetlink. IPv6 ones are made without duplicate address detection: they are usable at once,
 * and the masters see to it that they are unique. Sources: linux/if_addr.h, net/ipv4/devinet.c, net/ipv6/addrconf.c.
 */
import type { Address } from "../../../core/host/host-state.ts";
import {
  addressBits,
  addressOf,
  bytesToIp,
  cidr,
  contains,
  familyOf,
  type Ip,
  ipToBytes,
  lengthOf,
  withLength,
} from "../../../model/ip.ts";
import { familyNumber } from "./family.ts";
import type { NameOf } from "./link-messages.ts";
import {
  Attributes,
  type Message,
  type MessageWriter,
  malformed,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  readU32,
} from "./message.ts";

const RTM_NEWADDR = 20;
const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
/** struct ifaddrmsg */
const IFADDR_BYTES = 8;
const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_F_NODAD = 0x02;
const LINK_LOCAL = cidr("fe80::/10");

export function encodeAddressReplace(writer: MessageWriter, address: Address, ifindex: number): void {
  writer.message(RTM_NEWADDR, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE, () =>
    writeAddress(writer, address, ifindex),
  );
}

export function encodeAddressDelete(writer: MessageWriter, address: Address, ifindex: number): void {
  writer.message(RTM_DELADDR, NLM_F_REQUEST, () => writeAddress(writer, address, ifindex));
}

export function encodeAddressDump(writer: MessageWriter): void {
  writer.message(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, () => writer.raw(new Uint8Array(IFADDR_BYTES)));
}

/**
 * `undefined` for what HostState leaves out: link-local IPv6 addresses, and those of devices that `nameOf` knows not.
 * @throws Fault kernel-refused on garbage
 */
export function decodeAddress(message: Message, nameOf: NameOf): Address | undefined {
  const { payload } = message;
  const attributes = new Attributes(payload, IFADDR_BYTES);
  // On a point-to-point device IFA_ADDRESS is the other end's.
  const bytes = attributes.bytes(IFA_LOCAL) ?? attributes.bytes(IFA_ADDRESS);
  if (bytes?.length !== 4 && bytes?.length !== 16) throw malformed("an address of no known family");
  const ip: Ip = bytesToIp(bytes);
  const length = payload[1] ?? 0;
  if (length > addressBits(familyOf(ip))) throw malformed(`the address ${ip}/${length}`);
  const dev = nameOf(readU32(payload, 4));
  return dev === undefined || contains(LINK_LOCAL, ip) ? undefined : { dev, address: withLength(ip, length) };
}

function writeAddress(writer: MessageWriter, { address }: Address, ifindex: number): void {
  const family = familyOf(address);
  const bytes = ipToBytes(addressOf(address));
  writer.u8(familyNumber(family));
  writer.u8(lengthOf(address));
  writer.u8(family === 6 ? IFA_F_NODAD : 0);
  writer.u8(0); // scope: universe
  writer.u32(ifindex);
  if (family === 4) writer.attribute(IFA_LOCAL, bytes);
  writer.attribute(IFA_ADDRESS, bytes);
}
