/**
 * Tables, chains, rules and maps in nfnetlink: one message per object. Changes take effect only inside a transaction
 * (transaction.ts). Source: linux/netfilter/nf_tables.h; all numbers are big-endian.
 */
import type { NftFamily, NftHook, NftMap, NftStatement } from "../../../core/host/host-state.ts";
import { bytesToIp, type Ip, ipToBytes } from "../../../model/ip.ts";
import type { NameOf } from "../netlink/link-messages.ts";
import {
  Attributes,
  type Message,
  type MessageWriter,
  NLM_F_APPEND,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REQUEST,
} from "../netlink/message.ts";
import { type Expression, readExpressions, writeExpressions } from "./expressions.ts";
import { decodeStatements } from "./statements.ts";

const NFNL_SUBSYS_NFTABLES = 10;
/** struct nfgenmsg: family, version, resource */
const GENMSG_BYTES = 4;
const GET = { table: 1, chain: 4, rule: 7, set: 10, element: 13, generation: 16 } as const;
const NEW = { table: 0, chain: 3, rule: 6, set: 9, element: 12 } as const;
const DEL = { table: 2, chain: 5, rule: 8, element: 14 } as const;

const FAMILIES: Readonly<Record<NftFamily, number>> = { ip: 2, ip6: 10, netdev: 5 };
const HOOKS = { prerouting: 0, input: 1, forward: 2, output: 3, postrouting: 4 } as const;
/** The only hook of the netdev family that Weft uses. */
const NF_NETDEV_INGRESS = 0;
const POLICIES = ["drop", "accept"] as const; // NF_DROP, NF_ACCEPT

const NFTA_HOOK = { hook: 1, priority: 2, device: 3 } as const;
const NFTA_CHAIN = { table: 1, name: 3, hook: 4, policy: 5, type: 7 } as const;
const NFTA_RULE = { table: 1, chain: 2, expressions: 4 } as const;
const NFTA_SET = { table: 1, name: 2, flags: 3, keyType: 4, keyBytes: 5, dataType: 6, dataBytes: 7, id: 10 } as const;
const NFTA_ELEMENTS = { table: 1, set: 2, list: 3 } as const;
const NFTA_ELEMENT = { key: 1, data: 2 } as const;
const NFTA_DATA_VALUE = 1;
const NFTA_LIST_ELEM = 1;
const NFTA_GEN_ID = 1;
const NFT_SET_MAP = 8;
/** nft's own numbers of data types, by which it prints a map. */
const TYPES = { ipv4_addr: { number: 7, bytes: 4 }, ipv6_addr: { number: 8, bytes: 16 } } as const;
/** One element of two IPv6 addresses takes 60 bytes, and a list of them must stay below 64 kB. */
const ELEMENTS_PER_MESSAGE = 1_000;

/** The table that an object is in. */
export interface TableKey {
  readonly family: NftFamily;
  readonly name: string;
}

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

/** Appends a rule. */
export function encodeRuleAppend(
  writer: MessageWriter,
  table: TableKey,
  chain: string,
  expressions: readonly Expression[],
): void {
  change(writer, NEW.rule, NLM_F_CREATE | NLM_F_APPEND, table.family, () => {
    writer.attributeString(NFTA_RULE.table, table.name);
    writer.attributeString(NFTA_RULE.chain, chain);
    writer.nested(NFTA_RULE.expressions, () => writeExpressions(writer, expressions));
  });
}

/** Makes an empty map. */
export function encodeMapAdd(writer: MessageWriter, table: TableKey, map: NftMap): void {
  const { number, bytes } = TYPES[map.type];
  change(writer, NEW.set, NLM_F_CREATE | NLM_F_EXCL, table.family, () => {
    writer.attributeString(NFTA_SET.table, table.name);
    writer.attributeString(NFTA_SET.name, map.name);
    writer.attributeU32BigEndian(NFTA_SET.flags, NFT_SET_MAP);
    writer.attributeU32BigEndian(NFTA_SET.keyType, number);
    writer.attributeU32BigEndian(NFTA_SET.keyBytes, bytes);
    writer.attributeU32BigEndian(NFTA_SET.dataType, number);
    writer.attributeU32BigEndian(NFTA_SET.dataBytes, bytes);
    // Any number that no other map of the transaction has.
    writer.attributeU32BigEndian(NFTA_SET.id, writer.nextSequence);
  });
}

/** Adds elements that must not be there yet. */
export function encodeElementsAdd(
  writer: MessageWriter,
  table: TableKey,
  map: string,
  elements: NftMap["elements"],
): void {
  writeElements(writer, NEW.element, NLM_F_CREATE | NLM_F_EXCL, table, map, elements);
}

export function encodeElementsDelete(writer: MessageWriter, table: TableKey, map: string, keys: readonly Ip[]): void {
  const elements = keys.map((key) => [key] as const);
  writeElements(writer, DEL.element, 0, table, map, elements);
}

function writeElements(
  writer: MessageWriter,
  message: number,
  flags: number,
  table: TableKey,
  map: string,
  elements: readonly (readonly [Ip, Ip?])[],
): void {
  for (let at = 0; at < elements.length; at += ELEMENTS_PER_MESSAGE)
    change(writer, message, flags, table.family, () => {
      writer.attributeString(NFTA_ELEMENTS.table, table.name);
      writer.attributeString(NFTA_ELEMENTS.set, map);
      writer.nested(NFTA_ELEMENTS.list, () => {
        for (const [key, value] of elements.slice(at, at + ELEMENTS_PER_MESSAGE)) writeElement(writer, key, value);
      });
    });
}

function writeElement(writer: MessageWriter, key: Ip, value: Ip | undefined): void {
  writer.nested(NFTA_LIST_ELEM, () => {
    writer.nested(NFTA_ELEMENT.key, () => writer.attribute(NFTA_DATA_VALUE, ipToBytes(key)));
    if (value !== undefined)
      writer.nested(NFTA_ELEMENT.data, () => writer.attribute(NFTA_DATA_VALUE, ipToBytes(value)));
  });
}

function change(writer: MessageWriter, message: number, flags: number, family: NftFamily, body: () => void): void {
  writer.message((NFNL_SUBSYS_NFTABLES << 8) | message, NLM_F_REQUEST | flags, () => {
    writer.u32(FAMILIES[family]);
    body();
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

/** Asks for all rules or maps of a table, or for the elements of one map. */
export function encodeDumpOf(
  writer: MessageWriter,
  what: "rule" | "set" | "element",
  table: TableKey,
  map?: string,
): void {
  change(writer, GET[what], NLM_F_DUMP, table.family, () => {
    writer.attributeString(1, table.name); // NFTA_RULE_TABLE, NFTA_SET_TABLE and NFTA_SET_ELEM_LIST_TABLE are 1
    if (map !== undefined) writer.attributeString(NFTA_ELEMENTS.set, map);
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

/** A rule with the name of its chain. */
export function decodeRule(
  message: Message,
  nameOf: NameOf,
): { readonly chain: string; readonly rule: readonly NftStatement[] } | undefined {
  const family = familyOfMessage(message);
  const attributes = new Attributes(message.payload, GENMSG_BYTES);
  const chain = attributes.string(NFTA_RULE.chain);
  if (family === undefined || chain === undefined) return undefined;
  const list = attributes.nested(NFTA_RULE.expressions);
  return { chain, rule: decodeStatements(list === undefined ? [] : readExpressions(list), family, nameOf) };
}

/** `undefined` for a set, or a map of other types than address to address. */
export function decodeMap(message: Message): Pick<NftMap, "name" | "type"> | undefined {
  const attributes = new Attributes(message.payload, GENMSG_BYTES);
  const name = attributes.string(NFTA_SET.name);
  const key = attributes.u32BigEndian(NFTA_SET.keyType);
  const type = (["ipv4_addr", "ipv6_addr"] as const).find((each) => TYPES[each].number === key);
  const isMap = attributes.u32BigEndian(NFTA_SET.flags) === NFT_SET_MAP;
  if (!isMap || name === undefined || type === undefined || attributes.u32BigEndian(NFTA_SET.dataType) !== key)
    return undefined;
  return { name, type };
}

/** Elements of a map; those that are no pair of addresses are left out. */
export function decodeElements(message: Message): NftMap["elements"] {
  const list = new Attributes(message.payload, GENMSG_BYTES).nested(NFTA_ELEMENTS.list);
  const pairs: (readonly [Ip, Ip])[] = [];
  for (const [, bytes] of list?.entries() ?? []) {
    const element = new Attributes(bytes);
    const key = element.nested(NFTA_ELEMENT.key)?.bytes(NFTA_DATA_VALUE);
    const value = element.nested(NFTA_ELEMENT.data)?.bytes(NFTA_DATA_VALUE);
    if (isAddress(key) && isAddress(value)) pairs.push([bytesToIp(key), bytesToIp(value)]);
  }
  return pairs;
}

function isAddress(bytes: Uint8Array | undefined): bytes is Uint8Array {
  return bytes?.length === 4 || bytes?.length === 16;
}

function familyOfMessage(message: Message): NftFamily | undefined {
  return (["ip", "ip6", "netdev"] as const).find((family) => FAMILIES[family] === message.payload[0]);
}
