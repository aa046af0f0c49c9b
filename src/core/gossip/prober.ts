/**
 * Looks who answers: each neighbour in turn, and now and then a random member. A probe is a ladder: ping; ping and ask
 * relays; the same with other relays; suspicion. A suspect is pinged on, told what is thought of it, and accused when it
 * stayed silent for long enough and others testify the same.
 *
 * Time counts only in rounds that ended on time here: a process that stood still, or whose queue is long, saw nothing, and
 * judges nothing. Who gets no answer from the relays either doubts itself.
 */
import { GOSSIP_DOUBTS_MAX, GOSSIP_HEARD_MS, GOSSIP_PROBES_MAX } from "../../model/limits.ts";
import type { Context } from "./context.ts";
import { beliefOf } from "./judge.ts";
import { isBehind } from "./local-health.ts";
import { ALIVE, type Belief, DEAD, deathIn, LEFT, type MemberId, SUSPECT, type Testimony } from "./messages.ts";
import { Relays } from "./relays.ts";
import type { Member } from "./table.ts";
import { Walk } from "./walk.ts";

/** Why somebody is probed; `doubt`: others think otherwise of it than this member. */
type Reason = "link" | "random" | "doubt" | "heal";

interface Probe {
  readonly target: MemberId;
  readonly reason: Reason;
  readonly seq: number;
  readonly startedAt: number;
  sentAt: number;
  belief: Belief;
  /** Steps of the ladder that were taken. */
  step: number;
  readonly asked: Set<MemberId>;
  readonly testimonies: Map<MemberId, Testimony>;
  /** Rounds as a suspect that ended on time, and the time they stand for, ms. */
  rounds: number;
  countedMs: number;
  isSuspicion: boolean;
  /** Relays got through; the value tells whether the target hears this member. */
  relayed: boolean | undefined;
}

/** Of probes of neighbours: one that is dropped too early costs little, one that is kept too long cuts this member off. */
const STRETCH_MAX = 2;
/** Rounds before the short end of a suspicion. */
const ROUNDS_MIN = 4;
/** Probes in flight up to which each silence starts another one. */
const PROBES_AFTER_SILENCE = 16;
/** So many findings in a row that only relays get through: the direct way is broken, not lossy. */
const RELAYED_MAX = 3;
/** What takes longer was in a queue, not on its way: later steps must not wait that long for a ping that is lost, ms. */
const RTT_MAX_MS = 500;

export class Prober {
  readonly relays: Relays;
  readonly #ctx: Context;
  readonly #bySeq = new Map<number, Probe>();
  readonly #byTarget = new Map<MemberId, Probe>();
  readonly #doubts = new Map<MemberId, Belief>();
  #seq = 0;
  #turn = 0;
  readonly #walk: Walk;

  constructor(ctx: Context) {
    this.#ctx = ctx;
    this.relays = new Relays(ctx);
    this.#walk = new Walk(() => ctx.fraction());
  }

  start(): void {
    this.#scheduleNeighbors();
    this.#scheduleRandom();
    this.#scheduleHeal();
  }

  get inFlight(): number {
    return this.#bySeq.size;
  }

  isSuspect(id: MemberId): boolean {
    return this.#byTarget.get(id)?.isSuspicion === true;
  }

  /** Begins a probe, unless one runs. @param belief what the target is told that others think of it */
  probe(target: MemberId, reason: Reason, belief?: Belief): void {
    const { table, self, now } = this.#ctx;
    const member = table.member(target);
    if (member === undefined || target === self.id || member.status === LEFT) return;
    const running = this.#byTarget.get(target);
    if (running !== undefined) {
      // A suspicion is about one version, as are the testimonies that it has gathered.
      if (belief !== undefined && !running.isSuspicion) running.belief = belief;
      return;
    }
    if (this.#bySeq.size >= GOSSIP_PROBES_MAX) {
      if (reason === "doubt" && belief !== undefined && this.#doubts.size < GOSSIP_DOUBTS_MAX)
        this.#doubts.set(target, belief);
      return;
    }
    this.#seq = (this.#seq + 1) >>> 0;
    const probe: Probe = {
      target,
      reason,
      seq: this.#seq,
      startedAt: now,
      sentAt: now,
      belief: belief ?? beliefOf(member),
      step: 0,
      asked: new Set(),
      testimonies: new Map(),
      rounds: 0,
      countedMs: 0,
      isSuspicion: false,
      relayed: undefined,
    };
    this.#bySeq.set(probe.seq, probe);
    this.#byTarget.set(target, probe);
    this.#ctx.count("probes");
    this.#ping(probe);
    this.#ctx.after(this.#stepMs(probe), (late) => this.#climb(probe, late));
  }

  onAck(from: MemberId, seq: number, { isLink, hasHeard }: { isLink: boolean; hasHeard: boolean }): void {
    const { links, now, table, judge } = this.#ctx;
    const link = links.get(from);
    if (link !== undefined) {
      link.provenAt = now;
      link.relayed = 0;
      judge.linkProven(link);
    }
    const asked = this.#bySeq.get(seq);
    if (asked === undefined && this.relays.onAck(from, seq, hasHeard)) return;
    // An answer to an older probe tells the same: it is slow, and lives. Who is dead here is to hear that it is.
    const probe = asked ?? this.#byTarget.get(from);
    if (probe === undefined || probe.target !== from || (probe !== asked && probe.belief.status === DEAD)) return;
    if (probe === asked && probe.step <= 1) table.measured(from, Math.min(now - probe.sentAt, RTT_MAX_MS));
    if (probe === asked && link !== undefined && !isLink && link.since < probe.startedAt) links.drop(from, false);
    this.#ctx.health.better();
    this.#end(probe);
    this.#answered(probe);
  }

  /** It lives. Whether the direct way is broken shows when the ladder is climbed without an answer to a ping. */
  onRelayedAck(seq: number, target: MemberId, hasHeard: boolean): void {
    const probe = this.#bySeq.get(seq);
    if (probe === undefined || probe.target !== target) return;
    probe.relayed = hasHeard;
    if (probe.isSuspicion) this.#onlyRelayed(probe, hasHeard);
  }

  onTestimony(from: MemberId, seq: number, testimony: Testimony): void {
    const probe = this.#bySeq.get(seq);
    if (probe === undefined || testimony.witness !== from || !probe.asked.has(from)) return;
    const { judge } = this.#ctx;
    // The question has changed since.
    if (testimony.gen !== probe.belief.gen || testimony.inc !== probe.belief.inc) return;
    if (!judge.isTestimony(testimony, probe.target, probe.belief)) this.#ctx.refuse("bad-signature");
    else probe.testimonies.set(from, testimony);
  }

  onPingRequest(from: MemberId, seq: number, target: MemberId, belief: Belief): void {
    this.#seq = (this.#seq + 1) >>> 0;
    this.relays.start(this.#seq, { asker: from, askerSeq: seq, target, belief });
  }

  /** It was settled whether the member lives: a probe of it has nothing to find. */
  settled(id: MemberId): void {
    const probe = this.#byTarget.get(id);
    if (probe !== undefined) this.#end(probe);
    this.#doubts.delete(id);
  }

  /** Forgets all that runs, without a judgement: this member stood still. */
  clear(): void {
    this.#bySeq.clear();
    this.#byTarget.clear();
    this.#doubts.clear();
    this.relays.clear();
  }

  // ---- the ladder ----------------------------------------------------------------------------------------------------

  #climb(probe: Probe, late: number): void {
    if (this.#bySeq.get(probe.seq) !== probe) return;
    if (isBehind(this.#ctx, late)) {
      this.#ctx.after(Math.min(this.#stepMs(probe), 300), (again) => this.#climb(probe, again));
      return;
    }
    probe.step += 1;
    if (probe.step === this.#ctx.timing.probeStepsMs.length) {
      this.#unanswered(probe);
      return;
    }
    // Of one that is held for dead the only question is whether it answers; all who hold it so ask.
    if (probe.reason !== "heal") {
      this.#ping(probe);
      this.#askRelays(probe, this.#ctx.timing.relaysPerStep);
    }
    // Where one neighbour is silent the next may be: after a mass crash waiting for each one's turn would take seconds.
    if (probe.reason === "link" && probe.step === 1) this.#probeMore(() => this.#probeNeighbor());
    this.#ctx.after(this.#stepMs(probe), (again) => this.#climb(probe, again));
  }

  #unanswered(probe: Probe): void {
    const member = this.#ctx.table.member(probe.target);
    if (probe.relayed !== undefined) {
      this.#onlyRelayed(probe, probe.relayed);
      return;
    }
    const isSilence = probe.asked.size > 0 && probe.testimonies.size === 0;
    if (isSilence && this.#ctx.health.worse()) this.#ctx.emit({ type: "event", event: { type: "deaf" } });
    if (member === undefined || member.status !== ALIVE) {
      this.#end(probe);
      // It asked for a link, and does not hear the answer.
      this.#ctx.links.drop(probe.target, true);
      return;
    }
    this.#ctx.count("suspicions");
    this.#ctx.emit({ type: "event", event: { type: "suspect", id: probe.target } });
    probe.isSuspicion = true;
    // Who was asked about another version is asked again.
    if (probe.belief.gen !== member.gen || probe.belief.inc !== member.inc) probe.asked.clear();
    probe.belief = { gen: member.gen, inc: member.inc, status: SUSPECT };
    // Testimonies speak about the version that was asked about.
    for (const [id, testimony] of probe.testimonies)
      if (testimony.gen !== member.gen || testimony.inc !== member.inc) probe.testimonies.delete(id);
    // News must not depend on it any more, long before it is known whether it is dead.
    this.#ctx.links.drop(probe.target, true);
    this.#suspectRound(probe);
    // After a mass crash most have nobody left who watches them.
    this.#probeMore(() => this.#probeRandom());
  }

  /** Another probe because one found silence; not if that may be this member's own: it would ask for more and more. */
  #probeMore(probe: () => void): void {
    const { health, timing } = this.#ctx;
    const isWell = health.score < timing.localHealthMax / 2 || timing.localHealthMax === 0;
    if (isWell && this.#bySeq.size < PROBES_AFTER_SILENCE) probe();
  }

  #onlyRelayed(probe: Probe, hasHeard: boolean): void {
    const { target } = probe;
    this.#end(probe);
    this.#answered(probe);
    const link = this.#ctx.links.get(target);
    if (link === undefined) return;
    link.relayed += 1;
    if (link.relayed < RELAYED_MAX) {
      this.probe(target, "link");
      return;
    }
    this.#ctx.links.drop(target, true);
    const direction = hasHeard ? "from" : "to";
    this.#ctx.emit({ type: "event", event: { type: "one-way", id: target, direction } });
  }

  #suspectRound(probe: Probe): void {
    const { timing } = this.#ctx;
    this.#ping(probe);
    if (probe.testimonies.size < timing.testimonies) this.#askRelays(probe, timing.relaysPerStep);
    const isSlow = probe.countedMs >= timing.suspicionSlowAfterMs;
    const round = isSlow ? timing.suspicionSlowRoundMs : timing.suspicionRoundMs;
    this.#ctx.after(round * this.#ctx.health.stretch, (late) => this.#roundEnds(probe, round, late));
  }

  #roundEnds(probe: Probe, round: number, late: number): void {
    if (this.#bySeq.get(probe.seq) !== probe) return;
    const { timing, health, table, judge } = this.#ctx;
    const member = table.member(probe.target);
    const { gen, inc } = probe.belief;
    if (member === undefined || member.status !== ALIVE || member.gen !== gen || member.inc !== inc) {
      this.#end(probe);
      return;
    }
    if (isBehind(this.#ctx, late)) {
      this.#ctx.after(Math.min(round, 300), (again) => this.#roundEnds(probe, round, again));
      return;
    }
    probe.rounds += 1;
    probe.countedMs += round;
    const isEnough = probe.rounds >= ROUNDS_MIN && probe.countedMs >= timing.suspicionMinMs;
    const isOver = probe.countedMs >= timing.suspicionMaxMs;
    const hasWitnesses = probe.testimonies.size >= timing.testimonies;
    if (isOver || (isEnough && hasWitnesses)) {
      this.#end(probe);
      // Alone, without one other who says the same, and not well itself: that is no ground to accuse.
      if (hasWitnesses || health.score < timing.localHealthMax || timing.localHealthMax === 0)
        judge.accuse(member, [...probe.testimonies.values()]);
    } else this.#suspectRound(probe);
  }

  #stepMs(probe: Probe): number {
    const { timing, health, table } = this.#ctx;
    const [first] = timing.probeStepsMs;
    const step = timing.probeStepsMs[probe.step] ?? first;
    const slow = Math.max(1, (timing.roundTripsPerStep * table.rtt(probe.target)) / first);
    const stretch = probe.reason === "link" ? Math.min(STRETCH_MAX, health.stretch) : health.stretch;
    return step * slow * stretch;
  }

  #ping(probe: Probe): void {
    const { links, now } = this.#ctx;
    if (probe.step === 0) probe.sentAt = now;
    const isLink = links.isWanted(probe.target);
    this.#ctx.tell(probe.target, { type: "ping", seq: probe.seq, isLink, dead: deathIn(probe.belief) });
  }

  #askRelays(probe: Probe, count: number): void {
    const { lifecycle, now, table, self } = this.#ctx;
    let left = count;
    const { seq, target, belief } = probe;
    for (const id of this.#shuffled(lifecycle.heard.since(now - GOSSIP_HEARD_MS))) {
      if (left === 0) return;
      if (id === target || id === self.id || probe.asked.has(id) || table.member(id)?.status !== ALIVE) continue;
      probe.asked.add(id);
      left -= 1;
      this.#ctx.tell(id, { type: "ping-request", seq, target, belief });
    }
  }

  #shuffled(ids: MemberId[]): MemberId[] {
    for (let n = ids.length - 1; n > 0; n -= 1) {
      const other = Math.floor(this.#ctx.fraction() * (n + 1));
      [ids[n], ids[other]] = [ids[other] as MemberId, ids[n] as MemberId];
    }
    return ids;
  }

  /** It lives. If the table says otherwise the target has read so in the ping, and contradicts. */
  #answered(probe: Probe): void {
    if (probe.reason === "heal" || (probe.belief.status === DEAD && probe.reason !== "doubt"))
      this.#ctx.lifecycle.reached(probe.target);
  }

  #end(probe: Probe): void {
    this.#bySeq.delete(probe.seq);
    if (this.#byTarget.get(probe.target) === probe) this.#byTarget.delete(probe.target);
    const doubt = this.#doubts.entries().next().value;
    if (doubt === undefined) return;
    const [target, belief] = doubt;
    this.#doubts.delete(target);
    this.#ctx.after(0, () => this.probe(target, "doubt", belief));
  }

  // ---- who is probed when --------------------------------------------------------------------------------------------

  #scheduleNeighbors(): void {
    const { timing, health } = this.#ctx;
    this.#ctx.after(timing.neighborProbeMs * Math.min(STRETCH_MAX, health.stretch), () => {
      this.#probeNeighbor();
      this.#scheduleNeighbors();
    });
  }

  #probeNeighbor(): void {
    const ids = this.#ctx.links.ids();
    const id = ids[this.#turn % Math.max(1, ids.length)];
    this.#turn += 1;
    if (id !== undefined) this.probe(id, "link");
  }

  #scheduleRandom(): void {
    this.#ctx.after(this.#ctx.spread(this.#ctx.timing.randomProbeMs, 0.1), () => {
      this.#probeRandom();
      this.#scheduleRandom();
    });
  }

  #probeRandom(): void {
    const member = this.#nextRandom();
    if (member !== undefined) this.probe(member.head.id, "random");
  }

  /** Walks through all members, so that each is met once before one is met again. */
  #nextRandom(): Member | undefined {
    const { table, self } = this.#ctx;
    for (let n = 0; n < 10 && table.size > 1; n += 1) {
      const member = table.nth(this.#walk.next(table.size));
      if (member.status === ALIVE && member.head.id !== self.id) return member;
    }
    return undefined;
  }

  /** Who was called dead is tried again now and then: it may be the other side of a partition. */
  #scheduleHeal(): void {
    this.#ctx.after(this.#ctx.spread(this.#ctx.timing.healMs, 0.5), () => {
      const member = this.#ctx.table.someDead(this.#ctx.fraction());
      if (member !== undefined) this.probe(member.head.id, "heal", beliefOf(member));
      this.#scheduleHeal();
    });
  }
}
