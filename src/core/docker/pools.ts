/**
 * A Docker engine's pools: each is one of the cluster's networks, whole, and named by it. What a network shows as its
 * subnet and gateway, and what of it is asked for that cannot be.
 */
import { type AgentOverlay, type Assignment, halvesOf } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { gatewayOf } from "../../model/half.ts";
import { type Cidr, type Family, familyOf, type Ip, lengthOf, nthAddress, withLength } from "../../model/ip.ts";
import { reservedNames } from "../../model/reservation.ts";
import { DRIVER, NETWORK_OPTION, STAND_IN } from "./engine.ts";

/** Whether containers of Docker can join the network on this host. */
export function isHere(network: string, { agent }: Assignment): boolean {
  return agent.overlays.some(({ info, dockerBridge }) => info.name === network && dockerBridge !== undefined);
}

/** By its name, or by its subnet. @throws Fault unknown-network, bad-request */
export function overlayOf({ agent }: Assignment, network?: string, pool?: Cidr): AgentOverlay {
  const usable = agent.overlays.filter(({ dockerBridge }) => dockerBridge !== undefined);
  const found = usable.find(({ info }) =>
    network === undefined ? pool !== undefined && [info.subnet, info.subnet6].includes(pool) : info.name === network,
  );
  if (found !== undefined) return found;
  const known = usable.map(({ info }) => info.name);
  const has = `this host has ${known.join(", ") || "none"} for Docker`;
  if (network !== undefined)
    throw new Fault(
      "unknown-network",
      `the cluster has no network ${network} here (${has}); an operator adds one with 'weft network add', and then it ` +
        "comes to Docker by itself",
      { network, known },
    );
  if (pool !== undefined)
    throw new Fault(
      "unknown-network",
      `no network of the cluster has the subnet ${pool} (${has}); an operator adds one with ` +
        `'weft network add NAME --subnet ${pool}', and then it comes to Docker by itself; to add it from here, give both ` +
        `--ipam-opt ${NETWORK_OPTION}=NAME and -o ${NETWORK_OPTION}=NAME`,
      { known },
    );
  throw new Fault(
    "bad-request",
    `which network of the cluster? Give --ipam-opt ${NETWORK_OPTION}=NAME and -o ${NETWORK_OPTION}=NAME; ${has}`,
    { known },
  );
}

/** @returns the pool, which has to be all of the network's @throws Fault bad-request */
export function requireWhole(overlay: AgentOverlay, family: Family, pool: Cidr | undefined): Cidr {
  const subnet = subnetOf(overlay, family);
  if (pool === subnet) return subnet;
  const { name } = overlay.info;
  throw new Fault("bad-request", `network ${name} of the cluster has ${subnet}; give --subnet ${subnet}`);
}

/** What Docker's network has as its subnet. @throws Fault bad-request */
export function subnetOf({ info }: AgentOverlay, family: Family): Cidr {
  const subnet = family === 4 ? (info.subnet ?? STAND_IN) : info.subnet6;
  if (subnet !== undefined) return subnet;
  throw new Fault("bad-request", `network ${info.name} of the cluster has no IPv6; leave --ipv6 out`);
}

/** What the network shows as its gateway: each endpoint has that of its own half, which may be another one later. */
export function networkGateway(overlay: AgentOverlay, family: Family, asked: Ip | undefined): string {
  const half = halvesOf(overlay, "docker").find((each) => familyOf(each.half) === family)?.half;
  const { name } = overlay.info;
  if (half === undefined)
    throw new Fault("unknown-network", `this host has no IPv${family} addresses of network ${name} for Docker`);
  const gateway = gatewayOf(half);
  if (asked !== undefined && asked !== gateway)
    throw new Fault("bad-request", `the gateway of network ${name} on this host is ${gateway}; leave --gateway out`);
  return withLength(gateway, lengthOf(subnetOf(overlay, family)));
}

/** Docker tells no name: whoever asks for a reserved address is taken for the one that it is reserved for. */
export function reservedName({ reservations = [] }: Assignment, network: string, asked: Ip): string | undefined {
  const holder = reservedNames(reservations).get(asked);
  return holder?.network === network ? holder.name : undefined;
}

/** Of a network whose hosts have no gateways yet: the address is the network's own, and no container's. @throws Fault bad-request */
export function newGateway(network: string, pool: Cidr, asked: Ip | undefined): string {
  const gateway = nthAddress(pool, 1n);
  if (asked !== undefined && asked !== gateway)
    throw new Fault("bad-request", `each host has a gateway of its own in network ${network}; leave --gateway out`);
  return withLength(gateway, lengthOf(pool));
}

export function poolId(network: string, family: Family): string {
  return `${network}/${family}`;
}

/** @throws Fault bad-request */
export function poolOf(id: string): { readonly network: string; readonly family: Family } {
  const [, network, family] = /^(.+)\/([46])$/.exec(id) ?? [];
  if (network !== undefined) return { network, family: family === "4" ? 4 : 6 };
  throw new Fault("bad-request", `${id.slice(0, 64)} is no pool of ${DRIVER}; make the Docker network again`);
}
