/**
 * The network driver of a Docker engine: endpoints become attachments like those of CNI, but that the engine takes the
 * container's end by itself and says when it goes. What it says when it goes is always answered with success, and may
 * come twice or never: the engine forgets the endpoint whatever the answer (see engine-book for what never comes).
 */
import { STAND_IN } from "../../../core/docker/engine.ts";
import {
  ADDRESS_SPACE,
  type EndpointRequest,
  type EngineCall,
  joinAnswer,
  type NetworkRequest,
} from "../../../core/docker/messages.ts";
import { newNetwork } from "../../../core/docker/new-network.ts";
import { overlayOf, requireWhole } from "../../../core/docker/pools.ts";
import { freePorts } from "../../../core/ipam/port-claims.ts";
import { gatewaysOf, otherEnd } from "../../../core/overlay/attach.ts";
import type { OverlayContext } from "../../../core/overlay/context.ts";
import { addPorts, deletePorts, portSysctls } from "../../../core/overlay/ports.ts";
import { containerMtu } from "../../../core/overlay/vtep.ts";
import {
  type Attachment,
  addressesOf,
  type DockerNetwork,
  isAttachment,
  type Lease,
  type PortWish,
} from "../../../model/attachment.ts";
import { ENGINE_ADD_WAIT_MS } from "../../../model/engine-limits.ts";
import { Fault } from "../../../model/fault.ts";
import { contains, familyOf } from "../../../model/ip.ts";
import { MTU_MIN } from "../../../model/limits.ts";
import { prefixesOf } from "../../../model/network.ts";
import { buildMended } from "../attach-build.ts";
import { requirePorts } from "../attach-checks.ts";
import { mayAdd, type NewPools } from "./address-driver.ts";
import { ENGINE_IFNAME, type EngineDependencies, requireContext } from "./dependencies.ts";
import { ownDevice } from "./own-device.ts";

type JoinCall = Extract<EngineCall, { method: "Join" }>;

export class NetworkDriver {
  readonly #deps: EngineDependencies;
  readonly #newPools: NewPools;

  constructor(deps: EngineDependencies, newPools: NewPools) {
    this.#deps = deps;
    this.#newPools = newPools;
  }

  /** One that the cluster has not is added to it. @throws Fault not-ready, unknown-network, forbidden, bad-request, storage */
  async createNetwork(request: NetworkRequest): Promise<object> {
    const { id, network, mtu, internal, pools } = request;
    const { host, log, store } = this.#deps;
    if (pools.some(({ addressSpace }) => addressSpace !== ADDRESS_SPACE))
      throw new Fault("bad-request", "addresses of a weft network are given by weft; add --ipam-driver weft");
    if (pools.some(({ hasAux }) => hasAux))
      throw new Fault("bad-request", "keep addresses with 'weft reserve', on all hosts; leave --aux-address out");
    const context = requireContext(host);
    const isNew = network !== undefined && mayAdd(network, context.assignment, host);
    const name = isNew ? network : overlayOf(context.assignment, network, pools[0]?.pool).info.name;
    const max = containerMtu(context);
    if (mtu !== undefined && (mtu < MTU_MIN || mtu > max))
      throw new Fault(
        "bad-request",
        `MTU ${mtu}: network ${name} carries ${MTU_MIN} to ${max} bytes; leave it out for ${max}`,
      );
    if (isNew) await this.#add(name, request);
    // It may have come since the pools were asked for, and they may have been asked for under another name.
    const overlay = overlayOf(requireContext(host).assignment, name);
    for (const { pool } of pools) requireWhole(overlay, familyOf(pool), pool);
    store.putDockerNetwork({ id, network: name, ...(mtu !== undefined && { mtu }), ...(internal && { internal }) });
    log.info({ network: name, dockerNetwork: id }, "Docker has the network");
    return {};
  }

  /** @throws Fault as the master refused; not-ready, bad-request */
  async #add(network: string, request: NetworkRequest): Promise<void> {
    const { clock, host, log } = this.#deps;
    const wanted = newNetwork(network, request, (family) => this.#newPools.get(network, family));
    await host.addNetwork?.(wanted, clock.now() + ENGINE_ADD_WAIT_MS);
    log.info({ ...wanted, network, dockerNetwork: request.id }, "network added to the cluster for Docker");
  }

  /** @throws Fault storage */
  deleteNetwork(id: string): object {
    this.#deps.store.deleteDockerNetwork(id);
    return {};
  }

  /** The addresses that were asked for are the endpoint's from now on. @throws Fault unknown-network, address-taken, storage */
  createEndpoint({ id, networkId, addresses: given, mac }: EndpointRequest): object {
    const addresses = given.filter((address) => !contains(STAND_IN, address));
    const { book, clock } = this.#deps;
    const { network, mtu, internal } = this.#network(networkId);
    const held = addresses.map((address) => {
      const lease = book.ledger.holder(address);
      const isOurs = lease?.docker !== undefined && lease.network === network;
      if (isOurs && (lease.docker.networkId === undefined || lease.containerId === id)) return lease;
      throw new Fault(
        "address-taken",
        `${address} was not given to Docker for network ${network}; start the container again`,
      );
    });
    const [first] = held;
    if (first === undefined)
      throw new Fault(
        "bad-request",
        `an endpoint of network ${network} came without an address; add --ipam-driver weft`,
      );
    const who = { ...first, containerId: id, since: clock.date() };
    const { mac: ours } = book.attachmentFor({ who, ips: [], ...(mac && { mac }), extras: {} }, addresses);
    const lease: Lease = {
      ...who,
      ...Object.assign({}, ...held.map(({ ip, ip6 }) => ({ ...(ip && { ip }), ...(ip6 && { ip6 }) }))),
      docker: { networkId, mac: ours, ...(mtu !== undefined && { mtu }), ...(internal && { internal }) },
    };
    book.merge(
      lease,
      held.filter(({ containerId }) => containerId !== id),
    );
    return { Interface: mac === undefined ? { MacAddress: ours } : {} };
  }

  /** Makes the pair. @throws Fault not-ready, unknown-container, unknown-network, kernel-refused, storage */
  async join({ endpointId, sandbox }: JoinCall): Promise<object> {
    const { book, host, kernel, log, release } = this.#deps;
    const lease = this.#endpoint(endpointId);
    const context = requireContext(host);
    if (isAttachment(lease) && lease.netns === sandbox && lease.state !== "pending") return joined(lease, context);
    const taken = attachmentOf(lease, sandbox, this.#deps);
    const own = await ownDevice(taken, kernel);
    const pending = own?.attachment ?? taken;
    try {
      book.save(pending);
      await buildMended(pending, context, this.#deps, own?.inside);
      const whole: Attachment = { ...pending, state: "attached" };
      book.save(whole);
      log.info({ network: lease.network, endpoint: endpointId, addresses: addressesOf(whole) }, "attached for Docker");
      host.changed(whole);
      return joined(whole, context);
    } catch (error) {
      await host.exclusive(() => release.takeBack(pending));
      throw error;
    } finally {
      own?.inside.close();
    }
  }

  /** Opens the ports. @throws Fault port-taken, exhausted, unknown-container, kernel-refused, storage */
  async program(endpointId: string, wanted: readonly PortWish[]): Promise<object> {
    const { book, host, kernel, sockets } = this.#deps;
    const lease = this.#endpoint(endpointId);
    if (!isAttachment(lease)) throw unknownEndpoint(endpointId);
    if (wanted.length === 0) return {};
    const context = requireContext(host);
    // A pass that ran between the book and the kernel would open them first, and they would seem taken.
    const failures = await host.exclusive(async () => {
      const ports = freePorts(lease, wanted, book.attachments(), sockets.holders);
      const opened: Attachment = { ...lease, ports };
      requirePorts(opened, this.#deps);
      book.save(opened);
      const sysctls = portSysctls(opened).map((sysctl) => ({ op: "sysctl.set", sysctl }) as const);
      return kernel.apply([...addPorts(opened, [], context), ...sysctls]);
    });
    const [failure] = failures.filter(({ op }) => op.op !== "connections.forget");
    if (failure === undefined) return {};
    await this.revoke(endpointId);
    throw new Fault(
      "kernel-refused",
      `ports of endpoint ${endpointId}: the kernel refused to ${failure.error.message}`,
    );
  }

  /** Closes the ports. It comes also where none were opened. @throws Fault storage */
  async revoke(endpointId: string): Promise<object> {
    const { book, host, kernel } = this.#deps;
    const lease = book.get({ containerId: endpointId, ifname: ENGINE_IFNAME });
    if (lease === undefined || !isAttachment(lease) || lease.ports === undefined) return {};
    const { ports: _, ...closed } = lease;
    book.save(closed);
    await host.exclusive(() => kernel.apply(deletePorts(lease, [])));
    return {};
  }

  /** @throws Fault kernel-refused, storage; it stays on its way out, and repair goes on */
  async detach(lease: Lease): Promise<void> {
    const { host, log, release } = this.#deps;
    await host.exclusive(() => release.takeDown(lease));
    await release.finish(lease);
    log.info(
      { network: lease.network, endpoint: lease.containerId, addresses: addressesOf(lease) },
      "detached for Docker",
    );
    host.changed(lease);
  }

  /** Leave and DeleteEndpoint: the first of them ends it. */
  async leave(endpointId: string): Promise<object> {
    const lease = this.#deps.book.get({ containerId: endpointId, ifname: ENGINE_IFNAME });
    if (lease !== undefined) await this.detach(lease);
    return {};
  }

  /** @throws Fault unknown-network */
  #network(id: string): DockerNetwork {
    const found = this.#deps.store.dockerNetworks().find((network) => network.id === id);
    if (found !== undefined) return found;
    throw new Fault(
      "unknown-network",
      `the weft agent does not know the Docker network ${id.slice(0, 12)} yet; try again in a moment`,
    );
  }

  /** @throws Fault unknown-container */
  #endpoint(id: string): Lease {
    const lease = this.#deps.book.get({ containerId: id, ifname: ENGINE_IFNAME });
    if (lease !== undefined && !this.#deps.book.isLeaving(lease)) return lease;
    throw unknownEndpoint(id);
  }
}

function unknownEndpoint(id: string): Fault {
  return new Fault("unknown-container", `there is no endpoint ${id.slice(0, 12)} here; start the container again`);
}

/** Of the lease of an endpoint. Its rank is known when the engine has named the interface. */
function attachmentOf(lease: Lease, sandbox: string, { book }: EngineDependencies): Attachment {
  const { mac } = lease.docker ?? {};
  const request = { who: { ...lease, netns: sandbox }, ips: [], ...(mac && { mac }), extras: {} };
  const { rank: _, ...attachment } = book.attachmentFor(request, addressesOf(lease));
  return attachment;
}

function joined(attachment: Attachment, context: OverlayContext): object {
  const gateways = gatewaysOf(attachment, context).map(({ gateway }) => gateway);
  const { info } = overlayOf(context.assignment, attachment.network);
  const inside = prefixesOf(info).flatMap((prefix) => {
    const gateway = gateways.find((each) => familyOf(each) === familyOf(prefix));
    return gateway === undefined ? [] : [{ prefix, gateway }];
  });
  const { internal, isOwn } = attachment.docker ?? {};
  const device = isOwn ? {} : { device: otherEnd(attachment).name };
  return joinAnswer({ ...device, gateways, inside }, internal === true);
}
