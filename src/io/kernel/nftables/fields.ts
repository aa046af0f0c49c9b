/**
 * Where in a packet the fields lie that rules look at, and the kernel's numbers for what is no byte of it.
 * Sources: RFC 791, 8200, 768, 9293, 792, 4443; linux/netfilter/nf_tables.h.
 */
import type { NftAddressField, NftPortKey, NftTransportField } from "../../../core/host/host-state.ts";

/** NFT_PAYLOAD_…_HEADER */
export const LINK_HEADER = 0;
export const NETWORK_HEADER = 1;
export const TRANSPORT_HEADER = 2;

/** NFT_META_…; the name of a device fills 16 bytes with zeros. */
export const META = { protocol: 1, iifname: 6, oifname: 7, iiftype: 8, l4proto: 16 } as const;

/** Where an address lies in its header, and the EtherType and protocol family of that header. */
export const ADDRESSES = {
  "ip saddr": { offset: 12, bytes: 4, etherType: "0800", nfproto: 2 },
  "ip daddr": { offset: 16, bytes: 4, etherType: "0800", nfproto: 2 },
  "ip6 saddr": { offset: 8, bytes: 16, etherType: "86dd", nfproto: 10 },
  "ip6 daddr": { offset: 24, bytes: 16, etherType: "86dd", nfproto: 10 },
} as const satisfies Record<NftAddressField, unknown>;

/** The protocol's number in hexadecimal, and where in its header the field lies; ICMP belongs to one family. */
export const TRANSPORTS = {
  "tcp sport": { protocol: "06", offset: 0, bytes: 2 },
  "tcp dport": { protocol: "06", offset: 2, bytes: 2 },
  "udp sport": { protocol: "11", offset: 0, bytes: 2 },
  "udp dport": { protocol: "11", offset: 2, bytes: 2 },
  "icmp type": { protocol: "01", offset: 0, bytes: 1, address: "ip saddr" },
  "icmpv6 type": { protocol: "3a", offset: 0, bytes: 1, address: "ip6 saddr" },
} as const satisfies Record<NftTransportField, unknown>;

/** The address that a key begins with. */
export const KEY_ADDRESSES = {
  "meta l4proto . th dport": undefined,
  "ip daddr . meta l4proto . th dport": "ip daddr",
  "ip6 daddr . meta l4proto . th dport": "ip6 daddr",
} as const satisfies Record<NftPortKey, NftAddressField | undefined>;

/** The source MAC in an Ethernet header. */
export const MAC_SOURCE = { offset: 6, bytes: 6 } as const;

/** ARP's EtherType, and where the sender's address is in its header (RFC 826, for Ethernet and IPv4). */
export const ARP = { etherType: "0806", sender: { offset: 14, bytes: 4 } } as const;
/** Values in the machine's order, as the kernel compares them: ARPHRD_ETHER, RTN_LOCAL, IPS_DST_NAT. */
export const ETHERNET = "0100";
export const LOCAL_ADDRESS = "02000000";
export const DESTINATION_TRANSLATED = "20000000";

/** IP_CT_DIR_REPLY, one byte. */
export const REPLY_DIRECTION = "01";

export const NFPROTO = { ip: 2, ip6: 10 } as const;

/** NFT_REG_VERDICT: what a map of verdicts answers is carried out. */
export const VERDICT_REGISTER = 0;

export const NF_DROP = 0;
export const NF_ACCEPT = 1;
export const NFT_JUMP = -3;
export const NFT_RETURN = -5;

/** A rule's registers are 4 bytes each, the `word`-th of which the kernel calls by the number of 16 where it can. */
export function registerAt(word: number): number {
  return word % 4 === 0 ? 1 + word / 4 : 8 + word;
}
