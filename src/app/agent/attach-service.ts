/**
 * Attaches containers to networks and detaches them: carries out CNI calls (docs/decisions/0007).
 *
 * A lease is durable, as `pending`, before the kernel is touched, and `attached` before the answer leaves; a detach
 * begins by making it `pending` again. So whatever step the agent dies at, `recover` either finds a whole attachment or
 * takes back all of it. Calls for one container run one after another; no address is ever held twice, because choosing
 * one and writing it down is one synchronous step.
 */
import { type CniCall, type ContainerCall, decodeCall } from "../../core/cni/call.ts";
import { addReply, type CniReply, EMPTY_REPLY, errorReply, versionReply } from "../../core/cni/reply.ts";
import type { CniVersion } from "../../core/cni/version.ts";
import type { HostState } from "../../core/host/host-state.ts";
import { containerHalves } from "../../core/ipam/lease.ts";
import { containerMtu, desiredAttachment } from "../../core/overlay/attach.ts";
import type { OverlayContext } from "../../core/overlay/context.ts";
import type { Log } from "../../io/log.ts";
import type { AgentStore, ContainerKernel, Kernel } from "../../io/ports.ts";
import { type Attachment, addressesOf } from "../../model/attachment.ts";
import { assert, Fault } from "../../model/fault.ts";
import { gatewayOf } from "../../model/half.ts";
import { contains } from "../../model/ip.ts";
import { checkFailed, interfaceExists, requireFree, unlikePrevious } from "./attach-checks.ts";
import { build, differences, presenceOf, takeDown } from "./attach-kernel.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { LeaseBook } from "./lease-book.ts";

/** What the service needs of the agent around it. */
export interface AttachHost {
  /** `undefined` until the host can carry containers: an assignment is there and a pass has programmed it. */
  context(): OverlayContext | undefined;
  /** Attachments came or went: a pass should run. */
  changed(): void;
  /** Makes a pass now; returns after it. */
  heal(): Promise<void>;
}

export interface AttachDependencies {
  readonly kernel: Kernel;
  readonly store: AgentStore;
  readonly host: AttachHost;
  readonly log: Log;
}

type AddCall = Extract<CniCall, { command: "ADD" }>;
type CheckCall = Extract<CniCall, { command: "CHECK" }>;

export class AttachService {
  readonly #kernel: Kernel;
  readonly #host: AttachHost;
  readonly #log: Log;
  readonly #queue = new KeyedQueue();
  readonly #book: LeaseBook;

  constructor({ kernel, store, host, log }: AttachDependencies) {
    this.#kernel = kernel;
    this.#host = host;
    this.#log = log;
    this.#book = new LeaseBook(store);
  }

  /** Everything that the kernel should hold now: what is attached, and what is being attached. */
  attachments(): readonly Attachment[] {
    return this.#book.all().filter((attachment) => !this.#book.isLeaving(attachment));
  }

  /**
   * To be called once, before the first call and the first pass: takes back what an agent that died left half done, and
   * releases what lost its namespace meanwhile. What cannot be taken back now is tried again by `repair`.
   */
  async recover(): Promise<void> {
    await this.sweep();
  }

  /** Reads the kernel and does what `repair` does. */
  async sweep(): Promise<void> {
    await this.repair(await this.#kernel.observe([]));
  }

  /**
   * Makes again what lost its device while its namespace lives, the inside included; releases what lost both; takes
   * back what is left of failed calls.
   * @param observed what the host's kernel held a moment ago
   * @returns whether anything was done, and `observed` is therefore out of date
   */
  async repair(observed: HostState): Promise<boolean> {
    const present = new Set(observed.links.map(({ name }) => name));
    const suspects = this.#book
      .all()
      .filter((attachment) => this.#book.isLeaving(attachment) || !present.has(attachment.hostIfname))
      .filter(({ containerId }) => !this.#queue.isBusy(containerId));
    let done = false;
    for (const suspect of suspects)
      done = (await this.#queue.run(suspect.containerId, () => this.#repairOne(suspect))) || done;
    return done;
  }

  /** Answers the body of POST /v1/cni; see core/cni/environment. */
  async answer(body: Uint8Array): Promise<CniReply> {
    const { version, command, call } = decodeCall(body);
    return call instanceof Fault ? errorReply(version, command, call) : this.cni(call);
  }

  /** Carries out a call. A refused one is an answer too. */
  async cni(call: CniCall): Promise<CniReply> {
    if (call.command === "VERSION") return versionReply(call.asked);
    const { cniVersion } = call.config;
    try {
      return await this.#carryOut(call, cniVersion);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#log.warn({ ...logFields(call), code: error.code }, error.message);
      return errorReply(cniVersion, call.command, error);
    }
  }

  async #carryOut(call: Exclude<CniCall, { command: "VERSION" }>, version: CniVersion): Promise<CniReply> {
    switch (call.command) {
      case "ADD":
        return this.#queue.run(call.containerId, () => this.#add(call, version));
      case "DEL":
        return this.#queue.run(call.containerId, () => this.#del(call));
      case "CHECK":
        return this.#queue.run(call.containerId, () => this.#check(call));
      case "STATUS":
        // Nothing is kept of it: an address could be had.
        this.#book.lease({ ...NOBODY, network: call.config.network }, this.#context().assignment);
        return EMPTY_REPLY;
      case "GC":
        // Only what lost its namespace: the runtime's list may not know the containers of another runtime.
        await this.sweep();
        return EMPTY_REPLY;
    }
  }

  // ---- ADD -----------------------------------------------------------------------------------------------------------

  async #add(call: AddCall, version: CniVersion): Promise<CniReply> {
    const context = this.#context();
    const earlier = this.#book.get(call);
    if (earlier?.state === "attached" && call.requestId !== "" && earlier.requestId === call.requestId)
      return this.#added(earlier, call, version, context);
    containerHalves(context.assignment, call.config.network); // refuses before anything is opened
    const inside = await this.#kernel.enter(call.netns);
    try {
      if (earlier !== undefined) await this.#makeWay(earlier, inside);
      await requireFree(call, inside);
      const attachment = await this.#attachToWholeHost(call, inside, context);
      this.#host.changed();
      return this.#added(attachment, call, version, context);
    } finally {
      inside.close();
    }
  }

  /** Another request for an interface that has a lease: right only if the lease outlived its namespace. */
  async #makeWay(earlier: Attachment, inside: ContainerKernel): Promise<void> {
    const isAlive = earlier.state === "attached" && earlier.netnsId === inside.netnsId;
    if (isAlive) throw interfaceExists(earlier.containerId, earlier.ifname, `is attached to ${earlier.network}`);
    await this.#release(earlier);
  }

  /** Somebody may have broken what an attachment stands on a moment ago: then the host is mended first. */
  async #attachToWholeHost(call: AddCall, inside: ContainerKernel, context: OverlayContext): Promise<Attachment> {
    try {
      return await this.#attach(call, inside, context);
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== "kernel-refused") throw error;
      this.#log.info(logFields(call), `tried again after a pass: ${error.message}`);
      await this.#host.heal();
      return this.#attach(call, inside, context);
    }
  }

  async #attach(call: AddCall, inside: ContainerKernel, context: OverlayContext): Promise<Attachment> {
    const { containerId, ifname, netns, requestId } = call;
    const request = {
      containerId,
      ifname,
      netns,
      requestId,
      netnsId: inside.netnsId,
      network: call.config.network,
      runtime: call.runtime,
      since: "",
    };
    const pending = this.#book.open(request, context.assignment);
    try {
      await build(pending, context, this.#kernel, inside);
      const attached: Attachment = { ...pending, state: "attached" };
      this.#book.save(attached);
      this.#log.info({ ...logFields(call), addresses: addressesOf(attached) }, "attached");
      return attached;
    } catch (error) {
      await this.#takeBack(pending);
      throw error;
    }
  }

  /** The answer follows from the attachment alone, so that the same call sent again gets the same one. */
  #added(attachment: Attachment, call: AddCall, version: CniVersion, context: OverlayContext): CniReply {
    const { hostIfname, ifname, mac, netns, network } = attachment;
    const hostMac = desiredAttachment(attachment, context).links?.[0]?.mac;
    assert(hostMac !== undefined, "the host's end of a veth has a MAC");
    const halves = containerHalves(context.assignment, network);
    const result = {
      host: { name: hostIfname, mac: hostMac },
      container: { name: ifname, mac, netns },
      mtu: containerMtu(context),
      ips: addressesOf(attachment).flatMap((address) =>
        halves.filter((half) => contains(half, address)).map((half) => ({ address, gateway: gatewayOf(half) })),
      ),
      dns: call.config.dns,
    };
    return addReply(version, result, call.config.prevResult);
  }

  // ---- DEL -----------------------------------------------------------------------------------------------------------

  async #del(call: Extract<CniCall, { command: "DEL" }>): Promise<CniReply> {
    const attachment = this.#book.get(call);
    // A runtime detaches from a network that refused the container, too: the interface of another one is not meant.
    if (attachment === undefined || attachment.network !== call.config.network) return EMPTY_REPLY;
    await this.#release(attachment);
    this.#log.info({ ...logFields(call), addresses: addressesOf(attachment) }, "detached");
    this.#host.changed();
    return EMPTY_REPLY;
  }

  /** @throws Fault when the kernel or the disk refuses; the attachment stays on its way out, and `repair` goes on */
  async #release(attachment: Attachment): Promise<void> {
    this.#book.leave(attachment);
    await takeDown(attachment, this.#kernel);
    this.#book.remove(attachment);
  }

  /** As `#release`; what is refused is logged, and `repair` goes on with it. */
  async #takeBack(attachment: Attachment): Promise<boolean> {
    try {
      await this.#release(attachment);
      return true;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#log.warn(identity(attachment), `not taken back yet: ${error.message}`);
      return false;
    }
  }

  // ---- CHECK ---------------------------------------------------------------------------------------------------------

  async #check(call: CheckCall): Promise<CniReply> {
    const context = this.#context();
    const { containerId, ifname } = call;
    const attachment = this.#book.get(call);
    if (attachment?.state !== "attached" || attachment.network !== call.config.network)
      throw new Fault(
        "unknown-container",
        `container ${containerId} has no interface ${ifname} on network ${call.config.network} here; attach it again`,
        { containerId, ifname, network: call.config.network },
      );
    const inside = await this.#kernel.enter(call.netns);
    try {
      const problems =
        attachment.netnsId === inside.netnsId
          ? [...unlikePrevious(attachment, call), ...(await differences(attachment, context, this.#kernel, inside))]
          : [`${call.netns} is another network namespace than the one it was attached in`];
      if (problems.length > 0) throw checkFailed(attachment, problems);
      return EMPTY_REPLY;
    } finally {
      inside.close();
    }
  }

  // ---- repair --------------------------------------------------------------------------------------------------------

  /** One that cannot be repaired is logged, and is no reason to leave the others. */
  async #repairOne(suspect: Attachment): Promise<boolean> {
    const attachment = this.#book.get(suspect);
    if (attachment === undefined) return false;
    if (this.#book.isLeaving(attachment)) return this.#takeBack(attachment);
    try {
      return await this.#remake(attachment);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.#log.warn(identity(attachment), `the device is lost and cannot be made again: ${error.message}`);
      return false;
    }
  }

  async #remake(attachment: Attachment): Promise<boolean> {
    const inside = await this.#open(attachment);
    if (inside === undefined) return this.#takeBack(attachment);
    try {
      const presence = await presenceOf(attachment, inside);
      if (presence === "whole") return false;
      if (presence === "taken") return await this.#takeBack(attachment);
      const context = this.#host.context();
      if (context === undefined) return false; // a pass with an assignment comes here again
      await build(attachment, context, this.#kernel, inside).catch(async (error: unknown) => {
        await takeDown(attachment, this.#kernel);
        throw error;
      });
      this.#log.warn(identity(attachment), "the device was lost and is made again");
      return true;
    } finally {
      inside.close();
    }
  }

  /** The namespace of an attachment; `undefined` when it is gone, even if its path leads to another. */
  async #open(attachment: Attachment): Promise<ContainerKernel | undefined> {
    try {
      const inside = await this.#kernel.enter(attachment.netns);
      if (inside.netnsId === attachment.netnsId) return inside;
      inside.close();
      return undefined;
    } catch (error) {
      if (error instanceof Fault && error.code === "bad-netns") return undefined;
      throw error;
    }
  }

  #context(): OverlayContext {
    const context = this.#host.context();
    if (context !== undefined) return context;
    throw new Fault("not-ready", "this agent has no addresses yet; it is waiting for its master, try again later");
  }
}

/** Who STATUS asks for. */
const NOBODY = { containerId: "", ifname: "", netns: "", netnsId: "", requestId: "", runtime: "", since: "" };

function identity({ containerId, ifname, network }: Attachment): object {
  return { containerId, ifname, network };
}

function logFields(call: Exclude<CniCall, { command: "VERSION" }>): object {
  const { command, config } = call;
  const { containerId, ifname } = call as Partial<ContainerCall>;
  return { command, network: config.network, containerId, ifname };
}
