/**
 * Steps of a scenario that trouble a process without ending it.
 */
import type { GossipCluster } from "./gossip-cluster.ts";
import type { Fate } from "./invariants.ts";
import { Processor } from "./processor.ts";
import type { Step } from "./scenario.ts";

type TroubleStep = Extract<Step, { do: "pause" | "clock-jump" | "slow" }>;

export function doTroubleStep(step: TroubleStep, fate: Fate, { engine, fraction }: GossipCluster): void {
  const { member } = fate;
  if (!member.isUp) return;
  fate.troubledAt = engine.now;
  if (step.do === "slow") {
    const [least, most] = step.delayMs;
    fate.isSlow = most > 0;
    member.inboundDelay = most > 0 ? () => least + fraction() * (most - least) : undefined;
  } else if (step.do === "pause") {
    member.pause(step.ms);
    fate.pausedTill = member.pausedUntil;
    fate.troubledAt = member.pausedUntil;
  } else {
    fate.pausedTill = engine.now;
    member.jumpClock(step.ms);
  }
}

/** Of a packet that takes 1 ms. */
const SEND_SHARE = 0.25;
const SIGNATURE_SHARE = 0.5;
const CORES = 2;

export function squeeze(
  { share, busy, packetMs }: Extract<Step, { do: "squeeze" }>,
  fates: readonly Fate[],
  { engine }: GossipCluster,
): void {
  const [sendMs, signatureMs] = [packetMs * SEND_SHARE, packetMs * SIGNATURE_SHARE];
  const processor = new Processor(engine, CORES, { packetMs, sendMs, signatureMs, tickMs: sendMs });
  processor.occupy(busy);
  const count = Math.round(fates.length * share);
  for (const fate of fates.slice(fates.length - count)) {
    // Two processors for themselves are to be enough.
    fate.isSlow = busy > 0;
    fate.troubledAt = engine.now;
    fate.member.runOn(processor);
  }
}

/** Whoever was slow is so no longer. */
export function endTroubles(fates: Iterable<Fate>, now: number): void {
  for (const fate of fates) {
    if (fate.isSlow) fate.troubledAt = now;
    fate.isSlow = false;
    fate.member.inboundDelay = undefined;
    fate.member.runOn(undefined);
  }
}
