/**
 * The control plane in etcd, for several masters. One of them leads: whose `leader` key stands. It gets there when there is
 * none, when the one there is its own from before it started anew, or when the leader gives no sign of life; etcd lets
 * exactly one win, and from then on refuses what the one before writes (docs/decisions/0030).
 */
import { Fault } from "../../../model/fault.ts";
import { TAKEOVER_CALM_MS, TAKEOVER_PAUSE_FIRST_MS, TAKEOVER_PAUSE_MAX_MS } from "../../../model/limits.ts";
import type { ControlStore, MasterAddress } from "../../ports.ts";
import { type EtcdAccess, EtcdClient, pause } from "./etcd-client.ts";
import { etcdFault } from "./etcd-errors.ts";
import { compareWritten, put, range, rangeBody, rangeResponse, rangesOf, txnResponse } from "./etcd-messages.ts";
import { EtcdTerm } from "./etcd-term.ts";
import { checkVersions } from "./etcd-version.ts";
import { Layout } from "./layout.ts";
import { deathOf, httpProbe, type Probe } from "./leader-probe.ts";
import { LeaderWatch, type Standing } from "./leader-watch.ts";
import { Lease } from "./lease.ts";

export interface EtcdStoreOptions extends EtcdAccess {
  /** All keys begin so: `/weft`. */
  readonly prefix?: string;
  readonly probe?: Probe;
  /** Looks at an entry before this master waits for the lead; what it throws is what `lead` throws. */
  readonly check?: EntryCheck;
  /** Told of what goes wrong while this master waits; the same may come again and again. */
  readonly onTrouble?: (fault: Fault) => void;
}

export interface EntryCheck {
  readonly entry: string;
  /** @param value `undefined`: there is none */
  accept(value: unknown): void;
}

const RETRY_MS = 500;

export class EtcdControlStore implements ControlStore {
  readonly #client: EtcdClient;
  readonly #layout: Layout;
  readonly #probe: Probe;
  readonly #check: EntryCheck | undefined;
  readonly #onTrouble: (fault: Fault) => void;
  readonly #closed = new AbortController();
  #watch: LeaderWatch | undefined;
  #term: EtcdTerm | undefined;
  #takeovers = { count: 0, last: Number.NEGATIVE_INFINITY };

  constructor({ prefix = "/weft", probe = httpProbe, check, onTrouble = () => {}, ...access }: EtcdStoreOptions) {
    this.#client = new EtcdClient(access);
    this.#layout = new Layout(prefix);
    this.#probe = probe;
    this.#check = check;
    this.#onTrouble = onTrouble;
  }

  leader(): MasterAddress | undefined {
    return this.#watch?.standing?.leader;
  }

  async lead(self: MasterAddress, ended: AbortSignal): Promise<EtcdTerm> {
    const signal = AbortSignal.any([ended, this.#closed.signal]);
    try {
      if (this.#watch === undefined) {
        await this.#insist(() => this.#checkStore(signal), signal);
        this.#watch = new LeaderWatch(this.#client, this.#layout, this.#onTrouble);
      }
      for (;;) {
        const standing = await this.#chance(self, this.#watch, signal);
        const term = await this.#insist(() => this.#win(self, standing, signal), signal);
        if (term === undefined) continue;
        this.#term = term;
        return term;
      }
    } catch (thrown) {
      if (!signal.aborted) throw thrown;
      throw new Fault("not-leader", "this master was ended while it waited for the lead", {}, { cause: thrown });
    }
  }

  async close(): Promise<void> {
    await this.#term?.resign();
    this.#closed.abort(new Error("the store is closed"));
    this.#watch?.close();
    this.#client.close();
  }

  /** Resolves when there is a chance to lead, with what stands in the way. */
  async #chance(self: MasterAddress, watch: LeaderWatch, signal: AbortSignal): Promise<Standing> {
    for (;;) {
      const standing = watch.standing ?? (await watch.otherThan(undefined, signal));
      const { leader } = standing;
      if (leader === undefined) return standing;
      const changed = new AbortController();
      const both = AbortSignal.any([signal, changed.signal]);
      const isFree = await Promise.race([
        watch.otherThan(standing.term, both).then(() => false),
        this.#isToBeDeposed(leader, self, both).then(() => true),
      ]).finally(() => changed.abort(new Error("something else came first")));
      if (isFree) return standing;
    }
  }

  async #isToBeDeposed(leader: MasterAddress, self: MasterAddress, signal: AbortSignal): Promise<void> {
    const { clock } = this.#client;
    const { count, last } = this.#takeovers;
    const wait = count === 0 ? 0 : Math.min(TAKEOVER_PAUSE_MAX_MS, TAKEOVER_PAUSE_FIRST_MS * 2 ** (count - 1));
    const isCalm = clock.now() - last > Math.max(TAKEOVER_CALM_MS, wait);
    if (!isCalm) await pause(clock, Math.max(0, last + wait - clock.now()), signal);
    // Our own from before this start, or from before we lost it: nobody serves there.
    if (leader.id !== self.id || leader.url !== self.url) await deathOf(leader, this.#probe, clock, signal);
    this.#takeovers = { count: isCalm ? 1 : count + 1, last: clock.now() };
  }

  /** @returns `undefined` when another one was faster */
  async #win(self: MasterAddress, standing: Standing, signal: AbortSignal): Promise<EtcdTerm | undefined> {
    const { leader, revision } = this.#layout;
    const watch = this.#watch as LeaderWatch;
    const lease = await Lease.grant(this.#client, signal);
    const txn = {
      compare: [compareWritten(leader, standing.term)],
      success: [put(leader, JSON.stringify({ id: self.id, url: self.url }), lease.id), range(leader), range(revision)],
      failure: [range(leader), range(revision)],
    };
    try {
      const answer = await this.#client.call("/v3/kv/txn", txn, txnResponse, { signal });
      const [leaders, revisions] = rangesOf(answer);
      const found = leaders?.[0];
      watch.learn(answer.header.revision, found);
      // Not ours to win any more, unless an earlier try of this call won it and its answer was lost.
      if (found === undefined || found.lease !== lease.id) {
        await lease.giveBack();
        return undefined;
      }
      const head = this.#layout.headOf(revisions?.[0]);
      return new EtcdTerm(this.#client, this.#layout, watch, { number: found.written, head, lease });
    } catch (thrown) {
      await lease.giveBack();
      throw thrown;
    }
  }

  /** Until etcd can be reached and is not full; what no waiting mends is thrown. */
  async #insist<T>(attempt: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (;;)
      try {
        return await attempt();
      } catch (thrown) {
        signal.throwIfAborted();
        if (!(thrown instanceof Error) || thrown.name === "ZodError") throw thrown;
        const fault = etcdFault(thrown, "make this master the leader");
        if (fault.code !== "storage") throw fault;
        this.#onTrouble(fault);
        await pause(this.#client.clock, RETRY_MS, signal);
      }
  }

  async #checkStore(signal: AbortSignal): Promise<void> {
    await checkVersions(this.#client, this.#layout, signal);
    if (this.#check === undefined) return;
    const { entry, accept } = this.#check;
    const body = rangeBody(this.#layout.entry(entry));
    const { kvs } = await this.#client.call("/v3/kv/range", body, rangeResponse, { signal });
    accept(kvs[0] && this.#layout.entryOf(kvs[0])[1]);
  }
}

/** A store that several handles may be opened on; nothing is asked of etcd before `lead`. */
export function openEtcdControlStore(options: EtcdStoreOptions): EtcdControlStore {
  return new EtcdControlStore(options);
}
