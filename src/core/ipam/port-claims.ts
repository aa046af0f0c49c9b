/**
 * Host ports as something that is leased: one container each. A mapping claims its port at one address of the host, or
 * at all of them for each family that the container has; both may be held at once by different containers, because the
 * more specific one wins in the kernel. Interfaces of one container share its claims: runtimes say its ports for every
 * network that it joins.
 */
import {
  ANY_ADDRESS,
  type Attachment,
  addressesOf,
  oneAddress,
  type PortMapping,
  type PortWish,
} from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { familyOf, type Ip } from "../../model/ip.ts";

type Claimant = Pick<Attachment, "containerId" | "ifname" | "name" | "ip" | "ip6" | "ports" | "runtime">;

/** @throws Fault port-taken that names the container that holds the port */
export function requireFreePorts(claimant: Claimant, others: Iterable<Claimant>): void {
  const { containerId, ports = [] } = claimant;
  if (ports.length === 0) return;
  const held = new Map<string, Claimant>();
  for (const other of others)
    if (other.containerId !== containerId) for (const claim of claimsOf(other)) held.set(claim, other);
  for (const mapping of ports) {
    const holder = claims(mapping, claimant)
      .map((claim) => held.get(claim))
      .find((found) => found !== undefined);
    if (holder !== undefined) throw portTaken(containerId, mapping, `container ${titleOf(holder)}`);
  }
}

/** IANA's ports for private use, less what kernels give to connections by default. */
const ANY_PORT = { first: 61_000, last: 65_535 };

type SocketsAt = (protocol: PortMapping["protocol"], port: number) => readonly BoundSocket[];

/**
 * The first of each wish's ports that nobody holds; of a single port that one, whoever holds it.
 * @throws Fault exhausted
 */
export function freePorts(
  claimant: Claimant,
  wishes: readonly PortWish[],
  others: readonly Claimant[],
  socketsAt: SocketsAt,
): readonly PortMapping[] {
  const chosen: PortMapping[] = [];
  for (const { first: low, last: high, ...rest } of wishes) {
    const { first, last } = low === 0 ? ANY_PORT : { first: low, last: high };
    const isOwn = (port: number) =>
      chosen.some(({ protocol, hostPort }) => protocol === rest.protocol && hostPort === port);
    const isHeld = (hostPort: number) =>
      isOwn(hostPort) || isRefused({ ...claimant, ports: [{ ...rest, hostPort }] }, others, socketsAt);
    let hostPort = first;
    while (first !== last && hostPort <= last && isHeld(hostPort)) hostPort++;
    if (hostPort > last) throw allHeld(claimant, rest.protocol, first, last);
    chosen.push({ ...rest, hostPort });
  }
  return chosen;
}

function isRefused(claimant: Claimant, others: readonly Claimant[], socketsAt: SocketsAt): boolean {
  try {
    requireFreePorts(claimant, others);
    requireUnboundPorts(claimant, socketsAt);
    return false;
  } catch (error) {
    if (error instanceof Fault) return true;
    throw error;
  }
}

function allHeld({ containerId }: Claimant, protocol: string, first: number, last: number): Fault {
  return new Fault(
    "exhausted",
    `container ${containerId}: every ${protocol} port of ${first}-${last} of this host is held; give others`,
    { containerId, protocol },
  );
}

/** A socket of a process of this host, as far as it is known. */
interface BoundSocket {
  readonly address: Ip;
  readonly pid?: number;
  readonly command: string;
}

/**
 * @param socketsAt the sockets that are bound to a port
 * @throws Fault port-taken that names the process that holds the port
 */
export function requireUnboundPorts(claimant: Claimant, socketsAt: SocketsAt): void {
  const { containerId, ports = [] } = claimant;
  const idle = idlePorts(claimant);
  for (const mapping of ports.filter((each) => !idle.includes(each)))
    for (const { address, command, pid } of socketsAt(mapping.protocol, mapping.hostPort)) {
      if (!meets(mapping, address) || isKeptFor(claimant, command)) continue;
      const holder = pid === undefined ? "a process of the host" : `process ${pid} (${command})`;
      throw portTaken(containerId, mapping, holder);
    }
}

/**
 * A runtime may keep the port for this very container. Podman's conmon names it; Podman 5 itself binds the ports before
 * it asks for a network, so that nobody else can have a port that it asks for.
 */
function isKeptFor({ containerId, runtime }: Claimant, command: string): boolean {
  const program = command.split(" ", 1)[0]?.split("/").at(-1);
  return command.includes(containerId) || (runtime === "podman" && program === "podman");
}

function portTaken(containerId: string, { protocol, hostPort, hostIp }: PortMapping, holder: string): Fault {
  return new Fault(
    "port-taken",
    `container ${containerId}: ${protocol} port ${hostPort}${hostIp === undefined ? "" : ` of ${hostIp}`} of this host is held by ` +
      `${holder}; choose another host port, or stop that one`,
    { containerId, protocol, port: hostPort, holder },
  );
}

/** Whether a socket at `address` takes packets that the mapping would take from it. */
export function meets(mapping: PortMapping, address: Ip): boolean {
  const { hostIp } = mapping;
  // A socket at :: takes IPv4 too, unless it was told not to.
  if (hostIp === undefined || address === ANY_ADDRESS[6]) return true;
  if (familyOf(address) !== familyOf(hostIp)) return false;
  return address === ANY_ADDRESS[4] || address === (oneAddress(mapping) ?? address);
}

function claimsOf(claimant: Claimant): readonly string[] {
  return (claimant.ports ?? []).flatMap((mapping) => claims(mapping, claimant));
}

/**
 * Those of its mappings whose host address is of a family that the interface lacks: they lead nowhere. That is not
 * refused, because runtimes say a container's ports for each of its interfaces.
 */
export function idlePorts(claimant: Claimant): readonly PortMapping[] {
  return (claimant.ports ?? []).filter((mapping) => claims(mapping, claimant).length === 0);
}

function claims(mapping: PortMapping, claimant: Claimant): readonly string[] {
  const { protocol, hostPort, hostIp } = mapping;
  const families = familiesOf(claimant).filter((family) => hostIp === undefined || family === familyOf(hostIp));
  const places = families.map((family) => oneAddress(mapping) ?? `any IPv${family}`);
  return places.map((place) => `${protocol} ${hostPort} ${place}`);
}

function familiesOf(claimant: Claimant) {
  return addressesOf(claimant).map(familyOf);
}

function titleOf({ containerId, name }: Claimant): string {
  return name === undefined ? containerId : `${name} (${containerId})`;
}
