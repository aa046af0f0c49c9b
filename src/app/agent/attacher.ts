/**
 * Carries out ADD: gives addresses, builds the devices, says what was made. What an ADD that fails has done so far is
 * taken back before its answer leaves.
 */
import type { CniCall } from "../../core/cni/call.ts";
import { type AddResult, type CniReply, ipamReply } from "../../core/cni/reply.ts";
import type { CniVersion } from "../../core/cni/version.ts";
import { containerHalves, halfOf, type LeaseRequest, refuseDraining } from "../../core/ipam/lease.ts";
import { gatewaysOf } from "../../core/overlay/attach.ts";
import type { OverlayContext } from "../../core/overlay/context.ts";
import { containerMtu, GATEWAY_MAC } from "../../core/overlay/vtep.ts";
import type { Log } from "../../io/log.ts";
import type { Clock, ContainerKernel, HostSockets, Kernel, PluginRunner } from "../../io/ports.ts";
import { type Attachment, addressesOf, type ForeignIpam, isAttachment, type Lease } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { gatewayOf } from "../../model/half.ts";
import { addressOf, familyOf, lengthOf, withLength } from "../../model/ip.ts";
import { policyMembers } from "../../model/policy-members.ts";
import type { AddressGiver } from "./address-giver.ts";
import { buildMended } from "./attach-build.ts";
import { interfaceExists, requireFree, requirePorts } from "./attach-checks.ts";
import type { AttachHost } from "./attach-service.ts";
import { foreignIpamOf, requestAddresses } from "./foreign-ipam.ts";
import type { LeaseBook } from "./lease-book.ts";
import type { Release } from "./release.ts";

export type AddCall = Extract<CniCall, { command: "ADD" }>;

export interface AttacherDependencies {
  readonly kernel: Kernel;
  readonly plugins: PluginRunner;
  readonly sockets: HostSockets;
  readonly clock: Clock;
  readonly log: Log;
  readonly host: AttachHost;
  readonly book: LeaseBook;
  readonly release: Release;
  readonly giver: AddressGiver;
}

export class Attacher {
  readonly #deps: AttacherDependencies;

  constructor(deps: AttacherDependencies) {
    this.#deps = deps;
  }

  /** @throws Fault not-ready */
  context(): OverlayContext {
    const context = this.#deps.host.context();
    if (context !== undefined) return context;
    throw new Fault("not-ready", "this agent has no addresses yet; it is waiting for its master, try again later");
  }

  /** ADD of weft-cni, and of what other protocols make of theirs. */
  async add(call: AddCall): Promise<AddResult> {
    const context = this.context();
    const earlier = this.#deps.book.get(call);
    if (earlier !== undefined && isAttachment(earlier) && isRepeated(call, earlier))
      return attached(earlier, call, context);
    this.#requireServed(call, context); // refuses before anything is opened
    const inside = await this.#deps.kernel.enter(call.netns);
    try {
      if (earlier !== undefined) await this.#makeWay(earlier, inside);
      await requireFree(call, inside);
      const attachment = await this.#attach(call, inside, context);
      // Whom a policy may guard is guarded before its first program runs.
      if (policyMembers([attachment], context.assignment.policies ?? []).length > 0) await this.#deps.host.heal();
      else this.#deps.host.changed(attachment);
      return attached(attachment, call, this.#newest(context));
    } finally {
      inside.close();
    }
  }

  /** ADD of weft-ipam: addresses for a device that another plugin makes. */
  async addLone(call: AddCall, version: CniVersion): Promise<CniReply> {
    const { book, giver, host, kernel, log } = this.#deps;
    this.context(); // refuses before anything is opened
    const earlier = book.get(call);
    if (earlier !== undefined && !isAttachment(earlier) && isRepeated(call, earlier))
      return given(earlier, call, version, this.context());
    const inside = await kernel.enter(call.netns);
    try {
      if (earlier !== undefined) await this.#makeWay(earlier, inside);
      const request = this.#request(call, inside);
      const lease = giver.giveNow({ ...request.who, kind: "lone" }, () =>
        book.openAlone(request, this.context().assignment, host.hosting?.()),
      );
      log.info({ ...fields(call), addresses: addressesOf(lease) }, "addresses given");
      host.changed(lease);
      return given(lease, call, version, this.context());
    } finally {
      inside.close();
    }
  }

  #requireServed({ config, containerId, wishes }: AddCall, context: OverlayContext): void {
    if (config.ipam === undefined) containerHalves(context.assignment, config.network);
    else refuseDraining(context.assignment, config.network);
    if (wishes.bandwidth !== undefined && context.features.bandwidth !== true)
      throw new Fault(
        "kernel-lacks",
        `container ${containerId}: this kernel cannot limit bandwidth (modprobe -a sch_tbf nft_limit); ` +
          "load the modules, or leave the limit out",
        { containerId, missing: ["bandwidth"] },
      );
  }

  /** Another request for an interface that has a lease: right only if the lease outlived its namespace. */
  async #makeWay(earlier: Lease, inside: ContainerKernel): Promise<void> {
    const { host, release } = this.#deps;
    const isAlive = earlier.state !== "pending" && earlier.netnsId === inside.netnsId;
    if (isAlive) throw interfaceExists(earlier.containerId, earlier.ifname, `is attached to ${earlier.network}`);
    await host.exclusive(() => release.takeDown(earlier));
    await release.finish(earlier);
  }

  async #attach(call: AddCall, inside: ContainerKernel, context: OverlayContext): Promise<Attachment> {
    const { book, host, log } = this.#deps;
    const request = this.#request(call, inside);
    const pending =
      call.config.ipam === undefined
        ? await this.#open(request)
        : await this.#openForeign(request, foreignIpamOf(call));
    try {
      await buildMended(pending, this.#newest(context), this.#deps, inside);
      const whole: Attachment = { ...pending, state: "attached" };
      book.save(whole);
      log.info({ ...fields(call), addresses: addressesOf(whole) }, "attached");
      return whole;
    } catch (error) {
      await host.exclusive(() => this.#deps.release.takeBack(pending));
      throw error;
    }
  }

  /** Of a slice that came meanwhile the context from before knows nothing. */
  #newest(context: OverlayContext): OverlayContext {
    return this.#deps.host.context() ?? context;
  }

  #open(request: LeaseRequest): Promise<Attachment> {
    const { book, giver, host } = this.#deps;
    // As it is now: what is draining meanwhile is not given any more.
    const check = (attachment: Attachment) => this.#requirePorts(attachment);
    return giver.give(request.who, () => book.open(request, this.context().assignment, check, host.hosting?.()));
  }

  /** The plugin's name is on the disk before it is asked, so that an agent that dies meanwhile gives back what it gave. */
  async #openForeign(request: LeaseRequest, ipam: ForeignIpam): Promise<Attachment> {
    const { book, plugins, release } = this.#deps;
    const { who } = request;
    const asked: Lease = { ...who, state: "pending", ipam };
    book.save(asked);
    try {
      const { ips, dns } = await requestAddresses(plugins, ipam, who);
      const [ip4, ip6] = ([4, 6] as const).map((family) => ips.find(({ address }) => familyOf(address) === family));
      const addresses = [ip4, ip6].flatMap((each) => (each === undefined ? [] : [addressOf(each.address)]));
      const given = {
        ...ipam,
        ...(Object.keys(dns).length === 0 ? {} : { dns }),
        ...(ip4?.gateway === undefined ? {} : { gateway: ip4.gateway }),
        ...(ip6?.gateway === undefined ? {} : { gateway6: ip6.gateway }),
      };
      book.requireUnheld(asked, addresses);
      const pending = { ...book.attachmentFor(request, addresses), ipam: given };
      this.#requirePorts(pending);
      book.save(pending);
      return pending;
    } catch (error) {
      await release.takeBack(asked);
      throw error;
    }
  }

  /** @throws Fault port-taken */
  #requirePorts(attachment: Attachment): void {
    requirePorts(attachment, this.#deps);
  }

  #request(call: AddCall, { netnsId }: ContainerKernel): LeaseRequest {
    const { containerId, ifname, netns, requestId, runtime, config, wishes, task } = call;
    const { ports, aliases, bandwidth, ips, mac } = wishes;
    return {
      who: {
        containerId,
        ifname,
        network: config.network,
        configName: config.name,
        netns,
        netnsId,
        requestId,
        runtime,
        since: this.#deps.clock.date(),
        ...(task.name === undefined ? {} : { name: task.name }),
        ...(Object.keys(task.labels).length === 0 ? {} : { labels: task.labels }),
      },
      ips,
      ...(mac === undefined ? {} : { mac }),
      extras: {
        ...(ports.length === 0 ? {} : { ports }),
        ...(bandwidth === undefined ? {} : { bandwidth }),
        ...(aliases.length === 0 ? {} : { aliases }),
      },
    };
  }
}

/** The same call again: the connection broke before the answer arrived. */
function isRepeated({ requestId, config }: AddCall, earlier: Lease): boolean {
  const isSame = requestId !== "" && earlier.requestId === requestId && earlier.network === config.network;
  return isSame && earlier.state !== "pending";
}

/** The answer follows from the attachment alone, so that the same call sent again gets the same one. */
function attached(attachment: Attachment, call: AddCall, context: OverlayContext): AddResult {
  const { hostIfname, ifname, ipam, mac, netns } = attachment;
  return {
    host: { name: hostIfname, mac: GATEWAY_MAC },
    container: { name: ifname, mac, netns },
    mtu: containerMtu(context),
    ips: gatewaysOf(attachment, context),
    // As the reference plugins have it: the configuration's own, else that of who gave the addresses.
    dns: Object.keys(call.config.dns).length > 0 ? call.config.dns : (ipam?.dns ?? {}),
  };
}

/** As `attached`, for addresses alone: with the length of their half, as a bridge or a macvlan wants them. */
function given(lease: Lease, call: AddCall, version: CniVersion, { assignment }: OverlayContext): CniReply {
  const ips = addressesOf(lease).flatMap((address) => {
    const half = halfOf(assignment, lease.network, address);
    return half === undefined ? [] : [{ address: withLength(address, lengthOf(half)), gateway: gatewayOf(half) }];
  });
  const routes = ips.map(({ gateway }) => ({ dst: familyOf(gateway) === 4 ? "0.0.0.0/0" : "::/0" }));
  return ipamReply(version, { ips, routes, dns: call.config.dns });
}

function fields({ command, config, containerId, ifname }: AddCall): object {
  return { command, network: config.network, containerId, ifname };
}
