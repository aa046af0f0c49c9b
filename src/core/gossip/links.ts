/**
 * A member's neighbours: four to seven others, drawn by chance from the table, each of which counts it as one too. News are
 * handed on along these links, and neighbours watch each other.
 *
 * A link is added when the other one agrees, and pinged at once. Pings and their answers say whether the speaker still
 * holds the link, so one that only one side holds ends with the next ping.
 */
import type { Context } from "./context.ts";
import { ALIVE, type Death, type Item, LEFT, type MemberId } from "./messages.ts";
import type { Timer } from "./timers.ts";

export interface Link {
  readonly id: MemberId;
  readonly since: number;
  /** News are pushed; else offered. */
  isEager: boolean;
  /** Last round trip. News of deaths are taken only over links that work both ways. */
  provenAt: number;
  /** Deaths that came and wait for the next one. */
  readonly unproven: Death[];
  /** Pushes that brought nothing new, in a row. */
  duplicates: number;
  /** Probes that only relays could bring through, in a row. */
  relayed: number;
  /** Versions that the other one is to hear of with the next flush. */
  readonly offers: Map<string, Item>;
}

/** How long an answer to "will you be my neighbour" is awaited before others are asked, ms. */
const ASK_MS = 250;
/** Who was heard of this short a time ago lives, also when most others just died, ms. */
const FRESH_MS = 1_000;
/** Asked at once when none or few are left. */
const ASK_AT_ONCE = 3;

/** A graph drawn by chance holds together when each node has a few more links than the logarithm of their number. */
const DEGREE_LEAST = 4;
/** Above what a member wants, so that two that look for links find them. */
export const DEGREE_SLACK = 2;

/** @returns how many neighbours a member wants where there are so many members. @param most in a large cluster */
export function degreeOf(members: number, most: number): number {
  return Math.min(most, Math.max(DEGREE_LEAST, Math.ceil(Math.log(members)) + 1));
}

export class Links {
  readonly #ctx: Context;
  readonly #links = new Map<MemberId, Link>();
  readonly #asked = new Map<MemberId, number>();
  #repairTimer: Timer | undefined;

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  start(): void {
    this.#scheduleRepair();
    this.#scheduleRewire();
  }

  get size(): number {
    return this.#links.size;
  }

  /** Fewer than it wants, by more than the one that is exchanged now and then. */
  get isShort(): boolean {
    return this.#links.size < this.#degree - 1;
  }

  get #degree(): number {
    return degreeOf(this.#ctx.table.size, this.#ctx.timing.degree);
  }

  get #most(): number {
    return this.#degree + DEGREE_SLACK;
  }

  get(id: MemberId): Link | undefined {
    return this.#links.get(id);
  }

  has(id: MemberId): boolean {
    return this.#links.has(id);
  }

  /** Whether the other one may count on the link: it is held, or was asked for. */
  isWanted(id: MemberId): boolean {
    return this.#links.has(id) || this.#asked.has(id);
  }

  all(): Iterable<Link> {
    return this.#links.values();
  }

  ids(): MemberId[] {
    return [...this.#links.keys()];
  }

  /** Asks a member to become a neighbour. */
  ask(id: MemberId, isUrgent: boolean): void {
    const { self, now, table } = this.#ctx;
    if (id === self.id || this.#links.has(id) || table.member(id) === undefined) return;
    this.#asked.set(id, now);
    this.#ctx.tell(id, { type: "neighbor", isUrgent });
  }

  onNeighbor(from: MemberId, isUrgent: boolean): void {
    const { table } = this.#ctx;
    if (this.#links.has(from)) {
      this.#ctx.tell(from, { type: "neighbor-accept" });
      return;
    }
    // It asked before it said goodbye; nobody would ever find out that the link leads nowhere.
    if (table.member(from)?.status === LEFT) return;
    if (this.#links.size >= this.#most) {
      if (!isUrgent) {
        this.#ctx.tell(from, { type: "neighbor-deny" });
        return;
      }
      this.#dropOne();
    }
    this.#ctx.tell(from, { type: "neighbor-accept" });
    this.#add(from);
  }

  onAccept(from: MemberId): void {
    const wasAsked = this.#asked.delete(from);
    if (this.#links.has(from)) return;
    // Two more than the most are borne for a moment: refusing now would leave the other one with half a link.
    const hasLeft = this.#ctx.table.member(from)?.status === LEFT;
    if (!wasAsked || hasLeft || this.#links.size >= this.#most + 2) {
      this.#ctx.tell(from, { type: "disconnect" });
      return;
    }
    this.#add(from);
  }

  onDeny(from: MemberId): void {
    this.#asked.delete(from);
  }

  /** Ends the link. @param tell whether the other one should hear of it */
  drop(id: MemberId, tell: boolean): void {
    if (!this.#links.delete(id)) return;
    if (tell) this.#ctx.tell(id, { type: "disconnect" });
    if (this.isShort) this.#repairSoon();
  }

  dropAll(): void {
    for (const id of this.ids()) this.drop(id, true);
  }

  #add(id: MemberId): void {
    const { now } = this.#ctx;
    const link: Link = {
      id,
      since: now,
      isEager: true,
      provenAt: Number.NEGATIVE_INFINITY,
      unproven: [],
      duplicates: 0,
      relayed: 0,
      offers: new Map(),
    };
    this.#links.set(id, link);
    this.#asked.delete(id);
    this.#ctx.prober.probe(id, "link");
    this.#ctx.broadcast.welcome(link);
  }

  #dropOne(): void {
    const ids = this.ids();
    const id = ids[Math.floor(this.#ctx.fraction() * ids.length)];
    if (id !== undefined) this.drop(id, true);
  }

  // ---- upkeep --------------------------------------------------------------------------------------------------------

  #scheduleRepair(): void {
    const { timing } = this.#ctx;
    const ms = this.#links.size <= 2 ? timing.repairUrgentMs : timing.repairMs;
    this.#repairTimer = this.#ctx.after(this.#ctx.spread(ms, 0.3), () => {
      this.#repair();
      this.#scheduleRepair();
    });
  }

  /** A lost link is replaced without waiting for the slow round. */
  #repairSoon(): void {
    const soon = this.#ctx.now + this.#ctx.timing.repairUrgentMs;
    if (this.#repairTimer === undefined || this.#repairTimer.dueAt <= soon) return;
    this.#repairTimer.isCancelled = true;
    this.#repairTimer = this.#ctx.after(this.#ctx.spread(this.#ctx.timing.repairUrgentMs, 0.3), () => {
      this.#repair();
      this.#scheduleRepair();
    });
  }

  #repair(): void {
    const { now } = this.#ctx;
    for (const [id, at] of this.#asked) if (now - at > ASK_MS) this.#asked.delete(id);
    if (this.#links.size > this.#most) {
      this.#dropOne();
      return;
    }
    const lacking = Math.min(this.#degree - this.#links.size - this.#asked.size, ASK_AT_ONCE);
    if (!this.isShort || lacking <= 0) return;
    const isUrgent = this.#links.size === 0;
    for (let n = 0; n < lacking; n += 1) {
      const id = this.#candidate();
      if (id !== undefined) this.ask(id, isUrgent);
    }
  }

  #scheduleRewire(): void {
    this.#ctx.after(this.#ctx.spread(this.#ctx.timing.rewireMs, 0.5), () => {
      const id = this.#links.size >= this.#degree ? this.#candidate() : undefined;
      if (id !== undefined) {
        this.#dropOne();
        this.ask(id, false);
      }
      this.#scheduleRewire();
    });
  }

  /** A living member by chance that is no neighbour and was not asked; without neighbours, one that was just heard. */
  #candidate(): MemberId | undefined {
    const { table, self, lifecycle, now } = this.#ctx;
    if (this.#links.size <= 2) {
      const fresh = lifecycle.heard.since(now - FRESH_MS).find((id) => !this.isWanted(id));
      if (fresh !== undefined) return fresh;
    }
    for (let n = 0; n < 10 && table.size > 0; n += 1) {
      const { head, status } = table.nth(Math.floor(this.#ctx.fraction() * table.size));
      if (status === ALIVE && head.id !== self.id && !this.isWanted(head.id)) return head.id;
    }
    return undefined;
  }
}
