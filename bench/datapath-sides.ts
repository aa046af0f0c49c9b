/**
 * The three sides that the benchmarks of the data path compare, each on two hosts of its own: Weft's wiring, the stock one
 * (the original's by hand, with Docker's chains beside it), and the bare wire from host to host without tunnel and netfilter.
 * And how they are asked: kind of traffic, model, and what of a round is the number; all sides in turns, each round.
 */
import { inTurns, type Measured, median, medianRatio } from "./figures.ts";
import { MODELS, type Path, traffic } from "./traffic.ts";
import type { Round, TrafficKind } from "./traffic-process.ts";
import {
  CONTAINER,
  type FastPathLevel,
  HOST,
  NEIGHBOUR,
  openTwoHosts,
  type TwoHosts,
  wireByHand,
  wireByWeft,
} from "./two-hosts.ts";

/** Before the rounds: processes start, code is compiled, neighbours are looked up. */
const WARM_UP_MS = 100;

export interface DatapathSides {
  readonly ours: TwoHosts;
  readonly stock: TwoHosts;
  readonly bare: TwoHosts;
}

export interface Question {
  readonly kind: TrafficKind;
  readonly model: keyof typeof MODELS;
  /** What of a round is the number. */
  readonly number: (round: Round) => number;
}

export interface Effort {
  readonly rounds: number;
  /** Of one round of one side. */
  readonly ms: number;
}

/** @param neighbour whether there is a second container on the first host of those that have containers */
export async function openSides(level: FastPathLevel, neighbour = false): Promise<DatapathSides> {
  const [ours, stock] = [openTwoHosts("ours", { neighbour }), openTwoHosts("stock", { neighbour })];
  const bare = openTwoHosts("bare");
  await wireByWeft(ours, () => ({}), level);
  wireByHand(stock, { docker: true });
  return { ours, stock, bare };
}

/** From container to container. */
export function acrossHosts({ hosts, containers }: TwoHosts): Path {
  return { hosts, ends: containers, address: CONTAINER[1] };
}

/** From the first host's container to its neighbour. */
export function onOneHost({ hosts, containers, neighbour }: TwoHosts): Path {
  if (neighbour === undefined) throw new Error("the first host has one container only");
  return { hosts, ends: [containers[0], neighbour], address: NEIGHBOUR };
}

export function hostToHost({ hosts }: TwoHosts): Path {
  return { hosts, ends: hosts, address: HOST[1] };
}

/** Asks all sides in turns. @returns what each gave, in order of rounds */
export async function compare<Side extends string>(
  paths: Readonly<Record<Side, Path>>,
  { kind, model, number }: Question,
  { rounds, ms }: Effort,
): Promise<Record<Side, number[]>> {
  const asked = Object.entries<Path>(paths).map(([side, path]) => {
    const once = async () => number(await traffic(path, kind, MODELS[model], ms));
    return [side, once] as const;
  });
  for (const [, path] of Object.entries<Path>(paths)) await traffic(path, kind, MODELS[model], WARM_UP_MS);
  return inTurns(rounds, Object.fromEntries(asked) as Record<Side, () => Promise<number>>);
}

/** A figure with the median of each side and of the rounds' ratios. */
export function measured(
  figure: string,
  unit: string,
  ours: readonly number[],
  peer: readonly number[],
  target = "",
): Measured {
  return { figure, unit, ours: median(ours), peer: median(peer), ratio: medianRatio(ours, peer), target };
}

/** `--level N`: 2, unless another is asked for. */
export function levelOf(number: (option: string, otherwise: number) => number): FastPathLevel {
  const level = number("level", 2);
  if (level === 0 || level === 1 || level === 2) return level;
  throw new Error(`--level ${level} is none of 0, 1 and 2`);
}
