/**
 * Programs at a device's ingress by the queueing discipline `clsact` (tc-bpf(8)), for kernels before 6.6, which have no
 * TCX. One filter, always the same number, in direct-action mode: what the program returns is the verdict.
 * Sources: linux/pkt_sched.h, linux/pkt_cls.h.
 */
import {
  Attributes,
  type Message,
  type MessageWriter,
  NLM_F_CREATE,
  NLM_F_DUMP,
  NLM_F_EXCL,
  NLM_F_REPLACE,
  NLM_F_REQUEST,
  readU32,
} from "./message.ts";

const RTM_NEWQDISC = 36;
const RTM_NEWTFILTER = 44;
const RTM_DELTFILTER = 45;
const RTM_GETTFILTER = 46;
/** struct tcmsg */
const TCMSG_BYTES = 20;
const TC_H_CLSACT = 0xffff_fff1;
const CLSACT_HANDLE = 0xffff_0000;
const INGRESS = 0xffff_fff2;
const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_BPF_FD = 6;
const TCA_BPF_NAME = 7;
const TCA_BPF_FLAGS = 8;
const TCA_BPF_ID = 11;
const BPF_FLAG_DIRECT_ACTION = 1;
const HANDLE = 1;
/** Priority in the upper half, the protocol (all, in network order) in the lower: after filters of others below it. */
const PRIORITY_AND_PROTOCOL = ((0x5746 << 16) | 0x0300) >>> 0;

/** Once for each device; EEXIST where it has one. */
export function encodeClsactAdd(writer: MessageWriter, ifindex: number): void {
  writer.message(RTM_NEWQDISC, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_EXCL, () => {
    writeHeader(writer, { ifindex, handle: CLSACT_HANDLE, parent: TC_H_CLSACT, info: 0 });
    writer.attributeString(TCA_KIND, "clsact");
  });
}

/** Puts a program there, in one step in the place of the one before. @param program a descriptor */
export function encodeFilterReplace(writer: MessageWriter, ifindex: number, program: number, name: string): void {
  writer.message(RTM_NEWTFILTER, NLM_F_REQUEST | NLM_F_CREATE | NLM_F_REPLACE, () => {
    writeHeader(writer, { ifindex, handle: HANDLE, parent: INGRESS, info: PRIORITY_AND_PROTOCOL });
    writer.attributeString(TCA_KIND, "bpf");
    writer.nested(TCA_OPTIONS, () => {
      writer.attributeU32(TCA_BPF_FD, program);
      writer.attributeString(TCA_BPF_NAME, name);
      writer.attributeU32(TCA_BPF_FLAGS, BPF_FLAG_DIRECT_ACTION);
    });
  });
}

export function encodeFilterDelete(writer: MessageWriter, ifindex: number): void {
  writer.message(RTM_DELTFILTER, NLM_F_REQUEST, () => {
    writeHeader(writer, { ifindex, handle: HANDLE, parent: INGRESS, info: PRIORITY_AND_PROTOCOL });
    writer.attributeString(TCA_KIND, "bpf");
  });
}

/** Asks for the filters at the device's ingress; EINVAL or nothing where it has no `clsact`. */
export function encodeFilterDump(writer: MessageWriter, ifindex: number): void {
  writer.message(RTM_GETTFILTER, NLM_F_REQUEST | NLM_F_DUMP, () => {
    writeHeader(writer, { ifindex, handle: 0, parent: INGRESS, info: 0 });
  });
}

/** The id of the program; `undefined` for what is no filter with a program. @throws Fault kernel-refused on garbage */
export function decodeFilter({ payload }: Message): number | undefined {
  const attributes = new Attributes(payload, TCMSG_BYTES);
  if (attributes.string(TCA_KIND) !== "bpf" || readU32(payload, 8) !== HANDLE) return undefined;
  const id = attributes.nested(TCA_OPTIONS)?.bytes(TCA_BPF_ID);
  return id?.length === 4 ? readU32(id, 0) : undefined;
}

interface Header {
  readonly ifindex: number;
  readonly handle: number;
  readonly parent: number;
  readonly info: number;
}

function writeHeader(writer: MessageWriter, { ifindex, handle, parent, info }: Header): void {
  writer.u32(0); // family, padding
  writer.u32(ifindex);
  writer.u32(handle);
  writer.u32(parent);
  writer.u32(info);
}
