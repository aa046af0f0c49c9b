/**
 * Carries out CNI calls of both plugins (docs/decisions/0007): weft-cni attaches containers and detaches them, weft-ipam
 * gives addresses to the plugins of others.
 *
 * A lease is durable, as `pending`, before the kernel is touched, and `attached` before the answer leaves; a detach
 * begins by making it `pending` again. So whatever step the agent dies at, `repair` either finds a whole attachment or
 * takes back all of it. Calls for one container run one after another.
 */
import { type CniCall, decodeCall } from "../../core/cni/call.ts";
import {
  type AddResult,
  addReply,
  type CniReply,
  EMPTY_REPLY,
  errorReply,
  versionReply,
} from "../../core/cni/reply.ts";
import type { CniVersion } from "../../core/cni/version.ts";
import type { HostState } from "../../core/host/host-state.ts";
import type { Ledger } from "../../core/ipam/ledger.ts";
import type { OverlayContext } from "../../core/overlay/context.ts";
import type { Log } from "../../io/log.ts";
import type { AgentStore, Clock, HostSockets, Kernel, PluginRunner } from "../../io/ports.ts";
import { type Attachment, addressesOf, isAttachment, type Lease, pluginOf } from "../../model/attachment.ts";
import type { Assignment, OverlayStatus } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import type { Hosting } from "../../model/hosting.ts";
import type { Ip } from "../../model/ip.ts";
import type { NewNetwork } from "../../model/network.ts";
import { AddressGiver } from "./address-giver.ts";
import { checkFailed, unlikePrevious } from "./attach-checks.ts";
import { differences, openNamespace } from "./attach-kernel.ts";
import { AttachRepair } from "./attach-repair.ts";
import { type AddCall, Attacher } from "./attacher.ts";
import type { Wanted } from "./claim-book.ts";
import { DockerDriver } from "./docker/docker-driver.ts";
import { checkAddresses, foreignIpamOf, passOn, returnAddresses } from "./foreign-ipam.ts";
import { KeyedQueue } from "./keyed-queue.ts";
import { auditLeases } from "./lease-audit.ts";
import { LeaseBook } from "./lease-book.ts";
import { Release } from "./release.ts";
import type { RoomAnswer } from "./room.ts";

/** What the service needs of the agent around it. */
export interface AttachHost {
  /** `undefined` until the host can carry containers: an assignment is there and a pass has programmed it. */
  context(): OverlayContext | undefined;
  /** How the networks are, as the last pass left them. */
  statuses(): readonly OverlayStatus[];
  /** Asks for more addresses of a network, and waits for them until `deadline`; absent: there are never more. */
  moreRoom?(network: string, deadline: number): Promise<RoomAnswer>;
  /** Who hosts which reserved address; absent: nobody. */
  hosting?(): Hosting;
  /** Asks for reserved addresses that are not here. @returns whether anybody could be asked; @throws Fault as refused */
  claim?(wanted: Wanted, deadline: number): Promise<boolean>;
  /** The agent that hosts an address of the lease now, if that is another one. */
  lostTo?(lease: Lease): { readonly address: Ip; readonly to: string } | undefined;
  /** Attachments, or this lease, came or went: a pass should run. */
  changed(lease: Lease): void;
  /** A pass should run soon. */
  again(): void;
  /** Work on the kernel that no pass may overlap. */
  exclusive<T>(work: () => Promise<T>): Promise<T>;
  /** Makes a pass now; returns after it. */
  heal(): Promise<void>;
  /** A container was refused for want of an address; absent: nobody is told. */
  refused?(): void;
  /**
   * Asks the master for a network that the cluster has not, and waits until this host has it, until `deadline` at most;
   * absent: nobody can be asked.
   * @throws Fault as the master refused; not-ready
   */
  addNetwork?: ((wanted: NewNetwork, deadline: number) => Promise<void>) | undefined;
}

export interface AttachDependencies {
  readonly kernel: Kernel;
  readonly store: AgentStore;
  readonly plugins: PluginRunner;
  readonly sockets: HostSockets;
  readonly clock: Clock;
  readonly host: AttachHost;
  readonly log: Log;
}

export type DelCall = Extract<CniCall, { command: "DEL" }>;
type CheckCall = Extract<CniCall, { command: "CHECK" }>;
type StatusCall = Extract<CniCall, { command: "STATUS" }>;
type GcCall = Extract<CniCall, { command: "GC" }>;

export class AttachService {
  /** What a Docker engine of this host calls. */
  readonly docker: DockerDriver;
  readonly #deps: AttachDependencies;
  readonly #queue = new KeyedQueue();
  readonly #book: LeaseBook;
  readonly #release: Release;
  readonly #repair: AttachRepair;
  readonly #attacher: Attacher;
  readonly #giver: AddressGiver;

  constructor(deps: AttachDependencies) {
    this.#deps = deps;
    const book = new LeaseBook(deps.store, deps.clock);
    this.#book = book;
    this.#release = new Release({ ...deps, book, queue: this.#queue });
    this.#giver = new AddressGiver({ ...deps, book });
    const shared = { ...deps, book, release: this.#release, giver: this.#giver };
    this.#repair = new AttachRepair({
      ...shared,
      queue: this.#queue,
      context: () => deps.host.context(),
      again: () => deps.host.again(),
      lostTo: (lease) => deps.host.lostTo?.(lease),
    });
    this.#attacher = new Attacher(shared);
    this.docker = new DockerDriver({ ...shared, queue: this.#queue });
  }

  /** What the kernel should hold now: what is attached, and what is being attached. */
  attachments(): readonly Attachment[] {
    return this.#book.attachments().filter((attachment) => !this.#book.isLeaving(attachment));
  }

  /** All that is leased, also what is on its way out and what other plugins' devices have. Oldest first. */
  leases(): readonly Lease[] {
    return this.#book.all();
  }

  /** Who holds which address, and what rests. */
  get ledger(): Ledger {
    return this.#book.ledger;
  }

  /** Networks in which containers are refused for want of an address. */
  shortfalls(): ReturnType<AddressGiver["shortfalls"]> {
    return this.#giver.shortfalls();
  }

  /** How many addresses were given before they had rested. */
  get givenEarly(): number {
    return this.#book.givenEarly;
  }

  /** What is wrong with the leases, compared with the kernel. */
  audit(): Promise<readonly string[]> {
    const { kernel, host } = this.#deps;
    return host.exclusive(() => auditLeases({ kernel, book: this.#book, queue: this.#queue }));
  }

  /** Releases what lost its namespace, now. @returns what was released */
  async collect(): Promise<readonly Lease[]> {
    const { kernel, host } = this.#deps;
    const before = this.#book.all();
    await host.exclusive(async () => this.#repair.repair(await kernel.observe([]), true));
    return before.filter((lease) => this.#book.get(lease) === undefined);
  }

  /**
   * To be called once, before the first call and the first pass: takes back what an agent that died left half done, and
   * releases what lost its namespace meanwhile. What cannot be taken back now is tried again by `repair`.
   */
  async recover(): Promise<void> {
    await this.repair(await this.#deps.kernel.observe([]));
  }

  /** See LeaseBook; the next pass takes back what is on its way out. @throws Fault storage */
  reassigned(assignment: Assignment, before: Assignment | undefined): void {
    for (const lease of this.#book.reassigned(assignment, before)) {
      const { containerId, ifname, network } = lease;
      const all = `all of ${addressesOf(lease).join(", ")} in network ${network}`;
      this.#deps.log.warn({ containerId, ifname, network }, `cut off: this host does not have ${all} any more`);
    }
  }

  /** See LeaseBook. @throws Fault storage */
  dismissed(): void {
    this.#book.dismissed();
  }

  /** See AttachRepair; to be called from within a pass. */
  repair(observed: HostState): Promise<boolean> {
    return this.#repair.repair(observed);
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
      this.#deps.log.warn({ ...logFields(call), code: error.code }, error.message);
      return errorReply(cniVersion, call.command, error);
    }
  }

  async #carryOut(call: Exclude<CniCall, { command: "VERSION" }>, version: CniVersion): Promise<CniReply> {
    switch (call.command) {
      case "ADD":
        return call.plugin === "weft-ipam"
          ? this.#queue.run(call.containerId, () => this.#attacher.addLone(call, version))
          : addReply(version, await this.attach(call), call.config.prevResult);
      case "DEL":
        await this.detach(call);
        return EMPTY_REPLY;
      case "CHECK":
        return this.#queue.run(call.containerId, () => this.#check(call));
      case "STATUS":
        return this.#status(call);
      case "GC":
        return this.#gc(call);
    }
  }

  /** Attaches a container, whichever protocol asked; a call that is repeated gets the same answer. @throws Fault */
  attach(call: AddCall): Promise<AddResult> {
    return this.#queue.run(call.containerId, () => this.#attacher.add(call));
  }

  /** What is not there is detached already. @throws Fault */
  detach(call: DelCall): Promise<void> {
    return this.#queue.run(call.containerId, () => this.#del(call));
  }

  // ---- DEL -----------------------------------------------------------------------------------------------------------

  async #del(call: DelCall): Promise<void> {
    const lease = this.#book.get(call);
    // A runtime detaches from a network that refused the container, too: the interface of another one is not meant.
    if (lease === undefined || !isOf(lease, call)) {
      if (call.config.ipam !== undefined) await this.#returnUnknown(call);
      return;
    }
    await this.#detach(lease);
    this.#deps.log.info({ ...logFields(call), addresses: addressesOf(lease) }, "detached");
  }

  /** @throws Fault when the kernel, the disk or another plugin refuses; it stays on its way out, and repair goes on */
  async #detach(lease: Lease): Promise<void> {
    await this.#deps.host.exclusive(() => this.#release.takeDown(lease));
    await this.#release.finish(lease);
    this.#deps.host.changed(lease);
  }

  /**
   * The other IPAM plugin may hold what Weft knows nothing of: the call before may have died in between. A plugin that is
   * not there can hold nothing.
   */
  async #returnUnknown(call: DelCall): Promise<void> {
    const { containerId, ifname, netns = "" } = call;
    try {
      await returnAddresses(this.#deps.plugins, foreignIpamOf(call), { containerId, ifname, netns });
    } catch (error) {
      if (!(error instanceof Fault) || error.facts.isAbsent !== true) throw error;
    }
  }

  // ---- CHECK ---------------------------------------------------------------------------------------------------------

  async #check(call: CheckCall): Promise<CniReply> {
    const context = this.#attacher.context();
    const { containerId, ifname, netns } = call;
    const lease = this.#book.get(call);
    if (lease === undefined || lease.state === "pending" || !isOf(lease, call))
      throw new Fault(
        "unknown-container",
        `container ${containerId} has no interface ${ifname} on network ${call.config.network} here; attach it again`,
        { containerId, ifname, network: call.config.network },
      );
    if (lease.ipam !== undefined) await checkAddresses(this.#deps.plugins, lease.ipam, lease);
    const problems = await this.#deps.host.exclusive(() => this.#problems(lease, call, context));
    if (problems === undefined)
      throw checkFailed(lease, [`${netns} is another network namespace than the one it was attached in`]);
    if (problems.length > 0) throw checkFailed(lease, problems);
    return EMPTY_REPLY;
  }

  /** What is wrong with it; `undefined` in another namespace than its own. */
  async #problems(lease: Lease, call: CheckCall, context: OverlayContext): Promise<readonly string[] | undefined> {
    const { kernel } = this.#deps;
    const inside = await openNamespace(kernel, { ...lease, netns: call.netns });
    if (inside === undefined) return undefined;
    try {
      const before = unlikePrevious(lease, call);
      return isAttachment(lease) ? [...before, ...(await differences(lease, context, kernel, inside))] : before;
    } finally {
      inside.close();
    }
  }

  // ---- STATUS and GC -------------------------------------------------------------------------------------------------

  /** @throws Fault not-ready, network-failed, unknown-network, exhausted, delegate-failed */
  async #status(call: StatusCall): Promise<CniReply> {
    const { network, ipam } = call.config;
    const { assignment } = this.#attacher.context();
    const failed = this.#deps.host
      .statuses()
      .find(({ name, status }) => name === network && status === "STATUS_FAILED");
    if (failed !== undefined)
      throw new Fault(
        "network-failed",
        `network ${network} is not as it should be on this host: ${failed.error ?? ""}; see \`weft status\``,
        { network },
      );
    if (ipam === undefined) this.#book.requireRoom(network, assignment);
    else await passOn(this.#deps.plugins, call);
    return EMPTY_REPLY;
  }

  /**
   * Releases what this runtime made by this configuration and does not list any more: the containers of another runtime,
   * or of another configuration of the network, are not in its list. Without a list, only what lost its namespace goes,
   * which is looked for in any case. What cannot be released keeps nothing else; the first refusal is the answer.
   */
  async #gc(call: GcCall): Promise<CniReply> {
    const refusals: Fault[] = [];
    const attempt = async (work: () => Promise<unknown>) => {
      try {
        await work();
      } catch (error) {
        if (!(error instanceof Fault)) throw error;
        refusals.push(error);
      }
    };
    for (const stale of this.#unlisted(call))
      await attempt(() =>
        this.#queue.run(stale.containerId, async () => {
          const lease = this.#book.get(stale);
          if (lease?.requestId === stale.requestId) await this.#detach(lease);
        }),
      );
    await attempt(() => this.collect());
    await attempt(() => passOn(this.#deps.plugins, call));
    const [first] = refusals;
    if (first !== undefined) throw first;
    return EMPTY_REPLY;
  }

  /** Without those that an ADD is at work on: the list was made before. */
  #unlisted({ config, plugin, runtime, valid }: GcCall): readonly Lease[] {
    if (valid === undefined) return [];
    const listed = new Set(valid.map(({ containerId, ifname }) => `${containerId} ${ifname}`));
    return this.#book.all().filter((lease) => {
      const isMadeBy = lease.runtime === runtime && lease.configName === config.name && isOf(lease, { plugin, config });
      const isComing = lease.state === "pending" && !this.#book.isLeaving(lease);
      return isMadeBy && !isComing && !listed.has(`${lease.containerId} ${lease.ifname}`);
    });
  }
}

/** Whether the lease is what the call speaks of: the same network, and made by the same plugin. */
function isOf(lease: Lease, { plugin, config }: { plugin: string; config: { network: string } }): boolean {
  return lease.network === config.network && plugin === pluginOf(lease);
}

function logFields(call: Exclude<CniCall, { command: "VERSION" }>): object {
  const { command, config } = call;
  const { containerId, ifname } = "containerId" in call ? call : {};
  return { command, network: config.network, containerId, ifname };
}
