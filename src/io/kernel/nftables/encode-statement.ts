/**
 * Statements of HostState as the kernel's expressions, in the forms that `nft` writes (`nft --debug=netlink` shows them),
 * so that `nft list ruleset` reads well.
 */
import type { NftAddressField, NftFamily, NftStatement } from "../../../core/host/host-state.ts";
import { addressBits, addressOf, familyOf, ipToBytes, lengthOf } from "../../../model/ip.ts";
import { macToBytes } from "../../../model/mac.ts";
import type { IndexOf } from "../netlink/link-messages.ts";
import type { Expression } from "./expressions.ts";
import {
  ADDRESSES,
  ARP,
  DESTINATION_TRANSLATED,
  ETHERNET,
  KEY_ADDRESSES,
  LINK_HEADER,
  LOCAL_ADDRESS,
  MAC_SOURCE,
  META,
  NETWORK_HEADER,
  NF_ACCEPT,
  NF_DROP,
  NFPROTO,
  NFT_JUMP,
  NFT_RETURN,
  REPLY_DIRECTION,
  registerAt,
  TRANSPORT_HEADER,
  TRANSPORTS,
  VERDICT_REGISTER,
} from "./fields.ts";

const VERDICTS = { accept: NF_ACCEPT, drop: NF_DROP, return: NFT_RETURN } as const;
const REGISTER_1 = registerAt(0);
const REGISTER_2 = registerAt(4);

type Statement<K extends NftStatement["kind"]> = Extract<NftStatement, { kind: K }>;
type Compare = Extract<Expression, { name: "cmp" }>;

/**
 * The expressions of one statement in a table of `family`; `undefined` when it names a device that is not there, or is
 * `unknown`.
 */
export function encodeStatement(
  statement: NftStatement,
  family: NftFamily,
  indexOf: IndexOf,
): readonly Expression[] | undefined {
  switch (statement.kind) {
    case "match":
      return [...headerCheck(family, statement.field), ...prefixCheck(statement)];
    case "range":
      return rangeCheck(statement, family);
    case "ether saddr":
      return [
        ...metaCheck(META.iiftype, ETHERNET),
        payload(LINK_HEADER, MAC_SOURCE.offset, MAC_SOURCE.bytes, REGISTER_1),
        compare(statement.op, hex(macToBytes(statement.mac))),
      ];
    case "arp saddr ip":
      return [
        ...metaCheck(META.protocol, ARP.etherType),
        payload(NETWORK_HEADER, ARP.sender.offset, ARP.sender.bytes, REGISTER_1),
        compare("==", hex(ipToBytes(statement.ip))),
      ];
    case "iifname":
    case "oifname":
      return metaCheck(META[statement.kind], deviceName(statement.device));
    case "mapped":
      return [...headerCheck(family, statement.field), ...mapCheck(statement)];
    case "vmap":
      return [...headerCheck(family, statement.field), ...verdictOf(statement)];
    case "fib daddr type local":
      return [{ name: "fib daddr type", to: REGISTER_1 }, compare("==", LOCAL_ADDRESS)];
    case "ct status dnat":
      return [
        { name: "ct status", to: REGISTER_1 },
        { name: "bitwise", from: REGISTER_1, to: REGISTER_1, mask: DESTINATION_TRANSLATED },
        compare("!=", "00000000"),
      ];
    case "ct direction reply":
      return [{ name: "ct direction", to: REGISTER_1 }, compare("==", REPLY_DIRECTION)];
    case "limit over":
      return [{ name: "limit", rate: statement.rate, burst: statement.burst }];
    case "counter":
      return [{ name: "counter" }];
    case "comment":
      return []; // beside the expressions (objects.ts)
    case "notrack":
      return [{ name: "notrack" }];
    case "masquerade":
      return [{ name: "masq" }];
    case "accept":
    case "drop":
    case "return":
      return [{ name: "verdict", code: VERDICTS[statement.kind] }];
    case "jump":
      return [{ name: "verdict", code: NFT_JUMP, chain: statement.chain }];
    case "dnat":
      return translate(statement);
    case "forward": {
      const index = indexOf(statement.device);
      return index === undefined ? undefined : [...headerCheck(family, statement.field), ...forward(statement, index)];
    }
    case "unknown":
      return undefined;
  }
}

/** In a table of another family than the field's, that the packet has such a header is not known. */
function headerCheck(family: NftFamily, field: NftAddressField): readonly Expression[] {
  return field.startsWith(`${family} `) ? [] : metaCheck(META.protocol, ADDRESSES[field].etherType);
}

function prefixCheck({ field, op, prefix }: Statement<"match">): readonly Expression[] {
  const { offset, bytes } = ADDRESSES[field];
  const length = lengthOf(prefix);
  const network = hex(ipToBytes(addressOf(prefix)));
  if (length > 0 && length % 8 === 0)
    return [payload(NETWORK_HEADER, offset, length / 8, REGISTER_1), compare(op, network.slice(0, length / 4))];
  return [
    payload(NETWORK_HEADER, offset, bytes, REGISTER_1),
    { name: "bitwise", from: REGISTER_1, to: REGISTER_1, mask: maskOf(addressBits(familyOf(prefix)), length) },
    compare(op, network),
  ];
}

function maskOf(bits: number, length: number): string {
  const ones = "1".repeat(length).padEnd(bits, "0");
  return BigInt(`0b${ones}`)
    .toString(16)
    .padStart(bits / 4, "0");
}

function rangeCheck({ field, first, last }: Statement<"range">, family: NftFamily): readonly Expression[] {
  const transport = TRANSPORTS[field];
  const value = (number: number) => number.toString(16).padStart(2 * transport.bytes, "0");
  return [
    ...("address" in transport ? headerCheck(family, transport.address) : []),
    ...metaCheck(META.l4proto, transport.protocol),
    payload(TRANSPORT_HEADER, transport.offset, transport.bytes, REGISTER_1),
    ...(first === last ? [compare("==", value(first))] : [compare(">=", value(first)), compare("<=", value(last))]),
  ];
}

function mapCheck({ field, map }: Statement<"mapped">): readonly Expression[] {
  const { offset, bytes } = ADDRESSES[field];
  return [
    payload(NETWORK_HEADER, offset, bytes, REGISTER_1),
    { name: "lookup", set: map, from: REGISTER_1, to: REGISTER_1 },
    compare("!=", "00".repeat(bytes)),
  ];
}

function verdictOf({ field, length, map }: Statement<"vmap">): readonly Expression[] {
  const { offset, bytes } = ADDRESSES[field];
  const mask: readonly Expression[] =
    length === bytes * 8
      ? []
      : [{ name: "bitwise", from: REGISTER_1, to: REGISTER_1, mask: maskOf(bytes * 8, length) }];
  return [
    payload(NETWORK_HEADER, offset, bytes, REGISTER_1),
    ...mask,
    { name: "lookup", set: map, from: REGISTER_1, to: VERDICT_REGISTER },
  ];
}

/** Of a name that ends with `*` what comes before it, of another all 16 bytes. */
function deviceName(name: string): string {
  return name.endsWith("*") ? hex(Buffer.from(name.slice(0, -1))) : hex(Buffer.from(name)).padEnd(32, "0");
}

/** The parts of the key fill registers one after another; so does what the map answers. */
function translate({ family, key, map }: Statement<"dnat">): readonly Expression[] {
  const field = KEY_ADDRESSES[key];
  const addressWords = field === undefined ? 0 : ADDRESSES[field].bytes / 4;
  const { bytes } = ADDRESSES[`${family} daddr`];
  return [
    ...(field === undefined
      ? []
      : [payload(NETWORK_HEADER, ADDRESSES[field].offset, ADDRESSES[field].bytes, REGISTER_1)]),
    { name: "meta", key: META.l4proto, to: registerAt(addressWords) },
    payload(TRANSPORT_HEADER, TRANSPORTS["tcp dport"].offset, 2, registerAt(addressWords + 1)),
    { name: "lookup", set: map, from: REGISTER_1, to: REGISTER_1 },
    { name: "dnat", protocol: NFPROTO[family], address: REGISTER_1, port: registerAt(bytes / 4) },
  ];
}

function forward(statement: Statement<"forward">, ifindex: number): readonly Expression[] {
  const { offset, bytes, nfproto } = ADDRESSES[statement.field];
  const index = Buffer.alloc(4);
  index.writeUInt32LE(ifindex); // a device's index stays in the machine's order
  return [
    { name: "immediate", to: REGISTER_1, value: index.toString("hex") },
    payload(NETWORK_HEADER, offset, bytes, REGISTER_2),
    { name: "lookup", set: statement.map, from: REGISTER_2, to: REGISTER_2 },
    { name: "fwd", device: REGISTER_1, address: REGISTER_2, protocol: nfproto },
  ];
}

function metaCheck(key: number, value: string): readonly Expression[] {
  return [{ name: "meta", key, to: REGISTER_1 }, compare("==", value)];
}

function payload(base: number, offset: number, bytes: number, to: number): Expression {
  return { name: "payload", base, offset, bytes, to };
}

function compare(op: Compare["op"], value: string): Compare {
  return { name: "cmp", from: REGISTER_1, op, value };
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
