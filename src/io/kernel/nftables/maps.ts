/**
 * Maps and their elements in nfnetlink. A concatenation is one value to the kernel: its parts, each filled with zeros to
 * whole registers of 4 bytes. Sources: linux/netfilter/nf_tables.h, nftables' include/datatype.h for the type numbers.
 */
import type { NftMap, NftMapType, NftValue, NftVerdict } from "../../../core/host/host-state.ts";
import { assert } from "../../../model/fault.ts";
import { bytesToIp, ip, ipToBytes } from "../../../model/ip.ts";
import { Attributes, type Message, type MessageWriter, NLM_F_CREATE, NLM_F_EXCL } from "../netlink/message.ts";
import { NF_ACCEPT, NF_DROP, NFT_JUMP } from "./fields.ts";
import { change, DEL, GENMSG_BYTES, NEW, type TableKey } from "./request.ts";

const NFTA_SET = { table: 1, name: 2, flags: 3, keyType: 4, keyBytes: 5, dataType: 6, dataBytes: 7, id: 10 } as const;
const NFTA_ELEMENTS = { table: 1, set: 2, list: 3 } as const;
const NFTA_ELEMENT = { key: 1, data: 2 } as const;
const NFTA_DATA_VALUE = 1;
const NFTA_DATA_VERDICT = 2;
const NFTA_VERDICT = { code: 1, chain: 2 } as const;
/** Its length the kernel knows by itself. */
const NFT_DATA_VERDICT = 0xffff_ff00;
const NFTA_LIST_ELEM = 1;
const NFT_SET_MAP = 8;
/** One element of the longest key and value takes 84 bytes, and a list of them must stay below 64 kB. */
const ELEMENTS_PER_MESSAGE = 700;

const REGISTER_BYTES = 4;
/** A concatenation's number has those of its parts, 6 bits each. */
const TYPE_BITS = 6;
/** nft's own numbers of data types, by which it prints a map. */
const PARTS = {
  ipv4_addr: { number: 7, bytes: 4 },
  ipv6_addr: { number: 8, bytes: 16 },
  inet_proto: { number: 12, bytes: 1 },
  inet_service: { number: 13, bytes: 2 },
} as const;
type Part = keyof typeof PARTS;

const PROTOCOLS: readonly (readonly [name: string, number: number])[] = [
  ["tcp", 6],
  ["udp", 17],
];

const MAP_TYPES: readonly NftMapType[] = [
  "ipv4_addr : ipv4_addr",
  "ipv6_addr : ipv6_addr",
  "inet_proto . inet_service : ipv4_addr . inet_service",
  "inet_proto . inet_service : ipv6_addr . inet_service",
  "ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service",
  "ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service",
  "ipv4_addr : verdict",
  "ipv6_addr : verdict",
];

/** Makes an empty map. */
export function encodeMapAdd(writer: MessageWriter, table: TableKey, map: Pick<NftMap, "name" | "type">): void {
  const { key, value } = typesOf(map.type);
  change(writer, NEW.set, NLM_F_CREATE | NLM_F_EXCL, table.family, () => {
    writer.attributeString(NFTA_SET.table, table.name);
    writer.attributeString(NFTA_SET.name, map.name);
    writer.attributeU32BigEndian(NFTA_SET.flags, NFT_SET_MAP);
    writer.attributeU32BigEndian(NFTA_SET.keyType, numberOf(key));
    writer.attributeU32BigEndian(NFTA_SET.keyBytes, bytesOf(key));
    writer.attributeU32BigEndian(NFTA_SET.dataType, dataTypeOf(value));
    if (value !== "verdict") writer.attributeU32BigEndian(NFTA_SET.dataBytes, bytesOf(value));
    // Any number that no other map of the transaction has.
    writer.attributeU32BigEndian(NFTA_SET.id, writer.nextSequence);
  });
}

export function encodeMapDelete(writer: MessageWriter, table: TableKey, map: string): void {
  change(writer, DEL.set, 0, table.family, () => {
    writer.attributeString(NFTA_SET.table, table.name);
    writer.attributeString(NFTA_SET.name, map);
  });
}

/** Adds elements that must not be there yet. */
export function encodeElementsAdd(
  writer: MessageWriter,
  table: TableKey,
  map: Pick<NftMap, "name" | "type">,
  elements: NftMap["elements"],
): void {
  writeElements(writer, NEW.element, NLM_F_CREATE | NLM_F_EXCL, table, map, elements);
}

export function encodeElementsDelete(
  writer: MessageWriter,
  table: TableKey,
  map: Pick<NftMap, "name" | "type">,
  keys: readonly NftValue[],
): void {
  const elements = keys.map((key) => [key] as const);
  writeElements(writer, DEL.element, 0, table, map, elements);
}

function writeElements(
  writer: MessageWriter,
  message: number,
  flags: number,
  table: TableKey,
  map: Pick<NftMap, "name" | "type">,
  elements: readonly (readonly [key: NftValue, value?: NftValue])[],
): void {
  const types = typesOf(map.type);
  const writeValue = (attribute: number, parts: Types["value"], text: NftValue): void =>
    writer.nested(attribute, () => {
      if (parts === "verdict") writeVerdict(writer, text as NftVerdict);
      else writer.attribute(NFTA_DATA_VALUE, valueToBytes(text, parts));
    });
  for (let at = 0; at < elements.length; at += ELEMENTS_PER_MESSAGE)
    change(writer, message, flags, table.family, () => {
      writer.attributeString(NFTA_ELEMENTS.table, table.name);
      writer.attributeString(NFTA_ELEMENTS.set, map.name);
      writer.nested(NFTA_ELEMENTS.list, () => {
        for (const [key, value] of elements.slice(at, at + ELEMENTS_PER_MESSAGE))
          writer.nested(NFTA_LIST_ELEM, () => {
            writeValue(NFTA_ELEMENT.key, types.key, key);
            if (value !== undefined) writeValue(NFTA_ELEMENT.data, types.value, value);
          });
      });
    });
}

/** `undefined` for a set, or a map of types that HostState does not have. */
export function decodeMap(message: Message): Pick<NftMap, "name" | "type"> | undefined {
  const attributes = new Attributes(message.payload, GENMSG_BYTES);
  const name = attributes.string(NFTA_SET.name);
  const key = attributes.u32BigEndian(NFTA_SET.keyType);
  const value = attributes.u32BigEndian(NFTA_SET.dataType);
  const type = MAP_TYPES.find((each) => {
    const types = typesOf(each);
    return numberOf(types.key) === key && dataTypeOf(types.value) === value;
  });
  const isMap = attributes.u32BigEndian(NFTA_SET.flags) === NFT_SET_MAP;
  return isMap && name !== undefined && type !== undefined ? { name, type } : undefined;
}

/** Elements of a map of the type; those of other lengths are left out. */
export function decodeElements(message: Message, type: NftMapType): NftMap["elements"] {
  const types = typesOf(type);
  const list = new Attributes(message.payload, GENMSG_BYTES).nested(NFTA_ELEMENTS.list);
  const pairs: (readonly [NftValue, NftValue])[] = [];
  for (const [, bytes] of list?.entries() ?? []) {
    const element = new Attributes(bytes);
    const key = bytesToValue(element.nested(NFTA_ELEMENT.key)?.bytes(NFTA_DATA_VALUE), types.key);
    const data = element.nested(NFTA_ELEMENT.data);
    const value =
      types.value === "verdict" ? readVerdict(data) : bytesToValue(data?.bytes(NFTA_DATA_VALUE), types.value);
    if (key !== undefined && value !== undefined) pairs.push([key, value]);
  }
  return pairs;
}

interface Types {
  readonly key: readonly Part[];
  readonly value: readonly Part[] | "verdict";
}

function typesOf(type: NftMapType): Types {
  const [key = "", value = ""] = type.split(" : ");
  return { key: key.split(" . ") as Part[], value: value === "verdict" ? value : (value.split(" . ") as Part[]) };
}

function dataTypeOf(value: Types["value"]): number {
  return value === "verdict" ? NFT_DATA_VERDICT : numberOf(value);
}

function writeVerdict(writer: MessageWriter, verdict: NftVerdict): void {
  writer.nested(NFTA_DATA_VERDICT, () => {
    const code = verdict === "drop" ? NF_DROP : verdict === "accept" ? NF_ACCEPT : NFT_JUMP;
    writer.attributeU32BigEndian(NFTA_VERDICT.code, code >>> 0);
    if (code === NFT_JUMP) writer.attributeString(NFTA_VERDICT.chain, verdict.slice("jump ".length));
  });
}

function readVerdict(data: Attributes | undefined): NftVerdict | undefined {
  const verdict = data?.nested(NFTA_DATA_VERDICT);
  const code = (verdict?.u32BigEndian(NFTA_VERDICT.code) ?? Number.NaN) | 0;
  if (verdict === undefined) return undefined;
  if (code === NFT_JUMP) return `jump ${verdict.string(NFTA_VERDICT.chain) ?? ""}`;
  return code === NF_DROP ? "drop" : code === NF_ACCEPT ? "accept" : undefined;
}

function numberOf(parts: readonly Part[]): number {
  return parts.reduce((number, part) => (number << TYPE_BITS) | PARTS[part].number, 0);
}

/** What a part takes: whole registers. */
function widthOf(part: Part): number {
  return Math.ceil(PARTS[part].bytes / REGISTER_BYTES) * REGISTER_BYTES;
}

function bytesOf(parts: readonly Part[]): number {
  return parts.reduce((sum, part) => sum + widthOf(part), 0);
}

function valueToBytes(text: NftValue, parts: readonly Part[]): Uint8Array {
  const bytes = new Uint8Array(bytesOf(parts));
  const words = text.split(" . ");
  assert(words.length === parts.length, `${text} is no ${parts.join(" . ")}`);
  let at = 0;
  for (const [i, part] of parts.entries()) {
    bytes.set(partToBytes(words[i] ?? "", part), at);
    at += widthOf(part);
  }
  return bytes;
}

function partToBytes(word: string, part: Part): Uint8Array {
  if (part === "ipv4_addr" || part === "ipv6_addr") return ipToBytes(ip(word));
  if (part === "inet_service") return Uint8Array.of(Number(word) >> 8, Number(word) & 0xff);
  return Uint8Array.of(PROTOCOLS.find(([name]) => name === word)?.[1] ?? Number(word));
}

function bytesToValue(bytes: Uint8Array | undefined, parts: readonly Part[]): NftValue | undefined {
  if (bytes?.length !== bytesOf(parts)) return undefined;
  let at = 0;
  const words = parts.map((part) => {
    const word = bytesToPart(bytes.subarray(at, at + PARTS[part].bytes), part);
    at += widthOf(part);
    return word;
  });
  return words.join(" . ") as NftValue;
}

function bytesToPart(bytes: Uint8Array, part: Part): string {
  if (part === "ipv4_addr" || part === "ipv6_addr") return bytesToIp(bytes);
  const number = bytes.reduce((sum, byte) => (sum << 8) | byte, 0);
  if (part === "inet_service") return String(number);
  return PROTOCOLS.find(([, known]) => known === number)?.[0] ?? String(number);
}
