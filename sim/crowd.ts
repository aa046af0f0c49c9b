/**
 * Members that start all at once on one machine, with less processor than that takes: every process answers late, and none
 * is dead. What one does about it costs the others time, so that a wrong rule feeds itself.
 */
import { DEAD } from "../src/core/gossip/messages.ts";
import { TIMING, type Timing } from "../src/core/gossip/timing.ts";
import { GossipCluster } from "./gossip-cluster.ts";
import type { SimMember } from "./member.ts";
import { Processor } from "./processor.ts";

export interface CrowdShape {
  readonly members: number;
  readonly seed: number;
  /** Other processes that never rest, and for how long. */
  readonly busy: number;
  readonly busyMs: number;
  readonly packetMs: number;
  readonly signatureMs: number;
  readonly ms: number;
  readonly timing?: Timing;
}

export interface CrowdResult {
  /** (holder, dead) pairs of members that live, all that ever were and those at the end. */
  readonly wrong: number;
  readonly wrongAtEnd: number;
  /** Packets that all send in the last second. */
  readonly packetsAtEnd: number;
  readonly known: number;
}

const CORES = 2;
const SEND_MS = 0.1;
/** Of a process: to load its code. */
const LOAD_MS = 400;
const LOAD_STEP_MS = 3;

export function crowd(shape: CrowdShape): CrowdResult {
  const { members, seed, busy, busyMs, packetMs, signatureMs, ms, timing = TIMING } = shape;
  const cluster = new GossipCluster({ members, seed, timing, network: { loss: 0, delayMs: [0.1, 0.3] } });
  const { engine, network } = cluster;
  const processor = new Processor(engine, CORES, { packetMs, signatureMs, sendMs: SEND_MS, tickMs: SEND_MS });
  const isDead = (holder: SimMember, id: string) => holder.gossip?.member(id)?.status === DEAD;
  let wrong = 0;
  cluster.onEffect = (member, effect) => {
    if (effect.type === "member" && isDead(member, effect.id)) wrong += 1;
  };
  processor.occupy(busy);
  engine.at(busyMs, () => processor.relieve());
  for (const member of cluster.members) load(member, processor);
  engine.runFor(ms - 1_000);
  const before = network.packets;
  engine.runFor(1_000);
  return {
    wrong,
    wrongAtEnd: cluster.up.reduce((sum, holder) => sum + cluster.up.filter(({ id }) => isDead(holder, id)).length, 0),
    packetsAtEnd: network.packets - before,
    known: cluster.up.reduce((sum, { gossip }) => sum + (gossip?.size ?? 0), 0),
  };
}

function load(member: SimMember, processor: Processor): void {
  let left = LOAD_MS;
  const step = () => {
    left -= LOAD_STEP_MS;
    if (left > 0) return LOAD_STEP_MS;
    if (!member.isUp) {
      member.runOn(processor);
      member.start();
      member.publish(new Map([["record", new Uint8Array(300)]]));
    }
    return undefined;
  };
  processor.wake({ step });
}
