/**
 * One member of the gossip, as a machine: packets and time go in, effects come out. Who is a member, who lives, and every
 * member's records, without a centre (docs/gossip.md).
 *
 * No clock, socket or chance inside but what is given. Everything that arrives is bounded, checked where it is signed,
 * and idempotent: a packet that comes twice changes nothing the second time.
 */
import { Broadcast } from "./broadcast.ts";
import type { Context, Count, GossipEffect, Refusal, Self } from "./context.ts";
import { handle } from "./dispatch.ts";
import { Judge } from "./judge.ts";
import { Lifecycle } from "./lifecycle.ts";
import { Links } from "./links.ts";
import { LocalHealth } from "./local-health.ts";
import { type Address, DEAD, type Head, type MemberId, type Message } from "./messages.ts";
import { Outbox } from "./outbox.ts";
import type { OwnerState } from "./owner-state.ts";
import { Prober } from "./prober.ts";
import { keysOf, Publisher, recordValue } from "./publisher.ts";
import { Records } from "./records.ts";
import type { Verify } from "./signed.ts";
import { Sync } from "./sync.ts";
import type { Member, Table } from "./table.ts";
import { Timers } from "./timers.ts";
import { TIMING, type Timing } from "./timing.ts";

export interface GossipOptions {
  readonly self: Self;
  /** A gen that this member never used before (`nextGen` of the one on disk). */
  readonly gen: number;
  /** Where members may be found: the masters, and whom this member knew before. Its own address does no harm. */
  readonly seeds: readonly Address[];
  readonly timing?: Timing;
}

export interface GossipDependencies {
  /** What it knows from the beginning on; nothing, as a rule. From now on it is this member's alone. */
  readonly table: Table;
  /** Uniform in [0, 1). */
  readonly fraction: () => number;
  readonly verify: Verify;
  /** How long the oldest of what arrived has waited to be received, ms; without: nothing ever waits. */
  readonly unreadMs?: () => number;
  /**
   * Whether the cluster admits the member, by its credential: the public key that is behind the id.
   * Asked again for every new head, so that who was removed is refused from then on.
   */
  readonly admit: (head: Head) => Uint8Array | undefined;
}

/** What is known of one member. */
export interface MemberView extends Member {
  readonly isSuspect: boolean;
  /** Smoothed round trip, ms; 0: never measured. */
  readonly rttMs: number;
  readonly isNeighbor: boolean;
}

/** Of a sender that is not known: it is answered, and asked who it is. */
const FROM_STRANGERS: ReadonlySet<Message["type"]> = new Set(["join", "join-reply", "ping", "member"]);
/** Chance that a packet of one that is held for dead makes this member look. */
const REVIVE_CHANCE = 0.3;

export class Gossip {
  readonly refusals: Partial<Record<Refusal, number>> = {};
  readonly counts: Partial<Record<Count, number>> = {};
  readonly #ctx: Context;
  readonly #publisher: Publisher;
  #effects: GossipEffect[] = [];
  #hasLeft = false;

  constructor(options: GossipOptions, deps: GossipDependencies) {
    const { self, gen, seeds, timing = TIMING } = options;
    this.#publisher = new Publisher(self.id, gen, self.sign);
    const timers = new Timers();
    const ctx = {} as Mutable<Context>;
    Object.assign(ctx, {
      now: 0,
      self,
      timing,
      timers,
      table: deps.table,
      health: new LocalHealth(timing.localHealthMax),
      fraction: deps.fraction,
      verify: deps.verify,
      unreadMs: deps.unreadMs ?? (() => 0),
      admit: deps.admit,
      emit: (effect) => this.#effects.push(effect),
      refuse: (why) => {
        this.refusals[why] = (this.refusals[why] ?? 0) + 1;
      },
      count: (what) => {
        this.counts[what] = (this.counts[what] ?? 0) + 1;
      },
      tell: (to, message) => {
        const address = ctx.table.member(to)?.head.address;
        if (address !== undefined) ctx.outbox.control(address, message);
      },
      push: (to, message) => {
        const address = ctx.table.member(to)?.head.address;
        if (address !== undefined) ctx.outbox.bulk(address, message);
      },
      after: (ms, call) => timers.at(ctx.now + ms, call),
      spread: (ms, share) => ms * (1 - share + 2 * share * deps.fraction()),
    } satisfies Partial<Context>);
    ctx.outbox = new Outbox({
      timers,
      batchMs: timing.eagerBatchMs,
      now: () => ctx.now,
      send: (to, messages, bytes, isControl) => this.#effects.push({ type: "send", to, messages, bytes, isControl }),
      onOverflow: (to) => this.#overflown(to),
    });
    ctx.links = new Links(ctx);
    ctx.broadcast = new Broadcast(ctx);
    ctx.prober = new Prober(ctx);
    ctx.judge = new Judge(ctx);
    ctx.records = new Records(ctx);
    ctx.sync = new Sync(ctx);
    this.#ctx = ctx;
    ctx.lifecycle = new Lifecycle(ctx, this.#publisher, seeds, gen);
  }

  // ---- what drives it ------------------------------------------------------------------------------------------------

  start(now: number): readonly GossipEffect[] {
    const { lifecycle, links, prober, sync } = this.#ctx;
    this.#ctx.now = now;
    lifecycle.start();
    links.start();
    prober.start();
    sync.start();
    return this.#done();
  }

  /** When `tick` is due. */
  nextDeadline(): number {
    return this.#ctx.timers.next ?? Number.POSITIVE_INFINITY;
  }

  /** Does what is due. What has arrived is to be received before, also when this comes late. */
  tick(now: number): readonly GossipEffect[] {
    const late = now - this.nextDeadline();
    this.#ctx.now = now;
    if (late > this.#ctx.timing.pauseMs) this.#ctx.lifecycle.paused(late);
    this.#ctx.timers.run(now);
    return this.#done();
  }

  /** @param from where the packet came from; its sender is known to hold the cluster's key */
  receive(from: Address, sender: MemberId, messages: readonly Message[], now: number): readonly GossipEffect[] {
    this.#ctx.now = now;
    if (!this.#hasLeft && sender !== this.#ctx.self.id) this.#receive(from, sender, messages);
    return this.#done();
  }

  /**
   * Writes records of this member; `undefined` deletes one.
   * @throws Fault bad-request as `Publisher.write`
   */
  publish(changes: ReadonlyMap<string, Uint8Array | undefined>, now: number): readonly GossipEffect[] {
    this.#ctx.now = now;
    const delta = this.#publisher.write(changes);
    if (delta !== undefined && !this.#ctx.lifecycle.isJoining) this.#ctx.records.publish(delta, this.#publisher.state);
    return this.#done();
  }

  /** Shows this credential from now on. */
  renew(credential: Uint8Array, now: number): readonly GossipEffect[] {
    this.#ctx.now = now;
    this.#ctx.lifecycle.renew(credential);
    return this.#done();
  }

  /** Says goodbye. Nothing is answered any more afterwards. */
  leave(now: number): readonly GossipEffect[] {
    this.#ctx.now = now;
    this.#ctx.lifecycle.leave();
    // What waits is all that is still said.
    this.#ctx.outbox.flushAll();
    this.#hasLeft = true;
    this.#ctx.timers.clear();
    return this.#done();
  }

  /** The cluster removed the member: it and its records are forgotten. `admit` must refuse it from now on. */
  expel(id: MemberId, now: number): readonly GossipEffect[] {
    const { table, links, prober } = this.#ctx;
    this.#ctx.now = now;
    if (id === this.#ctx.self.id) return this.#done();
    links.drop(id, false);
    prober.settled(id);
    if (table.expel(id)) {
      this.#ctx.emit({ type: "member", id });
      this.#ctx.emit({ type: "records", owner: id });
    }
    return this.#done();
  }

  /** Takes up what was on disk, before `start`; heads are checked as if they had just arrived. */
  restore(head: Head, state: OwnerState | undefined): void {
    const { table, self } = this.#ctx;
    const publicKey = head.id === self.id ? undefined : this.#ctx.admit(head);
    if (publicKey === undefined || !table.putHead(head, publicKey, this.#ctx.now)) return;
    if (state !== undefined) table.putState(state);
  }

  // ---- what can be asked ---------------------------------------------------------------------------------------------

  get self(): Self {
    return this.#ctx.self;
  }

  get isJoining(): boolean {
    return this.#ctx.lifecycle.isJoining;
  }

  get size(): number {
    return this.#ctx.table.size;
  }

  /** Equal on two members that know the same. */
  get root(): string {
    const { high, low } = this.#ctx.table.root;
    return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
  }

  member(id: MemberId): MemberView | undefined {
    const member = this.#ctx.table.member(id);
    return member && this.#viewOf(member);
  }

  *members(): Generator<MemberView> {
    for (const member of this.#ctx.table.members()) yield this.#viewOf(member);
  }

  neighbors(): readonly MemberId[] {
    return this.#ctx.links.ids();
  }

  state(owner: MemberId): OwnerState | undefined {
    return this.#ctx.table.state(owner);
  }

  /** The owner's value; `undefined` when there is none. */
  value(owner: MemberId, key: string): Uint8Array | undefined {
    return recordValue(this.state(owner), key);
  }

  keys(owner: MemberId): readonly string[] {
    return keysOf(this.state(owner));
  }

  /** What is held right now: each has a bound in limits.ts. */
  gauges(): Readonly<Record<string, number>> {
    const { table, links, broadcast, prober, outbox, health, judge } = this.#ctx;
    return {
      members: table.size,
      dead: table.dead,
      neighbors: links.size,
      missing: broadcast.missing,
      probes: prober.inFlight,
      solos: judge.solos,
      queueBytes: outbox.waitingBytes,
      localHealth: health.score,
    };
  }

  // ---- inside --------------------------------------------------------------------------------------------------------

  #receive(from: Address, sender: MemberId, messages: readonly Message[]): void {
    const { table, lifecycle, prober, now } = this.#ctx;
    const member = table.member(sender);
    if (member === undefined) {
      this.#receiveFromStranger(from, sender, messages);
      return;
    }
    lifecycle.heard.note(sender, now);
    if (member.status === DEAD && this.#ctx.fraction() < REVIVE_CHANCE) {
      const { gen, inc, status } = member;
      prober.probe(sender, "heal", { gen, inc, status });
    }
    for (const message of messages) handle(this.#ctx, from, sender, message);
  }

  /**
   * It may be one that this member has not heard of yet, or one that the cluster removed. Who says who it is is taken or
   * refused; who asks is told; everybody else is asked. No answer leads to another question: two that do not know, or do
   * not want, each other would never end.
   */
  #receiveFromStranger(from: Address, sender: MemberId, messages: readonly Message[]): void {
    const { lifecycle, outbox } = this.#ctx;
    let isSilent = true;
    for (const message of messages) {
      if (FROM_STRANGERS.has(message.type)) handle(this.#ctx, from, sender, message);
      else if (message.type === "pull" && message.item.id === this.#ctx.self.id)
        outbox.control(from, { type: "member", head: lifecycle.head, isAsked: true });
      else isSilent = false;
    }
    if (isSilent || messages.some(({ type }) => type === "member")) return;
    this.#ctx.refuse("unknown-sender");
    const item = { kind: "member", id: sender, gen: 0, version: 0 } as const;
    outbox.control(from, { type: "pull", item, isGraft: false });
  }

  #overflown(to: Address): void {
    this.#ctx.refuse("queue-overflow");
    for (const link of this.#ctx.links.all())
      if (this.#ctx.table.member(link.id)?.head.address === to)
        this.#ctx.after(0, () => this.#ctx.broadcast.overflown(link.id));
  }

  #viewOf(member: Member): MemberView {
    const { prober, table, links } = this.#ctx;
    const { id } = member.head;
    return { ...member, isSuspect: prober.isSuspect(id), rttMs: table.rtt(id), isNeighbor: links.has(id) };
  }

  #done(): readonly GossipEffect[] {
    this.#ctx.outbox.flushControl();
    const effects = this.#effects;
    this.#effects = [];
    return effects;
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };
