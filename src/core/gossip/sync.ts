/**
 * Comparison of everything with one other member now and then, and at once with one that may have missed something: what
 * loss, a full queue or a partition kept from anybody is found by it. Digests of all, then of 256 parts, then the versions
 * in the parts that differ.
 *
 * Records and heads that are newer are sent or asked for. Who is dead is not taken over: each side looks for itself.
 */
import { GOSSIP_QUEUE_MAX_BYTES, GOSSIP_SYNC_BUCKETS_AT_ONCE, GOSSIP_SYNC_ROWS_MAX } from "../../model/limits.ts";
import { memberItem } from "./broadcast.ts";
import { BUCKETS } from "./codec.ts";
import type { Context } from "./context.ts";
import { ALIVE, DEAD, type DigestRow, type Item, type MemberId, type Message } from "./messages.ts";
import type { Member } from "./table.ts";
import { isNewer, memberVersion } from "./version.ts";

type SyncRows = Extract<Message, { type: "sync-rows" }>;

/** With one other, from the first word to equality or the last round. */
interface Session {
  rounds: number;
  at: number;
}

/** Two sessions with the same member are at least this far apart, ms. */
const AGAIN_MS = 500;
const SESSION_MS = 10_000;

export class Sync {
  readonly #ctx: Context;
  readonly #sessions = new Map<MemberId, Session>();
  #rotation = 0;

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  start(): void {
    this.#schedule();
  }

  /** Compares with this member now. */
  with(id: MemberId): void {
    const { now } = this.#ctx;
    const before = this.#sessions.get(id);
    if (before !== undefined && now - before.at < AGAIN_MS) return;
    for (const [other, { at }] of this.#sessions) if (now - at > SESSION_MS) this.#sessions.delete(other);
    this.#sessions.set(id, { rounds: 0, at: now });
    this.#sendRoot(id);
  }

  onRoot(from: MemberId, high: number, low: number): void {
    const { table, outbox } = this.#ctx;
    const { root } = table;
    if ((root.high === high && root.low === low) || outbox.waitingBytes > GOSSIP_QUEUE_MAX_BYTES / 2) return;
    this.#ctx.push(from, { type: "sync-buckets", buckets: table.buckets() });
  }

  onBuckets(from: MemberId, buckets: Uint32Array): void {
    const { table, timing } = this.#ctx;
    const session = this.#sessions.get(from);
    if (session === undefined || session.rounds >= timing.syncRounds) return;
    session.rounds += 1;
    session.at = this.#ctx.now;
    this.#ctx.count("sync-rounds");
    const differing: number[] = [];
    for (let n = 0; n < BUCKETS; n += 1) if (buckets[n] !== table.bucketDigest(n)) differing.push(n);
    // The whole differs and no part does: two changes hide each other in 32 bits.
    if (differing.length === 0) {
      differing.push(this.#rotation);
      this.#rotation = (this.#rotation + 1) % BUCKETS;
    }
    const chosen = this.#some(differing, GOSSIP_SYNC_BUCKETS_AT_ONCE);
    for (const bucket of chosen) for (const rows of this.#rowsOf(bucket)) this.#ctx.push(from, rows);
    if (differing.length > chosen.length) this.#again(from, session);
  }

  onRows(from: MemberId, { bucket, after, upTo, rows }: SyncRows): void {
    const { table } = this.#ctx;
    const theirs = new Map(rows.map((row) => [row.id, row]));
    const doubts: Item[] = [];
    for (const member of table.inBucket(bucket)) {
      const { id } = member.head;
      if (id <= after || (upTo !== "" && id > upTo)) continue;
      this.#compare(from, member, theirs.get(id), doubts);
      theirs.delete(id);
    }
    for (const { id } of theirs.values()) this.#ctx.broadcast.pull(memberItem(id, 0, 0), from);
    if (doubts.length > 0) this.#ctx.push(from, { type: "doubts", items: doubts });
  }

  onDoubts(from: MemberId, items: readonly Item[]): void {
    for (const { id, gen, version } of items)
      if (id === this.#ctx.self.id) this.#ctx.broadcast.pull(memberItem(id, 0, 0), from);
      else this.#doubt(this.#ctx.table.member(id), gen, Math.floor(version / 4), version);
  }

  clear(): void {
    this.#sessions.clear();
  }

  // ---- inside --------------------------------------------------------------------------------------------------------

  #schedule(): void {
    this.#ctx.after(this.#ctx.spread(this.#ctx.timing.syncMs, 0.5), () => {
      const id = this.#partner();
      if (id !== undefined) this.with(id);
      this.#schedule();
    });
  }

  /** A neighbour or any living member. */
  #partner(): MemberId | undefined {
    const { links, table, self } = this.#ctx;
    const ids = links.ids();
    if (ids.length > 0 && this.#ctx.fraction() < 0.5) return ids[Math.floor(this.#ctx.fraction() * ids.length)];
    for (let n = 0; n < 5 && table.size > 1; n += 1) {
      const { head, status } = table.nth(Math.floor(this.#ctx.fraction() * table.size));
      if (status === ALIVE && head.id !== self.id) return head.id;
    }
    return undefined;
  }

  #sendRoot(to: MemberId): void {
    this.#ctx.tell(to, { type: "sync-root", ...this.#ctx.table.root });
  }

  #again(from: MemberId, session: Session): void {
    const { timing, outbox } = this.#ctx;
    this.#ctx.after(timing.syncAgainMs + outbox.delayMs, () => {
      if (this.#sessions.get(from) === session) this.#sendRoot(from);
    });
  }

  *#rowsOf(bucket: number): Generator<SyncRows> {
    let rows: DigestRow[] = [];
    let after: MemberId = "";
    for (const member of this.#ctx.table.inBucket(bucket)) {
      if (rows.length === GOSSIP_SYNC_ROWS_MAX) {
        const upTo = (rows.at(-1) as DigestRow).id;
        yield { type: "sync-rows", bucket, after, upTo, rows };
        after = upTo;
        rows = [];
      }
      rows.push(this.#rowOf(member));
    }
    yield { type: "sync-rows", bucket, after, upTo: "", rows };
  }

  #rowOf({ head, gen, inc, status }: Member): DigestRow {
    const state = this.#ctx.table.state(head.id);
    return { id: head.id, gen, inc, status, dataGen: state?.gen ?? 0, seq: state?.seq ?? 0 };
  }

  #compare(from: MemberId, mine: Member, theirs: DigestRow | undefined, doubts: Item[]): void {
    const { id } = mine.head;
    this.#compareLife(from, mine, theirs, doubts);
    const state = this.#ctx.table.state(id);
    const [gen, seq] = [state?.gen ?? 0, state?.seq ?? 0];
    const [theirGen, theirSeq] = [theirs?.dataGen ?? 0, theirs?.seq ?? 0];
    if (isNewer(gen, seq, theirGen, theirSeq))
      for (const message of this.#ctx.records.since(id, theirGen, theirSeq)) this.#ctx.push(from, message);
    else if (isNewer(theirGen, theirSeq, gen, seq))
      this.#ctx.broadcast.pull({ kind: "records", id, gen, version: seq }, from);
  }

  #compareLife(from: MemberId, mine: Member, theirs: DigestRow | undefined, doubts: Item[]): void {
    const { head, gen, version, status } = mine;
    if (theirs === undefined) {
      this.#ctx.push(from, { type: "member", head, isAsked: true });
      return;
    }
    const theirVersion = memberVersion(theirs.inc, theirs.status);
    if (isNewer(theirs.gen, theirVersion, gen, version)) {
      // A death is not taken over from who only compares, but of who is not alive here either it is the newer word.
      const isDoubtful = theirs.status === DEAD && status === ALIVE && head.id !== this.#ctx.self.id;
      if (isDoubtful) this.#doubt(mine, theirs.gen, theirs.inc, theirVersion);
      else this.#ctx.broadcast.pull(memberItem(head.id, gen, version), from);
    } else if (isNewer(gen, version, theirs.gen, theirVersion)) {
      if (status === DEAD && theirs.status === ALIVE) doubts.push(memberItem(head.id, gen, version));
      else if (status === DEAD)
        for (const message of this.#ctx.broadcast.answer(memberItem(head.id, theirs.gen, theirVersion)))
          this.#ctx.push(from, message);
      else this.#ctx.push(from, { type: "member", head, isAsked: true });
    }
  }

  /** Others hold it for dead: this member looks, and tells it what is thought of it. */
  #doubt(member: Member | undefined, gen: number, inc: number, version: number): void {
    if (member === undefined || member.status !== ALIVE || !isNewer(gen, version, member.gen, member.version)) return;
    this.#ctx.prober.probe(member.head.id, "doubt", { gen, inc, status: DEAD });
  }

  /** So many by chance. */
  #some(from: readonly number[], count: number): number[] {
    const left = [...from];
    const chosen: number[] = [];
    while (chosen.length < count && left.length > 0)
      chosen.push(...left.splice(Math.floor(this.#ctx.fraction() * left.length), 1));
    return chosen;
  }
}
