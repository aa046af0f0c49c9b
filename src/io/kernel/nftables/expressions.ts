/**
 * nftables expressions: the kernel's instructions, of which the statements of a rule consist.
 *
 * Values are hexadecimal text in network order, so that two expressions are equal by their JSON. An expression with
 * anything in it that is not said here is `unknown`: it must never pass for one of ours.
 * Source: linux/netfilter/nf_tables.h, attributes of each expression; all numbers are big-endian.
 */
import { Attributes, type MessageWriter } from "../netlink/message.ts";

export type Expression =
  | {
      readonly name: "payload";
      readonly base: number;
      readonly offset: number;
      readonly bytes: number;
      readonly to: number;
    }
  | { readonly name: "meta"; readonly key: number; readonly to: number }
  | { readonly name: "cmp"; readonly from: number; readonly op: (typeof CMP_OPS)[number]; readonly value: string }
  | { readonly name: "bitwise"; readonly from: number; readonly to: number; readonly mask: string }
  | { readonly name: "immediate"; readonly to: number; readonly value: string }
  | { readonly name: "verdict"; readonly code: number; readonly chain?: string }
  | { readonly name: "lookup"; readonly set: string; readonly from: number; readonly to: number }
  | { readonly name: "fwd"; readonly device: number; readonly address: number; readonly protocol: number }
  | { readonly name: "fib daddr type"; readonly to: number }
  | { readonly name: "ct status"; readonly to: number }
  | { readonly name: "ct direction"; readonly to: number }
  /** A destination NAT: the registers of the address and of the port, and their protocol family. */
  | { readonly name: "dnat"; readonly protocol: number; readonly address: number; readonly port: number }
  /** Bytes per second and bytes; it goes on with what is over. */
  | { readonly name: "limit"; readonly rate: number; readonly burst: number }
  /** What it has counted is left out. */
  | { readonly name: "counter" }
  /** As iptables writes one, by a match of its own; read, and never written. */
  | { readonly name: "comment"; readonly text: string }
  | { readonly name: "notrack" }
  | { readonly name: "masq" }
  | { readonly name: "unknown"; readonly text: string };

const NFTA_LIST_ELEM = 1;
const NFTA_EXPR_NAME = 1;
const NFTA_EXPR_DATA = 2;
const NFTA_DATA_VALUE = 1;
const NFTA_DATA_VERDICT = 2;
const NFTA_VERDICT_CODE = 1;
const NFTA_VERDICT_CHAIN = 2;
const NFT_REG_VERDICT = 0;
const CMP_OPS = ["==", "!=", "<", "<=", ">", ">="] as const; // by NFT_CMP_…
/** Where the kernel has another name for an expression than we have. */
const KERNEL_NAMES: Readonly<Record<string, string>> = {
  verdict: "immediate",
  "fib daddr type": "fib",
  "ct status": "ct",
  "ct direction": "ct",
  dnat: "nat",
};
const NFT_FIB_RESULT_ADDRTYPE = 3;
const NFTA_FIB_F_DADDR = 2;
const NFT_CT_DIRECTION = 1;
const NFT_CT_STATUS = 2;
const NFT_NAT_DNAT = 1;
const NFT_LIMIT_PKT_BYTES = 1;
const NFT_LIMIT_F_INV = 1;
/** What the kernel adds to a NAT that names an address and a port. */
const NF_NAT_RANGE_MAP_IPS = 1;
const NF_NAT_RANGE_PROTO_SPECIFIED = 2;
const NFTA_MATCH_NAME = 1;
const NFTA_MATCH_INFO = 3;

/** Writes the expressions of a rule, each as an element of the list attribute that is open. */
export function writeExpressions(writer: MessageWriter, expressions: readonly Expression[]): void {
  for (const expression of expressions)
    writer.nested(NFTA_LIST_ELEM, () => {
      writer.attributeString(NFTA_EXPR_NAME, KERNEL_NAMES[expression.name] ?? expression.name);
      if (expression.name !== "notrack") writer.nested(NFTA_EXPR_DATA, () => writeBody(writer, expression));
    });
}

/** @throws Fault kernel-refused on garbage */
export function readExpressions(list: Attributes): Expression[] {
  return Array.from(list.entries(), ([, bytes]) => readExpression(new Attributes(bytes)));
}

function writeBody(writer: MessageWriter, expression: Expression): void {
  const numbers = (...values: number[]) => {
    for (const [i, value] of values.entries()) writer.attributeU32BigEndian(i + 1, value);
  };
  switch (expression.name) {
    case "payload":
      numbers(expression.to, expression.base, expression.offset, expression.bytes);
      break;
    case "meta":
      numbers(expression.to, expression.key);
      break;
    case "cmp":
      numbers(expression.from, CMP_OPS.indexOf(expression.op));
      writeValue(writer, 3, expression.value);
      break;
    case "bitwise":
      numbers(expression.from, expression.to, expression.mask.length / 2);
      writeValue(writer, 4, expression.mask);
      writeValue(writer, 5, "0".repeat(expression.mask.length));
      break;
    case "immediate":
      numbers(expression.to);
      writeValue(writer, 2, expression.value);
      break;
    case "verdict":
      numbers(NFT_REG_VERDICT);
      writer.nested(2, () => writeVerdict(writer, expression));
      break;
    case "lookup":
      writer.attributeString(1, expression.set);
      writer.attributeU32BigEndian(2, expression.from);
      writer.attributeU32BigEndian(3, expression.to);
      break;
    case "fib daddr type":
      numbers(expression.to, NFT_FIB_RESULT_ADDRTYPE, NFTA_FIB_F_DADDR);
      break;
    case "ct status":
      numbers(expression.to, NFT_CT_STATUS);
      break;
    case "ct direction":
      numbers(expression.to, NFT_CT_DIRECTION);
      break;
    case "dnat":
      numbers(NFT_NAT_DNAT, expression.protocol, expression.address);
      writer.attributeU32BigEndian(5, expression.port);
      break;
    case "limit":
      writer.attribute(1, u64(expression.rate));
      writer.attribute(2, u64(1)); // of one second
      writer.attributeU32BigEndian(3, expression.burst);
      writer.attributeU32BigEndian(4, NFT_LIMIT_PKT_BYTES);
      writer.attributeU32BigEndian(5, NFT_LIMIT_F_INV);
      break;
    case "fwd":
      numbers(expression.device, expression.address, expression.protocol);
      break;
  }
}

function u64(value: number): Uint8Array {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

function writeValue(writer: MessageWriter, type: number, value: string): void {
  writer.nested(type, () => writer.attribute(NFTA_DATA_VALUE, Buffer.from(value, "hex")));
}

function writeVerdict(writer: MessageWriter, verdict: Extract<Expression, { name: "verdict" }>): void {
  writer.nested(NFTA_DATA_VERDICT, () => {
    writer.attributeU32BigEndian(NFTA_VERDICT_CODE, verdict.code);
    if (verdict.chain !== undefined) writer.attributeString(NFTA_VERDICT_CHAIN, verdict.chain);
  });
}

function readExpression(expression: Attributes): Expression {
  const name = expression.string(NFTA_EXPR_NAME) ?? "";
  const body = expression.nested(NFTA_EXPR_DATA) ?? new Attributes(new Uint8Array());
  return readBody(name, body) ?? { name: "unknown", text: name };
}

function readBody(name: string, body: Attributes): Expression | undefined {
  const number = (type: number) => body.u32BigEndian(type) ?? 0;
  switch (name) {
    case "payload":
      // Without a target register it writes to the packet.
      if (number(1) === 0) return undefined;
      return { name, base: number(2), offset: number(3), bytes: number(4), to: number(1) };
    case "meta":
      return number(1) === 0 ? undefined : { name, key: number(2), to: number(1) };
    case "cmp": {
      const op = CMP_OPS[number(2)];
      return op && { name, from: number(1), op, value: readValue(body.nested(3)) };
    }
    case "bitwise": {
      const shiftsOrFlips = number(6) !== 0 || /[^0]/.test(readValue(body.nested(5)));
      return shiftsOrFlips ? undefined : { name, from: number(1), to: number(2), mask: readValue(body.nested(4)) };
    }
    case "immediate":
      return readImmediate(number(1), body.nested(2));
    case "lookup":
      // Without a target register it only asks whether the key is there; flags turn the answer around.
      if (body.bytes(3) === undefined || number(5) !== 0) return undefined;
      return { name, set: body.string(1) ?? "", from: number(2), to: number(3) };
    case "fib":
      if (number(2) !== NFT_FIB_RESULT_ADDRTYPE || number(3) !== NFTA_FIB_F_DADDR) return undefined;
      return { name: "fib daddr type", to: number(1) };
    case "ct":
      // Without a target register it sets; a direction asks for something else.
      if (number(1) === 0 || body.bytes(3) !== undefined) return undefined;
      if (number(2) === NFT_CT_DIRECTION) return { name: "ct direction", to: number(1) };
      return number(2) === NFT_CT_STATUS ? { name: "ct status", to: number(1) } : undefined;
    case "nat":
      return readNat(body);
    case "limit":
      return readLimit(body);
    case "fwd":
      return { name, device: number(1), address: number(2), protocol: number(3) };
    case "counter":
    case "notrack":
      return { name };
    case "match":
      return body.string(NFTA_MATCH_NAME) === "comment" ? readComment(body) : undefined;
    case "masq":
      return isEmpty(body) ? { name } : undefined;
    default:
      return undefined;
  }
}

/** One that chooses from a range, or is told how to, is none of ours. */
function readNat(body: Attributes): Expression | undefined {
  const number = (type: number) => body.u32BigEndian(type) ?? 0;
  const [address, port] = [number(3), number(5)];
  const isOne = (number(4) || address) === address && (number(6) || port) === port;
  const isPlain = (number(7) & ~(NF_NAT_RANGE_MAP_IPS | NF_NAT_RANGE_PROTO_SPECIFIED)) === 0;
  if (number(1) !== NFT_NAT_DNAT || !isOne || !isPlain || address === 0 || port === 0) return undefined;
  return { name: "dnat", protocol: number(2), address, port };
}

function readComment(match: Attributes): Expression {
  const [text = ""] = Buffer.from(match.bytes(NFTA_MATCH_INFO) ?? [])
    .toString()
    .split("\0");
  return { name: "comment", text };
}

function readLimit(body: Attributes): Expression | undefined {
  const [rate, seconds] = [body.bytes(1), body.bytes(2)].map((bytes) =>
    bytes?.length === 8 ? Number(Buffer.from(bytes).readBigUInt64BE()) : undefined,
  );
  const isOurs = body.u32BigEndian(4) === NFT_LIMIT_PKT_BYTES && body.u32BigEndian(5) === NFT_LIMIT_F_INV;
  if (rate === undefined || seconds !== 1 || !isOurs) return undefined;
  return { name: "limit", rate, burst: body.u32BigEndian(3) ?? 0 };
}

function readImmediate(register: number, data: Attributes | undefined): Expression | undefined {
  if (register !== NFT_REG_VERDICT) return { name: "immediate", to: register, value: readValue(data) };
  const verdict = data?.nested(NFTA_DATA_VERDICT);
  const code = verdict?.u32BigEndian(NFTA_VERDICT_CODE);
  if (code === undefined) return undefined;
  const chain = verdict?.string(NFTA_VERDICT_CHAIN);
  return { name: "verdict", code: code | 0, ...(chain !== undefined && { chain }) };
}

function readValue(data: Attributes | undefined): string {
  return Buffer.from(data?.bytes(NFTA_DATA_VALUE) ?? []).toString("hex");
}

function isEmpty(attributes: Attributes): boolean {
  return attributes.entries().next().done === true;
}
