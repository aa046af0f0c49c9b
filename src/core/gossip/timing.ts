/**
 * When gossip does what, and how sure it wants to be. Milliseconds unless said otherwise. The values were found by
 * simulation (`npm run sim`, docs/gossip.md); a comment gives the reason.
 */
export interface Timing {
  /**
   * One neighbour, in turn, is probed this often: a member is probed as often as it probes, however many neighbours it
   * has, and that is what detection takes and costs.
   */
  readonly neighborProbeMs: number;
  /** And one random member this often. */
  readonly randomProbeMs: number;
  /** Steps of a probe: ping; ping and relays; ping and other relays; suspicion. Scaled by local health. */
  readonly probeStepsMs: readonly [number, number, number];
  readonly relaysPerStep: number;
  /** Steps take at least this many round trips of the target. */
  readonly roundTripsPerStep: number;
  /** A relay pings a second time after this, and testifies that it had no answer after that. */
  readonly relaySecondPingMs: number;
  readonly testimonyMs: number;
  /** A suspect is pinged this often, then, after `suspicionSlowAfterMs`, less often. */
  readonly suspicionRoundMs: number;
  readonly suspicionSlowRoundMs: number;
  readonly suspicionSlowAfterMs: number;
  /** Shortest and longest suspicion, counted in rounds that ended on time. The short one needs the testimonies. */
  readonly suspicionMinMs: number;
  readonly suspicionMaxMs: number;
  readonly testimonies: number;
  /** One accuser without testimonies is believed when so many others said the same. */
  readonly soloAccusers: number;
  /** A timer that judges and comes later than this judges nothing. `Infinity`: lateness is not looked at. */
  readonly lagMs: number;
  /** How far bad local health stretches the probes: 0 switches it off. */
  readonly localHealthMax: number;
  readonly eagerBatchMs: number;
  readonly ihaveFlushMs: number;
  /** A pull follows the first word of something new after this, then again this often from the next source. */
  readonly pullFirstMs: number;
  readonly pullAgainMs: number;
  readonly pullTries: number;
  /** A link is pruned after so many duplicates without a first delivery, one link at most this often. */
  readonly pruneDuplicates: number;
  readonly pruneGapMs: number;
  /** Pulls in a row, with no eager copy within `promoteWithinMs`, that make a link eager. */
  readonly promotePulls: number;
  readonly promoteWithinMs: number;
  readonly syncMs: number;
  readonly syncAgainMs: number;
  readonly syncRounds: number;
  /** Neighbours that a member of a large cluster wants; of a small one it wants fewer (`degreeOf`). */
  readonly degree: number;
  readonly repairMs: number;
  readonly repairUrgentMs: number;
  readonly rewireMs: number;
  readonly healMs: number;
  /** A tick that is this late means that the process or its host stood still. */
  readonly pauseMs: number;
  /** Before its first publication a joiner waits for `joinReplies` answers or this long. */
  readonly joinWaitMs: number;
  readonly joinReplies: number;
  readonly joinAgainMs: number;
}

export const TIMING: Timing = {
  neighborProbeMs: 400,
  randomProbeMs: 2_000,
  probeStepsMs: [120, 140, 160],
  relaysPerStep: 3,
  roundTripsPerStep: 4,
  relaySecondPingMs: 70,
  testimonyMs: 160,
  suspicionRoundMs: 110,
  suspicionSlowRoundMs: 400,
  suspicionSlowAfterMs: 1_500,
  suspicionMinMs: 440,
  suspicionMaxMs: 4_000,
  testimonies: 2,
  soloAccusers: 2,
  lagMs: 100,
  localHealthMax: 8,
  eagerBatchMs: 2,
  ihaveFlushMs: 60,
  pullFirstMs: 60,
  pullAgainMs: 80,
  pullTries: 8,
  pruneDuplicates: 3,
  pruneGapMs: 250,
  promotePulls: 2,
  promoteWithinMs: 400,
  syncMs: 5_000,
  syncAgainMs: 150,
  syncRounds: 60,
  degree: 7,
  repairMs: 400,
  repairUrgentMs: 100,
  rewireMs: 60_000,
  healMs: 5_000,
  pauseMs: 5_000,
  joinWaitMs: 1_500,
  joinReplies: 3,
  joinAgainMs: 1_000,
};

/** The same protocol without testimonies, local health and lag guard: what they are worth is measured against this. */
export const CREDULOUS: Timing = {
  ...TIMING,
  testimonies: 0,
  soloAccusers: 1,
  lagMs: Number.POSITIVE_INFINITY,
  localHealthMax: 0,
};
