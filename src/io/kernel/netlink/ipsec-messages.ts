/**
 * How many IPsec policies the kernel has, by netlink's XFRM. Packets that programs send pass them by, so where there are
 * any the datapath stays below that. Source: linux/xfrm.h.
 */
import { Attributes, type Message, type MessageWriter, NLM_F_REQUEST, readU32 } from "./message.ts";

const XFRM_MSG_NEWSPDINFO = 0x24;
const XFRM_MSG_GETSPDINFO = 0x25;
/** A request and its answer begin with flags. */
const FLAGS_BYTES = 4;
const XFRMA_SPD_INFO = 1;
/** struct xfrmu_spdinfo: policies for what comes in, goes out and is forwarded, then those of sockets. */
const OUT_AT = 4;
const FORWARD_AT = 8;

export function encodePolicyCountGet(writer: MessageWriter): void {
  writer.message(XFRM_MSG_GETSPDINFO, NLM_F_REQUEST, () => writer.u32(0));
}

/** Policies for what goes out; `undefined` for another message. @throws Fault kernel-refused on garbage */
export function decodePolicyCount({ type, payload }: Message): number | undefined {
  if (type !== XFRM_MSG_NEWSPDINFO) return undefined;
  const counts = new Attributes(payload, FLAGS_BYTES).bytes(XFRMA_SPD_INFO);
  return counts === undefined || counts.length < FORWARD_AT + 4
    ? undefined
    : readU32(counts, OUT_AT) + readU32(counts, FORWARD_AT);
}
