/**
 * What the kernel says of a request: zero for done, or an errno, with its own words since Linux 4.12.
 * Source: linux/netlink.h, struct nlmsgerr and enum nlmsgerr_attrs.
 */
import { Attributes, HEADER_BYTES, type Message, malformed, NLMSG_DONE, readU32 } from "./message.ts";

const NLM_F_CAPPED = 0x100;
const NLM_F_ACK_TLVS = 0x200;
const NLMSGERR_ATTR_MSG = 1;

export interface Verdict {
  /** A positive errno; 0: the request was carried out. */
  readonly errno: number;
  /** What the kernel says about it. */
  readonly text?: string;
}

/**
 * Decodes NLMSG_ERROR, and NLMSG_DONE, with which a dump ends.
 * @throws Fault kernel-refused on garbage
 */
export function decodeVerdict(message: Message): Verdict {
  const { payload, flags, type } = message;
  if (payload.length < 4) throw malformed("a verdict without a number");
  const errno = 0 - (readU32(payload, 0) | 0);
  if (errno < 0) throw malformed(`errno ${errno}`);
  if ((flags & NLM_F_ACK_TLVS) === 0) return { errno };
  let start = 4;
  if (type !== NLMSG_DONE) {
    // The request's header follows, and its body too unless that was cut off (NETLINK_CAP_ACK).
    if (payload.length < 4 + HEADER_BYTES) throw malformed("a verdict without the request's header");
    start += (flags & NLM_F_CAPPED) !== 0 ? HEADER_BYTES : readU32(payload, 4);
  }
  const text = new Attributes(payload, start).string(NLMSGERR_ATTR_MSG);
  return text === undefined ? { errno } : { errno, text };
}
