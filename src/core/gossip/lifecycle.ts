/**
 * A member's own life: it joins by any address it knows, says who it is, comes back after a pause, finds the other side
 * after a partition, says goodbye. It never says anything under a gen that it may have used before: at each start the gen
 * is raised, and when somebody holds a word in its own hand that it does not know, it jumps past that.
 */

import { memberItem } from "./broadcast.ts";
import type { Context } from "./context.ts";
import { Heard } from "./heard.ts";
import { type Address, ALIVE, type Head, type MemberId } from "./messages.ts";
import type { OwnerState } from "./owner-state.ts";
import type { Publisher } from "./publisher.ts";
import { headBytes } from "./signed.ts";
import { headVersion } from "./table.ts";
import { nextGen } from "./version.ts";

export class Lifecycle {
  readonly heard = new Heard();
  readonly #ctx: Context;
  readonly #publisher: Publisher;
  readonly #seeds: readonly Address[];
  #credential: Uint8Array;
  #head: Head;
  #isJoining = true;
  readonly #repliers = new Set<MemberId>();
  #seedTurn = 0;

  constructor(ctx: Context, publisher: Publisher, seeds: readonly Address[], gen: number) {
    this.#ctx = ctx;
    this.#publisher = publisher;
    this.#seeds = seeds.filter((address) => address !== ctx.self.address);
    this.#credential = ctx.self.credential;
    this.#head = this.#signed(gen, 0, false);
  }

  get head(): Head {
    return this.#head;
  }

  /** What it wrote itself, out or not. */
  get written(): OwnerState {
    return this.#publisher.state;
  }

  /** Its records are not out yet. */
  get isJoining(): boolean {
    return this.#isJoining;
  }

  start(): void {
    this.#ctx.emit({ type: "gen", gen: this.#head.gen });
    this.#putHead();
    this.#seedTurn = Math.floor(this.#ctx.fraction() * Math.max(1, this.#seeds.length));
    this.#tryToJoin();
    this.#scheduleMeeting();
    const hasNobody = this.#seeds.length === 0 && this.#ctx.table.size <= 1;
    this.#ctx.after(hasNobody ? 0 : this.#ctx.timing.joinWaitMs, () => this.#joined());
  }

  onJoin(from: Address, sender: MemberId, head: Head): void {
    const { table, judge, outbox } = this.#ctx;
    if (head.id !== sender || head.id === this.#ctx.self.id) return;
    const known = table.member(head.id)?.head;
    if (!judge.onHead(sender, head, false)) return;
    outbox.control(from, { type: "join-reply", head: this.#head, ...(known !== undefined && { known }) });
  }

  onJoinReply(sender: MemberId, head: Head, known: Head | undefined): void {
    const { judge, links, sync, table, timing } = this.#ctx;
    if (head.id !== sender || !judge.onHead(sender, head, true) || table.member(sender) === undefined) return;
    if (known !== undefined && known.id === this.#ctx.self.id) judge.onHead(sender, known, true);
    this.#repliers.add(sender);
    if (links.isShort) links.ask(sender, true);
    sync.with(sender);
    // All of a few seeds know as much as three of many.
    if (this.#repliers.size >= Math.min(timing.joinReplies, this.#seeds.length)) this.#joined();
  }

  /** Contradicts who called this member dead. */
  sayAlive(inc: number): void {
    this.#say(this.#signed(this.#head.gen, inc, false));
  }

  /** The cluster gave this member a newer credential: the others hear of it. */
  renew(credential: Uint8Array): void {
    this.#credential = credential;
    this.sayAlive(this.#head.inc + 1);
  }

  /** Begins a new gen after the one that was seen. */
  jump(seen: number): void {
    const gen = nextGen(Math.max(seen, this.#head.gen), this.#ctx.fraction());
    this.#ctx.emit({ type: "gen", gen });
    this.#ctx.emit({ type: "event", event: { type: "gen-jumped", gen } });
    this.#say(this.#signed(gen, 0, this.#head.hasLeft));
    const delta = this.#publisher.restart(gen);
    if (!this.#isJoining) this.#ctx.records.publish(delta, this.#publisher.state);
  }

  /** Says goodbye, twice; nothing more is said afterwards. */
  leave(): void {
    this.#say(this.#signed(this.#head.gen, this.#head.inc + 1, true));
    for (const link of this.#ctx.links.all())
      this.#ctx.push(link.id, { type: "member", head: this.#head, isAsked: false });
  }

  /** This process or its host stood still: what it believed about others is void, and they may have given it up. */
  paused(ms: number): void {
    const { prober, links, broadcast, records, sync } = this.#ctx;
    this.#ctx.emit({ type: "event", event: { type: "paused", ms } });
    prober.clear();
    broadcast.clear();
    records.clear();
    sync.clear();
    this.heard.clear();
    links.dropAll();
    for (let n = 0; n < this.#ctx.timing.joinReplies; n += 1) {
      const id = this.#someone();
      if (id === undefined) continue;
      links.ask(id, true);
      sync.with(id);
    }
    this.#knock();
  }

  /** One that was held for dead answers: the other side of a partition is there again. */
  reached(id: MemberId): void {
    this.#ctx.emit({ type: "event", event: { type: "healed", id } });
    this.#ctx.links.ask(id, true);
    this.#ctx.sync.with(id);
  }

  // ---- inside --------------------------------------------------------------------------------------------------------

  #signed(gen: number, inc: number, hasLeft: boolean): Head {
    const { id, address, sign } = this.#ctx.self;
    const unsigned = { id, gen, inc, hasLeft, address, credential: this.#credential };
    return { ...unsigned, signature: sign(headBytes(unsigned)) };
  }

  #say(head: Head): void {
    this.#head = head;
    this.#putHead();
    const item = memberItem(head.id, head.gen, headVersion(head));
    this.#ctx.broadcast.news(item, [{ type: "member", head, isAsked: false }], undefined, false);
  }

  #putHead(): void {
    const publicKey = this.#ctx.admit(this.#head);
    if (publicKey !== undefined) this.#ctx.table.putHead(this.#head, publicKey, this.#ctx.now);
    this.#ctx.emit({ type: "member", id: this.#head.id });
  }

  /** Until somebody is a neighbour: that is also how one that lost everybody comes back. */
  #tryToJoin(): void {
    const { links, timing } = this.#ctx;
    if (links.size === 0) this.#knock();
    this.#ctx.after(this.#ctx.spread(timing.joinAgainMs, 0.3), () => this.#tryToJoin());
  }

  /** Asks a few of the seeds in turn; all but one may be dead. */
  #knock(): void {
    const { outbox, timing } = this.#ctx;
    for (let n = 0; n < Math.min(timing.joinReplies, this.#seeds.length); n += 1) {
      const to = this.#seeds[this.#seedTurn % this.#seeds.length] as Address;
      this.#seedTurn += 1;
      outbox.control(to, { type: "join", head: this.#head });
    }
  }

  /**
   * A seed that is no living member here belongs to another cluster that began apart, or is down: without this two parts
   * that never knew each other, each with a seed, would never meet.
   */
  #scheduleMeeting(): void {
    this.#ctx.after(this.#ctx.spread(this.#ctx.timing.healMs, 0.5), () => {
      const seed = this.#seeds[Math.floor(this.#ctx.fraction() * this.#seeds.length)];
      if (seed !== undefined && !this.#isKnownAlive(seed))
        this.#ctx.outbox.control(seed, { type: "join", head: this.#head });
      this.#scheduleMeeting();
    });
  }

  #isKnownAlive(address: Address): boolean {
    for (const { head, status } of this.#ctx.table.members())
      if (status === ALIVE && head.address === address) return true;
    return false;
  }

  #joined(): void {
    if (!this.#isJoining) return;
    this.#isJoining = false;
    this.#ctx.emit({ type: "event", event: { type: "joined", members: this.#ctx.table.size } });
    this.#say(this.#head);
    const delta = this.#publisher.whole();
    this.#ctx.records.publish(delta, this.#publisher.state);
  }

  #someone(): MemberId | undefined {
    const { table, self } = this.#ctx;
    for (let n = 0; n < 10 && table.size > 1; n += 1) {
      const { head, status } = table.nth(Math.floor(this.#ctx.fraction() * table.size));
      if (status === ALIVE && head.id !== self.id) return head.id;
    }
    return undefined;
  }
}
