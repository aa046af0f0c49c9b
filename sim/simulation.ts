/**
 * Runs a scenario over a simulated cluster and watches the invariants. Everything that happens is on virtual time and
 * drawn from one seed: the same scenario and seed are the same run, to the last packet.
 */
import { Forger } from "./forger.ts";
import { GossipCluster } from "./gossip-cluster.ts";
import { type HostInvariant, hostInvariants } from "./hosts/host-invariants.ts";
import { doHostStep } from "./hosts/host-steps.ts";
import { HostTrust } from "./hosts/host-trust.ts";
import { Hosts } from "./hosts/hosts.ts";
import {
  type Fate,
  type Invariant,
  isCalm,
  isWell,
  living,
  type MakeInvariant,
  type Problem,
  SAMPLE_MS,
  type World,
} from "./invariants.ts";
import type { SimMember } from "./member.ts";
import { type NetworkShape, USUAL_NETWORK } from "./network.ts";
import { type Outcome, Violated, type Violation, violationOf } from "./outcome.ts";
import { Paths } from "./paths.ts";
import { Pulses } from "./pulses.ts";
import { doRecordStep } from "./record-steps.ts";
import { REST_INVARIANTS } from "./rest-invariants.ts";
import type { HostStep, Scenario, Step } from "./scenario.ts";
import { STEADY_INVARIANTS } from "./steady-invariants.ts";
import { eventText, stepText, Transcript } from "./transcript.ts";
import { doTroubleStep, endTroubles, squeeze } from "./trouble-steps.ts";
import { SimTrust } from "./trust.ts";

export const GOSSIP_INVARIANTS: readonly MakeInvariant[] = [...STEADY_INVARIANTS, ...REST_INVARIANTS];

/**
 * From the end of the last fault until all must have settled, ms. The slowest chain by design: local health is back after
 * 8 answers (8 s); one of the other side is tried every 5 s ± 50 %, and answers; comparisons are 5 s ± 50 % apart, and
 * what one finds may need a second one. Three of each in a row, none of them early.
 */
export const SETTLE_MS = 40_000;
/** Members that were told late of an expulsion, or start again, do so within this. */
const SPREAD_MS = 5_000;
/** In a handful of members 5 % makes one suspect another once in a while, which is right, and no rest. */
const REST_LOSS = 0.01;
const REST_MS = 5_000;
/** Cold start: all within this, and then settled. */
const START_MS = 2_000;

export interface SimulationOptions {
  readonly scenario: Scenario;
  readonly seed: number;
  /** Packets go through the real encoding. */
  readonly wire: boolean;
  readonly print?: (line: string) => void;
  /** Instead of those of gossip. */
  readonly invariants?: readonly MakeInvariant[];
}

export function simulate(options: SimulationOptions): Outcome {
  return new Simulation(options).run();
}

class Simulation implements World {
  readonly cluster: GossipCluster;
  readonly fates = new Map<string, Fate>();
  hasLiars = false;
  readonly #scenario: Scenario;
  readonly #usual: NetworkShape;
  readonly #transcript: Transcript;
  readonly #invariants: readonly Invariant[];
  readonly #forger: Forger;
  readonly #paths: Paths;
  readonly #pulses: Pulses;
  readonly #hosts: Hosts | undefined;
  #rests = 0;

  constructor({ scenario, seed, wire, print, invariants = GOSSIP_INVARIANTS }: SimulationOptions) {
    this.#scenario = scenario;
    this.#usual = { ...USUAL_NETWORK, wire };
    const trust = scenario.masters > 0 ? new HostTrust() : new SimTrust();
    this.cluster = new GossipCluster({
      trust,
      members: scenario.members,
      seed,
      seeds: scenario.seeds,
      network: this.#usual,
      hasOwnClocks: true,
    });
    this.#transcript = new Transcript(print);
    this.#forger = new Forger(this.cluster);
    this.#paths = new Paths(this.cluster);
    this.#pulses = new Pulses(this);
    for (const member of this.cluster.members) this.#fateOf(member);
    this.#hosts = trust instanceof HostTrust ? this.#hostsOf(trust) : undefined;
    const ofHosts = this.#hosts === undefined ? [] : hostInvariants(this, this.#hosts);
    this.#invariants = [...invariants.map((make) => make(this)), ...ofHosts];
    this.#listen();
  }

  get now(): number {
    return this.cluster.engine.now;
  }

  get pathsSince(): number {
    return this.#paths.since;
  }

  get qualitySince(): number {
    return this.#paths.qualitySince;
  }

  cutAt(one: SimMember, other: SimMember): number {
    return this.#paths.cutAt(one, other);
  }

  nameOf(id: string): string {
    return this.fates.get(id)?.member.name ?? id;
  }

  run(): Outcome {
    let violation: Violation | undefined;
    try {
      this.#sample();
      for (const member of this.cluster.members)
        this.cluster.engine.after(this.cluster.fraction() * START_MS, () => this.#start(member));
      let begin = START_MS;
      this.cluster.engine.runUntil(begin);
      for (const step of this.#scenario.steps) {
        this.cluster.engine.runUntil(begin + step.at);
        this.#say("", stepText(step), "member" in step ? step.member : "");
        this.#do(step);
        if (step.do === "quiet") begin = this.now;
      }
    } catch (error) {
      violation = violationOf(error, this.now);
    }
    const { fingerprint, lines } = this.#transcript;
    return { violation, fingerprint, lines, ms: this.now, rests: this.#rests };
  }

  #hostsOf(trust: HostTrust): Hosts {
    return new Hosts(this.#scenario.masters, trust, {
      cluster: this.cluster,
      fateOf: (member) => this.#fateOf(member),
      say: ({ name }, text) => this.#say(name, text),
      note: (...numbers) => this.#transcript.note(...numbers),
      onChange: (host) => {
        for (const invariant of this.#invariants) this.#hold(invariant, (invariant as HostInvariant).changed?.(host));
      },
    });
  }

  // ---- what is watched -----------------------------------------------------------------------------------------------

  #listen(): void {
    const { cluster } = this;
    cluster.onEffect = (member, effect) => {
      this.#transcript.note(this.now, effect.type.length);
      if (effect.type === "event")
        this.#say(
          member.name,
          eventText(effect.event, (id) => this.nameOf(id)),
        );
      for (const invariant of this.#invariants) this.#hold(invariant, invariant.effect?.(member, effect));
      this.#hosts?.effect(member, effect);
    };
    cluster.onSend = (member, { to, messages, bytes, isControl }) => {
      this.#transcript.note(this.now, bytes);
      if (!isControl) this.#forger.overhear(member, messages);
      for (const invariant of this.#invariants)
        this.#hold(invariant, invariant.sent?.(member, to, messages, bytes, isControl));
    };
    cluster.onReceive = (member, from, messages) => {
      for (const invariant of this.#invariants) this.#hold(invariant, invariant.received?.(member, from, messages));
    };
  }

  #hold({ name }: Pick<Invariant, "name">, problem: Problem): void {
    if (problem !== undefined) throw new Violated(name, problem);
  }

  #sample(): void {
    for (const invariant of this.#invariants) this.#hold(invariant, invariant.sampled?.());
    this.cluster.engine.after(SAMPLE_MS, () => this.#sample());
  }

  #say(who: string, text: string, whom = ""): void {
    this.#transcript.say(this.now, who === "" ? whom || "--" : who, who === "" ? `<- ${text}` : text);
  }

  #fateOf(member: SimMember): Fate {
    let fate = this.fates.get(member.id);
    if (fate === undefined) {
      fate = {
        member,
        wanted: new Map(),
        isExpelled: false,
        hasLeft: false,
        hasLostDisk: false,
        isSlow: false,
        troubledAt: this.now,
        pausedTill: Number.NEGATIVE_INFINITY,
        hasLeftInPeace: false,
      };
      this.fates.set(member.id, fate);
    }
    return fate;
  }

  #named(name: string): Fate {
    return this.#fateOf(this.cluster.members[Number(name.slice(1))] as SimMember);
  }

  // ---- what happens --------------------------------------------------------------------------------------------------

  #start(member: SimMember): void {
    const fate = this.#fateOf(member);
    if (member.isUp || fate.isExpelled) return;
    if (this.#hosts === undefined) this.#begin(fate);
    else this.#hosts.start(member, () => this.#begin(fate));
  }

  #begin(fate: Fate): void {
    const { member } = fate;
    fate.troubledAt = this.now;
    fate.hasLeft = false;
    fate.hasLeftInPeace = false;
    for (const invariant of this.#invariants) invariant.started?.(member);
    member.start();
    // What its host wants said was not lost with the process.
    member.publish(fate.wanted);
    if (this.#hosts !== undefined) return;
    for (const other of this.fates.values())
      if (other.isExpelled)
        this.cluster.engine.after(this.cluster.fraction() * SPREAD_MS, () => member.expel(other.member.id));
  }

  #do(step: Step): void {
    if (!this.#isThere(step)) return;
    switch (step.do) {
      case "crash":
      case "restart":
      case "leave":
      case "join":
      case "expel":
        this.#doLife(step);
        break;
      case "pause":
      case "clock-jump":
      case "slow":
        doTroubleStep(step, this.#named(step.member), this.cluster);
        break;
      case "squeeze":
        squeeze(step, [...this.fates.values()], this.cluster);
        break;
      case "cut":
      case "partition":
      case "heal":
      case "network":
        this.#doPaths(step);
        break;
      case "forge":
        this.hasLiars = true;
        this.#forger.lie(step.kind, this.#named(step.member).member);
        break;
      case "quiet":
        this.#quiet(step.dead);
        break;
      case "reboot":
      case "move":
      case "replace":
      case "readmit":
      case "floor":
      case "masters":
      case "lie":
        this.#doHosts(step);
        break;
      default:
        if (!doRecordStep(step, this.#named(step.member), this.cluster.fraction))
          this.#say(step.member, "is told that this is too much to publish");
    }
  }

  /** Whether those that the step names are there, and were not removed where that matters. */
  #isThere(step: Step): boolean {
    const { member, from, to } = step as { member?: string; from?: string; to?: string };
    const named = [member, from, to].filter((name) => name !== undefined);
    if (named.some((name) => Number(name.slice(1)) >= this.cluster.members.length)) return false;
    if (member === undefined || step.do === "forge" || step.do === "readmit") return true;
    return !this.#named(member).isExpelled;
  }

  #doHosts(step: HostStep): void {
    if (this.#hosts === undefined) return;
    doHostStep(step, {
      hosts: this.#hosts,
      members: this.cluster.members,
      fateOf: (member) => this.#fateOf(member),
      isSeed: (member) => this.#isSeed({ member }),
      start: (member) => this.#start(member),
      crash: (member, disk) => this.#crash(this.#fateOf(member), disk),
    });
  }

  #doPaths(step: Extract<Step, { do: "cut" | "partition" | "heal" | "network" }>): void {
    if (step.do === "heal") this.#paths.heal();
    else if (step.do === "cut") this.#paths.cut(this.#named(step.from).member, this.#named(step.to).member);
    else if (step.do === "partition") this.#paths.partition(step.share);
    else {
      const { at: _, do: __, ...shape } = step;
      this.#paths.shape({ ...this.cluster.network.shape, ...(shape as Partial<NetworkShape>) });
    }
  }

  #doLife(step: Extract<Step, { do: "crash" | "restart" | "leave" | "join" | "expel" }>): void {
    if (step.do === "join") {
      const member = this.cluster.add();
      this.#fateOf(member);
      this.#start(member);
      return;
    }
    const fate = this.#named(step.member);
    const { member } = fate;
    if (step.do === "restart") this.#start(member);
    if (step.do === "crash") this.#crash(fate, step.disk);
    if (step.do === "leave" && member.isUp) {
      fate.hasLeftInPeace = isCalm(this) && isWell(this, member) && (member.gossip?.neighbors().length ?? 0) >= 2;
      member.leave();
      this.#hosts?.stopped(member, "kept");
      fate.hasLeft = true;
    }
    if (step.do === "expel") this.#expel(fate);
  }

  #crash(fate: Fate, disk: "kept" | "lost"): void {
    const { member } = fate;
    member.crash();
    this.#hosts?.stopped(member, disk);
    if (disk === "kept") return;
    fate.hasLostDisk = true;
    member.loseDisk();
  }

  /** Seeds are never removed: without one nobody can join, which would show nothing. */
  #expel(fate: Fate): void {
    if (this.#isSeed(fate) || (living(this).length <= 3 && fate.member.isUp)) return;
    if (this.#hosts !== undefined) {
      fate.isExpelled = this.#hosts.remove(fate.member);
      return;
    }
    fate.isExpelled = true;
    const { engine, fraction } = this.cluster;
    for (const { member } of this.fates.values())
      if (member !== fate.member && member.isUp)
        engine.after(fraction() * SPREAD_MS, () => member.expel(fate.member.id));
  }

  #isSeed({ member }: Pick<Fate, "member">): boolean {
    return this.cluster.members.indexOf(member) < this.#scenario.seeds;
  }

  // ---- rest ----------------------------------------------------------------------------------------------------------

  #quiet(dead: "restart" | "expel" | "stay"): void {
    const { engine, fraction } = this.cluster;
    this.#paths.heal();
    this.#paths.shape({ ...this.#usual, loss: REST_LOSS });
    endTroubles(this.fates.values(), this.now);
    engine.runUntil(Math.max(this.now, ...this.cluster.up.map(({ pausedUntil }) => pausedUntil)));
    // Without a seed that runs nobody could join, which would show nothing.
    const isSeedUp = this.cluster.members.some((member) => member.isUp && this.#isSeed({ member }));
    for (const fate of this.fates.values()) {
      const isNeeded = (this.#isSeed(fate) && !isSeedUp) || this.#hosts?.isNeeded(fate.member) === true;
      if (fate.member.isUp || fate.isExpelled || (fate.hasLeft && !isNeeded)) continue;
      if (dead === "restart" || isNeeded) engine.after(fraction() * SPREAD_MS, () => this.#start(fate.member));
      else if (dead === "expel") this.#expel(fate);
    }
    this.#hosts?.endLies();
    engine.runFor(SPREAD_MS + SETTLE_MS);
    for (const invariant of this.#invariants) this.#hold(invariant, invariant.atRest?.());
    for (const invariant of this.#invariants) invariant.restBegins?.();
    engine.runFor(REST_MS);
    this.#pulses.run();
    for (const invariant of this.#invariants) this.#hold(invariant, invariant.restEnds?.());
    // Who was removed and still runs has been a nuisance for long enough.
    for (const fate of this.fates.values()) if (fate.isExpelled) this.#crash(fate, "kept");
    if (this.#hosts !== undefined) this.#hosts.isUnheard = false;
    this.#rests += 1;
    this.#say("", `all ${this.#invariants.length} invariants hold, ${living(this).length} members`);
  }
}
