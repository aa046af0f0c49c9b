/**
 * A scenario from a seed: some phases, each with a few troubles of one sort that last, and much that happens meanwhile.
 * Whoever is named may be down by then; a step that finds nothing to do does nothing.
 */
import { seededRandom } from "../test/support/seeded-random.ts";
import { LIES } from "./hosts/lies.ts";
import { FORGERIES, type Scenario, type Step } from "./scenario.ts";

/** Each phase has one or two of them. */
const TROUBLES = ["crashes", "partition", "one-way", "slow", "pauses", "lossy", "members", "liars", "bulk"] as const;
/** Of whole hosts. Half of each is what befalls gossip alone. */
const HOST_TROUBLES = [
  ...TROUBLES.filter((trouble) => trouble !== "bulk"),
  "reboots",
  "moves",
  "removals",
  "masterless",
  "lies",
  "disks",
] as const;
type Trouble = (typeof TROUBLES)[number] | (typeof HOST_TROUBLES)[number];

export interface RandomShape {
  readonly members: number;
  /** Masters among them; then the others are whole hosts. Without: gossip alone. */
  readonly masters?: number;
  readonly phases: number;
  readonly stepsPerPhase: number;
  readonly phaseMs: number;
}

export const SMALL: Omit<RandomShape, "members"> = { phases: 3, stepsPerPhase: 70, phaseMs: 20_000 };

/** Members of a small random cluster: 5 to 9. */
export function smallSize(seed: number): number {
  return 5 + Math.floor(seededRandom(seed ^ 0x51e3).fraction() * 5);
}

/** Masters of a cluster of whole hosts. */
export function mastersOf(members: number): number {
  return members < 7 ? 1 : 2;
}

export function randomScenario(seed: number, shape: RandomShape): Scenario {
  const maker = new Maker(seed, shape);
  const steps: Step[] = [];
  for (let phase = 0; phase < shape.phases; phase += 1) steps.push(...maker.phase());
  return { name: `seed ${seed}`, members: shape.members, seeds: 3, masters: shape.masters ?? 0, steps };
}

class Maker {
  readonly #fraction: () => number;
  readonly #shape: RandomShape;
  #members: number;

  constructor(seed: number, shape: RandomShape) {
    this.#fraction = seededRandom(seed ^ 0x2545f491).fraction;
    this.#shape = shape;
    this.#members = shape.members;
  }

  phase(): Step[] {
    const { stepsPerPhase, phaseMs } = this.#shape;
    const possible: readonly Trouble[] = this.#shape.masters === undefined ? TROUBLES : HOST_TROUBLES;
    const troubles = [this.#one(possible), this.#one(possible)];
    const steps: Step[] = troubles.flatMap((trouble) => this.#lasting(trouble));
    while (steps.length < stepsPerPhase) {
      const at = this.#at(phaseMs);
      steps.push(...(this.#fraction() < 0.6 ? [this.#change(at, troubles)] : this.#passing(at, this.#one(troubles))));
    }
    steps.sort((a, b) => a.at - b.at);
    const joins = steps.filter((step) => ["join", "replace", "readmit"].includes(step.do)).length;
    this.#members += joins;
    const dead = this.#one(["restart", "restart", "expel", "stay"] as const);
    return [...steps, { at: phaseMs, do: "quiet", dead }];
  }

  /** What is there for the whole phase, or most of it. */
  #lasting(trouble: Trouble): Step[] {
    const begin = this.#at(3_000);
    const network = (changes: object): Step[] => [{ at: begin, do: "network", ...changes } as Step];
    switch (trouble) {
      case "partition":
        return [
          { at: begin, do: "partition", share: 0.2 + 0.6 * this.#fraction() },
          { at: begin + this.#one([6_000, 12_000]) + this.#at(4_000), do: "heal" },
        ];
      case "one-way":
        return Array.from({ length: 1 + this.#int(3) }, () => this.#cut(begin));
      case "slow":
        return [{ at: begin, do: "slow", member: this.#member(), delayMs: [500, 5_000] }];
      case "lossy":
        return network({
          loss: this.#one([0, 0.1, 0.2, 0.4]),
          duplication: this.#one([0, 0.2]),
          reordering: this.#one([0, 0.2]),
          delayMs: this.#one([
            [1, 10],
            [20, 60],
            [0, 300],
          ]),
        });
      case "masterless":
        return [{ at: begin, do: "masters", are: "down" }];
      default:
        return network({ duplication: this.#one([0, 0.05]), reordering: this.#one([0, 0.05]) });
    }
  }

  #passing(at: number, trouble: Trouble): Step[] {
    const member = this.#member();
    switch (trouble) {
      case "crashes": {
        const crash: Step = { at, do: "crash", member, disk: this.#one(["kept", "kept", "lost"]) };
        return this.#fraction() < 0.7 ? [crash, { at: at + this.#at(6_000), do: "restart", member }] : [crash];
      }
      case "partition":
        return this.#fraction() < 0.3 ? [{ at, do: "crash", member, disk: "lost" }] : [{ at, do: "restart", member }];
      case "one-way":
        return this.#fraction() < 0.1 ? [{ at, do: "heal" }] : [];
      case "slow":
        return this.#fraction() < 0.1 ? [{ at, do: "slow", member, delayMs: [0, 900] }] : [];
      case "pauses":
        return [
          this.#fraction() < 0.7
            ? { at, do: "pause", member, ms: 200 + this.#at(7_000) }
            : { at, do: "clock-jump", member, ms: 200 + this.#at(20_000) },
        ];
      case "members":
        return [this.#membership(at, member)];
      case "liars":
        return [{ at, do: "forge", member, kind: this.#one(FORGERIES) }];
      default:
        return this.#shape.masters === undefined ? [] : this.#ofHosts(at, member, trouble);
    }
  }

  #ofHosts(at: number, member: string, trouble: Trouble): Step[] {
    const chance = this.#fraction();
    switch (trouble) {
      case "reboots":
        return chance < 0.3 ? [{ at, do: "reboot", member }] : [];
      case "moves":
        return chance < 0.3 ? [{ at, do: "move", member }] : [];
      case "masterless":
        return chance < 0.05 ? [{ at, do: "masters", are: "up" }] : chance < 0.3 ? [{ at, do: "restart", member }] : [];
      case "lies":
        return [{ at, do: "lie", member, kind: this.#one(LIES) }];
      case "disks":
        return [
          { at, do: "crash", member, disk: "lost" },
          { at: at + this.#at(2_000), do: "restart", member },
        ];
      case "removals":
        return [this.#removal(at, member, chance)];
      default:
        return [];
    }
  }

  #removal(at: number, member: string, chance: number): Step {
    if (chance < 0.15) return { at, do: "expel", member };
    if (chance < 0.3) return { at, do: "replace", member };
    if (chance < 0.55) return { at, do: "readmit", member };
    if (chance < 0.65) return { at, do: "floor" };
    return chance < 0.85 ? { at, do: "lie", member, kind: "removed" } : { at, do: "join" };
  }

  #membership(at: number, member: string): Step {
    const chance = this.#fraction();
    if (chance < 0.25 && this.#members < 2 * this.#shape.members) return { at, do: "join" };
    if (chance < 0.35) return { at, do: "expel", member };
    if (chance < 0.6) return { at, do: "leave", member };
    return { at, do: "restart", member };
  }

  #change(at: number, troubles: readonly Trouble[]): Step {
    const member = this.#member();
    const key = `key-${this.#int(8)}`;
    const chance = this.#fraction();
    if (chance < 0.25) return { at, do: "delete", member, key };
    if (chance < 0.28) return { at, do: "delete-all", member };
    if (chance < 0.31) return { at, do: "publish-many", member, keys: 1 + this.#int(150) };
    const isBulk = troubles.includes("bulk") && chance < 0.36;
    const bytes = isBulk ? this.#one([40_000, 120_000, 250_000]) : this.#one([0, 10, 400, 900, 901, 4_000]);
    return { at, do: "publish", member, key, bytes };
  }

  #cut(at: number): Step {
    const from = this.#int(this.#members);
    const to = (from + 1 + this.#int(this.#members - 1)) % this.#members;
    return { at, do: "cut", from: `m${from}`, to: `m${to}` };
  }

  #member(): string {
    return `m${this.#int(this.#members)}`;
  }

  #at(within: number): number {
    return Math.round(this.#fraction() * within);
  }

  #int(below: number): number {
    return Math.floor(this.#fraction() * below);
  }

  #one<T>(of: readonly T[]): T {
    return of[this.#int(of.length)] as T;
  }
}
