/**
 * Operations on nftables as the messages of a transaction: all of them take effect at once, or none.
 *
 * Each operation's messages stand alone: they make what they need and nothing that an earlier one of the transaction
 * must have made, so that an operation can be tried by itself when the whole was refused.
 */
import type { KernelOp, NftChain, NftMap, NftRule, Passage } from "../../../core/host/host-state.ts";
import { FILTER_TABLE } from "../../../core/host/passages.ts";
import { assert } from "../../../model/fault.ts";
import type { IndexOf } from "../netlink/link-messages.ts";
import { type MessageWriter, NLM_F_REQUEST } from "../netlink/message.ts";
import { encodeStatement } from "./encode-statement.ts";
import type { Expression } from "./expressions.ts";
import { encodeElementsAdd, encodeElementsDelete, encodeMapAdd, encodeMapDelete } from "./maps.ts";
import {
  encodeChainAdd,
  encodeChainDelete,
  encodeRuleAdd,
  encodeRuleDelete,
  encodeRulesFlush,
  encodeTableAdd,
  encodeTableDelete,
} from "./objects.ts";
import type { TableKey } from "./request.ts";

const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;
/** struct nfgenmsg of a batch: no family, version 0, the nftables subsystem in big-endian order. */
const BATCH_GENMSG = [0, 0, 0, 10];

export type NftOp = Extract<KernelOp, { op: `nft.${string}` }>;

export function isNftOp(op: KernelOp): op is NftOp {
  return op.op.startsWith("nft.");
}

/** The device that a rule names is not there. */
interface MissingDevice {
  readonly missingDevice: string;
}

/** Writes a whole transaction. `body` writes its messages. */
export function encodeTransaction(writer: MessageWriter, body: () => void): void {
  writer.message(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, () => writer.raw(BATCH_GENMSG));
  body();
  writer.message(NFNL_MSG_BATCH_END, NLM_F_REQUEST, () => writer.raw(BATCH_GENMSG));
}

/** The handles of the rules of ours that a chain has. */
type OwnRulesOf = (passage: Passage) => readonly Uint8Array[];

/** Writes the messages of one operation; none when it names a device that is not there. */
export function encodeNftOp(
  writer: MessageWriter,
  op: NftOp,
  indexOf: IndexOf,
  ownRulesOf: OwnRulesOf,
): MissingDevice | undefined {
  const missing = devicesOf(op).find((device) => indexOf(device) === undefined);
  if (missing !== undefined) return { missingDevice: missing };
  switch (op.op) {
    case "nft.table.replace":
      replaceTable(writer, op, indexOf);
      break;
    case "nft.table.delete":
      encodeTableDelete(writer, op);
      break;
    case "nft.chain.replace":
      replaceChain(writer, { family: op.family, name: op.table }, op.chain, indexOf);
      break;
    case "nft.chain.delete":
      encodeChainDelete(writer, { family: op.family, name: op.table }, op.chain);
      break;
    case "nft.map.add":
      encodeMapAdd(writer, { family: op.family, name: op.table }, mapOf(op));
      break;
    case "nft.map.delete":
      encodeMapDelete(writer, { family: op.family, name: op.table }, op.map);
      break;
    case "nft.elements.add":
      encodeElementsAdd(writer, { family: op.family, name: op.table }, mapOf(op), op.elements);
      break;
    case "nft.elements.delete":
      encodeElementsDelete(writer, { family: op.family, name: op.table }, mapOf(op), op.keys);
      break;
    case "nft.passage.replace":
      replacePassage(writer, op.passage, ownRulesOf(op.passage), indexOf);
      break;
  }
  return undefined;
}

/** The table is made first, so that there is one to delete. */
function replaceTable(
  writer: MessageWriter,
  { table }: Extract<NftOp, { op: "nft.table.replace" }>,
  indexOf: IndexOf,
): void {
  encodeTableAdd(writer, table);
  encodeTableDelete(writer, table);
  encodeTableAdd(writer, table);
  for (const chain of table.chains) encodeChainAdd(writer, table, chain.name, chain.hook);
  for (const map of table.maps) {
    encodeMapAdd(writer, table, map);
    encodeElementsAdd(writer, table, map, map.elements);
  }
  for (const chain of table.chains) appendRules(writer, table, chain, indexOf);
}

/**
 * A chain with a hook is made anew, because the kernel changes no hook. One that is jumped to cannot be deleted: it is
 * emptied and filled.
 */
function replaceChain(writer: MessageWriter, table: TableKey, chain: NftChain, indexOf: IndexOf): void {
  encodeChainAdd(writer, table, chain.name);
  if (chain.hook === undefined) encodeRulesFlush(writer, table, chain.name);
  else {
    encodeChainDelete(writer, table, chain.name);
    encodeChainAdd(writer, table, chain.name, chain.hook);
  }
  appendRules(writer, table, chain, indexOf);
}

function appendRules(writer: MessageWriter, table: TableKey, chain: NftChain, indexOf: IndexOf): void {
  for (const rule of chain.rules) encodeRuleAdd(writer, table, chain.name, encodedRule(rule, table.family, indexOf));
}

/** Each rule is put first, so the last one goes first. */
function replacePassage(
  writer: MessageWriter,
  { family, chain, rules }: Passage,
  old: readonly Uint8Array[],
  indexOf: IndexOf,
): void {
  const table = { family, name: FILTER_TABLE };
  for (const handle of old) encodeRuleDelete(writer, table, chain, handle);
  for (const rule of rules.toReversed())
    encodeRuleAdd(writer, table, chain, encodedRule(rule, family, indexOf), "first");
}

function encodedRule(rule: NftRule, family: TableKey["family"], indexOf: IndexOf) {
  const comment = rule.find((statement) => statement.kind === "comment")?.text;
  return { expressions: expressionsOf(rule, family, indexOf), comment };
}

function expressionsOf(rule: NftRule, family: TableKey["family"], indexOf: IndexOf): readonly Expression[] {
  return rule.flatMap((statement) => {
    const expressions = encodeStatement(statement, family, indexOf);
    assert(expressions !== undefined, `a rule of ours has no statement of kind ${statement.kind}`);
    return expressions;
  });
}

function mapOf({
  map,
  type,
}: Pick<Extract<NftOp, { op: "nft.map.add" }>, "map" | "type">): Pick<NftMap, "name" | "type"> {
  return { name: map, type };
}

function devicesOf(op: NftOp): readonly string[] {
  const chains = op.op === "nft.table.replace" ? op.table.chains : op.op === "nft.chain.replace" ? [op.chain] : [];
  return chains.flatMap((chain) =>
    chain.rules.flat().flatMap((statement) => (statement.kind === "forward" ? [statement.device] : [])),
  );
}
