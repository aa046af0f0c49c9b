/**
 * Steps of a scenario that trouble a process without ending it.
 */
import type { GossipCluster } from "./gossip-cluster.ts";
import type { Fate } from "./invariants.ts";
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
