/**
 * Who is believed about who lives. A member speaks for itself: its newest head counts. Others may only call it dead, with
 * testimonies of at least `timing.testimonies` further members or a second accuser, over a link that works both ways; and
 * the accused has the last word, by a head with a higher inc.
 *
 * What a comparison of tables says about life is never adopted: it makes this member look for itself.
 */
import { GOSSIP_SOLO_MAX, GOSSIP_SOLO_MS, GOSSIP_TESTIMONIES_MAX, GOSSIP_UNPROVEN_MAX } from "../../model/limits.ts";
import { memberItem } from "./broadcast.ts";
import type { Context, Refusal } from "./context.ts";
import type { Link } from "./links.ts";
import { type Belief, DEAD, type Death, type Head, LEFT, type MemberId, type Testimony } from "./messages.ts";
import { deathBytes, headBytes, testimonyBytes } from "./signed.ts";
import { headVersion, type Member } from "./table.ts";
import { isNewer, memberVersion } from "./version.ts";

/** A neighbour that was heard of this short a time ago is not believed dead, ms. */
const VETO_MS = 300;
/** A link is proven by a round trip this short a time ago, ms. */
const PROVEN_MS = 300;
/** 32 bits on the wire; one is left for a goodbye. */
const INC_MAX = 2 ** 32 - 2;
/** Members that look for themselves when one accuser without testimonies is heard of. */
const SOLO_CHECKERS = 6;

export class Judge {
  readonly #ctx: Context;
  /** Accusations that wait for a second one: the accused's id and inc, with the accusers. */
  readonly #solos = new Map<string, { readonly accusers: Set<MemberId>; readonly at: number }>();

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  get solos(): number {
    return this.#solos.size;
  }

  /**
   * Takes what a member says of itself, from whoever it came.
   * @returns whether its signatures hold
   */
  onHead(from: MemberId, head: Head, isAsked: boolean): boolean {
    const { self, table, broadcast } = this.#ctx;
    if (head.id === self.id) return this.#aboutMyself(head);
    const known = table.member(head.id);
    const isNews = known === undefined || isNewer(head.gen, headVersion(head), known.head.gen, headVersion(known.head));
    if (!isNews) {
      if (!isAsked) broadcast.duplicate(memberItem(head.id, head.gen, headVersion(head)), from);
      return true;
    }
    const publicKey = this.#ctx.admit(head);
    if (publicKey === undefined) {
      this.#ctx.refuse("bad-credential");
      return false;
    }
    if (!this.#ctx.verify(publicKey, headBytes(head), head.signature)) {
      this.#ctx.refuse("bad-signature");
      return false;
    }
    if (!table.putHead(head, publicKey, this.#ctx.now)) {
      if (table.member(head.id) === undefined) this.#ctx.refuse("table-full");
      return true;
    }
    this.#forgetSolos(head.id);
    // A probe of its former word would find it silent in the middle of its return, and accuse it anew.
    this.#ctx.prober.settled(head.id);
    this.#ctx.emit({ type: "member", id: head.id });
    if (head.hasLeft) this.#ctx.links.drop(head.id, false);
    const item = memberItem(head.id, head.gen, headVersion(head));
    broadcast.news(item, [{ type: "member", head, isAsked: false }], from, isAsked);
    return true;
  }

  onDeath(from: MemberId, death: Death, isAsked: boolean): void {
    const { self, table, broadcast, timing, links, now } = this.#ctx;
    if (death.id === self.id) {
      this.refute(death);
      return;
    }
    const member = table.member(death.id);
    if (member === undefined) {
      // An answer had the head with it; who was refused is not asked for again and again.
      if (!isAsked) broadcast.pull(memberItem(death.id, 0, 0), from);
      return;
    }
    const version = memberVersion(death.inc, DEAD);
    const belief: Belief = { gen: death.gen, inc: death.inc, status: DEAD };
    const isOver = member.status === LEFT && death.gen <= member.gen;
    if (isOver || !isNewer(death.gen, version, member.gen, member.version)) {
      if (isAsked) return;
      broadcast.duplicate(memberItem(death.id, death.gen, version), from);
      this.#second(from, death, member);
      return;
    }
    if (!isAsked && !this.#isProven(from)) {
      this.#awaitProof(from, death, belief);
      return;
    }
    const flaw = this.#flawOf(death);
    if (flaw !== undefined) {
      this.#ctx.refuse(flaw);
      return;
    }
    if (links.has(death.id) && now - this.#ctx.lifecycle.heard.at(death.id) < VETO_MS) {
      this.#ctx.count("vetoes");
      this.#ctx.prober.probe(death.id, "doubt", belief);
      return;
    }
    const isEnough = death.testimonies.length >= timing.testimonies;
    const isRepeated = !isEnough && this.#hasSaid(death);
    if (isEnough || this.#isSeconded(death)) {
      this.#adopt(death, from, isAsked);
      return;
    }
    this.#ctx.refuse("no-testimonies");
    if (isRepeated) return;
    this.#handOnSolo(death, from);
    if (links.has(death.id) || this.#ctx.fraction() < SOLO_CHECKERS / Math.max(1, table.size))
      this.#ctx.prober.probe(death.id, "doubt", belief);
  }

  /** A round trip: what its other end said of deaths counts. */
  linkProven({ id, unproven }: Link): void {
    for (const death of unproven.splice(0)) this.onDeath(id, death, false);
  }

  /** This member's own verdict, after a suspicion that ran its time. */
  accuse(target: Member, testimonies: readonly Testimony[]): void {
    const { self } = this.#ctx;
    const { gen, inc } = target;
    const unsigned = { id: target.head.id, gen, inc, accuser: self.id };
    const death: Death = {
      ...unsigned,
      signature: self.sign(deathBytes(unsigned)),
      testimonies: testimonies.slice(0, GOSSIP_TESTIMONIES_MAX),
    };
    this.#ctx.count("accusations");
    this.#ctx.emit({
      type: "event",
      event: { type: "accused", id: death.id, testimonies: death.testimonies.length },
    });
    if (death.testimonies.length >= this.#ctx.timing.testimonies || this.#isSeconded(death))
      this.#adopt(death, undefined, false);
    else this.#handOnSolo(death, undefined);
  }

  /** Somebody thinks that this member is dead, or suspects it: it says that it lives, if that was not said yet. */
  refute({ gen, inc }: Pick<Belief, "gen" | "inc">): void {
    const { head } = this.#ctx.lifecycle;
    if (gen !== head.gen || inc < head.inc || head.hasLeft) return;
    this.#ctx.health.worse();
    this.#ctx.count("refutations");
    this.#ctx.emit({ type: "event", event: { type: "refuted", inc: inc + 1 } });
    // What is thought of this member is no signed word: a made-up inc must not be the last one.
    if (inc >= INC_MAX) this.#ctx.lifecycle.jump(gen);
    else this.#ctx.lifecycle.sayAlive(inc + 1);
  }

  /** @returns this member's word that it had no answer either */
  testify(target: MemberId, { gen, inc }: Pick<Belief, "gen" | "inc">): Testimony {
    const unsigned = { target, gen, inc, witness: this.#ctx.self.id };
    return { ...unsigned, signature: this.#ctx.self.sign(testimonyBytes(unsigned)) };
  }

  /** Whether the testimony is one about this version of the member, by a member that may speak. */
  isTestimony(testimony: Testimony, target: MemberId, { gen, inc }: Pick<Belief, "gen" | "inc">): boolean {
    const { witness } = testimony;
    if (testimony.target !== target || testimony.gen !== gen || testimony.inc !== inc || witness === target)
      return false;
    const publicKey = this.#ctx.table.member(witness)?.publicKey;
    return publicKey !== undefined && this.#ctx.verify(publicKey, testimonyBytes(testimony), testimony.signature);
  }

  #aboutMyself(head: Head): boolean {
    const mine = this.#ctx.lifecycle.head;
    if (!isNewer(head.gen, headVersion(head), mine.gen, headVersion(mine))) return true;
    const publicKey = this.#ctx.admit(head);
    if (publicKey === undefined || !this.#ctx.verify(publicKey, headBytes(head), head.signature)) {
      this.#ctx.refuse("bad-signature");
      return false;
    }
    // A word of its own that it does not know: another life of this member spoke after this one began.
    this.#ctx.lifecycle.jump(head.gen);
    return true;
  }

  #isProven(from: MemberId): boolean {
    const link = this.#ctx.links.get(from);
    return link !== undefined && this.#ctx.now - link.provenAt <= PROVEN_MS;
  }

  /**
   * Where only one direction works, the deaf side holds the other one for dead, and says so to it. So a death is taken once
   * the link that brought it has carried a round trip; over none, this member looks for itself.
   */
  #awaitProof(from: MemberId, death: Death, belief: Belief): void {
    const { links, prober } = this.#ctx;
    const unproven = links.get(from)?.unproven;
    if (unproven !== undefined && unproven.length < GOSSIP_UNPROVEN_MAX) {
      unproven.push(death);
      prober.probe(from, "link");
      return;
    }
    this.#ctx.refuse("unproven-link");
    prober.probe(death.id, "doubt", belief);
  }

  #flawOf(death: Death): Refusal | undefined {
    const { table, verify } = this.#ctx;
    const accuser = table.member(death.accuser);
    const witnesses = new Set(death.testimonies.map(({ witness }) => witness));
    // They may have been removed since, or be too new to be known here: then this member finds out for itself.
    if (accuser === undefined || [...witnesses].some((id) => table.member(id) === undefined)) return "unknown-sender";
    const isDoubled = witnesses.size !== death.testimonies.length || witnesses.has(death.accuser);
    if (isDoubled || death.accuser === death.id) return "no-testimonies";
    const isSigned =
      verify(accuser.publicKey, deathBytes(death), death.signature) &&
      death.testimonies.every((testimony) => this.isTestimony(testimony, death.id, death));
    return isSigned ? undefined : "bad-signature";
  }

  #adopt(death: Death, from: MemberId | undefined, isAsked: boolean): void {
    const { table, links, broadcast, prober, now } = this.#ctx;
    if (!table.putDeath(death, now)) return;
    this.#forgetSolos(death.id);
    links.drop(death.id, false);
    prober.settled(death.id);
    this.#ctx.emit({ type: "member", id: death.id });
    const item = memberItem(death.id, death.gen, memberVersion(death.inc, DEAD));
    broadcast.news(item, [{ type: "death", death, isAsked: false }], from, isAsked);
  }

  /** Whether this solo accusation is known: links lead in circles. */
  #hasSaid({ id, gen, inc, accuser }: Death): boolean {
    return this.#solos.get(`${id} ${gen} ${inc}`)?.accusers.has(accuser) === true;
  }

  /** Notes a solo accusation. @returns whether enough others said the same */
  #isSeconded({ id, gen, inc, accuser }: Death): boolean {
    const key = `${id} ${gen} ${inc}`;
    const { now, timing } = this.#ctx;
    for (const [other, { at }] of this.#solos) {
      if (now - at <= GOSSIP_SOLO_MS && this.#solos.size <= GOSSIP_SOLO_MAX) break;
      this.#solos.delete(other);
    }
    const solo = this.#solos.get(key) ?? { accusers: new Set<MemberId>(), at: now };
    this.#solos.set(key, solo);
    solo.accusers.add(accuser);
    return solo.accusers.size >= timing.soloAccusers;
  }

  /** One accuses alone whom this member holds for dead already: it says so too. Where two are left, nobody else can. */
  #second(from: MemberId, { accuser, testimonies, ...death }: Death, { status, gen, inc }: Member): void {
    const { self, timing } = this.#ctx;
    const isSame = status === DEAD && gen === death.gen && inc === death.inc;
    if (!isSame || accuser !== from || testimonies.length >= timing.testimonies) return;
    const unsigned = { id: death.id, gen, inc, accuser: self.id };
    const own = { ...unsigned, signature: self.sign(deathBytes(unsigned)), testimonies: [] };
    this.#ctx.push(from, { type: "death", death: own, isAsked: true });
  }

  /** A solo accusation goes to all neighbours, once for each accuser; it changes no table, so nobody could pull it. */
  #handOnSolo(death: Death, from: MemberId | undefined): void {
    for (const link of this.#ctx.links.all())
      if (link.id !== from) this.#ctx.push(link.id, { type: "death", death, isAsked: false });
  }

  #forgetSolos(id: MemberId): void {
    for (const key of this.#solos.keys()) if (key.startsWith(`${id} `)) this.#solos.delete(key);
  }
}

/** What is believed of a member, as pings carry it. */
export function beliefOf(member: Member): Belief {
  return { gen: member.gen, inc: member.inc, status: member.status };
}
