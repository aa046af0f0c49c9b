/**
 * Tables, chains and rules in nfnetlink (maps: maps.ts): one message per object. Changes take effect only inside a
 * transaction (transaction.ts). Source: linux/netfilter/nf_tables.h; all numbers are big-endian.
 */
import type { NftFamily, NftHook, NftRule } from "../../../core/host/host-state.ts";
import type { NameOf } from "../netlink/link-messages.ts";
import {
  Attributes,
  type Message,
  type MessageWriter,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REQUEST,
} from "../netlink/message.ts";
import { decodeStatements } from "./decode-statements.ts";
import { type Expression, readExpressions, writeExpressions } from "./expressions.ts";
import { change, DEL, FAMILIES, GENMSG_BYTES, GET, NEW, NFNL_SUBSYS_NFTABLES, type TableKey } from "./request.ts";

const HOOKS = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;
/** The only hook of the netdev family that Weft uses. */
const NF_NETDEV_INGRESS = 0;
const POLICIES = ["drop", "accept"] as const; // NF_DROP, NF_ACCEPT

const NFTA_HOOK = { hook: 1, priority: 2, device: 3 } as const;
const NFTA_CHAIN = { table: 1, name: 3, hook: 4, policy: 5, type: 7 } as const;
const NFTA_RULE = { table: 1, chain: 2, handle: 3, expressions: 4, userdata: 7 } as const;
/** The type of a comment in a rule's user data, which is a list of type, length and value; each of a byte. */
const UDATA_COMMENT = 0;
const NFTA_GEN_ID = 1;

// ---- writing -----------------------------------------------------------------------------------------------------

export function encodeTableAdd(writer: MessageWriter, table: TableKey): void {
  change(writer, NEW.table, NLM_F_CREATE, table.family, () => writer.attributeString(1, table.name));
}

export function encodeTableDelete(writer: MessageWriter, table: TableKey): void {
  change(writer, DEL.table, 0, table.family, () => writer.attributeString(1, table.name));
}

/** Makes the chain unless there is one of this name. Without a hook it is one that is only jumped to. */
export function encodeChainAdd(writer: MessageWriter, table: TableKey, name: string, hook?: NftHook): void {
  change(writer, NEW.chain, NLM_F_CREATE, table.family, () => {
    writer.attributeString(NFTA_CHAIN.table, table.name);
    writer.attributeString(NFTA_CHAIN.name, name);
    if (hook === undefined) return;
    writer.nested(NFTA_CHAIN.hook, () => {
      writer.attributeU32BigEndian(NFTA_HOOK.hook, hook.hook === "ingress" ? NF_NETDEV_INGRESS : HOOKS[hook.hook]);
      writer.attributeU32BigEndian(NFTA_HOOK.priority, hook.priority);
      if (hook.device !== undefined) writer.attributeString(NFTA_HOOK.device, hook.device);
    });
    writer.attributeU32BigEndian(NFTA_CHAIN.policy, POLICIES.indexOf(hook.policy));
    writer.attributeString(NFTA_CHAIN.type, hook.type);
  });
}

export function encodeChainDelete(writer: MessageWriter, table: TableKey, name: string): void {
  change(writer, DEL.chain, 0, table.family, () => {
    writer.attributeString(NFTA_CHAIN.table, table.name);
    writer.attributeString(NFTA_CHAIN.name, name);
  });
}

/** Deletes all rules of the chain. */
export function encodeRulesFlush(writer: MessageWriter, table: TableKey, chain: string): void {
  change(writer, DEL.rule, 0, table.family, () => {
    writer.attributeString(NFTA_RULE.table, table.name);
    writer.attributeString(NFTA_RULE.chain, chain);
  });
}

/** Adds a rule after all others of the chain, or before them. */
export function encodeRuleAdd(
  writer: MessageWriter,
  table: TableKey,
  chain: string,
  { expressions, comment }: { readonly expressions: readonly Expression[]; readonly comment?: string | undefined },
  place: "last" | "first" = "last",
): void {
  change(writer, NEW.rule, NLM_F_CREATE | (place === "last" ? NLM_F_APPEND : 0), table.family, () => {
    writer.attributeString(NFTA_RULE.table, table.name);
    writer.attributeString(NFTA_RULE.chain, chain);
    writer.nested(NFTA_RULE.expressions, () => writeExpressions(writer, expressions));
    if (comment === undefined) return;
    const text = Buffer.from(`${comment}\0`);
    writer.attribute(NFTA_RULE.userdata, Buffer.from([UDATA_COMMENT, text.length, ...text]));
  });
}

export function encodeRuleDelete(writer: MessageWriter, table: TableKey, chain: string, handle: Uint8Array): void {
  change(writer, DEL.rule, 0, table.family, () => {
    writer.attributeString(NFTA_RULE.table, table.name);
    writer.attributeString(NFTA_RULE.chain, chain);
    writer.attribute(NFTA_RULE.handle, handle);
  });
}

// ---- reading -----------------------------------------------------------------------------------------------------

/** Asks for the number that each change of the rule set raises. */
export function encodeGenerationGet(writer: MessageWriter): void {
  writer.message((NFNL_SUBSYS_NFTABLES << 8) | GET.generation, NLM_F_REQUEST, () => writer.u32(0));
}

/** Asks for all tables or all chains of all families. */
export function encodeDumpAll(writer: MessageWriter, what: "table" | "chain"): void {
  writer.message((NFNL_SUBSYS_NFTABLES << 8) | GET[what], NLM_F_REQUEST | NLM_F_DUMP, () => writer.u32(0));
}

/** Asks for all rules or maps of a table, or for what is in one chain or map. */
export function encodeDumpOf(
  writer: MessageWriter,
  what: "rule" | "set" | "element",
  table: TableKey,
  within?: string,
): void {
  change(writer, GET[what], NLM_F_DUMP, table.family, () => {
    writer.attributeString(1, table.name); // NFTA_RULE_TABLE, NFTA_SET_TABLE and NFTA_SET_ELEM_LIST_TABLE are 1
    if (within !== undefined) writer.attributeString(2, within); // NFTA_RULE_CHAIN and NFTA_SET_ELEM_LIST_SET are 2
  });
}

export function decodeGeneration(message: Message): number {
  return new Attributes(message.payload, GENMSG_BYTES).u32BigEndian(NFTA_GEN_ID) ?? 0;
}

/** `undefined` for a family that Weft does not use. */
export function decodeTable(message: Message): TableKey | undefined {
  const family = familyOfMessage(message);
  const name = new Attributes(message.payload, GENMSG_BYTES).string(1);
  return family === undefined || name === undefined ? undefined : { family, name };
}

export interface ObservedChain {
  readonly table: TableKey;
  readonly name: string;
  readonly hook?: NftHook;
  /** What the chain has that HostState cannot say: it can equal no desired chain. */
  readonly foreign?: string;
}

export function decodeChain(message: Message): ObservedChain | undefined {
  const family = familyOfMessage(message);
  const attributes = new Attributes(message.payload, GENMSG_BYTES);
  const table = attributes.string(NFTA_CHAIN.table);
  const name = attributes.string(NFTA_CHAIN.name);
  if (family === undefined || table === undefined || name === undefined) return undefined;
  const chain = { table: { family, name: table }, name };
  const hookAttributes = attributes.nested(NFTA_CHAIN.hook);
  if (hookAttributes === undefined) return chain;
  const hook = decodeHook(attributes, hookAttributes, family);
  return hook === undefined ? { ...chain, foreign: "a hook of another kind" } : { ...chain, hook };
}

function decodeHook(chain: Attributes, attributes: Attributes, family: NftFamily): NftHook | undefined {
  const number = attributes.u32BigEndian(NFTA_HOOK.hook);
  const type = chain.string(NFTA_CHAIN.type);
  const policy = POLICIES[chain.u32BigEndian(NFTA_CHAIN.policy) ?? 1];
  const hook =
    family === "netdev"
      ? number === NF_NETDEV_INGRESS && "ingress"
      : (["prerouting", "input", "forward", "output", "postrouting"] as const)[number ?? -1];
  if (!hook || policy === undefined || (type !== "filter" && type !== "nat")) return undefined;
  const device = attributes.string(NFTA_HOOK.device); // absent where there are several
  const priority = (attributes.u32BigEndian(NFTA_HOOK.priority) ?? 0) | 0;
  return { type, hook, priority, ...(device !== undefined && { device }), policy };
}

export interface ObservedRule {
  readonly chain: string;
  readonly rule: NftRule;
  /** By which the kernel knows it in its table. */
  readonly handle: Uint8Array;
}

export function decodeRule(message: Message, nameOf: NameOf): ObservedRule | undefined {
  const family = familyOfMessage(message);
  const attributes = new Attributes(message.payload, GENMSG_BYTES);
  const chain = attributes.string(NFTA_RULE.chain);
  if (family === undefined || chain === undefined) return undefined;
  const list = attributes.nested(NFTA_RULE.expressions);
  const expressions = list === undefined ? [] : readExpressions(list);
  const match = expressions.find((expression) => expression.name === "comment");
  const others = expressions.filter((expression) => expression !== match);
  const text = match?.text ?? commentIn(attributes.bytes(NFTA_RULE.userdata));
  const comment = text === undefined ? [] : [{ kind: "comment", text } as const];
  const handle = Uint8Array.from(attributes.bytes(NFTA_RULE.handle) ?? []);
  return { chain, rule: [...decodeStatements(others, family, nameOf), ...comment], handle };
}

function commentIn(userdata: Uint8Array | undefined): string | undefined {
  if (userdata?.[0] !== UDATA_COMMENT) return undefined;
  return Buffer.from(userdata.subarray(2, 1 + (userdata[1] ?? 0))).toString();
}

function familyOfMessage(message: Message): NftFamily | undefined {
  return (["ip", "ip6", "netdev"] as const).find((family) => FAMILIES[family] === message.payload[0]);
}
