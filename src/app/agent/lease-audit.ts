/**
 * Compares leases with what the kernel has, for `weft ipam check`. Nothing is changed, and a sound agent finds nothing:
 * what a call is at work on is left out. To be called while no pass and no call works on the kernel.
 */
import { ownsLink } from "../../core/host/ownership.ts";
import type { Kernel } from "../../io/ports.ts";
import { addressesOf, isAttachment, type Lease } from "../../model/attachment.ts";
import { openNamespace } from "./attach-kernel.ts";
import type { KeyedQueue } from "./keyed-queue.ts";
import type { LeaseBook } from "./lease-book.ts";

export interface AuditDependencies {
  readonly kernel: Kernel;
  readonly book: LeaseBook;
  /** Tells which containers are being worked on. */
  readonly queue: KeyedQueue;
}

/** One sentence for each problem, with what to do. */
export async function auditLeases({ kernel, book, queue }: AuditDependencies): Promise<readonly string[]> {
  const { links } = await kernel.observe([]);
  // Calls go on while namespaces are opened below: all of this is from one moment.
  const leases = book.all();
  const leased = new Set(leases.filter(isAttachment).map(({ hostIfname }) => hostIfname));
  const strays = links.filter((link) => link.kind === "veth" && ownsLink(link) && !leased.has(link.name));
  const leaving = new Set(leases.filter((lease) => book.isLeaving(lease)));
  const present = new Set(links.map(({ name }) => name));
  const idle = leases.filter(({ containerId }) => !queue.isBusy(containerId));
  const problems: string[] = [];
  for (const lease of idle) {
    const problem = leaving.has(lease) ? "it is detached and not yet given back" : await loss(lease, present, kernel);
    if (problem !== undefined) problems.push(`${titleOf(lease)}: ${problem}`);
  }
  return [
    ...problems,
    ...doubles(leases),
    ...strays.map(({ name, alias }) => `device ${name} (${alias}) belongs to no lease; delete it: ip link del ${name}`),
  ];
}

/** What the lease has lost. A device tells that its namespace lives; without one the namespace has to be opened. */
async function loss(lease: Lease, present: ReadonlySet<string>, kernel: Kernel): Promise<string | undefined> {
  if (isAttachment(lease) && present.has(lease.hostIfname)) return undefined;
  const inside = await openNamespace(kernel, lease);
  inside?.close();
  if (inside === undefined) return `its network namespace ${lease.netns} is gone; release it: weft ipam gc`;
  if (!isAttachment(lease)) return undefined;
  return `its device ${lease.hostIfname} is gone; the agent makes it again, its log says why it has not yet`;
}

function titleOf(lease: Lease): string {
  const addresses = addressesOf(lease).join(" and ") || "no address yet";
  return `container ${lease.containerId}, ${lease.ifname} on ${lease.network} (${addresses})`;
}

function doubles(leases: readonly Lease[]): readonly string[] {
  const holders = Map.groupBy(
    leases.flatMap((lease) => addressesOf(lease).map((address) => ({ address, lease }))),
    ({ address }) => address,
  );
  return [...holders].flatMap(([address, claims]) => {
    const who = claims.map(({ lease }) => `container ${lease.containerId} (${lease.ifname})`).join(" and ");
    return claims.length > 1 ? [`${address} is held twice, by ${who}; end one of them`] : [];
  });
}
