/**
 * Token bucket filters at the root of a device (tc-tbf(8)) in rtnetlink. The kernel tells the burst only as a time,
 * rounded; but it tells the length of the queue as it was given, which is the burst and what the rate lets through in
 * SHAPER_QUEUE_MS. Sources: linux/pkt_sched.h, net/sched/sch_tbf.c.
 */
import type { Shaper } from "../../../core/host/host-state.ts";
import { SHAPER_QUEUE_MS } from "../../../model/limits.ts";
import type { NameOf } from "./link-messages.ts";
import {
  Attributes,
  type Message,
  type MessageWriter,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  readU32,
} from "./message.ts";

const RTM_NEWQDISC = 36;
const RTM_DELQDISC = 37;
const RTM_GETQDISC = 38;
/** struct tcmsg */
const QDISC_BYTES = 20;
const TC_H_ROOT = 0xffff_ffff;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;

/** What a link says of its qdisc, too (IFLA_QDISC). */
export const TBF = "tbf";
const TCA_TBF_PARMS = 1;
const TCA_TBF_RATE64 = 4;
const TCA_TBF_BURST = 6;
/** struct tc_tbf_qopt: two tc_ratespec of 12 bytes, then limit, buffer and mtu. */
const RATE_AT = 8;
const LIMIT_AT = 24;
const TBF_QOPT_BYTES = 36;
/** With it the kernel computes times by itself and needs no table of them (TC_LINKLAYER_ETHERNET). */
const LINKLAYER_ETHERNET = 1;
const U32_MAX = 0xffff_ffff;

export function encodeShaperReplace(writer: MessageWriter, { rate, burst }: Shaper, ifindex: number): void {
  writer.message(RTM_NEWQDISC, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE, () => {
    writeHeader(writer, ifindex, TC_H_ROOT);
    writer.attributeString(TCA_KIND, TBF);
    writer.nested(TCA_OPTIONS, () => {
      writer.attribute(TCA_TBF_PARMS, parameters(rate, burst));
      if (rate > U32_MAX) writer.attribute(TCA_TBF_RATE64, new Uint8Array(BigUint64Array.of(BigInt(rate)).buffer));
      writer.attributeU32(TCA_TBF_BURST, burst);
    });
  });
}

export function encodeShaperDelete(writer: MessageWriter, ifindex: number): void {
  writer.message(RTM_DELQDISC, NLM_F_REQUEST, () => writeHeader(writer, ifindex, TC_H_ROOT));
}

/** Asks for the qdiscs of all devices. */
export function encodeShaperDump(writer: MessageWriter): void {
  writer.message(RTM_GETQDISC, NLM_F_REQUEST | NLM_F_DUMP, () => writeHeader(writer, 0, 0));
}

/**
 * `undefined` for a qdisc of another kind, or not at the root.
 * @throws Fault kernel-refused on garbage
 */
export function decodeShaper(message: Message, nameOf: NameOf): Shaper | undefined {
  const { payload } = message;
  const attributes = new Attributes(payload, QDISC_BYTES);
  const dev = nameOf(readU32(payload, 4));
  if (attributes.string(TCA_KIND) !== TBF || readU32(payload, 12) !== TC_H_ROOT || dev === undefined) return undefined;
  const options = attributes.nested(TCA_OPTIONS);
  const given = options?.bytes(TCA_TBF_PARMS);
  if (given === undefined) return undefined;
  const large = options?.bytes(TCA_TBF_RATE64);
  const rate = large?.length === 8 ? readU32(large, 4) * 2 ** 32 + readU32(large, 0) : readU32(given, RATE_AT);
  return { dev, rate, burst: readU32(given, LIMIT_AT) - queued(rate) };
}

function parameters(rate: number, burst: number): Uint8Array {
  const bytes = Buffer.alloc(TBF_QOPT_BYTES);
  bytes[1] = LINKLAYER_ETHERNET;
  bytes.writeUInt32LE(Math.min(rate, U32_MAX), RATE_AT);
  bytes.writeUInt32LE(burst + queued(rate), LIMIT_AT);
  return bytes;
}

/** Bytes. */
function queued(rate: number): number {
  return Math.ceil((rate * SHAPER_QUEUE_MS) / 1_000);
}

function writeHeader(writer: MessageWriter, ifindex: number, parent: number): void {
  writer.u32(0); // family, padding
  writer.u32(ifindex);
  writer.u32(0); // handle: the kernel's choice
  writer.u32(parent);
  writer.u32(0); // info
}
