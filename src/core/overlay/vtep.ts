/**
 * This host's end of the tunnel: the device, its addresses, its MTU, and the MTU that containers get of it.
 *
 * The device learns nothing: every peer is written by `peers.ts`. It has a local address, so that outer packets leave
 * with the address that peers know, whatever else the underlay device carries (spec: overlay §6.1, defect 18).
 */
import type { Attachment } from "../../model/attachment.ts";
import { addressOf, familyOf } from "../../model/ip.ts";
import { VXLAN_OVERHEAD_IPV4, VXLAN_OVERHEAD_IPV6 } from "../../model/limits.ts";
import { mac } from "../../model/mac.ts";
import { OWNER, VXLAN_PORT } from "../../model/names.ts";
import type { HostState, VxlanLink } from "../host/host-state.ts";
import { type OverlayContext, servedFamilies } from "./context.ts";

/** The host's end of every container's veth. */
export const GATEWAY_MAC = mac("02:57:00:00:00:01");

/** Bytes: what the configuration says, else what is left of the underlay's packets for inner ones. */
export function vtepMtu(context: OverlayContext): number {
  const { agent } = context.assignment;
  const overhead = familyOf(agent.ip) === 4 ? VXLAN_OVERHEAD_IPV4 : VXLAN_OVERHEAD_IPV6;
  return agent.backend.vtepMtu ?? context.facts.underlayMtu - overhead;
}

/** Bytes: never more than what the tunnel carries, so that nothing is fragmented on the way. */
export function containerMtu(context: OverlayContext): number {
  return Math.min(context.assignment.overlayMtu ?? Number.POSITIVE_INFINITY, vtepMtu(context));
}

/** Bytes of one container's interface. */
export function mtuOf({ docker }: Attachment, context: OverlayContext): number {
  return docker?.mtu ?? containerMtu(context);
}

export function vtepLink(context: OverlayContext): VxlanLink {
  const { agent } = context.assignment;
  return {
    kind: "vxlan",
    name: agent.backend.vtepName,
    up: true,
    mtu: vtepMtu(context),
    mac: agent.backend.vtepMac,
    alias: OWNER,
    vni: agent.backend.vni,
    port: VXLAN_PORT,
    local: agent.ip,
    learning: false,
  };
}

export function vtepState(context: OverlayContext): Partial<HostState> {
  const { vtepName, vtepIp, vtepIp6 } = context.assignment.agent.backend;
  const families = servedFamilies(context);
  const addresses = [vtepIp, vtepIp6].filter((address) => address !== undefined);
  return {
    links: [vtepLink(context)],
    addresses: addresses
      .filter((address) => families.includes(familyOf(addressOf(address))))
      .map((address) => ({ dev: vtepName, address })),
  };
}
