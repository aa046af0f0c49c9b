/**
 * Who leads, as etcd knows it: read at first, then watched. A watch may end without a word (its member is cut off, or its
 * history was compacted away), so the key is also read once in a while, and whatever is newer counts. News are ordered by
 * etcd's revision; older ones change nothing.
 */

import type { Fault } from "../../../model/fault.ts";
import { LEADER_READ_MS } from "../../../model/limits.ts";
import type { MasterAddress } from "../../ports.ts";
import { type EtcdClient, pause } from "./etcd-client.ts";
import { etcdFault } from "./etcd-errors.ts";
import { type KeyValue, rangeBody, rangeResponse, text64, watchResponse } from "./etcd-messages.ts";
import type { Layout } from "./layout.ts";

export interface Standing {
  /** The number of the leader's term; 0: nobody leads. */
  readonly term: number;
  readonly leader?: MasterAddress;
  readonly lease?: string;
}

const PAUSE_MS = 100;
const NOBODY: Standing = { term: 0 };

export class LeaderWatch {
  readonly #client: EtcdClient;
  readonly #layout: Layout;
  readonly #onTrouble: (fault: Fault) => void;
  readonly #stop = new AbortController();
  readonly #waiting = new Set<() => void>();
  #standing: Standing | undefined;
  #asOf = -1;
  /** What no waiting mends: the key is damaged, or may not be read. */
  #failed: Fault | undefined;
  /** Ends the watch that is open, so that it begins anew. */
  #restart = new AbortController();

  constructor(client: EtcdClient, layout: Layout, onTrouble: (fault: Fault) => void) {
    this.#client = client;
    this.#layout = layout;
    this.#onTrouble = onTrouble;
    void this.#follow();
    void this.#readOften();
  }

  /** The last that was heard; absent before anything was. */
  get standing(): Standing | undefined {
    return this.#standing;
  }

  /** Resolves with the standing when it is another one than that of this term. @throws Fault; the signal's reason */
  async otherThan(term: number | undefined, signal: AbortSignal): Promise<Standing> {
    for (;;) {
      signal.throwIfAborted();
      if (this.#failed !== undefined) throw this.#failed;
      if (this.#standing !== undefined && this.#standing.term !== term) return this.#standing;
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      const stop = () => reject(signal.reason as Error);
      this.#waiting.add(resolve);
      signal.addEventListener("abort", stop);
      await promise.finally(() => {
        this.#waiting.delete(resolve);
        signal.removeEventListener("abort", stop);
      });
    }
  }

  /** What a transaction of our own found or wrote. @param asOf etcd's revision */
  learn(asOf: number, found: KeyValue | undefined): void {
    if (asOf <= this.#asOf) return;
    this.#asOf = asOf;
    const before = this.#standing?.term;
    this.#standing = found === undefined ? NOBODY : standingOf(this.#layout, found);
    this.#failed = undefined;
    if (this.#standing.term !== before) this.#wake();
  }

  close(): void {
    this.#stop.abort(new Error("the store is closed"));
    this.#restart.abort(new Error("the store is closed"));
  }

  #wake(): void {
    for (const wake of this.#waiting) wake();
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await this.#watchFrom(await this.#read(signal));
      } catch (thrown) {
        if (signal.aborted) return;
        // A watch that broke off is begun again; that etcd cannot be read is worth a word.
        if (!this.#restart.signal.aborted) this.#fail(etcdFault(thrown, "tell who leads"));
      }
      await pause(this.#client.clock, PAUSE_MS, signal).catch(() => undefined);
    }
  }

  #fail(fault: Fault): void {
    this.#onTrouble(fault);
    if (fault.code === "storage") return;
    this.#failed = fault;
    this.#wake();
  }

  async #read(signal: AbortSignal): Promise<number> {
    const body = rangeBody(this.#layout.leader);
    const { header, kvs } = await this.#client.call("/v3/kv/range", body, rangeResponse, { signal });
    this.learn(header.revision, kvs[0]);
    return header.revision;
  }

  /** Ends when the watch does: by etcd (compaction, member gone, cut off), or because the readings know better. */
  async #watchFrom(revision: number): Promise<void> {
    this.#restart = new AbortController();
    const signal = AbortSignal.any([this.#stop.signal, this.#restart.signal]);
    const request = { create_request: { key: text64(this.#layout.leader), start_revision: String(revision + 1) } };
    for await (const { result } of this.#client.stream("/v3/watch", request, watchResponse, signal)) {
      if (result.canceled) return;
      for (const { type, kv } of result.events) this.learn(kv.written, type === "DELETE" ? undefined : kv);
    }
  }

  async #readOften(): Promise<void> {
    const { signal } = this.#stop;
    while (!signal.aborted) {
      try {
        await pause(this.#client.clock, LEADER_READ_MS, signal);
        const before = this.#standing?.term;
        await this.#read(signal);
        if (before !== undefined && before !== this.#standing?.term)
          this.#restart.abort(new Error("the watch is late"));
      } catch {
        // The other loop tells.
      }
    }
  }
}

export function standingOf(layout: Layout, found: KeyValue): Standing {
  return {
    term: found.written,
    leader: layout.leaderOf(found),
    ...(found.lease !== undefined && { lease: found.lease }),
  };
}
