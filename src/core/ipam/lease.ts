/**
 * A new lease: which addresses it gets, and the names that follow from who it is for.
 *
 * The host's device and the container's MAC are functions of the container and its addresses, so that an attachment
 * that is made again is the same one.
 */

import { createHash } from "node:crypto";
import { type Attachment, addressesOf, isAttachment, type Lease } from "../../model/attachment.ts";
import { type AgentOverlay, type Assignment, type HalfName, halvesOf } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { isLeasable, leasableCount } from "../../model/half.ts";
import { type Hosting, NO_HOSTING } from "../../model/hosting.ts";
import { type Cidr, contains, type Family, familyOf, type Ip, ipToBytes } from "../../model/ip.ts";
import { bytesToMac, type Mac } from "../../model/mac.ts";
import { OWNER } from "../../model/names.ts";
import { prefixesOf } from "../../model/network.ts";
import type { Ledger } from "./ledger.ts";
import { type Pick as PickedAddress, pickAddress } from "./pick-address.ts";
import { isReserved, pickReserved, refuseReserved, reservedFor } from "./reserved.ts";

/** Who asks for addresses, and what else they want. */
export interface LeaseRequest {
  readonly who: Omit<Lease, "ip" | "ip6" | "state" | "ipam">;
  /** Addresses that are asked for, at most one of each family; for the others any will do. */
  readonly ips: readonly Ip[];
  readonly mac?: Mac;
  /** Of an attachment only. */
  readonly extras: Pick<Attachment, "ports" | "bandwidth" | "aliases">;
}

/** The halves that containers of a network get their addresses from, in the order in which they are tried. */
export type Halves = Readonly<Partial<Record<Family, readonly Cidr[]>>>;

/**
 * Of whom a container is: a runtime that calls a CNI plugin, or Docker; `lone` is a device that another CNI plugin makes:
 * those know one subnet, so all addresses are of the first slice.
 */
export type LeaseKind = "cni" | "lone" | "docker";

/**
 * At least one family; of each the slices in their order, so that further ones are left empty when they can be; of a slice
 * the half of the containers' own kind, then the other one unless that was turned off. Nothing of what is draining.
 * @throws Fault unknown-network when the agent has none; forbidden when the network takes no more containers
 */
export function containerHalves(assignment: Assignment, network: string, kind: LeaseKind = "cni"): Halves {
  const overlay = requireOverlay(assignment, network);
  refuseDraining(assignment, network);
  const open = (name: HalfName) => halvesOf(overlay, name).filter(({ draining }) => !draining);
  const [name, other] = kind === "docker" ? (["docker", "mesos"] as const) : (["mesos", "docker"] as const);
  const lent = overlay.info.strictHalves === true ? [] : open(other);
  const of = (family: Family): readonly Cidr[] => {
    const own = open(name).filter(({ half }) => familyOf(half) === family);
    return (kind === "lone" ? own.slice(0, 1) : own).flatMap(({ half, slice }) => [
      half,
      ...lent.filter((each) => each.slice === slice).map((each) => each.half),
    ]);
  };
  const [four, six] = [of(4), assignment.enableIpv6 ? of(6) : []];
  const halves = { ...(four.length > 0 && { 4: four }), ...(six.length > 0 && { 6: six }) };
  if (four.length + six.length > 0) return halves;
  throw new Fault(
    "unknown-network",
    `agent ${assignment.agent.ip} has no addresses of network ${network} for containers; see \`weft networks\` for what ` +
      "it was given",
    { network },
  );
}

/** The half that holds the address; `undefined` when this agent has none that does. */
export function halfOf(assignment: Assignment, network: string, address: Ip): Cidr | undefined {
  const overlay = assignment.agent.overlays.find(({ info }) => info.name === network);
  if (overlay === undefined) return undefined;
  return [...halvesOf(overlay, "mesos"), ...halvesOf(overlay, "docker")].find(({ half }) => contains(half, address))
    ?.half;
}

/**
 * Whether the lease stands on what this agent does not have any more: its network was removed, the slice went to nobody or
 * to another agent, or the cluster does not say any more that this agent hosts its address. What another plugin gave is no
 * matter of slices.
 */
export function isStranded(lease: Lease, { agent, hosted = [] }: Assignment): boolean {
  if (lease.ipam !== undefined) return false;
  const overlay = agent.overlays.find(({ info }) => info.name === lease.network);
  if (overlay === undefined) return true;
  const slices = prefixesOf(overlay);
  const isHosted = (address: Ip) => hosted.some((each) => each.network === lease.network && each.address === address);
  return addressesOf(lease).some((address) => !isWithin(slices, address) && !isHosted(address));
}

/** Whether one of the prefixes holds the address. */
export function isWithin(prefixes: readonly Cidr[], address: Ip): boolean {
  return prefixes.some((prefix) => contains(prefix, address));
}

/** Of a network that Weft knows nothing of it has nothing to say. @throws Fault forbidden when it takes no more containers */
export function refuseDraining(assignment: Assignment, network: string): void {
  const { overlays, phase, id } = assignment.agent;
  if (phase === "draining")
    throw new Fault(
      "forbidden",
      `this host is draining: it takes no new containers; use another one, or 'weft agent drain --undo ${id}'`,
      { network, agent: id },
    );
  const overlay = overlays.find(({ info }) => info.name === network);
  if (overlay?.info.phase !== "draining") return;
  throw new Fault(
    "forbidden",
    `network ${network} is draining: it takes no new containers; use another one, or 'weft network drain --undo ${network}'`,
    { network },
  );
}

function requireOverlay(assignment: Assignment, network: string): AgentOverlay {
  const { overlays, ip } = assignment.agent;
  const overlay = overlays.find((candidate) => candidate.info.name === network);
  if (overlay !== undefined) return overlay;
  const known = overlays.map(({ info }) => info.name);
  throw new Fault("unknown-network", `agent ${ip} knows no network ${network}; it has ${known.join(", ") || "none"}`, {
    network,
    known,
  });
}

// ---- addresses -------------------------------------------------------------------------------------------------------

/** What giving an address depends on, besides the assignment. */
export interface LeaseWorld {
  readonly ledger: Ledger;
  readonly now: number;
  /** Absent: a runtime's that calls a CNI plugin. */
  readonly kind?: LeaseKind;
  /** Of which families; absent: of all that the network has here. */
  readonly families?: readonly Family[];
  /** Who hosts which reserved address; absent: nobody. */
  readonly hosting?: Hosting;
}

/**
 * One address of each family of the network: the one that is asked for, one that is reserved for the container's name, or
 * the next free one.
 * @throws Fault unknown-network, exhausted, address-taken, bad-request; Unclaimed
 */
export function pickAddresses(
  { who, ips }: Pick<LeaseRequest, "who" | "ips">,
  assignment: Assignment,
  { ledger, now, kind = "cni", families = [4, 6], hosting = NO_HOSTING }: LeaseWorld,
): readonly PickedAddress[] {
  const halves = containerHalves(assignment, who.network, kind);
  for (const address of ips)
    if (halves[familyOf(address)] === undefined)
      throw new Fault(
        "bad-request",
        `container ${who.containerId}: network ${who.network} has no IPv${familyOf(address)} on this host, so it ` +
          `cannot have ${address}; ask for an address of the other family, or none`,
        { network: who.network, ip: address },
      );
  return families.flatMap((family) => {
    const ofFamily = halves[family];
    if (ofFamily === undefined) return [];
    const asked = ips.find((address) => familyOf(address) === family);
    if (asked !== undefined) refuseReserved(assignment, who, asked);
    const kept = reservedFor(assignment, who, family);
    const wanted = asked === undefined ? kept : kept.filter((address) => address === asked);
    const world = { agentId: assignment.agent.id, halves: ofFamily, ledger, hosting, isLone: kind === "lone" };
    if (wanted.length > 0) return [pickReserved(wanted, who, world)];
    if (asked !== undefined) return [requireAsked(asked, ofFamily, who, ledger)];
    const picked = pickAddress(ofFamily, ledger, now, (address) => isReserved(assignment, address));
    if (picked === undefined) throw exhausted(who.network, assignment.agent.ip, ofFamily, ledger, now);
    return [picked];
  });
}

function requireAsked(
  address: Ip,
  halves: readonly Cidr[],
  { network, containerId }: LeaseRequest["who"],
  ledger: Ledger,
): PickedAddress {
  const half = halves.find((candidate) => isLeasable(candidate, address));
  if (half === undefined)
    throw new Fault(
      "bad-request",
      `container ${containerId}: ${address} is no address that this host gives on network ${network}; it has ` +
        `${halves.join(" and ")}, less the first two and the last address of each`,
      { network, ip: address, halves },
    );
  const holder = ledger.holder(address);
  if (holder !== undefined) throw addressTaken(address, containerId, holder);
  return { address, half, isEarly: false };
}

/** @throws Fault address-taken when another container holds one of the addresses */
export function requireUnheld(containerId: string, addresses: readonly Ip[], ledger: Ledger): void {
  for (const address of addresses) {
    const holder = ledger.holder(address);
    if (holder !== undefined) throw addressTaken(address, containerId, holder);
  }
}

function addressTaken(address: Ip, containerId: string, holder: Lease): Fault {
  return new Fault(
    "address-taken",
    `container ${containerId}: ${address} is held by container ${holder.containerId} (${holder.ifname} on network ` +
      `${holder.network}); ask for another one, or end that container`,
    { ip: address, holder: holder.containerId },
  );
}

function exhausted(network: string, agent: Ip, halves: readonly Cidr[], ledger: Ledger, now: number): Fault {
  const counts = halves.map((half) => ({ half, leased: ledger.taken(half, now).held }));
  const told = counts.map(({ half, leased }) => `${half} (${leased} of ${leasableCount(half)} leased)`).join(" and ");
  return new Fault(
    "exhausted",
    `agent ${agent}: network ${network} has no free address in ${told}; remove containers of this host from the network, ` +
      "or configure it with a shorter prefix, which gives every agent more",
    { network, agent, halves, leased: counts.reduce((sum, { leased }) => sum + leased, 0) },
  );
}

// ---- leases ----------------------------------------------------------------------------------------------------------

/** A lease for a device that another plugin makes. */
export function leaseOf(request: LeaseRequest, addresses: readonly Ip[]): Lease {
  return { ...request.who, ...addressFields(addresses), state: "pending" };
}

/**
 * The attachment for a request, `pending`, with these addresses.
 * @param others the leases in its namespace; all of this agent when a MAC is asked for
 * @throws Fault address-taken when the MAC that is asked for is another's in this network
 */
export function attachmentOf(request: LeaseRequest, addresses: readonly Ip[], others: Iterable<Lease>): Attachment {
  const { who, mac, extras } = request;
  const { containerId, ifname, network, netnsId } = who;
  const attachments = [...others].filter(isAttachment);
  const twin = attachments.find((other) => other.mac === mac && other.network === network);
  if (mac !== undefined && twin !== undefined && !isSame(twin, who))
    throw new Fault(
      "address-taken",
      `container ${containerId}: the MAC ${mac} is that of container ${twin.containerId} on network ${network}; ask for ` +
        "another one, or none",
      { mac, holder: twin.containerId },
    );
  const neighbors = attachments.filter((other) => other.netnsId === netnsId && !isSame(other, who));
  const rank = freeRank(ifname, new Set(neighbors.map((other) => other.rank ?? 0)));
  return {
    ...who,
    ...extras,
    ...addressFields(addresses),
    hostIfname: hostIfnameOf(containerId, ifname),
    mac: mac ?? macOf(addresses, containerId, ifname),
    ...(rank === 0 ? {} : { rank }),
    state: "pending",
  };
}

function isSame(a: Pick<Lease, "containerId" | "ifname">, b: Pick<Lease, "containerId" | "ifname">): boolean {
  return a.containerId === b.containerId && a.ifname === b.ifname;
}

function addressFields(addresses: readonly Ip[]): Pick<Lease, "ip" | "ip6"> {
  const ip = addresses.find((address) => familyOf(address) === 4);
  const ip6 = addresses.find((address) => familyOf(address) === 6);
  return { ...(ip === undefined ? {} : { ip }), ...(ip6 === undefined ? {} : { ip6 }) };
}

/** The number at the end of the interface's name where it is free, else the next free one. */
function freeRank(ifname: string, taken: ReadonlySet<number>): number {
  let rank = Number(/\d{1,3}$/.exec(ifname)?.[0] ?? 0);
  while (taken.has(rank)) rank++;
  return rank;
}

/** 40 bits of a hash fill the 15 bytes that a device's name has. */
function hostIfnameOf(containerId: string, ifname: string): string {
  return `${OWNER}${hashOf(containerId, ifname).toString("hex").slice(0, 10)}`;
}

/** Locally administered; readable where there is an IPv4 address: 9.0.1.2 → 02:57:09:00:01:02. */
function macOf(addresses: readonly Ip[], containerId: string, ifname: string): Mac {
  const { ip, ip6 = "" } = addressFields(addresses);
  if (ip !== undefined) return bytesToMac(Uint8Array.of(0x02, 0x57, ...ipToBytes(ip)));
  return bytesToMac(Uint8Array.of(0x02, 0x58, ...hashOf(containerId, ifname, ip6).subarray(0, 4)));
}

function hashOf(...parts: readonly string[]): Buffer {
  return createHash("sha256").update(parts.join("\0")).digest();
}
