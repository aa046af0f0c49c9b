/**
 * Statements of HostState ↔ expressions of the kernel, both ways.
 *
 * The forms are those that `nft` writes, so that `nft list ruleset` reads well. Whatever comes from the kernel counts
 * as a statement only if that statement would be written in exactly the same expressions; all else is `unknown`.
 */
import { isDeepStrictEqual } from "node:util";
import type { NftAddressField, NftFamily, NftStatement } from "../../../core/host/host-state.ts";
import {
  addressBits,
  addressOf,
  bytesToIp,
  type Cidr,
  familyOf,
  ipToBytes,
  lengthOf,
  networkOf,
  withLength,
} from "../../../model/ip.ts";
import type { IndexOf, NameOf } from "../netlink/link-messages.ts";
import type { Expression } from "./expressions.ts";

const REGISTER_1 = 1;
const REGISTER_2 = 2;
const NETWORK_HEADER = 1;
const TRANSPORT_HEADER = 2;
const META_PROTOCOL = 1;
const META_L4PROTO = 16;
/** NFT_META_IIFNAME and NFT_META_OIFNAME; a name fills 16 bytes with zeros. */
const DEVICE_KEYS = { iifname: 6, oifname: 7 } as const;
const IPPROTO_UDP = "11";
const UDP_DPORT_OFFSET = 2;

const NF_DROP = 0;
const NF_ACCEPT = 1;
const NFT_JUMP = -3;
const NFT_RETURN = -5;
const VERDICTS = { accept: NF_ACCEPT, drop: NF_DROP, return: NFT_RETURN } as const;

/** Where an address lies in its header, and the EtherType and protocol family of that header. */
const FIELDS = {
  "ip saddr": { offset: 12, bytes: 4, etherType: "0800", nfproto: 2 },
  "ip daddr": { offset: 16, bytes: 4, etherType: "0800", nfproto: 2 },
  "ip6 saddr": { offset: 8, bytes: 16, etherType: "86dd", nfproto: 10 },
  "ip6 daddr": { offset: 24, bytes: 16, etherType: "86dd", nfproto: 10 },
} as const satisfies Record<NftAddressField, unknown>;

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
      return [...headerCheck(family, statement.field), ...prefixCheck(statement.field, statement.op, statement.prefix)];
    case "iifname":
    case "oifname":
      return [
        { name: "meta", key: DEVICE_KEYS[statement.kind], to: REGISTER_1 },
        {
          name: "cmp",
          from: REGISTER_1,
          op: "==",
          value: Buffer.from(statement.device).toString("hex").padEnd(32, "0"),
        },
      ];
    case "udp dport":
      return [
        { name: "meta", key: META_L4PROTO, to: REGISTER_1 },
        { name: "cmp", from: REGISTER_1, op: "==", value: IPPROTO_UDP },
        { name: "payload", base: TRANSPORT_HEADER, offset: UDP_DPORT_OFFSET, bytes: 2, to: REGISTER_1 },
        { name: "cmp", from: REGISTER_1, op: "==", value: statement.port.toString(16).padStart(4, "0") },
      ];
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
    case "forward": {
      const index = indexOf(statement.device);
      return index === undefined ? undefined : [...headerCheck(family, statement.field), ...forward(statement, index)];
    }
    case "unknown":
      return undefined;
  }
}

/** The statements of a rule. From the first expression that is not ours on, the rest is one `unknown`. */
export function decodeStatements(
  expressions: readonly Expression[],
  family: NftFamily,
  nameOf: NameOf,
): readonly NftStatement[] {
  const statements: NftStatement[] = [];
  for (let at = 0; at < expressions.length; ) {
    const rest = expressions.slice(at);
    const taken = takeStatement(rest, family, nameOf);
    if (taken === undefined) {
      const text = rest.map((e) => (e.name === "unknown" ? e.text : e.name)).join(" ");
      return [...statements, { kind: "unknown", text }];
    }
    statements.push(taken.statement);
    at += taken.length;
  }
  return statements;
}

/** Guesses what the next expressions mean, and believes it only if it would be written so. */
function takeStatement(
  rest: readonly Expression[],
  family: NftFamily,
  nameOf: NameOf,
): { readonly statement: NftStatement; readonly length: number } | undefined {
  const first = rest[0];
  const checksHeader = first?.name === "meta" && first.key === META_PROTOCOL;
  const body = checksHeader ? rest.slice(2) : rest;
  const statement = guessMatch(body) ?? guessForward(body, nameOf) ?? guessOther(body);
  if (statement === undefined) return undefined;
  const index = body[0]?.name === "immediate" ? Buffer.from(body[0].value, "hex").readUInt32LE() : undefined;
  const written = encodeStatement(statement, family, () => index);
  if (written === undefined || !isDeepStrictEqual(written, rest.slice(0, written.length))) return undefined;
  return { statement, length: written.length };
}

function guessMatch(body: readonly Expression[]): NftStatement | undefined {
  const [load, second, third] = body;
  if (load?.name !== "payload" || load.base !== NETWORK_HEADER) return undefined;
  const mask = second?.name === "bitwise" ? second.mask : undefined;
  const compare = mask === undefined ? second : third;
  if (compare?.name !== "cmp") return undefined;
  const field = fieldAt(load.offset, load.bytes);
  const length = mask === undefined ? load.bytes * 8 : onesOf(mask);
  if (field === undefined || length > FIELDS[field].bytes * 8) return undefined;
  const network = new Uint8Array(FIELDS[field].bytes);
  network.set(Buffer.from(compare.value, "hex").subarray(0, network.length));
  return { kind: "match", field, op: compare.op, prefix: networkOf(withLength(bytesToIp(network), length)) };
}

function guessForward(body: readonly Expression[], nameOf: NameOf): NftStatement | undefined {
  const [immediate, load, lookup, fwd] = body;
  if (immediate?.name !== "immediate" || load?.name !== "payload") return undefined;
  if (lookup?.name !== "lookup" || fwd?.name !== "fwd" || immediate.value.length !== 8) return undefined;
  const device = nameOf(Buffer.from(immediate.value, "hex").readUInt32LE());
  const field = fieldAt(load.offset, load.bytes);
  if (device === undefined || (field !== "ip daddr" && field !== "ip6 daddr")) return undefined;
  return { kind: "forward", field, map: lookup.set, device };
}

function guessOther(body: readonly Expression[]): NftStatement | undefined {
  const first = body[0];
  if (first?.name === "notrack") return { kind: "notrack" };
  if (first?.name === "masq") return { kind: "masquerade" };
  if (first?.name === "verdict") return guessVerdict(first.code, first.chain);
  return first?.name === "meta" ? guessMeta(first.key, body[1], body[3]) : undefined;
}

function guessMeta(
  key: number,
  compare: Expression | undefined,
  port: Expression | undefined,
): NftStatement | undefined {
  if (compare?.name !== "cmp") return undefined;
  if (key === META_L4PROTO)
    return port?.name === "cmp" ? { kind: "udp dport", port: Number.parseInt(port.value, 16) } : undefined;
  const kind = (["iifname", "oifname"] as const).find((each) => DEVICE_KEYS[each] === key);
  return kind && { kind, device: Buffer.from(compare.value, "hex").toString().replace(/\0+$/, "") };
}

function guessVerdict(code: number, chain: string | undefined): NftStatement | undefined {
  if (code === NFT_JUMP && chain !== undefined) return { kind: "jump", chain };
  if (code === NF_ACCEPT) return { kind: "accept" };
  if (code === NF_DROP) return { kind: "drop" };
  return code === NFT_RETURN ? { kind: "return" } : undefined;
}

/** Short loads are of a prefix that ends at a byte: they begin where the field does. */
function fieldAt(offset: number, bytes: number): NftAddressField | undefined {
  const fields: readonly NftAddressField[] = ["ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr"];
  return fields.find((field) => FIELDS[field].offset === offset && bytes <= FIELDS[field].bytes);
}

function onesOf(mask: string): number {
  return [...mask].reduce((sum, digit) => sum + Number.parseInt(digit, 16).toString(2).replaceAll("0", "").length, 0);
}

/** In a table of another family than the field's, that the packet has such a header is not known. */
function headerCheck(family: NftFamily, field: NftAddressField): readonly Expression[] {
  if (field.startsWith(`${family} `)) return [];
  return [
    { name: "meta", key: META_PROTOCOL, to: REGISTER_1 },
    { name: "cmp", from: REGISTER_1, op: "==", value: FIELDS[field].etherType },
  ];
}

function prefixCheck(field: NftAddressField, op: "==" | "!=", prefix: Cidr): readonly Expression[] {
  const { offset, bytes } = FIELDS[field];
  const length = lengthOf(prefix);
  const network = Buffer.from(ipToBytes(addressOf(prefix))).toString("hex");
  const load = (count: number): Expression => ({
    name: "payload",
    base: NETWORK_HEADER,
    offset,
    bytes: count,
    to: REGISTER_1,
  });
  if (length > 0 && length % 8 === 0)
    return [load(length / 8), { name: "cmp", from: REGISTER_1, op, value: network.slice(0, length / 4) }];
  return [
    load(bytes),
    { name: "bitwise", from: REGISTER_1, to: REGISTER_1, mask: maskOf(prefix) },
    { name: "cmp", from: REGISTER_1, op, value: network },
  ];
}

function maskOf(prefix: Cidr): string {
  const bits = addressBits(familyOf(prefix));
  const ones = "1".repeat(lengthOf(prefix)).padEnd(bits, "0");
  return BigInt(`0b${ones}`)
    .toString(16)
    .padStart(bits / 4, "0");
}

function forward(statement: Extract<NftStatement, { kind: "forward" }>, ifindex: number): readonly Expression[] {
  const { offset, bytes, nfproto } = FIELDS[statement.field];
  const index = Buffer.alloc(4);
  index.writeUInt32LE(ifindex); // a device's index stays in the machine's order
  return [
    { name: "immediate", to: REGISTER_1, value: index.toString("hex") },
    { name: "payload", base: NETWORK_HEADER, offset, bytes, to: REGISTER_2 },
    { name: "lookup", set: statement.map, from: REGISTER_2, to: REGISTER_2 },
    { name: "fwd", device: REGISTER_1, address: REGISTER_2, protocol: nfproto },
  ];
}
