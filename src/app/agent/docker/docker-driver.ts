/**
 * What a Docker engine calls: both drivers behind one door, one call for an endpoint at a time.
 *
 * An engine waits for ever for an answer, with the container locked (docs/decisions/0037): so every call is answered
 * within ENGINE_CALL_MAX_MS, and none of them asks the engine anything. A call that took longer goes on, and what it
 * makes is taken back by the engine's next call for it, or as what the engine does not list.
 */
import { isDeepStrictEqual } from "node:util";
import { decodeEngineCall, type EngineCall } from "../../../core/docker/messages.ts";
import type { Task } from "../../../core/docker/tasks.ts";
import { isReserved } from "../../../core/ipam/reserved.ts";
import { addressesOf, type Lease } from "../../../model/attachment.ts";
import type { Assignment } from "../../../model/cluster.ts";
import { ENGINE_CALL_MAX_MS } from "../../../model/engine-limits.ts";
import { Fault } from "../../../model/fault.ts";
import { AddressDriver, NewPools } from "./address-driver.ts";
import { ENGINE_IFNAME, type EngineDependencies } from "./dependencies.ts";
import { NetworkDriver } from "./network-driver.ts";

export class DockerDriver {
  readonly #deps: EngineDependencies;
  readonly #addresses: AddressDriver;
  readonly #networks: NetworkDriver;

  constructor(deps: EngineDependencies) {
    this.#deps = deps;
    const newPools = new NewPools();
    this.#addresses = new AddressDriver(deps, newPools);
    this.#networks = new NetworkDriver(deps, newPools);
  }

  /** @param path one of `CALL_PATHS` @returns the answer, for JSON @throws Fault: the engine is told its message */
  async answer(path: string, body: Uint8Array): Promise<object> {
    const call = decodeEngineCall(path, body);
    try {
      return await this.#within(this.#carryOut(call));
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#deps.log.warn({ call: call.method, code: error.code }, error.message);
      throw error;
    }
  }

  async #carryOut(call: EngineCall): Promise<object> {
    const networks = this.#networks;
    const inTurn = (endpointId: string, work: () => Promise<object>) => this.#deps.queue.run(endpointId, work);
    switch (call.method) {
      case "RequestPool":
        return this.#addresses.requestPool(call.request);
      case "RequestAddress":
        return this.#addresses.requestAddress(call);
      case "ReleaseAddress":
        return this.#addresses.releaseAddress(call.address, (lease) => this.detach(lease));
      case "CreateNetwork":
        return networks.createNetwork(call.request);
      case "DeleteNetwork":
        return networks.deleteNetwork(call.networkId);
      case "CreateEndpoint":
        return inTurn(call.request.id, async () => networks.createEndpoint(call.request));
      case "Join":
        return inTurn(call.endpointId, () => networks.join(call));
      case "ProgramExternalConnectivity":
        return inTurn(call.endpointId, () => networks.program(call.endpointId, call.ports));
      case "RevokeExternalConnectivity":
        return inTurn(call.endpointId, () => networks.revoke(call.endpointId));
      case "Leave":
      case "DeleteEndpoint":
        return inTurn(call.endpointId, () => networks.leave(call.endpointId));
      case "EndpointOperInfo":
        return { Value: {} };
      case "ReleasePool":
        return {};
    }
  }

  /** The names and labels of containers, which the engine tells in its lists alone. @throws Fault storage */
  runs(tasks: readonly Task[]): void {
    const { book, host, log } = this.#deps;
    for (const task of tasks)
      for (const { endpointId = "" } of task.networks) {
        const lease = book.get({ containerId: endpointId, ifname: ENGINE_IFNAME });
        if (lease === undefined || book.isLeaving(lease)) continue;
        const known = named(lease, task, host.context()?.assignment);
        if (isDeepStrictEqual(known, lease)) continue;
        book.save(known);
        host.changed(known);
        if (known.name !== task.name)
          log.warn(
            { network: lease.network, addresses: addressesOf(lease) },
            `container ${task.name} has an address that is reserved for ${known.name}`,
          );
      }
  }

  /** Gives a lease back that the engine has forgotten. */
  detach(lease: Lease): Promise<void> {
    return this.#deps.queue.run(lease.containerId, async () => {
      const now = this.#deps.book.get(lease);
      if (now !== undefined) await this.#networks.detach(now);
    });
  }

  #within(answer: Promise<object>): Promise<object> {
    const { promise, resolve, reject } = Promise.withResolvers<object>();
    const cancel = this.#deps.clock.after(ENGINE_CALL_MAX_MS, () => {
      const seconds = ENGINE_CALL_MAX_MS / 1_000;
      reject(new Fault("not-ready", `the weft agent of this host did not finish within ${seconds} s; try again`));
    });
    answer.then(resolve, reject).finally(cancel);
    return promise;
  }
}

/** A name by which the address was reserved stays: the cluster knows it by that. */
function named(lease: Lease, { name, labels, containerId }: Task, assignment: Assignment | undefined): Lease {
  const isKept = assignment !== undefined && addressesOf(lease).some((address) => isReserved(assignment, address));
  return {
    ...lease,
    name: isKept && lease.name !== undefined ? lease.name : name,
    ...(Object.keys(labels).length > 0 && { labels }),
    docker: { ...lease.docker, containerId },
  };
}
