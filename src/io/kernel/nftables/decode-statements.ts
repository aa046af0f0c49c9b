/**
 * The kernel's expressions as statements of HostState. Whatever comes from the kernel counts as a statement only if that
 * statement would be written in exactly the same expressions; all else is `unknown`.
 */
import { isDeepStrictEqual } from "node:util";
import type {
  NftAddressField,
  NftFamily,
  NftPortKey,
  NftStatement,
  NftTransportField,
} from "../../../core/host/host-state.ts";
import { bytesToIp, networkOf, withLength } from "../../../model/ip.ts";
import { bytesToMac } from "../../../model/mac.ts";
import type { NameOf } from "../netlink/link-messages.ts";
import { encodeStatement } from "./encode-statement.ts";
import type { Expression } from "./expressions.ts";
import {
  ADDRESSES,
  ARP,
  KEY_ADDRESSES,
  LINK_HEADER,
  MAC_SOURCE,
  META,
  NETWORK_HEADER,
  NF_ACCEPT,
  NF_DROP,
  NFPROTO,
  NFT_JUMP,
  NFT_RETURN,
  TRANSPORTS,
  VERDICT_REGISTER,
} from "./fields.ts";

const DEVICE_NAME_BYTES = 16;

/** The statements of a rule. From the first expression that is not ours on, the rest is one `unknown`. */
export function decodeStatements(
  expressions: readonly Expression[],
  family: NftFamily,
  nameOf: NameOf,
): readonly NftStatement[] {
  const statements: NftStatement[] = [];
  const whole = expressions.map(withWholeName);
  for (let at = 0; at < whole.length; ) {
    const rest = whole.slice(at);
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

/** iptables compares the name of a device up to the zero at its end, nft all 16 bytes: the same. */
function withWholeName(each: Expression, place: number, all: readonly Expression[]): Expression {
  const load = all[place - 1];
  if (each.name !== "cmp" || load?.name !== "meta" || ![META.iifname, META.oifname].some((key) => key === load.key))
    return each;
  return each.value.endsWith("00") ? { ...each, value: each.value.padEnd(2 * DEVICE_NAME_BYTES, "0") } : each;
}

/** Guesses what the next expressions mean, and believes it only if it would be written so. */
function takeStatement(
  rest: readonly Expression[],
  family: NftFamily,
  nameOf: NameOf,
): { readonly statement: NftStatement; readonly length: number } | undefined {
  const first = rest[0];
  const checksHeader = first?.name === "meta" && first.key === META.protocol;
  const body = checksHeader ? rest.slice(2) : rest;
  const index = deviceIndex(body[0]);
  for (const statement of guesses(body, nameOf)) {
    const written = encodeStatement(statement, family, () => index);
    if (written !== undefined && isDeepStrictEqual(written, rest.slice(0, written.length)))
      return { statement, length: written.length };
  }
  return undefined;
}

function guesses(body: readonly Expression[], nameOf: NameOf): NftStatement[] {
  const all = [
    guessMatch(body),
    guessArp(body),
    guessRange(body),
    guessMapped(body),
    guessVerdictMap(body),
    guessTranslation(body),
    guessForward(body, nameOf),
    guessOther(body),
  ];
  return all.filter((statement) => statement !== undefined);
}

function guessMatch([load, second, third]: readonly Expression[]): NftStatement | undefined {
  if (load?.name !== "payload" || load.base !== NETWORK_HEADER) return undefined;
  const mask = second?.name === "bitwise" ? second.mask : undefined;
  const compare = mask === undefined ? second : third;
  if (compare?.name !== "cmp" || (compare.op !== "==" && compare.op !== "!=")) return undefined;
  const field = addressFieldAt(load.offset, load.bytes);
  const length = mask === undefined ? load.bytes * 8 : onesOf(mask);
  if (field === undefined || length > ADDRESSES[field].bytes * 8) return undefined;
  const network = new Uint8Array(ADDRESSES[field].bytes);
  network.set(Buffer.from(compare.value, "hex").subarray(0, network.length));
  return { kind: "match", field, op: compare.op, prefix: networkOf(withLength(bytesToIp(network), length)) };
}

function guessArp([load, compare]: readonly Expression[]): NftStatement | undefined {
  if (load?.name !== "payload" || load.offset !== ARP.sender.offset || compare?.name !== "cmp") return undefined;
  const bytes = Buffer.from(compare.value, "hex");
  return bytes.length === ARP.sender.bytes ? { kind: "arp saddr ip", ip: bytesToIp(bytes) } : undefined;
}

function guessRange(body: readonly Expression[]): NftStatement | undefined {
  const [meta, protocol, load, from, to] = body;
  if (meta?.name !== "meta" || meta.key !== META.l4proto || protocol?.name !== "cmp") return undefined;
  if (load?.name !== "payload" || from?.name !== "cmp") return undefined;
  const field = (Object.keys(TRANSPORTS) as NftTransportField[]).find(
    (each) => TRANSPORTS[each].protocol === protocol.value && TRANSPORTS[each].offset === load.offset,
  );
  const first = Number.parseInt(from.value, 16);
  const last = from.op === ">=" && to?.name === "cmp" ? Number.parseInt(to.value, 16) : first;
  return field && { kind: "range", field, first, last };
}

function guessMapped([load, lookup]: readonly Expression[]): NftStatement | undefined {
  if (load?.name !== "payload" || lookup?.name !== "lookup") return undefined;
  const field = addressFieldAt(load.offset, load.bytes);
  return field && { kind: "mapped", field, map: lookup.set };
}

function guessVerdictMap([load, second, third]: readonly Expression[]): NftStatement | undefined {
  const mask = second?.name === "bitwise" ? second.mask : undefined;
  const lookup = mask === undefined ? second : third;
  if (load?.name !== "payload" || lookup?.name !== "lookup" || lookup.to !== VERDICT_REGISTER) return undefined;
  const field = addressFieldAt(load.offset, load.bytes);
  const length = mask === undefined ? load.bytes * 8 : onesOf(mask);
  return field && { kind: "vmap", field, length, map: lookup.set };
}

function guessTranslation(body: readonly Expression[]): NftStatement | undefined {
  const at = body.findIndex(({ name }) => name === "lookup");
  const [lookup, dnat] = body.slice(at);
  const [load] = body;
  if (lookup?.name !== "lookup" || dnat?.name !== "dnat") return undefined;
  const field = load?.name === "payload" ? addressFieldAt(load.offset, load.bytes) : undefined;
  const key = (Object.keys(KEY_ADDRESSES) as NftPortKey[]).find((each) => KEY_ADDRESSES[each] === field);
  const family = (["ip", "ip6"] as const).find((each) => NFPROTO[each] === dnat.protocol);
  return key && family && { kind: "dnat", family, key, map: lookup.set };
}

function guessForward(body: readonly Expression[], nameOf: NameOf): NftStatement | undefined {
  const [immediate, load, lookup, fwd] = body;
  const index = deviceIndex(immediate);
  if (index === undefined || load?.name !== "payload" || lookup?.name !== "lookup" || fwd?.name !== "fwd")
    return undefined;
  const device = nameOf(index);
  const field = addressFieldAt(load.offset, load.bytes);
  if (device === undefined || (field !== "ip daddr" && field !== "ip6 daddr")) return undefined;
  return { kind: "forward", field, map: lookup.set, device };
}

function deviceIndex(immediate: Expression | undefined): number | undefined {
  if (immediate?.name !== "immediate" || immediate.value.length !== 8) return undefined;
  return Buffer.from(immediate.value, "hex").readUInt32LE();
}

function guessOther(body: readonly Expression[]): NftStatement | undefined {
  const [first, second] = body;
  switch (first?.name) {
    case "limit":
      return { kind: "limit over", rate: first.rate, burst: first.burst };
    case "counter":
      return { kind: "counter" };
    case "notrack":
      return { kind: "notrack" };
    case "masq":
      return { kind: "masquerade" };
    case "fib daddr type":
      return { kind: "fib daddr type local" };
    case "ct status":
      return { kind: "ct status dnat" };
    case "ct direction":
      return { kind: "ct direction reply" };
    case "verdict":
      return guessVerdict(first.code, first.chain);
    case "meta":
      return first.key === META.iiftype ? guessMac(body[2], body[3]) : guessDevice(first.key, second);
    default:
      return undefined;
  }
}

function guessDevice(key: number, compare: Expression | undefined): NftStatement | undefined {
  const kind = (["iifname", "oifname"] as const).find((each) => META[each] === key);
  if (kind === undefined || compare?.name !== "cmp") return undefined;
  const name = Buffer.from(compare.value, "hex").toString();
  return { kind, device: name.length < DEVICE_NAME_BYTES ? `${name}*` : name.replace(/\0+$/, "") };
}

function guessMac(load: Expression | undefined, compare: Expression | undefined): NftStatement | undefined {
  if (load?.name !== "payload" || load.base !== LINK_HEADER || compare?.name !== "cmp") return undefined;
  const bytes = Buffer.from(compare.value, "hex");
  if (bytes.length !== MAC_SOURCE.bytes || (compare.op !== "==" && compare.op !== "!=")) return undefined;
  return { kind: "ether saddr", op: compare.op, mac: bytesToMac(bytes) };
}

function guessVerdict(code: number, chain: string | undefined): NftStatement | undefined {
  if (code === NFT_JUMP && chain !== undefined) return { kind: "jump", chain };
  if (code === NF_ACCEPT) return { kind: "accept" };
  if (code === NF_DROP) return { kind: "drop" };
  return code === NFT_RETURN ? { kind: "return" } : undefined;
}

/** Short loads are of a prefix that ends at a byte: they begin where the field does. */
function addressFieldAt(offset: number, bytes: number): NftAddressField | undefined {
  const fields: readonly NftAddressField[] = ["ip saddr", "ip daddr", "ip6 saddr", "ip6 daddr"];
  return fields.find((field) => ADDRESSES[field].offset === offset && bytes <= ADDRESSES[field].bytes);
}

function onesOf(mask: string): number {
  return [...mask].reduce((sum, digit) => sum + Number.parseInt(digit, 16).toString(2).replaceAll("0", "").length, 0);
}
