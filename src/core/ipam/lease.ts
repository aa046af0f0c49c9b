/**
 * A new attachment: which addresses it gets, and the names that follow from who it is for.
 *
 * The host's device and the container's MAC are functions of the container and its addresses, so that an attachment
 * that is made again is the same one.
 */
import { createHash } from "node:crypto";
import { type Attachment, addressesOf } from "../../model/attachment.ts";
import type { Assignment } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { type Cidr, contains, familyOf, type Ip, ipToBytes } from "../../model/ip.ts";
import { bytesToMac, type Mac } from "../../model/mac.ts";
import { OWNER } from "../../model/names.ts";
import { pickAddress } from "./pick-address.ts";

/** Who asks for addresses. */
export type LeaseRequest = Pick<
  Attachment,
  "containerId" | "ifname" | "network" | "netns" | "netnsId" | "requestId" | "runtime" | "since"
>;

/**
 * The halves that containers of the network get their addresses from: at most one of each family, at least one.
 * @throws Fault unknown-network when the agent has none
 */
export function containerHalves(assignment: Assignment, network: string): readonly Cidr[] {
  const { overlays, ip } = assignment.agent;
  const known = overlays.map((overlay) => overlay.info.name);
  const overlay = overlays.find((candidate) => candidate.info.name === network);
  if (overlay === undefined)
    throw new Fault(
      "unknown-network",
      `agent ${ip} knows no network ${network}; it has ${known.join(", ") || "none"}`,
      {
        network,
        known,
      },
    );
  const { ip: half, ip6: half6 } = overlay.mesosBridge ?? {};
  const halves = [half, assignment.enableIpv6 ? half6 : undefined].filter((prefix) => prefix !== undefined);
  if (halves.length > 0) return halves;
  throw new Fault(
    "unknown-network",
    `agent ${ip} has no addresses of network ${network} for containers; see \`weft networks\` for what it was given`,
    { network, known },
  );
}

/**
 * The attachment for a request, `pending`, with the next free address of each half.
 * @param others every attachment of this agent, whatever its network or state, oldest first
 * @param last the address that each half gave last, as far as it is known; else the newest lease counts
 * @throws Fault unknown-network, exhausted
 */
export function lease(
  request: LeaseRequest,
  assignment: Assignment,
  others: Iterable<Attachment>,
  last: ReadonlyMap<Cidr, Ip>,
): Attachment {
  const { network, containerId, ifname } = request;
  const held = [...others].flatMap(addressesOf);
  const leased = new Set(held);
  const addresses = containerHalves(assignment, network).map((half) => {
    const lastGiven = last.get(half) ?? held.findLast((address) => contains(half, address));
    return pickAddress({ network, agent: assignment.agent.ip, half }, leased, lastGiven);
  });
  const ip = addresses.find((address) => familyOf(address) === 4);
  const ip6 = addresses.find((address) => familyOf(address) === 6);
  return {
    ...request,
    hostIfname: hostIfnameOf(containerId, ifname),
    mac: macOf(ip, ip6, containerId, ifname),
    ...(ip === undefined ? {} : { ip }),
    ...(ip6 === undefined ? {} : { ip6 }),
    state: "pending",
  };
}

/** 40 bits of a hash fill the 15 bytes that a device's name has. */
function hostIfnameOf(containerId: string, ifname: string): string {
  return `${OWNER}${hashOf(containerId, ifname).toString("hex").slice(0, 10)}`;
}

/** Locally administered; readable where there is an IPv4 address: 9.0.1.2 → 02:57:09:00:01:02. */
function macOf(ip: Ip | undefined, ip6: Ip | undefined, containerId: string, ifname: string): Mac {
  if (ip !== undefined) return bytesToMac(Uint8Array.of(0x02, 0x57, ...ipToBytes(ip)));
  return bytesToMac(Uint8Array.of(0x02, 0x58, ...hashOf(containerId, ifname, ip6 ?? "").subarray(0, 4)));
}

function hashOf(...parts: readonly string[]): Buffer {
  return createHash("sha256").update(parts.join("\0")).digest();
}
