/**
 * Compares leases with what the kernel has, as `weft ipam check` shows it. Nothing is changed; a sound agent finds
 * nothing here but what is on its way.
 */
import type { HostState } from "../../core/host/host-state.ts";
import { ownsLink } from "../../core/host/ownership.ts";
import { addressesOf, isAttachment, type Lease } from "../../model/attachment.ts";

export interface AuditInput {
  readonly leases: readonly Lease[];
  readonly observed: HostState;
  readonly isLeaving: (lease: Lease) => boolean;
  readonly isAlive: (lease: Lease) => boolean;
}

/** One sentence for each problem. */
export function auditLeases({ leases, observed, isLeaving, isAlive }: AuditInput): readonly string[] {
  const devices = new Set(observed.links.map(({ name }) => name));
  const leased = new Set(leases.filter(isAttachment).map(({ hostIfname }) => hostIfname));
  const strays = observed.links.filter((link) => link.kind === "veth" && ownsLink(link) && !leased.has(link.name));
  return [
    ...leases.flatMap((lease) => leaseProblems(lease, devices, isLeaving(lease), isAlive(lease))),
    ...doubles(leases),
    ...strays.map(({ name }) => `device ${name} is ours and belongs to no lease`),
  ];
}

function leaseProblems(lease: Lease, devices: ReadonlySet<string>, isLeaving: boolean, isAlive: boolean): string[] {
  const title = `container ${lease.containerId}, ${lease.ifname} on ${lease.network} (${addressesOf(lease).join(", ")})`;
  if (isLeaving) return [`${title} is detached and not yet given back`];
  if (!isAlive) return [`${title}: its network namespace ${lease.netns} is gone`];
  if (isAttachment(lease) && !devices.has(lease.hostIfname))
    return [`${title}: its device ${lease.hostIfname} is gone`];
  return [];
}

function doubles(leases: readonly Lease[]): string[] {
  const holders = new Map<string, string[]>();
  for (const lease of leases)
    for (const address of addressesOf(lease))
      holders.set(address, [...(holders.get(address) ?? []), `${lease.containerId} ${lease.ifname}`]);
  return [...holders].flatMap(([address, who]) =>
    who.length > 1 ? [`${address} is held twice: ${who.join(", ")}`] : [],
  );
}
