/**
 * A lease of etcd's, renewed until it is given back: what hangs on it is deleted when it runs out. It counts as ended here
 * when etcd says so, or when no renewal came through for as long as it lasts, counted from when the last one was sent.
 */
import { Fault } from "../../../model/fault.ts";
import { LEADER_LEASE_S, LEADER_RENEW_MS } from "../../../model/limits.ts";
import { type EtcdClient, pause } from "./etcd-client.ts";
import { EtcdError, etcdFault } from "./etcd-errors.ts";
import { anyResponse, keepAliveResponse, leaseResponse } from "./etcd-messages.ts";

const LEASE_MS = LEADER_LEASE_S * 1_000;
/** Giving it back is a courtesy: it ends by itself. */
const REVOKE_MS = 1_000;

export class Lease {
  readonly id: string;
  /** Resolves with the reason; never, once it was given back. */
  readonly ended: Promise<Fault>;
  readonly #client: EtcdClient;
  readonly #stop = new AbortController();
  #given: Promise<void> | undefined;

  private constructor(client: EtcdClient, id: string, grantedAt: number) {
    this.#client = client;
    this.id = id;
    const { promise, resolve } = Promise.withResolvers<Fault>();
    this.ended = promise;
    void this.#renew(grantedAt).then((fault) => {
      if (fault !== undefined) resolve(fault);
    });
  }

  /** @throws as `EtcdClient.call` */
  static async grant(client: EtcdClient, signal: AbortSignal): Promise<Lease> {
    const sentAt = client.clock.now();
    const { ID } = await client.call("/v3/lease/grant", { TTL: String(LEADER_LEASE_S) }, leaseResponse, { signal });
    return new Lease(client, ID, sentAt);
  }

  /** Stops the renewals, and ends the lease with what hangs on it, if etcd can be reached. */
  giveBack(): Promise<void> {
    this.#stop.abort();
    this.#given ??= this.#client.call("/v3/lease/revoke", { ID: this.id }, anyResponse, { totalMs: REVOKE_MS }).then(
      () => {},
      () => {},
    );
    return this.#given;
  }

  async #renew(grantedAt: number): Promise<Fault | undefined> {
    const { clock } = this.#client;
    const { signal } = this.#stop;
    let end = grantedAt + LEASE_MS;
    try {
      for (;;) {
        await pause(clock, LEADER_RENEW_MS, signal);
        const sentAt = clock.now();
        const totalMs = Math.max(1, end - sentAt);
        const answer = await this.#client.call("/v3/lease/keepalive", { ID: this.id }, keepAliveResponse, {
          signal,
          totalMs,
        });
        if (answer.result.TTL === 0) return new Fault("not-leader", "this master's lease of the lead ran out in etcd");
        end = sentAt + LEASE_MS;
      }
    } catch (thrown) {
      if (signal.aborted) return undefined;
      if (thrown instanceof EtcdError && /lease not found/.test(thrown.message))
        return new Fault("not-leader", "this master's lease of the lead ran out in etcd");
      return etcdFault(thrown, "renew the lease of the lead");
    }
  }
}
