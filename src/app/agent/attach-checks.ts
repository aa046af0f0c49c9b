/**
 * What an attach must find before it begins, and what CHECK says of what it found.
 */
import type { CniCall } from "../../core/cni/call.ts";
import { ownsLink } from "../../core/host/ownership.ts";
import { idlePorts, requireFreePorts, requireUnboundPorts } from "../../core/ipam/port-claims.ts";
import type { Log } from "../../io/log.ts";
import type { ContainerKernel, HostSockets } from "../../io/ports.ts";
import { type Attachment, addressesOf, isAttachment, type Lease } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { addressOf } from "../../model/ip.ts";
import { CHECK_DIFFERENCES_SHOWN_MAX } from "../../model/limits.ts";
import type { LeaseBook } from "./lease-book.ts";

type AddCall = Extract<CniCall, { command: "ADD" }>;
type CheckCall = Extract<CniCall, { command: "CHECK" }>;

/** @throws Fault interface-exists; bad-netns when the namespace is the host's own */
export async function requireFree(call: AddCall, inside: ContainerKernel): Promise<void> {
  const links = await inside.links();
  // What has our alias stands on hosts: a container's end of a veth has none.
  if (links.some(ownsLink))
    throw new Fault("bad-netns", `${call.netns} is the host's own network namespace; give the container's`, {
      path: call.netns,
    });
  if (links.some(({ name }) => name === call.ifname))
    throw interfaceExists(call.containerId, call.ifname, "is there already");
}

/** @throws Fault port-taken that names the container or the process that has the port */
export function requirePorts(
  attachment: Attachment,
  { book, log, sockets }: { readonly book: LeaseBook; readonly log: Log; readonly sockets: HostSockets },
): void {
  const { containerId, hostIfname, ifname, ports = [] } = attachment;
  if (ports.length === 0) return;
  requireFreePorts(
    attachment,
    book.attachments().filter((other) => other.hostIfname !== hostIfname),
  );
  requireUnboundPorts(attachment, sockets.holders);
  for (const { hostIp, hostPort } of idlePorts(attachment))
    log.warn(
      { containerId, ifname },
      `port ${hostPort} of ${hostIp} leads nowhere: ${ifname} has no such address family`,
    );
}

export function interfaceExists(containerId: string, ifname: string, fact: string): Fault {
  return new Fault(
    "interface-exists",
    `container ${containerId}: interface ${ifname} ${fact}; detach it first (DEL), or choose another CNI_IFNAME`,
    { containerId, ifname },
  );
}

/** What the runtime remembers of ADD against what we do. Other interfaces of the chain are not our business. */
export function unlikePrevious(lease: Lease, { config }: CheckCall): readonly string[] {
  const { interfaces = [], ips = [] } = config.prevResult ?? {};
  const index = interfaces.findIndex(({ name, sandbox }) => name === lease.ifname && sandbox !== "");
  if (index < 0 && isAttachment(lease)) return [`prevResult has no interface ${lease.ifname} in a sandbox`];
  const onInterface = isAttachment(lease) ? ips.filter((ip) => ip.interface === index) : ips;
  const listed = new Set(onInterface.map(({ address }) => addressOf(address)));
  return addressesOf(lease)
    .filter((address) => !listed.has(address))
    .map((address) => `prevResult does not have the leased address ${address} on ${lease.ifname}`);
}

export function checkFailed({ containerId, ifname, network }: Lease, problems: readonly string[]): Fault {
  const more = problems.length - CHECK_DIFFERENCES_SHOWN_MAX;
  const shown = problems.slice(0, CHECK_DIFFERENCES_SHOWN_MAX).join("; ") + (more > 0 ? `; and ${more} more` : "");
  return new Fault(
    "check-failed",
    `container ${containerId}: ${ifname} on network ${network} is not as it was made: ${shown}. Detach it and attach it again`,
    { containerId, ifname, network, problems },
  );
}
