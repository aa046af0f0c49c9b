/**
 * Gives addresses to whoever asks, CNI or a Docker engine: where every address of a network is held it waits for a
 * further slice, and what is reserved and lies elsewhere it asks the cluster for. Both within a deadline.
 */
import { Unclaimed } from "../../core/ipam/reserved.ts";
import type { Clock } from "../../io/ports.ts";
import type { Lease } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { CLAIM_WAIT_MS, GROWTH_WAIT_MS } from "../../model/limits.ts";
import type { AttachHost } from "./attach-service.ts";

/** One for each family, and again when another agent was faster. */
const CLAIMS_ASKED_MAX = 4;

export type Asker = Pick<Lease, "network" | "name">;

export class AddressGiver {
  readonly #clock: Clock;
  readonly #host: AttachHost;

  constructor({ clock, host }: { readonly clock: Clock; readonly host: AttachHost }) {
    this.#clock = clock;
    this.#host = host;
  }

  /** @param open leases what the assignment has now; called again when there may be more @throws Fault as `open` */
  async give<T>(asker: Asker, open: () => T): Promise<T> {
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
