/**
 * What must hold in every simulation, whatever happens. An invariant is told what members do, and asked at rest; it answers
 * with what is wrong. Whoever simulates more than gossip (whole hosts, say) brings invariants of its own through the same
 * interface, and keeps in them what it knows of each member.
 *
 * I-numbers are those of the design of gossip (docs/gossip.md).
 */
import type { Address, MemberId, Message } from "../src/core/gossip/messages.ts";
import type { Effect, GossipCluster } from "./gossip-cluster.ts";
import type { SimMember } from "./member.ts";
import type { NetworkShape } from "./network.ts";

/** What befell a member, and what it wants to say: kept beside it, by the simulation. */
export interface Fate {
  readonly member: SimMember;
  /** What its host wants published, across its lives. */
  readonly wanted: Map<string, Uint8Array>;
  isExpelled: boolean;
  hasLeft: boolean;
  /** A disk of it was ever lost. */
  hasLostDisk: boolean;
  isSlow: boolean;
  /** When it last started, stood still or was slow. */
  troubledAt: number;
  /** Its last pause ended then. */
  pausedTill: number;
  /** It said goodbye to its neighbours over a good network. */
  hasLeftInPeace: boolean;
}

export interface World {
  readonly cluster: GossipCluster;
  readonly fates: ReadonlyMap<MemberId, Fate>;
  /** Ways between members and the network's quality are as they are since then. */
  readonly pathsSince: number;
  /** The network's quality is as it is since then. */
  readonly qualitySince: number;
  /** When the way between the two was last cut, in either direction; -Infinity: never. */
  cutAt(one: SimMember, other: SimMember): number;
  /** Somebody told lies. */
  readonly hasLiars: boolean;
  /** Virtual ms. */
  readonly now: number;
  nameOf(id: MemberId): string;
}

export type Problem = string | undefined;

export interface Invariant {
  readonly name: string;
  started?(member: SimMember): void;
  effect?(member: SimMember, effect: Effect): Problem;
  sent?(member: SimMember, to: Address, messages: readonly Message[], bytes: number, isControl: boolean): Problem;
  /** The member is about to handle these. */
  received?(member: SimMember, from: Address, messages: readonly Message[]): Problem;
  /** Every SAMPLE_MS. */
  sampled?(): Problem;
  /** Faults ended so long ago that everything must have settled. */
  atRest?(): Problem;
  /** Of a stretch in which nothing happens but some small publications. */
  restBegins?(): void;
  restEnds?(): Problem;
}

export type MakeInvariant = (world: World) => Invariant;

export const SAMPLE_MS = 250;
/** How long a member has to be untroubled, and the ways unchanged, before nobody may call it dead. */
const WELL_MS = 10_000;
/** Worse than this is no network in which nobody may err. */
const GOOD_LOSS = 0.1;
const GOOD_DELAY_MS = 60;

/** Members that run and were not removed. */
export function living(world: World): SimMember[] {
  return world.cluster.up.filter(({ id }) => world.fates.get(id)?.isExpelled !== true);
}

/** Whether it runs, in time, for a while already. */
export function isWell(world: World, member: SimMember | undefined): member is SimMember {
  const fate = member && world.fates.get(member.id);
  if (member === undefined || fate === undefined) return false;
  if (!member.isUp || member.isPaused || fate.isExpelled || fate.hasLeft || fate.isSlow) return false;
  return world.now - fate.troubledAt >= WELL_MS;
}

export function isGoodShape({ loss, delayMs }: NetworkShape): boolean {
  return loss <= GOOD_LOSS && delayMs[1] <= GOOD_DELAY_MS;
}

/** Whether the network is good enough, and for long enough, that errors are defects. */
export function isGood(world: World): boolean {
  return isGoodShape(world.cluster.network.shape) && world.now - world.qualitySince >= WELL_MS;
}

/** And no way was cut or mended lately. */
export function isCalm(world: World): boolean {
  return isGood(world) && world.now - world.pathsSince >= WELL_MS;
}

/** Whether the two could talk to each other all the time lately. */
export function areInTouch(world: World, one: SimMember, other: SimMember): boolean {
  return world.now - world.cutAt(one, other) >= WELL_MS;
}

/** Whether packets travel both ways between the member and more than half of those that are well. */
export function isInMajority(world: World, member: SimMember): boolean {
  const { network } = world.cluster;
  const others = living(world).filter((other) => other !== member);
  const reached = others.filter(
    (other) =>
      isWell(world, other) &&
      !network.isCut(member.address, other.address) &&
      !network.isCut(other.address, member.address),
  );
  return reached.length > others.length / 2;
}

export function memberById(world: World, id: MemberId): SimMember | undefined {
  return world.fates.get(id)?.member;
}
