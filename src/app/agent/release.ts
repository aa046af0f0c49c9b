/**
 * Gives a lease back, in an order that can be gone on with at any point: it is marked as on its way out, its devices go,
 * another IPAM plugin is told, and last it is forgotten. What is refused on the way is tried again by the next repair.
 */
import type { Log } from "../../io/log.ts";
import type { Kernel, PluginRunner } from "../../io/ports.ts";
import { isAttachment, type Lease } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { takeDown } from "./attach-kernel.ts";
import { returnAddresses } from "./foreign-ipam.ts";
import type { KeyedQueue } from "./keyed-queue.ts";
import type { LeaseBook } from "./lease-book.ts";

export interface ReleaseDependencies {
  readonly kernel: Kernel;
  readonly plugins: PluginRunner;
  readonly book: LeaseBook;
  /** One call for a container at a time. */
  readonly queue: KeyedQueue;
  readonly log: Log;
}

export class Release {
  readonly #deps: ReleaseDependencies;

  constructor(deps: ReleaseDependencies) {
    this.#deps = deps;
  }

  /** Marks it and removes its devices: work on the kernel. @throws Fault kernel-refused, no-rights, storage */
  async takeDown(lease: Lease): Promise<void> {
    const { book, kernel } = this.#deps;
    book.leave(lease);
    if (isAttachment(lease)) await takeDown(lease, book.siblings(lease), kernel);
  }

  /** The rest, once its devices are gone. @throws Fault delegate-failed, not-ready, storage */
  async finish(lease: Lease): Promise<void> {
    const { book, plugins } = this.#deps;
    // The namespace may be gone: then the plugin is told so by an empty path.
    if (lease.ipam !== undefined) await returnAddresses(plugins, lease.ipam, lease);
    book.remove(lease);
  }

  /**
   * All of it, from within a pass, so nothing is waited for but the kernel; a refusal is logged.
   * @returns whether the kernel's side is done
   */
  async takeBack(lease: Lease): Promise<boolean> {
    const { queue } = this.#deps;
    if (!(await this.#succeeds(lease, () => this.takeDown(lease)))) return false;
    // Another plugin may take its time, which no pass has.
    if (lease.ipam === undefined) return this.#succeeds(lease, () => this.finish(lease));
    void queue.run(lease.containerId, async () => {
      // A call that came before may have finished it, and have made the next lease of this interface.
      if (this.#isStillLeaving(lease)) await this.#succeeds(lease, () => this.finish(lease));
    });
    return true;
  }

  #isStillLeaving(lease: Lease): boolean {
    const { book } = this.#deps;
    const now = book.get(lease);
    return now !== undefined && book.isLeaving(now) && now.requestId === lease.requestId && now.since === lease.since;
  }

  async #succeeds(lease: Lease, work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      const { containerId, ifname, network } = lease;
      this.#deps.log.warn({ containerId, ifname, network }, `not taken back yet: ${error.message}`);
      return false;
    }
  }
}
