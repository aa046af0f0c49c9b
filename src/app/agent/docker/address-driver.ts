/**
 * The address driver of a Docker engine: pools are the cluster's networks, whole, and addresses are leased of what this
 * host has of them. An engine asks for an address before it says for which endpoint; until then the address is a lease
 * by itself, which the engine's lists speak for (docs/decisions/0037).
 */
import { randomInt } from "node:crypto";
import { STAND_IN } from "../../../core/docker/engine.ts";
import type { EngineCall, PoolRequest } from "../../../core/docker/messages.ts";
import { newPool } from "../../../core/docker/new-network.ts";
import {
  isHere,
  networkGateway,
  newGateway,
  overlayOf,
  poolId,
  poolOf,
  requireWhole,
  reservedName,
  subnetOf,
} from "../../../core/docker/pools.ts";
import type { LeaseRequest } from "../../../core/ipam/lease.ts";
import { isAttachment, type Lease } from "../../../model/attachment.ts";
import type { Assignment } from "../../../model/cluster.ts";
import { NEW_POOLS_MAX } from "../../../model/engine-limits.ts";
import { Fault } from "../../../model/fault.ts";
import { addressCount, type Cidr, type Family, hostCidr, type Ip, nthAddress } from "../../../model/ip.ts";
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
    if (holder?.docker !== undefined && !isAttachment(holder)) await detach(holder);
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
export function mayAdd(network: string, assignment: Assignment, { addNetwork }: AttachHost): boolean {
  return addNetwork !== undefined && !isHere(network, assignment);
}
