/**
 * How news reach everybody: pushed along a tree of eager links, offered by name along the others, pulled where an offer
 * came and no push (Plumtree, SRDS 2007). The state itself is what is kept of past messages: an offer names a version,
 * and whoever has it, or a later one, answers from what it knows now.
 *
 * Two rules keep the tree whole under loss: a copy that was pulled never prunes a link, and a link is pruned only after
 * several pushes in a row that brought nothing.
 */
import {
  GOSSIP_IHAVE_MAX,
  GOSSIP_MISSING_MAX,
  GOSSIP_MISSING_SOURCES_MAX,
  GOSSIP_OFFERS_MAX,
  GOSSIP_RECENT_MAX,
  GOSSIP_RECENT_MS,
} from "../../model/limits.ts";
import type { Context } from "./context.ts";
import type { Link } from "./links.ts";
import { DEAD, type Item, type MemberId, type Message } from "./messages.ts";
import { headVersion } from "./table.ts";
import { isNewer } from "./version.ts";

/** So many neighbours or fewer are offered what was pushed to them, too. */
const FEW_LINKS = 3;

interface Missing {
  item: Item;
  /** Who offered it, asked in turn. */
  readonly sources: MemberId[];
  tries: number;
}

interface Pulled {
  readonly from: MemberId;
  readonly at: number;
}

export class Broadcast {
  readonly #ctx: Context;
  readonly #missing = new Map<string, Missing>();
  /** What came by a pull a moment ago; an eager copy that follows shows that the tree works. */
  readonly #pulled = new Map<string, Pulled>();
  readonly #recent = new Map<string, { readonly item: Item; readonly at: number }>();
  #pullsInARow = 0;
  #prunedAt = Number.NEGATIVE_INFINITY;
  #isFlushing = false;

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  /** Versions that are known to exist and are not here yet. */
  get missing(): number {
    return this.#missing.size;
  }

  /**
   * Hands on what is new here: pushed, or, when a comparison brought it, offered, for most may have it.
   * @param from who it came from; `undefined`: it began here
   * @param isAsked it was pulled, or came by comparison
   */
  news(item: Item, messages: readonly Message[], from: MemberId | undefined, isAsked: boolean): void {
    const wasMissing = this.#arrived(item, from, isAsked);
    this.#remember(item);
    if (isAsked && !wasMissing && this.#ctx.lifecycle.isJoining) return;
    for (const link of this.#ctx.links.all()) {
      if (link.id === from) continue;
      const isPushed = link.isEager && (!isAsked || wasMissing);
      if (isPushed) for (const message of messages) this.#ctx.push(link.id, message);
      // With few neighbours nobody else would tell it of a push that was lost.
      if (!isPushed || this.#ctx.links.size <= FEW_LINKS) this.#offer(link, item);
    }
  }

  /** What changed lately may have missed a new neighbour. */
  welcome(link: Link): void {
    const since = this.#ctx.now - GOSSIP_RECENT_MS;
    for (const [key, { item, at }] of this.#recent)
      if (at < since) this.#recent.delete(key);
      // The deaths of one side of a partition are nothing for the other one.
      else if (item.kind === "records" || item.version % 4 !== DEAD) this.#offer(link, item);
  }

  onIhave(from: MemberId, items: readonly Item[]): void {
    const link = this.#ctx.links.get(from);
    for (const item of items) {
      if (link !== undefined) hasIt(link, item);
      if (!this.#isKnown(item)) this.#want(item, from);
    }
  }

  onPull(from: MemberId, item: Item, isGraft: boolean): void {
    const link = this.#ctx.links.get(from);
    if (isGraft && link !== undefined) link.isEager = true;
    for (const message of this.answer(item)) this.#ctx.push(from, message);
  }

  onPrune(from: MemberId): void {
    const link = this.#ctx.links.get(from);
    if (link !== undefined) link.isEager = false;
  }

  /** What is known here and newer than (gen, version) of the item. */
  answer({ kind, id, gen, version }: Item): Message[] {
    if (kind === "records") return this.#ctx.records.since(id, gen, version);
    const member = this.#ctx.table.member(id);
    if (member === undefined || !isNewer(member.gen, member.version, gen, version)) return [];
    const { head, death } = member;
    const messages: Message[] = [];
    if (isNewer(head.gen, headVersion(head), gen, version)) messages.push({ type: "member", head, isAsked: true });
    // Without its head a death says nothing; and one that is new here looks for itself whether the other side of a
    // partition is dead.
    if (death !== undefined && gen > 0) messages.push({ type: "death", death, isAsked: true });
    return messages;
  }

  /** A push that brought nothing new. */
  duplicate(item: Item, from: MemberId): void {
    const { timing, now } = this.#ctx;
    this.#ctx.count("duplicates");
    const link = this.#ctx.links.get(from);
    if (link !== undefined) hasIt(link, item);
    if (this.#pulled.delete(keyOf(item.kind, item.id))) {
      this.#pullsInARow = 0;
      return;
    }
    if (link === undefined) return;
    link.duplicates += 1;
    const isDue = link.duplicates >= timing.pruneDuplicates && now - this.#prunedAt >= timing.pruneGapMs;
    if (!isDue && link.isEager) return;
    if (link.isEager) this.#prunedAt = now;
    link.isEager = false;
    link.duplicates = 0;
    this.#ctx.push(from, { type: "prune" });
  }

  /** Asks for it now. */
  pull(item: Item, from: MemberId, isGraft = false): void {
    this.#ctx.count("pulls");
    this.#ctx.push(from, { type: "pull", item, isGraft });
  }

  /** All that a neighbour has not been told yet is void: it will be compared with as a whole. */
  overflown(id: MemberId): void {
    const link = this.#ctx.links.get(id);
    link?.offers.clear();
    this.#ctx.sync.with(id);
  }

  clear(): void {
    this.#missing.clear();
    this.#pulled.clear();
  }

  // ---- offers --------------------------------------------------------------------------------------------------------

  #remember(item: Item): void {
    const key = keyOf(item.kind, item.id);
    this.#recent.delete(key);
    this.#recent.set(key, { item, at: this.#ctx.now });
    if (this.#recent.size > GOSSIP_RECENT_MAX) this.#recent.delete(this.#recent.keys().next().value as string);
  }

  #offer(link: Link, item: Item): void {
    if (link.offers.size >= GOSSIP_OFFERS_MAX) {
      this.#ctx.refuse("queue-overflow");
      this.overflown(link.id);
    }
    link.offers.set(keyOf(item.kind, item.id), item);
    if (this.#isFlushing) return;
    this.#isFlushing = true;
    this.#ctx.after(this.#ctx.timing.ihaveFlushMs, () => {
      this.#isFlushing = false;
      for (const each of this.#ctx.links.all()) this.#flush(each);
    });
  }

  #flush(link: Link): void {
    if (link.offers.size === 0) return;
    const offers = [...link.offers.values()];
    link.offers.clear();
    for (let at = 0; at < offers.length; at += GOSSIP_IHAVE_MAX)
      this.#ctx.push(link.id, { type: "ihave", items: offers.slice(at, at + GOSSIP_IHAVE_MAX) });
  }

  // ---- pulls ---------------------------------------------------------------------------------------------------------

  /** @returns whether it was known to be missing */
  #arrived({ kind, id, gen, version }: Item, from: MemberId | undefined, isAsked: boolean): boolean {
    const key = keyOf(kind, id);
    const missing = this.#missing.get(key);
    if (missing !== undefined && !isNewer(missing.item.gen, missing.item.version, gen, version))
      this.#missing.delete(key);
    if (from === undefined) return false;
    if (!isAsked) {
      const link = this.#ctx.links.get(from);
      if (link !== undefined) link.duplicates = 0;
      this.#pullsInARow = 0;
    } else if (missing !== undefined) {
      const pulled: Pulled = { from, at: this.#ctx.now };
      this.#pulled.set(key, pulled);
      this.#ctx.after(this.#ctx.timing.promoteWithinMs, () => this.#pulledAlone(key, pulled));
    }
    return missing !== undefined;
  }

  #isKnown({ kind, id, gen, version }: Item): boolean {
    const { table } = this.#ctx;
    const known = kind === "member" ? table.member(id) : table.state(id);
    if (known === undefined) return false;
    return !isNewer(gen, version, known.gen, "version" in known ? known.version : known.seq);
  }

  #want(item: Item, from: MemberId): void {
    const key = keyOf(item.kind, item.id);
    const missing = this.#missing.get(key);
    if (missing !== undefined) {
      if (isNewer(item.gen, item.version, missing.item.gen, missing.item.version)) missing.item = item;
      if (missing.sources.length < GOSSIP_MISSING_SOURCES_MAX && !missing.sources.includes(from))
        missing.sources.push(from);
      return;
    }
    if (this.#missing.size >= GOSSIP_MISSING_MAX) {
      this.#ctx.refuse("queue-overflow");
      return;
    }
    const fresh: Missing = { item, sources: [from], tries: 0 };
    this.#missing.set(key, fresh);
    // A queue of our own that is long delays the push as well; asking for it then would make it longer.
    const ms = this.#ctx.timing.pullFirstMs + this.#ctx.outbox.delayMs;
    this.#ctx.after(ms, () => this.#pullMissing(key, fresh));
  }

  #pullMissing(key: string, missing: Missing): void {
    if (this.#missing.get(key) !== missing) return;
    const { timing, outbox } = this.#ctx;
    const source = missing.sources[missing.tries % missing.sources.length];
    if (source === undefined || missing.tries >= timing.pullTries || this.#isKnown(missing.item)) {
      this.#missing.delete(key);
      return;
    }
    const isArriving = missing.item.kind === "records" && this.#ctx.records.isArriving(missing.item.id);
    if (!isArriving) missing.tries += 1;
    if (!isArriving) this.pull(this.#have(missing.item), source);
    this.#ctx.after(timing.pullAgainMs + outbox.delayMs, () => this.#pullMissing(key, missing));
  }

  /** The version of it that is here: what is newer is asked for. */
  #have({ kind, id }: Item): Item {
    const { table } = this.#ctx;
    if (kind === "records") {
      const state = table.state(id);
      return { kind, id, gen: state?.gen ?? 0, version: state?.seq ?? 0 };
    }
    const member = table.member(id);
    return { kind, id, gen: member?.gen ?? 0, version: member?.version ?? 0 };
  }

  /** No push followed what was pulled: when that happens again and again, its source is to push. */
  #pulledAlone(key: string, pulled: Pulled): void {
    if (this.#pulled.get(key) !== pulled) return;
    this.#pulled.delete(key);
    this.#pullsInARow += 1;
    const link = this.#ctx.links.get(pulled.from);
    if (this.#pullsInARow < this.#ctx.timing.promotePulls || link === undefined) return;
    this.#pullsInARow = 0;
    link.isEager = true;
    const kind = key.startsWith("m") ? "member" : "records";
    const id = key.slice(1);
    this.pull(this.#have({ kind, id, gen: 0, version: 0 }), pulled.from, true);
  }
}

function keyOf(kind: Item["kind"], id: MemberId): string {
  return (kind === "member" ? "m" : "r") + id;
}

/** The name of a member's state. */
export function memberItem(id: MemberId, gen: number, version: number): Item {
  return { kind: "member", id, gen, version };
}

/** The other one has it, or something later: it need not hear of it. */
function hasIt({ offers }: Link, { kind, id, gen, version }: Item): void {
  const key = keyOf(kind, id);
  const offer = offers.get(key);
  if (offer !== undefined && !isNewer(offer.gen, offer.version, gen, version)) offers.delete(key);
}
