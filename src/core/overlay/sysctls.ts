/**
 * The host's sysctls: forwarding on where packets of ours come in, router advertisements off on our devices and kept on
 * other people's, IPv6 on where we put an address even if the host has it off by default, and a loose reverse-path filter
 * on the VTEP. Whether bridged frames meet netfilter is left alone: ours are routed, and Docker's `--icc=false` needs it.
 *
 * Whoever switches IPv6 forwarding on takes router advertisements from every device whose accept_ra is 1, and with them
 * perhaps the host's default route; so those devices get 2 first. A host that forwarded before is left as it is.
 *
 * IPv4 is forwarded by the word of the device that a packet came in by. So `ip_forward`, which writes that word for every
 * device, stays off where it is off: Docker closes its networks when it switches it on itself, and only then
 * (docs/decisions/0039).
 */
import type { Attachment } from "../../model/attachment.ts";
import { familyOf } from "../../model/ip.ts";
import type { HostState, Sysctl } from "../host/host-state.ts";
import { gatewayHolders, type OverlayContext, servedFamilies } from "./context.ts";

/** As read, the word for all devices that nobody spoke of alone. */
const FORWARD_IPV4 = "net/ipv4/ip_forward";
const FORWARD_IPV6 = "net/ipv6/conf/all/forwarding";

/** The host's own sysctls; those of the veths are with their attachments, but for what they are born with. */
export function hostSysctls(
  context: OverlayContext,
  attachments: readonly Attachment[],
  observed: HostState,
): readonly Sysctl[] {
  const current = new Map(observed.sysctls.map(({ path, value }) => [path, value]));
  const { vtepName } = context.assignment.agent.backend;
  return [
    ...forwardIpv4(context, attachments, current),
    { path: `net/ipv4/conf/${vtepName}/rp_filter`, value: "2" },
    ...ownDevices(context).map(({ name }) => ({ path: acceptRa(name), value: "0" })),
    ...ownDevices(context)
      .filter(({ hasIpv6 }) => hasIpv6)
      .map(({ name }) => ({ path: disableIpv6(name), value: "0" })),
    ...(servedFamilies(context).includes(6) ? forwardIpv6(context, current) : []),
  ];
}

/** Every path that `hostSysctls` may ask for or decide by. */
export function hostSysctlPaths(context: OverlayContext, attachments: readonly Attachment[]): readonly string[] {
  const { vtepName } = context.assignment.agent.backend;
  const own = ownDevices(context).map(({ name }) => name);
  return [
    FORWARD_IPV4,
    ...[...forwardersOfOthers(context), ...forwardersOfOurs(context, attachments)].map(forwarding),
    FORWARD_IPV6,
    `net/ipv4/conf/${vtepName}/rp_filter`,
    ...[...own, ...advertised(context)].map(acceptRa),
    ...own.map(disableIpv6),
  ];
}

/** A kernel without IPv6 lacks the whole directory. `observed` was read with `sysctlPaths`. */
export function kernelHasIpv6(observed: HostState): boolean {
  return observed.sysctls.some(({ path }) => path === FORWARD_IPV6);
}

function forwarding(dev: string): string {
  return `net/ipv4/conf/${dev}/forwarding`;
}

/**
 * A container's device is born with the word of `default`, so that attaching writes none; a pass sees to it. By the bridges
 * nothing comes in: they have no ports.
 */
function forwardersOfOurs(context: OverlayContext, attachments: readonly Attachment[]): readonly string[] {
  return [context.assignment.agent.backend.vtepName, ...attachments.map(({ hostIfname }) => hostIfname)];
}

/** By these comes what is for host ports, and what answers containers. */
function forwardersOfOthers(context: OverlayContext): readonly string[] {
  return ["default", ...context.facts.uplinks];
}

function forwardIpv4(
  context: OverlayContext,
  attachments: readonly Attachment[],
  current: ReadonlyMap<string, string>,
): readonly Sysctl[] {
  const isSettled = current.get(FORWARD_IPV4) === "1";
  const others = isSettled ? [] : forwardersOfOthers(context).filter((dev) => current.has(forwarding(dev)));
  return [...others, ...forwardersOfOurs(context, attachments)].map((dev) => ({ path: forwarding(dev), value: "1" }));
}

export function acceptRa(dev: string): string {
  return `net/ipv6/conf/${dev}/accept_ra`;
}

export function disableIpv6(dev: string): string {
  return `net/ipv6/conf/${dev}/disable_ipv6`;
}

function forwardIpv6(context: OverlayContext, current: ReadonlyMap<string, string>): readonly Sysctl[] {
  const forwards = current.get(FORWARD_IPV6) === "1";
  const listeners = forwards ? [] : advertised(context).filter((dev) => current.get(acceptRa(dev)) === "1");
  return [...listeners.map((dev) => ({ path: acceptRa(dev), value: "2" })), { path: FORWARD_IPV6, value: "1" }];
}

/** Other people's devices, those that come later included. */
function advertised(context: OverlayContext): readonly string[] {
  return [...context.facts.foreignDevs, "default"];
}

interface OwnDevice {
  readonly name: string;
  readonly hasIpv6: boolean;
}

function ownDevices(context: OverlayContext): readonly OwnDevice[] {
  const { vtepName, vtepIp6 } = context.assignment.agent.backend;
  const vtep = { name: vtepName, hasIpv6: vtepIp6 !== undefined && servedFamilies(context).includes(6) };
  const holders = gatewayHolders(context).map(({ name, halves }) => ({
    name,
    hasIpv6: halves.some((half) => familyOf(half) === 6),
  }));
  return [vtep, ...holders];
}
