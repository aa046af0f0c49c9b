/**
 * The host's sysctls: forwarding on, router advertisements off on our devices and kept on other people's, a loose
 * reverse-path filter on the VTEP, and bridged frames kept out of netfilter.
 *
 * Whoever switches IPv6 forwarding on takes router advertisements from every device whose accept_ra is 1, and with them
 * perhaps the host's default route; so those devices get 2 first. A host that forwarded before is left as it is.
 */
import type { HostState, Sysctl } from "../host/host-state.ts";
import { gatewayHolders, type OverlayContext, servedFamilies } from "./context.ts";

const FORWARD_IPV4 = "net/ipv4/ip_forward";
const FORWARD_IPV6 = "net/ipv6/conf/all/forwarding";
const BRIDGE_CALLS = ["iptables", "ip6tables", "arptables"].map((who) => `net/bridge/bridge-nf-call-${who}`);

/** The host's own sysctls; those of the veths are with their attachments. */
export function hostSysctls(context: OverlayContext, observed: HostState): readonly Sysctl[] {
  const current = new Map(observed.sysctls.map(({ path, value }) => [path, value]));
  const { vtepName } = context.assignment.agent.backend;
  return [
    { path: FORWARD_IPV4, value: "1" },
    { path: `net/ipv4/conf/${vtepName}/rp_filter`, value: "2" },
    ...ownDevices(context).map((dev) => ({ path: acceptRa(dev), value: "0" })),
    ...(servedFamilies(context).includes(6) ? forwardIpv6(context, current) : []),
    ...BRIDGE_CALLS.filter((path) => current.has(path)).map((path) => ({ path, value: "0" })),
  ];
}

/** Every path that `hostSysctls` may ask for or decide by. */
export function hostSysctlPaths(context: OverlayContext): readonly string[] {
  const { vtepName } = context.assignment.agent.backend;
  const devices = [...ownDevices(context), ...advertised(context)];
  return [FORWARD_IPV4, FORWARD_IPV6, `net/ipv4/conf/${vtepName}/rp_filter`, ...devices.map(acceptRa), ...BRIDGE_CALLS];
}

/** A kernel without IPv6 lacks the whole directory. `observed` was read with `sysctlPaths`. */
export function kernelHasIpv6(observed: HostState): boolean {
  return observed.sysctls.some(({ path }) => path === FORWARD_IPV6);
}

export function acceptRa(dev: string): string {
  return `net/ipv6/conf/${dev}/accept_ra`;
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

function ownDevices(context: OverlayContext): readonly string[] {
  return [context.assignment.agent.backend.vtepName, ...gatewayHolders(context).map(({ name }) => name)];
}
