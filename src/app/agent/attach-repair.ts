/**
 * Keeps leases and the world one: what a call left half done is taken back, what lost its device while its namespace
 * lives is made again, the inside included, and what lost its namespace, or its address to another agent, is released.
 */
import type { HostState } from "../../core/host/host-state.ts";
import { insideName, otherEnd } from "../../core/overlay/attach.ts";
import type { OverlayContext } from "../../core/overlay/context.ts";
import type { Log } from "../../io/log.ts";
import type { Clock, Kernel } from "../../io/ports.ts";
import { type Attachment, addressesOf, isAttachment, type Lease } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { addressOf } from "../../model/ip.ts";
import { LONE_LEASES_INTERVAL_MS } from "../../model/limits.ts";
import { build, openNamespace, presenceOf, takeDown, tell } from "./attach-kernel.ts";
import type { KeyedQueue } from "./keyed-queue.ts";
import type { LeaseBook } from "./lease-book.ts";
import type { Release } from "./release.ts";

/** For so long after a start the engine is looked after often: it takes tenths of a second. */
const ENGINE_AT_WORK_S = 15;

export interface AttachRepairDependencies {
  readonly kernel: Kernel;
  readonly book: LeaseBook;
  readonly queue: KeyedQueue;
  readonly release: Release;
  readonly clock: Clock;
  readonly log: Log;
  /** `undefined` while the host cannot carry containers. */
  readonly context: () => OverlayContext | undefined;
  /** Asks for another pass, soon. */
  readonly again: () => void;
  /** The agent that hosts an address of the lease now, if that is another one. */
  readonly lostTo: (lease: Lease) => { readonly address: string; readonly to: string } | undefined;
}

export class AttachRepair {
  readonly #deps: AttachRepairDependencies;
  #loneLeasesAt = Number.NEGATIVE_INFINITY;

  constructor(deps: AttachRepairDependencies) {
    this.#deps = deps;
  }

  /**
   * @param observed what the host's kernel held a moment ago
   * @param looksAtAll open the namespace of every lease that no device tells about; else only now and then
   * @returns whether anything was done, and `observed` is therefore out of date
   */
  async repair(observed: HostState, looksAtAll = this.#isTimeForLoneLeases()): Promise<boolean> {
    const { book, queue } = this.#deps;
    const present = new Set(observed.links.map(({ name }) => name));
    const suspects = book.all().filter((lease) => {
      if (book.isLeaving(lease) || this.#deps.lostTo(lease) !== undefined) return true;
      if (!isAttachment(lease)) return looksAtAll && lease.docker === undefined;
      if (isUntaken(lease)) return !present.has(otherEnd(lease).name) || !present.has(lease.hostIfname);
      return lease.state === "mending" || !present.has(lease.hostIfname);
    });
    let done = false;
    for (const suspect of suspects) {
      // Asked at the last moment: a call that has begun waits for the kernel until this pass is over, and must not be
      // waited for.
      if (queue.isBusy(suspect.containerId)) continue;
      done = (await queue.run(suspect.containerId, () => this.#repairOne(suspect))) || done;
    }
    return done;
  }

  /** No device tells whether they live: each namespace has to be opened, which is for slow passes. */
  #isTimeForLoneLeases(): boolean {
    const now = this.#deps.clock.now();
    if (now < this.#loneLeasesAt + LONE_LEASES_INTERVAL_MS) return false;
    this.#loneLeasesAt = now;
    return true;
  }

  /** One that cannot be repaired is logged, and is no reason to leave the others. */
  async #repairOne(suspect: Lease): Promise<boolean> {
    const { book, log, release } = this.#deps;
    const lease = book.get(suspect);
    if (lease === undefined) return false;
    if (book.isLeaving(lease)) return release.takeBack(lease);
    const lost = this.#deps.lostTo(lease);
    if (lost !== undefined) {
      log.warn(identity(lease), `cut off: its address ${lost.address} is hosted by agent ${lost.to} now`);
      return release.takeBack(lease);
    }
    try {
      if (!isAttachment(lease)) return await this.#keepIfAlive(lease);
      return isUntaken(lease) ? await this.#follow(lease) : await this.#remake(lease);
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      log.warn(identity(lease), `the device is lost and cannot be made again: ${error.message}`);
      return false;
    }
  }

  /**
   * A Docker engine has taken the container's end: learns where it is and what it is called there, and tells the container
   * what it needs to know. An engine that has taken it back by now says so itself.
   */
  async #follow(attachment: Attachment): Promise<boolean> {
    const { book, clock, context: contextNow, kernel } = this.#deps;
    const context = contextNow();
    if (context === undefined) return false;
    const inside = await kernel.enter(attachment.netns);
    try {
      const end = (await inside.links()).find(({ mac }) => mac === attachment.mac);
      const number = /^eth(\d{1,3})$/.exec(end?.name ?? "")?.[1];
      if (end === undefined || number === undefined || !holds(await inside.observe([]), end.name, attachment)) {
        // The engine is at work on it, or died over it.
        if (secondsSince(attachment.since, clock) < ENGINE_AT_WORK_S) this.#deps.again();
        return false;
      }
      const docker = { ...attachment.docker, ifname: end.name };
      const taken: Attachment = { ...attachment, netnsId: inside.netnsId, docker, rank: 1 + Number(number) };
      await tell(taken, context, inside);
      book.save(taken);
      return false;
    } finally {
      inside.close();
    }
  }

  async #keepIfAlive(lease: Lease): Promise<boolean> {
    const inside = await openNamespace(this.#deps.kernel, lease);
    inside?.close();
    return inside === undefined && this.#deps.release.takeBack(lease);
  }

  async #remake(attachment: Attachment): Promise<boolean> {
    const { book, context: contextNow, kernel, log, release } = this.#deps;
    const inside = await openNamespace(kernel, attachment);
    if (inside === undefined) return release.takeBack(attachment);
    try {
      const presence = await presenceOf(attachment, inside);
      if (presence === "whole" && attachment.state !== "mending") return false;
      if (presence === "taken") return await release.takeBack(attachment);
      const context = contextNow();
      if (context === undefined) return false; // a pass with an assignment comes here again
      book.save({ ...attachment, state: "mending" });
      const siblings = book.siblings(attachment);
      await build(asOwn(attachment), siblings, context, kernel, inside).catch(async (error: unknown) => {
        await takeDown(attachment, siblings, kernel);
        throw error;
      });
      book.save({ ...attachment, state: "attached" });
      log.warn(identity(attachment), "the device was lost and is made again");
      return true;
    } finally {
      inside.close();
    }
  }
}

/** Its end is still beside the host's, as far as is known. */
function isUntaken({ docker }: Attachment): boolean {
  return docker !== undefined && docker.ifname === undefined;
}

/** An engine makes the inside once; what is lost is ours to make. */
function asOwn(attachment: Attachment): Attachment {
  const { docker, ...own } = attachment;
  return docker === undefined ? attachment : { ...own, ifname: insideName(attachment) };
}

/** All of its addresses are on the device. */
function holds({ addresses }: HostState, dev: string, attachment: Attachment): boolean {
  const present = new Set(addresses.filter((each) => each.dev === dev).map(({ address }) => addressOf(address)));
  return addressesOf(attachment).every((address) => present.has(address));
}

function secondsSince(date: string, clock: Clock): number {
  return (Date.parse(clock.date()) - Date.parse(date)) / 1_000;
}

function identity({ containerId, ifname, network }: Lease): object {
  return { containerId, ifname, network };
}
