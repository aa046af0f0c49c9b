/**
 * Gives addresses to whoever asks, CNI or a Docker engine: where every address of a network is held it waits for a
 * further slice, and what is reserved and lies elsewhere it asks the cluster for. Both within a deadline. Who is refused
 * for want of an address is remembered, because the cluster's operators should hear of it.
 */
import type { LeaseWorld } from "../../core/ipam/lease.ts";
import { Unclaimed } from "../../core/ipam/reserved.ts";
import type { Clock } from "../../io/ports.ts";
import type { Lease } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { CLAIM_WAIT_MS, GROWTH_WAIT_MS } from "../../model/limits.ts";
import type { AttachHost } from "./attach-service.ts";
import type { LeaseBook } from "./lease-book.ts";
import { Shortfalls } from "./shortfalls.ts";

/** One for each family, and again when another agent was faster. */
const CLAIMS_ASKED_MAX = 4;

/** Who asks, and as `LeaseWorld` of what. */
export type Asker = Pick<Lease, "network" | "name" | "runtime"> & Pick<LeaseWorld, "kind" | "families">;

export interface GiverDependencies {
  readonly clock: Clock;
  readonly host: AttachHost;
  readonly book: Pick<LeaseBook, "requireRoom">;
}

export class AddressGiver {
  readonly #clock: Clock;
  readonly #host: AttachHost;
  readonly #book: GiverDependencies["book"];
  readonly #shortfalls = new Shortfalls();

  constructor({ clock, host, book }: GiverDependencies) {
    this.#clock = clock;
    this.#host = host;
    this.#book = book;
  }

  /** @param open leases what the assignment has now; called again when there may be more @throws Fault as `open` */
  async give<T>(asker: Asker, open: () => T): Promise<T> {
    try {
      return await this.#give(asker, open);
    } catch (error) {
      throw this.#noted(asker, error);
    }
  }

  /** The same for what a further slice is of no use to. @throws Fault as `open` */
  giveNow<T>(asker: Asker, open: () => T): T {
    try {
      return open();
    } catch (error) {
      throw this.#noted(asker, error);
    }
  }

  /** Networks in which containers are refused for want of an address. */
  shortfalls(): ReturnType<Shortfalls["lasting"]> {
    return this.#shortfalls.lasting(this.#clock.now());
  }

  #noted(asker: Asker, error: unknown): unknown {
    if (!(error instanceof Fault) || error.code !== "exhausted") return error;
    const { network, runtime, kind = "cni", families = [] } = asker;
    const hasRoom = () => this.#hasRoom(asker);
    this.#shortfalls.refused([kind, ...families].join(" "), { network, runtime, at: this.#clock.now(), hasRoom });
    this.#host.refused?.();
    return error;
  }

  /** What is not there any more, or takes no containers, wants no addresses. */
  #hasRoom({ network, ...wishes }: Asker): boolean {
    const assignment = this.#host.context()?.assignment;
    if (assignment === undefined) return false;
    try {
      this.#book.requireRoom(network, assignment, wishes);
      return true;
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      return error.code !== "exhausted";
    }
  }

  async #give<T>(asker: Asker, open: () => T): Promise<T> {
    const deadline = this.#clock.now() + GROWTH_WAIT_MS;
    for (let asked = 0; ; asked++)
      try {
        return open();
      } catch (error) {
        if (error instanceof Unclaimed) {
          if (!(await this.#claim(asker, error, asked))) throw error;
          continue;
        }
        if (!(error instanceof Fault) || error.code !== "exhausted" || this.#clock.now() >= deadline) throw error;
        const answer = await this.#host.moreRoom?.(asker.network, deadline);
        if (answer === "exhausted") throw usedUp(error);
        if (answer !== "grown") throw error;
      }
  }

  /** @returns whether the cluster was asked @throws Fault as the master refused */
  async #claim({ network, name = "" }: Asker, { wanted, message, facts }: Unclaimed, asked: number): Promise<boolean> {
    if (this.#host.claim === undefined || asked >= CLAIMS_ASKED_MAX) return false;
    try {
      return await this.#host.claim({ network, name, addresses: wanted }, this.#clock.now() + CLAIM_WAIT_MS);
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== "not-ready") throw error;
      throw new Fault("not-ready", `${message}; ${error.message}`, facts);
    }
  }
}

/** The network has no further slice for this host, so waiting helps nothing. */
function usedUp({ message, facts }: Fault): Fault {
  return new Fault("exhausted", `${message}; the master has no further slice of it for this host`, facts);
}
