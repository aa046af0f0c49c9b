/**
 * A time in which this master leads, in etcd. Every write compares the revision that wrote the leader's key, so that none
 * lands after another master began to lead, however long ago it was sent; and the revision of the last event, so that it
 * lands once.
 *
 * A write whose answer is lost is sent again until there is one: either it is done now, or what stands in its place tells
 * whether it was done before. When the time of the lease goes by without an answer, the term is over: what became of the
 * write then is seen by whoever leads next, and nothing was acknowledged.
 */
import { firstWithin } from "../../../core/control/pieces.ts";
import type { ControlEvent, ControlState } from "../../../model/control-event.ts";
import { EVENTS_READ_MAX_BYTES } from "../../../model/control-limits.ts";
import { assert, Fault } from "../../../model/fault.ts";
import { ETCD_PAGE_ENTRIES, LEADER_LEASE_S } from "../../../model/limits.ts";
import type { MasterAddress, Term } from "../../ports.ts";
import { checkEvents } from "../control-bounds.ts";
import { type Piece, piecesOf } from "./append.ts";
import type { EtcdClient } from "./etcd-client.ts";
import { EtcdAnswerTooLong, EtcdError, EtcdUnreachable, etcdFault } from "./etcd-errors.ts";
import {
  compareWritten,
  type KeyValue,
  type Operation,
  range,
  rangeBody,
  rangeResponse,
  rangesOf,
  remove,
  type Txn,
  type TxnResponse,
  txnResponse,
} from "./etcd-messages.ts";
import { corrupt, type Layout } from "./layout.ts";
import type { LeaderWatch } from "./leader-watch.ts";
import type { Lease } from "./lease.ts";

const WRITE_MS = 2 * LEADER_LEASE_S * 1_000;
const SETTLE_MS = 2_000;
const PAGE_TRY_MS = 5_000;
/** A history that is compacted under the reader so often is compacted without pause. */
const LOADS_MAX = 5;

export interface TermStart {
  readonly number: number;
  readonly head: number;
  readonly lease: Lease;
}

export class EtcdTerm implements Term {
  readonly number: number;
  readonly lost: Promise<Fault>;
  readonly #client: EtcdClient;
  readonly #layout: Layout;
  readonly #lease: Lease;
  readonly #over = new AbortController();
  readonly #lose: (fault: Fault) => void;
  #head: number;
  #isWriting = false;

  constructor(client: EtcdClient, layout: Layout, watch: LeaderWatch, { number, head, lease }: TermStart) {
    this.number = number;
    this.#client = client;
    this.#layout = layout;
    this.#lease = lease;
    this.#head = head;
    const { promise, resolve } = Promise.withResolvers<Fault>();
    this.lost = promise;
    this.#lose = resolve;
    void lease.ended.then((fault) => this.end(fault));
    void watch.otherThan(number, this.#over.signal).then(
      ({ leader }) => this.end(this.#deposed(leader)),
      () => undefined,
    );
  }

  get isOver(): boolean {
    return this.#over.signal.aborted;
  }

  /** Nothing is written from now on. The first reason counts. */
  end(fault: Fault): void {
    if (this.isOver) return;
    this.#over.abort(fault);
    this.#lose(fault);
    void this.#lease.giveBack();
  }

  async load(): Promise<ControlState> {
    for (let loads = 1; ; loads += 1)
      try {
        return await this.#loadOnce();
      } catch (thrown) {
        if (thrown instanceof EtcdError && thrown.isCompacted && loads < LOADS_MAX) continue;
        throw this.#explain(thrown, "read the cluster's state");
      }
  }

  async append(events: readonly ControlEvent[]): Promise<void> {
    this.#requireLead();
    assert(!this.#isWriting, "one append at a time");
    const bytes = checkEvents(events, this.#head);
    this.#isWriting = true;
    try {
      for (const piece of piecesOf(events, bytes, { layout: this.#layout, term: this.number, head: this.#head }))
        await this.#write(piece);
    } finally {
      this.#isWriting = false;
    }
  }

  async events(after: number, limit: number): Promise<readonly ControlEvent[]> {
    const events: ControlEvent[] = [];
    let from = this.#layout.event(Math.max(0, after) + 1);
    let size = ETCD_PAGE_ENTRIES;
    let room = EVENTS_READ_MAX_BYTES;
    try {
      while (events.length < limit && room > 0) {
        const options = { end: this.#layout.eventsEnd, limit: Math.min(size, limit - events.length) };
        const page = await this.#page(from, options).catch((thrown: unknown) => tooLong(thrown, size));
        if (page === "too-long") size = Math.ceil(size / 2);
        else {
          const kvs = firstWithin(page.kvs, bytesOf, room);
          events.push(...kvs.map((found) => this.#layout.eventOf(found)));
          room = kvs.length < page.kvs.length ? 0 : kvs.reduce((left, found) => left - bytesOf(found), room);
          const last = page.kvs.at(-1);
          if (!page.more || last === undefined) break;
          from = `${last.key}\0`;
        }
      }
    } catch (thrown) {
      throw this.#explain(thrown, "read the cluster's history");
    }
    return events;
  }

  async forget(upTo: number): Promise<void> {
    this.#requireLead();
    const from = this.#layout.event(0);
    const txn: Txn = {
      compare: [compareWritten(this.#layout.leader, this.number)],
      success: [remove(from, this.#layout.event(upTo + 1))],
      failure: [range(this.#layout.leader)],
    };
    const options = { signal: this.#over.signal, totalMs: WRITE_MS };
    const answer = await this.#client.call("/v3/kv/txn", txn, txnResponse, options).catch((thrown: unknown) => {
      throw this.#explain(thrown, "delete old events");
    });
    if (!answer.succeeded) throw this.#deposedBy(rangesOf(answer)[0]?.[0]);
  }

  async resign(): Promise<void> {
    if (!this.isOver) {
      const fault = new Fault("not-leader", "this master gave up the lead");
      this.#over.abort(fault);
      this.#lose(fault);
    }
    await this.#lease.giveBack();
  }

  async #write(piece: Piece): Promise<void> {
    const { last, txn } = piece;
    const answer = await this.#client
      .call("/v3/kv/txn", txn, txnResponse, { signal: this.#over.signal, totalMs: WRITE_MS })
      .catch((thrown: unknown): undefined => {
        const isUnknown = thrown instanceof EtcdUnreachable || thrown === this.#over.signal.reason;
        if (!isUnknown) throw etcdFault(thrown, "write a change");
      });
    if (answer?.succeeded !== true) await this.#settle(piece, answer);
    this.#head = last;
  }

  /**
   * Finds out what became of a piece that was not written just now: an earlier try of the same call may have written it.
   * @param answer of the transaction that refused it; absent: there was none
   * @throws Fault not-leader, storage, corrupt-store
   */
  async #settle({ last, lastText, txn: { failure } }: Piece, answer: TxnResponse | undefined): Promise<void> {
    const found =
      answer ??
      (await this.#client
        .call("/v3/kv/txn", { success: failure }, txnResponse, { totalMs: SETTLE_MS })
        .catch((thrown: unknown) => this.#loseOver(etcdFault(thrown, "tell what became of a change"))));
    const [leader, revision, event] = rangesOf(found);
    if (event?.[0]?.value === lastText) return;
    if (leader?.[0]?.written !== this.number) throw this.#deposedBy(leader?.[0]);
    // It may still come in, as long as this term lasts; whoever leads next sees what became of it.
    if (answer === undefined)
      this.#loseOver(
        new Fault("storage", `etcd did not tell whether change ${last} of the cluster's state was written; try again`),
      );
    const head = this.#layout.headOf(revision?.[0]);
    // Before this one it was this term that wrote, or nobody did: its load goes by the same revision.
    this.#loseOver(corrupt(this.#layout.revision, new Error(`it is ${head} and not ${this.#head}`)));
  }

  #loseOver(fault: Fault): never {
    this.end(fault);
    throw fault;
  }

  /** The head and the first entries in one transaction, and the other entries as of the same revision of etcd. */
  async #loadOnce(): Promise<ControlState> {
    this.#requireLead();
    const { leader, revision, entries: first, entriesEnd: end } = this.#layout;
    const options = { totalMs: WRITE_MS, tryMs: PAGE_TRY_MS, signal: this.#over.signal };
    const success = [range(leader), range(revision)];
    const start = await this.#client.call("/v3/kv/txn", { success }, txnResponse, options);
    const [leaders, revisions] = rangesOf(start);
    if (leaders?.[0]?.written !== this.number) throw this.#deposedBy(leaders?.[0]);
    const head = this.#layout.headOf(revisions?.[0]);
    const asOf = start.header.revision;
    const entries = new Map<string, unknown>();
    let size = ETCD_PAGE_ENTRIES;
    let from: string | undefined = first;
    let next = this.#page(from, { end, limit: size, revision: asOf });
    while (from !== undefined) {
      const page: Page | "too-long" = await next.catch((thrown: unknown) => tooLong(thrown, size));
      if (page === "too-long") size = Math.ceil(size / 2);
      else from = page.more ? `${page.kvs.at(-1)?.key}\0` : undefined;
      // etcd makes the next page while this one is decoded.
      if (from !== undefined) {
        next = this.#page(from, { end, limit: size, revision: asOf });
        next.catch(() => undefined);
      }
      if (page !== "too-long") for (const found of page.kvs) entries.set(...this.#layout.entryOf(found));
    }
    this.#head = head;
    return { revision: head, entries };
  }

  #page(from: string, options: Parameters<typeof rangeBody>[1]): Promise<Page> {
    const body: Operation = rangeBody(from, options);
    const limits = { signal: this.#over.signal, totalMs: WRITE_MS, tryMs: PAGE_TRY_MS };
    return this.#client.call("/v3/kv/range", body, rangeResponse, limits);
  }

  #requireLead(): void {
    if (this.isOver) throw this.#refusal(this.#over.signal.reason as Fault);
  }

  /** What a caller hears once the term is over, whatever ended it. */
  #refusal(reason: Fault): Fault {
    if (reason.code === "not-leader") return reason;
    return new Fault("not-leader", `this master does not lead any more: ${reason.message}`, {}, { cause: reason });
  }

  #explain(thrown: unknown, doing: string): Fault {
    if (this.isOver && thrown === this.#over.signal.reason) return thrown as Fault;
    return etcdFault(thrown, doing);
  }

  #deposedBy(found: KeyValue | undefined): Fault {
    const fault = this.#deposed(found && this.#layout.leaderOf(found));
    this.end(fault);
    return fault;
  }

  #deposed(leader: MasterAddress | undefined): Fault {
    return leader === undefined
      ? new Fault("not-leader", "this master does not lead any more, and no other one does yet; try again in a moment")
      : new Fault("not-leader", `another master leads: ${leader.url}`, { leader: leader.url });
  }
}

type Page = Awaited<ReturnType<typeof rangeResponse.parse>>;

function bytesOf({ value }: KeyValue): number {
  return Buffer.byteLength(value);
}

function tooLong(thrown: unknown, size: number): "too-long" {
  if (thrown instanceof EtcdAnswerTooLong && size > 1) return "too-long";
  throw thrown;
}
