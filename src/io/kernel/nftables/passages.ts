/**
 * Reads the chains of other firewalls that may hold rules of ours, one chain at a time: such a table may have thousands
 * of rules in others. Source: linux/netfilter/nf_tables.h.
 */
import type { NftFamily, Passage } from "../../../core/host/host-state.ts";
import { ownsNftRule } from "../../../core/host/ownership.ts";
import { FILTER_TABLE, observedPassages, PASSAGE_CHAINS } from "../../../core/host/passages.ts";
import type { NameOf } from "../netlink/link-messages.ts";
import { MessageWriter } from "../netlink/message.ts";
import type { NetlinkSocket } from "../netlink-socket.ts";
import * as nft from "./objects.ts";

/** @throws Fault no-rights, kernel-refused */
export function readPassages(socket: NetlinkSocket, chains: readonly nft.ObservedChain[], nameOf: NameOf): Passage[] {
  const isPassage = (name: string) => PASSAGE_CHAINS.some((each) => each === name);
  return (["ip", "ip6"] as const).flatMap((family) => {
    const there = chains.filter(({ table }) => table.family === family && table.name === FILTER_TABLE);
    const read = there.map(({ name }) => ({
      name,
      rules: isPassage(name) ? readRules(socket, family, name, nameOf).map(({ rule }) => rule) : [],
    }));
    return observedPassages(family, read);
  });
}

/** The handles of ours, as they are at this moment. @throws as `readPassages` */
export function ownRules(socket: NetlinkSocket, { family, chain }: Passage): readonly Uint8Array[] {
  const rules = readRules(socket, family, chain, () => undefined);
  return rules.filter(({ rule }) => ownsNftRule(rule)).map(({ handle }) => handle);
}

function readRules(socket: NetlinkSocket, family: NftFamily, chain: string, nameOf: NameOf): nft.ObservedRule[] {
  const question = new MessageWriter();
  nft.encodeDumpOf(question, "rule", { family, name: FILTER_TABLE }, chain);
  const rules = socket.dump("rules", question, (message) => nft.decodeRule(message, nameOf));
  return rules.filter((rule) => rule.chain === chain); // old kernels tell those of the whole table
}
