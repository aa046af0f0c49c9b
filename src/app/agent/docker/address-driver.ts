/**
 * The address driver of a Docker engine: pools are the cluster's networks, whole, and addresses are leased of what this
 * host has of them. An engine asks for an address before it says for which endpoint; until then the address is a lease
 * by itself, which the engine's lists speak for (docs/decisions/0037).
 */
import { randomInt } from "node:crypto";
import { NETWORK_OPTION, STAND_IN } from "../../../core/docker/engine.ts";
import { ADDRESS_SPACE, type EngineCall, type PoolRequest } from "../../../core/docker/messages.ts";
import { newPool } from "../../../core/docker/new-network.ts";
import type { LeaseRequest } from "../../../core/ipam/lease.ts";
import type { Lease } from "../../../model/attachment.ts";
import { type AgentOverlay, type Assignment, halvesOf } from "../../../model/cluster.ts";
import { NEW_POOLS_MAX } from "../../../model/engine-limits.ts";
import { Fault } from "../../../model/fault.ts";
import { gatewayOf } from "../../../model/half.ts";
import {
  addressCount,
  type Cidr,
  type Family,
  familyOf,
  hostCidr,
  type Ip,
  lengthOf,
  nthAddress,
  withLength,
} from "../../../model/ip.ts";
import { reservedNames } from "../../../model/reservation.ts";
import type { AttachHost } from "../attach-service.ts";
import { ENGINE_IFNAME, type EngineDependencies, requireContext } from "./dependencies.ts";

type AddressCall = Extract<EngineCall, { method: "RequestAddress" }>;

/** Pools of networks that the cluster has not yet, between an engine's calls that make one; by the pool's id. */
export class NewPools {
  readonly #pools = new Map<string, Cidr>();

  /** The oldest make room: an engine that goes on is done within seconds. */
  note(id: string, pool: Cidr): void {
    this.#pools.delete(id);
    this.#pools.set(id, pool);
    for (const oldest of this.#pools.keys()) if (this.#pools.size > NEW_POOLS_MAX) this.#pools.delete(oldest);
  }

  get(network: string, family: Family): Cidr | undefined {
    return this.#pools.get(poolId(network, family));
  }
}

export class AddressDriver {
  readonly #deps: EngineDependencies;
  readonly #newPools: NewPools;
  /** Those of the agent's life before are not met again soon. */
  #standIns = randomInt(2 ** 32);

  constructor(deps: EngineDependencies, newPools: NewPools) {
    this.#deps = deps;
    this.#newPools = newPools;
  }

  /** @throws Fault not-ready, unknown-network, bad-request */
  requestPool(request: PoolRequest): object {
    const { network, pool, subPool, family } = request;
    const { assignment } = requireContext(this.#deps.host);
    if (network !== undefined && mayAdd(network, assignment, this.#deps.host)) {
      const id = poolId(network, family);
      const wanted = newPool(network, request, assignment.enableIpv6);
      this.#newPools.note(id, wanted);
      return { PoolID: id, Pool: wanted, Data: {} };
    }
    const overlay = overlayOf(assignment, network, pool);
    const { name } = overlay.info;
    // A pool that the driver chose Docker compares with the host's routes, finds ours, and asks for another one, for ever.
    const subnet = requireWhole(overlay, family, pool);
    if (subPool !== undefined)
      throw new Fault(
        "bad-request",
        `--ip-range ${subPool}: which addresses of network ${name} this host gives is the cluster's choice; leave it out`,
      );
    return { PoolID: poolId(name, family), Pool: subnet, Data: {} };
  }

  /** @throws Fault not-ready, unknown-network, exhausted, address-taken, bad-request, forbidden */
  async requestAddress(call: AddressCall): Promise<object> {
    const { network, family } = poolOf(call.pool);
    const { assignment } = requireContext(this.#deps.host);
    const wanted =
      call.isGateway && mayAdd(network, assignment, this.#deps.host) && this.#newPools.get(network, family);
    if (wanted) return { Address: newGateway(network, wanted, call.asked), Data: {} };
    const overlay = overlayOf(assignment, network);
    if (subnetOf(overlay, family) === STAND_IN) return { Address: hostCidr(this.#standIn()), Data: {} };
    if (call.isGateway) return { Address: networkGateway(overlay, family, call.asked), Data: {} };
    const { book, clock, giver, host, log } = this.#deps;
    const name = call.asked && reservedName(assignment, network, call.asked);
    const request: LeaseRequest = {
      who: { ...ENGINE, network, since: clock.date(), ...(name !== undefined && { name }) },
      ips: call.asked === undefined ? [] : [call.asked],
      extras: {},
    };
    const lease = await giver.give({ ...request.who, kind: "docker", families: [family] }, () =>
      book.openForEngine(request, family, requireContext(host).assignment, host.hosting?.()),
    );
    if (name !== undefined) host.changed(lease);
    const address = family === 4 ? lease.ip : lease.ip6;
    log.debug({ network, address }, "address held for Docker");
    return { Address: hostCidr(address as Ip), Data: {} };
  }

  /** Another one each time; held by nobody, since it is good for nothing. */
  #standIn(): Ip {
    const index = BigInt(this.#standIns++) % (addressCount(STAND_IN) - 2n);
    return nthAddress(STAND_IN, index + 1n);
  }

  /** What has a device is left alone: its endpoint is there, so the call is about a lease before it. */
  async releaseAddress(address: Ip, detach: (lease: Lease) => Promise<void>): Promise<object> {
    const holder = this.#deps.book.ledger.holder(address);
    if (holder?.docker !== undefined && !("hostIfname" in holder)) await detach(holder);
    return {};
  }
}

/** Who asks: it is not known for which container. */
const ENGINE = {
  containerId: "of Docker",
  ifname: ENGINE_IFNAME,
  netns: "",
  netnsId: "",
  requestId: "",
  runtime: "docker",
  docker: {},
} as const;

/** Whether the network is none of this host's, and the master can be asked to add it. */
export function mayAdd(network: string, { agent }: Assignment, { addNetwork }: AttachHost): boolean {
  const isHere = agent.overlays.some(({ info, dockerBridge }) => info.name === network && dockerBridge !== undefined);
  return addNetwork !== undefined && !isHere;
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
function subnetOf({ info }: AgentOverlay, family: Family): Cidr {
  const subnet = family === 4 ? (info.subnet ?? STAND_IN) : info.subnet6;
  if (subnet !== undefined) return subnet;
  throw new Fault("bad-request", `network ${info.name} of the cluster has no IPv6; leave --ipv6 out`);
}

/** What the network shows as its gateway: each endpoint has that of its own half, which may be another one later. */
function networkGateway(overlay: AgentOverlay, family: Family, asked: Ip | undefined): string {
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
function reservedName({ reservations = [] }: Assignment, network: string, asked: Ip): string | undefined {
  const holder = reservedNames(reservations).get(asked);
  return holder?.network === network ? holder.name : undefined;
}

/** Of a network whose hosts have no gateways yet: the address is the network's own, and no container's. @throws Fault bad-request */
function newGateway(network: string, pool: Cidr, asked: Ip | undefined): string {
  const gateway = nthAddress(pool, 1n);
  if (asked !== undefined && asked !== gateway)
    throw new Fault("bad-request", `each host has a gateway of its own in network ${network}; leave --gateway out`);
  return withLength(gateway, lengthOf(pool));
}

function poolId(network: string, family: Family): string {
  return `${network}/${family}`;
}

/** @throws Fault bad-request */
function poolOf(id: string): { readonly network: string; readonly family: Family } {
  const [, network, family] = /^(.+)\/([46])$/.exec(id) ?? [];
  if (network !== undefined) return { network, family: family === "4" ? 4 : 6 };
  throw new Fault("bad-request", `${id.slice(0, 64)} is no pool of ${ADDRESS_SPACE}; make the Docker network again`);
}
