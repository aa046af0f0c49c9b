/**
 * A container's bandwidth (docs/decisions/0022). What it gets waits in a queue on the host's end of its veth; what it
 * sends over its rate is dropped where it arrives on the host. An `ifb` device, with which others queue that too, hands
 * packets on behind the ingress hook: past the check of their source.
 */
import type { Attachment } from "../../model/attachment.ts";
import type { NftStatement, Shaper } from "../host/host-state.ts";

/** Packets that a burst must hold: with less than one, nothing would ever pass. */
const BURST_PACKETS_MIN = 2;

/** Of the host's end; `mtu` in bytes. */
export function shapers({ hostIfname: dev, bandwidth }: Attachment, mtu: number): readonly Shaper[] {
  const limit = limitOf(bandwidth?.ingressRate, bandwidth?.ingressBurst, mtu);
  return limit === undefined ? [] : [{ dev, ...limit }];
}

/** True for what the container sends too much; `mtu` in bytes. */
export function limits({ bandwidth }: Attachment, mtu: number): readonly NftStatement[] {
  const limit = limitOf(bandwidth?.egressRate, bandwidth?.egressBurst, mtu);
  return limit === undefined ? [] : [{ kind: "limit over", ...limit }];
}

/** Bits to bytes. */
function limitOf(rate = 0, burst = 0, mtu: number): { readonly rate: number; readonly burst: number } | undefined {
  if (rate === 0) return undefined;
  return { rate: Math.ceil(rate / 8), burst: Math.max(Math.ceil(burst / 8), BURST_PACKETS_MIN * mtu) };
}
