/**
 * What every message about an nftables object has in common: its number, the family of its table, and the header that
 * carries them. Source: linux/netfilter/nfnetlink.h, nf_tables.h.
 */
import type { NftFamily } from "../../../core/host/host-state.ts";
import { type MessageWriter, NLM_F_REQUEST } from "../netlink/message.ts";

export const NFNL_SUBSYS_NFTABLES = 10;
/** struct nfgenmsg: family, version, resource */
export const GENMSG_BYTES = 4;
export const GET = { table: 1, chain: 4, rule: 7, set: 10, element: 13, generation: 16 } as const;
export const NEW = { table: 0, chain: 3, rule: 6, set: 9, element: 12 } as const;
export const DEL = { table: 2, chain: 5, rule: 8, set: 11, element: 14 } as const;

export const FAMILIES: Readonly<Record<NftFamily, number>> = { ip: 2, ip6: 10, netdev: 5 };

/** The table that an object is in. */
export interface TableKey {
  readonly family: NftFamily;
  readonly name: string;
}

/** Writes one message about an object of a table of `family`. */
export function change(
  writer: MessageWriter,
  message: number,
  flags: number,
  family: NftFamily,
  body: () => void,
): void {
  writer.message((NFNL_SUBSYS_NFTABLES << 8) | message, NLM_F_REQUEST | flags, () => {
    writer.u32(FAMILIES[family]);
    body();
  });
}
