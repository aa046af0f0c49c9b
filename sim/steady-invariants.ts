/**
 * Invariants that hold at each moment: versions, who wrote what, who may be called dead, what waits for how long.
 */
import { DEGREE_SLACK } from "../src/core/gossip/links.ts";
import { ALIVE, DEAD, type Death, type Entry, LEFT, type MemberId } from "../src/core/gossip/messages.ts";
import type { OwnerState } from "../src/core/gossip/owner-state.ts";
import { deathBytes, entryBytes, headBytes, testimonyBytes } from "../src/core/gossip/signed.ts";
import { TIMING } from "../src/core/gossip/timing.ts";
import { isNewer } from "../src/core/gossip/version.ts";
import {
  GOSSIP_BULK_BURST_BYTES,
  GOSSIP_BULK_BYTES_PER_SECOND,
  GOSSIP_MISSING_MAX,
  GOSSIP_PROBES_MAX,
  GOSSIP_QUEUE_MAX_BYTES,
  GOSSIP_SOLO_MAX,
} from "../src/model/limits.ts";
import {
  areInTouch,
  type Invariant,
  isCalm,
  isGood,
  isInMajority,
  isWell,
  type MakeInvariant,
  memberById,
  type Problem,
  SAMPLE_MS,
  type World,
} from "./invariants.ts";
import type { SimMember } from "./member.ts";

/** What each member knew last in its present life. */
class Remembered<T> {
  readonly #of = new Map<SimMember, Map<MemberId, T>>();

  started(member: SimMember): void {
    this.#of.delete(member);
  }

  /** @returns what was there before */
  put(member: SimMember, id: MemberId, value: T | undefined): T | undefined {
    let known = this.#of.get(member);
    if (known === undefined) {
      known = new Map();
      this.#of.set(member, known);
    }
    const before = known.get(id);
    if (value === undefined) known.delete(id);
    else known.set(id, value);
    return before;
  }
}

const versionsNeverFall: MakeInvariant = (world) => {
  const lives = new Remembered<{ gen: number; version: number; status: number }>();
  const data = new Remembered<{ gen: number; seq: number }>();
  return {
    name: "I2 I20 versions never fall, LEFT ends only with a newer word",
    started: (member) => {
      lives.started(member);
      data.started(member);
    },
    effect: (member, effect) => {
      if (effect.type === "member") {
        const known = member.gossip?.member(effect.id);
        const before = lives.put(member, effect.id, known);
        if (known === undefined || before === undefined) return undefined;
        const { gen, version, status } = known;
        if (isNewer(before.gen, before.version, gen, version))
          return `${world.nameOf(effect.id)} went from version ${before.gen}/${before.version} to ${gen}/${version}`;
        if (before.status === LEFT && status === ALIVE && gen === before.gen && version >> 2 === before.version >> 2)
          return `${world.nameOf(effect.id)} had left and is back under the same word`;
      }
      if (effect.type === "records") {
        const state = member.gossip?.state(effect.owner);
        const before = data.put(member, effect.owner, state && { gen: state.gen, seq: state.seq });
        if (state !== undefined && before !== undefined && isNewer(before.gen, before.seq, state.gen, state.seq))
          return `records of ${world.nameOf(effect.owner)} fell from ${before.gen}/${before.seq} to ${state.seq}`;
      }
      return undefined;
    },
  };
};

const onlyOwnersWrite: MakeInvariant = (world) => ({
  name: "I3 I4 all that is believed was signed by whom it is from",
  effect: (member, effect) => {
    const known = effect.type === "member" ? member.gossip?.member(effect.id) : undefined;
    if (known === undefined) return undefined;
    const { head, death } = known;
    const { trust } = world.cluster;
    const key = trust.publicKeyOf(head);
    if (key === undefined) return `${head.id} is a member and was never admitted`;
    if (!trust.verify(key, headBytes(head), head.signature)) return `${world.nameOf(head.id)} never said that head`;
    if (death === undefined) return undefined;
    return deathProblem(world, death);
  },
});

/** Of a death that was adopted. */
function deathProblem(world: Pick<World, "cluster" | "fates" | "nameOf">, death: Death): Problem {
  const { trust } = world.cluster;
  const keyOf = (id: MemberId) => world.fates.get(id)?.member.identity.publicKey;
  const accuser = keyOf(death.accuser);
  if (accuser === undefined || !trust.verify(accuser, deathBytes(death), death.signature))
    return `the death of ${world.nameOf(death.id)} is not its accuser's word`;
  const witnesses = new Set<MemberId>([death.accuser, death.id]);
  for (const testimony of death.testimonies) {
    const key = keyOf(testimony.witness);
    if (witnesses.has(testimony.witness)) return `a witness of the death of ${world.nameOf(death.id)} counts twice`;
    witnesses.add(testimony.witness);
    const isAbout = testimony.target === death.id && testimony.gen === death.gen && testimony.inc === death.inc;
    if (!isAbout || key === undefined || !trust.verify(key, testimonyBytes(testimony), testimony.signature))
      return `a testimony of the death of ${world.nameOf(death.id)} is not its witness's word`;
  }
  return undefined;
}

/** Of entries, so that a state of many is quick to sum up. */
const PRINTS = new WeakMap<Entry, number>();

function printOf(entry: Entry): number {
  const known = PRINTS.get(entry);
  if (known !== undefined) return known;
  let print = Math.imul(0x811c9dc5 ^ entry.seq, 0x01000193) ^ (entry.value?.length ?? -1);
  for (let n = 0; n < entry.key.length; n += 1) print = Math.imul(print ^ entry.key.charCodeAt(n), 0x01000193);
  for (const byte of entry.value ?? []) print = Math.imul(print ^ byte, 0x01000193);
  PRINTS.set(entry, print);
  return print;
}

export function contentOf({ entries }: OwnerState): number {
  let sum = entries.size;
  for (const entry of entries.values()) sum = (Math.imul(sum, 31) + printOf(entry)) | 0;
  return sum;
}

const contentIsTheOwners: MakeInvariant = (world) => {
  const { trust } = world.cluster;
  const written = new Map<string, number>();
  const verified = new WeakSet<Entry>();
  return {
    name: "I5 I12 I13 records at one version are what their owner wrote",
    effect: (member, effect) => {
      const state = effect.type === "records" ? member.gossip?.state(effect.owner) : undefined;
      if (state === undefined) return undefined;
      const { owner, gen, seq } = state;
      const version = `${owner} ${gen} ${seq}`;
      const content = contentOf(state);
      if (owner === member.id) written.set(version, content);
      const should = written.get(version);
      if (should === undefined) return `${world.nameOf(owner)} never wrote the version ${gen}/${seq}`;
      if (should !== content) return `${world.nameOf(owner)} wrote something else at ${gen}/${seq}`;
      const key = world.fates.get(owner)?.member.identity.publicKey;
      for (const entry of state.entries.values()) {
        if (verified.has(entry)) continue;
        verified.add(entry);
        if (key === undefined || !trust.verify(key, entryBytes(owner, gen, entry), entry.signature))
          return `"${entry.key}" of ${world.nameOf(owner)} is not signed`;
      }
      return undefined;
    },
  };
};

/** A member that stood still may be wrong about all others for so long, and says nothing against them. */
const PAUSED_SILENT_MS = 5_000;

/** An accusation that was right may be on its way at the moment when a partition ends. */
const RACES = 2;

const whoTalkDoNotBelieveDead: MakeInvariant = (world) => {
  let pathsSince = 0;
  const accusedByOthers = new Set<MemberId>();
  const isRace = (death: Death | undefined, accused: SimMember): boolean => {
    if (pathsSince !== world.pathsSince) accusedByOthers.clear();
    pathsSince = world.pathsSince;
    const accuser = death && memberById(world, death.accuser);
    if (accuser === undefined || areInTouch(world, accuser, accused)) return false;
    accusedByOthers.add(accused.id);
    return accusedByOthers.size <= RACES;
  };
  return {
    name: "I11 who could talk all the time do not take each other for dead",
    effect: (member, effect) => {
      if (effect.type !== "member" || !isGood(world) || !isWell(world, member)) return undefined;
      const known = member.gossip?.member(effect.id);
      const accused = memberById(world, effect.id);
      if (known?.status !== DEAD || !isWell(world, accused) || !areInTouch(world, member, accused)) return undefined;
      const own = accused.gossip?.member(accused.id);
      if (own?.gen !== known.gen || isRace(known.death, accused)) return undefined;
      return `${member.name} took ${accused.name} for dead`;
    },
  };
};

const theWellAreNotCalledDead: MakeInvariant = (world) => ({
  name: "I11 I17 nobody calls dead who runs, answers in time and is in reach of most",
  effect: (member, effect) => {
    if (!isCalm(world)) return undefined;
    if (effect.type === "event" && effect.event.type === "accused") {
      const { id, testimonies } = effect.event;
      const accused = memberById(world, id);
      const accuser = world.fates.get(member.id);
      if (!isWell(world, accused) || accuser === undefined || !isInMajority(world, accused)) return undefined;
      const hasJustPaused = world.now - accuser.pausedTill < PAUSED_SILENT_MS;
      if (!isInMajority(world, member)) return undefined;
      // One that is slow may think what it likes; it must find nobody who says the same.
      if (testimonies < TIMING.testimonies && !isWell(world, member) && !hasJustPaused) return undefined;
      return `${member.name} accused ${accused.name} with ${testimonies} testimonies`;
    }
    if (effect.type !== "member" || !isWell(world, member) || !isInMajority(world, member)) return undefined;
    const known = member.gossip?.member(effect.id);
    const accused = memberById(world, effect.id);
    if (known?.status !== DEAD || !isWell(world, accused) || !isInMajority(world, accused)) return undefined;
    const own = accused.gossip?.member(accused.id);
    return own?.gen === known.gen ? `${member.name} took ${accused.name} for dead` : undefined;
  },
});

/** An answer leaves this long after its question at the latest, ms (the design's I8). */
const CONTROL_MS = 20;

const answersLeaveAtOnce: MakeInvariant = (world) => {
  const open = new Map<SimMember, Map<number, number>>();
  const overdue = (member: SimMember): Problem => {
    for (const [seq, at] of open.get(member) ?? [])
      if (world.now - at > CONTROL_MS) return `${member.name} answered ping ${seq} not within ${CONTROL_MS} ms`;
    return undefined;
  };
  return {
    name: "I8 answers to probes wait for nothing",
    started: (member) => open.set(member, new Map()),
    received: (member, from, messages) => {
      const late = overdue(member);
      // One that is asked to look for a predecessor at its own address pings itself, which nobody answers.
      if (from === member.address) return late;
      for (const message of messages) if (message.type === "ping") open.get(member)?.set(message.seq, world.now);
      return late;
    },
    sent: (member, _, messages) => {
      const late = overdue(member);
      for (const message of messages) if (message.type === "ack") open.get(member)?.delete(message.seq);
      return late;
    },
  };
};

const jumpsHaveAReason: MakeInvariant = (world) => ({
  name: "I3 only a lost disk makes a member begin anew",
  effect: (member, effect) => {
    if (effect.type !== "event" || effect.event.type !== "gen-jumped") return undefined;
    return world.fates.get(member.id)?.hasLostDisk === true ? undefined : `${member.name} jumped, its disk was kept`;
  },
});

const BOUNDS = {
  neighbors: TIMING.degree + DEGREE_SLACK + 2,
  missing: GOSSIP_MISSING_MAX,
  probes: GOSSIP_PROBES_MAX,
  solos: GOSSIP_SOLO_MAX + 1,
  queueBytes: GOSSIP_QUEUE_MAX_BYTES,
  localHealth: TIMING.localHealthMax,
};
/** Control of one member, bytes a second (the design's §7). */
const CONTROL_BYTES_PER_SECOND = 64_000;
const WINDOW_MS = 1_000;

const everythingIsBounded: MakeInvariant = (world) => {
  const sent = new Map<SimMember, { control: number; bulk: number }>();
  let windowAt = 0;
  return {
    name: "I7 queues, maps and rates have their bounds",
    sent: (member, _to, _messages, bytes, isControl) => {
      let sums = sent.get(member);
      if (sums === undefined) {
        sums = { control: 0, bulk: 0 };
        sent.set(member, sums);
      }
      if (isControl) sums.control += bytes;
      else sums.bulk += bytes;
      return undefined;
    },
    sampled: () => {
      for (const member of world.cluster.up) {
        const gauges = member.gossip?.gauges() ?? {};
        for (const [name, most] of Object.entries(BOUNDS))
          if ((gauges[name] ?? 0) > most) return `${member.name} has ${name} ${gauges[name]}, the bound is ${most}`;
      }
      if (world.now - windowAt < WINDOW_MS) return undefined;
      const seconds = (world.now - windowAt + SAMPLE_MS) / 1_000;
      windowAt = world.now;
      // What says goodbye empties its queue at once.
      const bulkMost = GOSSIP_BULK_BYTES_PER_SECOND * seconds + GOSSIP_BULK_BURST_BYTES + GOSSIP_QUEUE_MAX_BYTES;
      const loud = [...sent].find(
        ([, { control, bulk }]) => control > CONTROL_BYTES_PER_SECOND * seconds || bulk > bulkMost,
      );
      sent.clear();
      return loud && `${loud[0].name} sent ${loud[1].control} bytes of control, ${loud[1].bulk} of bulk in a second`;
    },
  };
};

const theWireIsTheMessage: MakeInvariant = ({ cluster: { network } }): Invariant => ({
  name: "each packet that is sent can be read",
  sampled: () => (network.malformed > 0 ? `${network.malformed} messages could not be read` : undefined),
});

export const STEADY_INVARIANTS: readonly MakeInvariant[] = [
  versionsNeverFall,
  onlyOwnersWrite,
  contentIsTheOwners,
  theWellAreNotCalledDead,
  whoTalkDoNotBelieveDead,
  answersLeaveAtOnce,
  jumpsHaveAReason,
  everythingIsBounded,
  theWireIsTheMessage,
];
