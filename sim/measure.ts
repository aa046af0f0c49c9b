/**
 * Experiments with simulated gossip that end in numbers: how fast news and deaths are known, what that costs, who is
 * accused wrongly, how soon a broken cluster is whole again. Times are virtual milliseconds.
 */
import { ALIVE, DEAD, type MemberId } from "../src/core/gossip/messages.ts";
import { CREDULOUS, TIMING, type Timing } from "../src/core/gossip/timing.ts";
import { GossipCluster } from "./gossip-cluster.ts";
import type { SimMember } from "./member.ts";

const SETTLE_MS = 6_000;
/** Links that were never used are all eager: news would travel by flooding, faster and dearer than in daily life. */
const SETTLE_CHANGES = 100;
const RECORD_BYTES = 400;

/** A warm cluster: links made and, by some traffic, most of them pruned; nothing on its way. */
export function settled(members: number, seed: number, timing: Timing = TIMING): GossipCluster {
  const cluster = new GossipCluster({ members, seed, timing });
  cluster.startWarm(RECORD_BYTES);
  cluster.engine.runFor(SETTLE_MS);
  for (let n = 1; n <= SETTLE_CHANGES; n += 1) {
    someone(cluster).publish(new Map([["settles", Uint8Array.of(n)]]));
    cluster.engine.runFor(SETTLE_MS / SETTLE_CHANGES);
  }
  cluster.engine.runFor(SETTLE_MS);
  return cluster;
}

function someone(cluster: GossipCluster, of: readonly SimMember[] = cluster.up): SimMember {
  return of[Math.floor(cluster.fraction() * of.length)] as SimMember;
}

interface Change {
  readonly at: number;
  /** When each other member had it, in order. */
  readonly known: number[];
}

/** Follows changes until all have them. */
class Watcher {
  readonly #cluster: GossipCluster;
  readonly #open = new Map<
    MemberId,
    { readonly seq: number; readonly change: Change; readonly had: Set<MemberId> }[]
  >();
  readonly changes: Change[] = [];

  constructor(cluster: GossipCluster) {
    this.#cluster = cluster;
    cluster.onEffect = (member, effect) => {
      if (effect.type === "records") this.#arrived(member, effect.owner);
    };
  }

  publish(member: SimMember): void {
    const value = new Uint8Array(RECORD_BYTES);
    value[0] = this.changes.length + 1;
    value[1] = this.changes.length >> 8;
    const change: Change = { at: this.#cluster.engine.now, known: [] };
    this.changes.push(change);
    const seq = (member.gossip?.state(member.id)?.seq ?? 0) + 1;
    const open = this.#open.get(member.id) ?? [];
    open.push({ seq, change, had: new Set([member.id]) });
    this.#open.set(member.id, open);
    member.publish(new Map([["record", value]]));
  }

  #arrived(member: SimMember, owner: MemberId): void {
    const open = this.#open.get(owner);
    if (open === undefined) return;
    const seq = member.gossip?.state(owner)?.seq ?? 0;
    for (const { seq: wanted, change, had } of open)
      if (wanted <= seq && !had.has(member.id)) {
        had.add(member.id);
        change.known.push(this.#cluster.engine.now - change.at);
      }
  }

  /** Time until `share` of the others had each change; a change that is not there yet counts as never. */
  times(share: number): number[] {
    const others = this.#cluster.members.length - 1;
    return this.changes.map(({ known }) => known[Math.ceil(others * share) - 1] ?? Number.POSITIVE_INFINITY);
  }
}

export interface SpreadResult {
  readonly t90: readonly number[];
  readonly t999: readonly number[];
}

/** Single changes, half a second apart. */
export function spread(cluster: GossipCluster, changes: number): SpreadResult {
  const watcher = new Watcher(cluster);
  for (let n = 0; n < changes; n += 1) {
    watcher.publish(someone(cluster));
    cluster.engine.runFor(500);
  }
  cluster.engine.runFor(4_000);
  return { t90: watcher.times(0.9), t999: watcher.times(0.999) };
}

/** @returns bytes a second that a member sends, on average and at most, when nothing happens */
export function idle(cluster: GossipCluster, seconds: number): { readonly mean: number; readonly most: number } {
  const before = cluster.members.map(({ sent }) => sent);
  cluster.engine.runFor(seconds * 1_000);
  const rates = cluster.members.map(({ sent }, n) => (sent - (before[n] as number)) / seconds);
  return { mean: rates.reduce((sum, rate) => sum + rate, 0) / rates.length, most: Math.max(...rates) };
}

export interface DetectResult {
  /** From each crash to its first confirmation. */
  readonly first: readonly number[];
  /** From there until 90 % of the others knew. */
  readonly known: readonly number[];
}

/** One member after the other crashes. */
export function detect(cluster: GossipCluster, crashes: number): DetectResult {
  const result = { first: [] as number[], known: [] as number[] };
  for (let n = 0; n < crashes; n += 1) {
    const victim = someone(cluster);
    const at = cluster.engine.now;
    const times: number[] = [];
    cluster.onEffect = (member, effect) => {
      if (effect.type === "member" && effect.id === victim.id)
        if (member.gossip?.member(victim.id)?.status === DEAD) times.push(cluster.engine.now - at);
    };
    victim.crash();
    cluster.engine.runFor(4_000);
    const first = times[0] ?? Number.POSITIVE_INFINITY;
    result.first.push(first);
    result.known.push((times[Math.ceil(cluster.up.length * 0.9) - 1] ?? Number.POSITIVE_INFINITY) - first);
  }
  return result;
}

export interface ChurnResult {
  readonly t90: readonly number[];
  /** Sent while it lasted, all members together. */
  readonly bytes: number;
  /** What it takes to send each record to each other member once, in a packet of its own. */
  readonly ideal: number;
}

export function churn(cluster: GossipCluster, perSecond: number, seconds: number): ChurnResult {
  const watcher = new Watcher(cluster);
  const before = cluster.network.bytes;
  for (let n = 0; n < perSecond * seconds; n += 1) {
    watcher.publish(someone(cluster));
    cluster.engine.runFor(1_000 / perSecond);
  }
  const bytes = cluster.network.bytes - before;
  cluster.engine.runFor(4_000);
  const ideal = perSecond * seconds * (cluster.members.length - 1) * RECORD_PACKET_BYTES;
  return { t90: watcher.times(0.9), bytes, ideal };
}

/** A record of RECORD_BYTES as a delta in a packet, with seal and headers. */
const RECORD_PACKET_BYTES = 39 + 7 + 85 + 2 + RECORD_BYTES + 8 + 60;

/** Some members handle what arrives 0.5 to 5 s late. @returns accusations of the others */
export function starve(members: number, starved: number, seconds: number, seed: number, timing: Timing): number {
  const cluster = settled(members, seed, timing);
  const slow = new Set<MemberId>();
  while (slow.size < starved) slow.add(someone(cluster).id);
  for (const member of cluster.members)
    if (slow.has(member.id)) member.inboundDelay = () => 500 + cluster.fraction() * 4_500;
  let accusations = 0;
  cluster.onEffect = (_, effect) => {
    if (effect.type === "event" && effect.event.type === "accused" && !slow.has(effect.event.id)) accusations += 1;
  };
  cluster.engine.runFor(seconds * 1_000);
  return accusations;
}

/** The comparison that tells whether `starve` could have found anything. */
export const STARVE_PEER = CREDULOUS;

export interface CrashResult {
  /** Until the survivors' links connect them all. */
  readonly overlay: number;
  /** Until 90 % of all (survivor, dead) pairs are known. */
  readonly members: number;
  readonly wrongAccusations: number;
}

/** A share of all members crashes at once. */
export function crash(cluster: GossipCluster, percent: number, forMs: number): CrashResult {
  const victims = new Set<MemberId>();
  const count = Math.round((cluster.members.length * percent) / 100);
  while (victims.size < count) victims.add(someone(cluster).id);
  let known = 0;
  let wrongAccusations = 0;
  cluster.onEffect = (member, effect) => {
    if (effect.type === "member" && victims.has(effect.id) && member.gossip?.member(effect.id)?.status === DEAD)
      known += 1;
    if (effect.type === "event" && effect.event.type === "accused" && !victims.has(effect.event.id))
      wrongAccusations += 1;
  };
  const at = cluster.engine.now;
  for (const member of cluster.members) if (victims.has(member.id)) member.crash();
  const pairs = victims.size * cluster.up.length;
  let overlay = Number.POSITIVE_INFINITY;
  let members = Number.POSITIVE_INFINITY;
  while (cluster.engine.now < at + forMs) {
    cluster.engine.runFor(100);
    const elapsed = cluster.engine.now - at;
    if (!cluster.isConnected()) overlay = Number.POSITIVE_INFINITY;
    else if (overlay === Number.POSITIVE_INFINITY) overlay = elapsed;
    if (known >= pairs * 0.9 && members === Number.POSITIVE_INFINITY) members = elapsed;
  }
  return { overlay, members, wrongAccusations };
}

export interface PartitionResult {
  /** Until all records are the same everywhere. */
  readonly data: number;
  /** Until everybody is alive for everybody. */
  readonly members: number;
  /** Of members that had been reachable again. */
  readonly wrongAccusations: number;
}

/** Two halves that do not hear each other for a while, with changes on both sides. */
export function partition(cluster: GossipCluster, seconds: number, changesPerSide: number): PartitionResult {
  const side = new Map(cluster.members.map(({ address }, n) => [address, n % 2]));
  cluster.network.cut((from, to) => side.get(from) !== side.get(to));
  const gap = (seconds * 1_000) / changesPerSide;
  for (let n = 0; n < changesPerSide; n += 1) {
    for (const half of [0, 1])
      someone(
        cluster,
        cluster.members.filter((_, index) => index % 2 === half),
      ).publish(new Map([["record", Uint8Array.of(n, n >> 8, half)]]));
    cluster.engine.runFor(gap);
  }
  let wrongAccusations = 0;
  cluster.onEffect = (_, effect) => {
    if (effect.type === "event" && effect.event.type === "accused") wrongAccusations += 1;
  };
  cluster.network.cut(undefined);
  const at = cluster.engine.now;
  let [data, members] = [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY];
  while (
    cluster.engine.now < at + 60_000 &&
    (data === Number.POSITIVE_INFINITY || members === Number.POSITIVE_INFINITY)
  ) {
    cluster.engine.runFor(250);
    const elapsed = cluster.engine.now - at;
    if (data === Number.POSITIVE_INFINITY && isSameData(cluster)) data = elapsed;
    if (members === Number.POSITIVE_INFINITY && isEverybodyAlive(cluster)) members = elapsed;
  }
  cluster.engine.runFor(5_000);
  return { data, members, wrongAccusations };
}

export interface OneWayResult {
  /** (holder, dead) pairs of members that hear each other. */
  readonly within: number;
  /** Pairs of two sides. */
  readonly across: number;
}

/** One half hears nothing of the other one, and is heard well by it. @returns who was held for dead */
export function oneWay(cluster: GossipCluster, seconds: number): OneWayResult {
  const isDeaf = (n: number) => n % 2 === 1;
  const deafAddresses = new Set(cluster.members.filter((_, n) => isDeaf(n)).map(({ address }) => address));
  const deafIds = new Set(cluster.members.filter((_, n) => isDeaf(n)).map(({ id }) => id));
  let [within, across] = [0, 0];
  cluster.onEffect = (member, effect) => {
    if (effect.type !== "member" || member.gossip?.member(effect.id)?.status !== DEAD) return;
    if (deafIds.has(effect.id) === deafIds.has(member.id)) within += 1;
    else across += 1;
  };
  cluster.network.cut((from, to) => deafAddresses.has(to) && !deafAddresses.has(from));
  cluster.engine.runFor(seconds * 1_000);
  return { within, across };
}

function isSameData(cluster: GossipCluster): boolean {
  return cluster.members.every((owner) => {
    const own = owner.gossip?.state(owner.id);
    return cluster.members.every(({ gossip }) => {
      const state = gossip?.state(owner.id);
      return state?.gen === own?.gen && state?.seq === own?.seq;
    });
  });
}

function isEverybodyAlive(cluster: GossipCluster): boolean {
  return cluster.members.every(({ gossip }) => cluster.members.every(({ id }) => gossip?.member(id)?.status === ALIVE));
}
