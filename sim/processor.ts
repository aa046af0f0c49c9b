/**
 * Processors that many members share, as processes on one machine do: what each does takes time, one thing after another,
 * in turns. Who waits for its turn handles late what arrived, and its timers come late.
 */
import type { Engine } from "./engine.ts";

/** What runs on a processor. */
export interface Worker {
  /** Does the next thing. @returns how long that takes, ms; `undefined`: there is nothing to do */
  step(): number | undefined;
}

/** What things cost, ms; of the order that the agent's process needs on a small machine. */
export interface Costs {
  /** To receive a packet, open it and handle it, without signatures. */
  readonly packetMs: number;
  readonly sendMs: number;
  /** To make or to check a signature. */
  readonly signatureMs: number;
  readonly tickMs: number;
}

/** How long one runs while others wait, ms. */
const SLICE_MS = 3;

export class Processor {
  readonly costs: Costs;
  readonly #engine: Engine;
  readonly #ready: Worker[] = [];
  /** Who waits or runs. */
  readonly #awake = new Set<Worker>();
  #idle: number;
  #isOccupied = false;
  /** Time that was worked, ms. */
  worked = 0;

  constructor(engine: Engine, cores: number, costs: Costs) {
    this.#engine = engine;
    this.#idle = cores;
    this.costs = costs;
  }

  /** It has something to do. */
  wake(worker: Worker): void {
    if (this.#awake.has(worker)) return;
    this.#awake.add(worker);
    this.#ready.push(worker);
    this.#dispatch();
  }

  /** Other work of so many processes, until `relieve`. */
  occupy(processes: number): void {
    this.#isOccupied = true;
    for (let n = 0; n < processes; n += 1) this.wake({ step: () => (this.#isOccupied ? SLICE_MS : undefined) });
  }

  relieve(): void {
    this.#isOccupied = false;
  }

  #dispatch(): void {
    while (this.#idle > 0) {
      const worker = this.#ready.shift();
      if (worker === undefined) return;
      this.#idle -= 1;
      this.#run(worker, 0);
    }
  }

  #run(worker: Worker, spent: number): void {
    const ms = worker.step();
    if (ms === undefined) {
      this.#awake.delete(worker);
      this.#idle += 1;
      this.#dispatch();
      return;
    }
    this.worked += ms;
    this.#engine.after(ms, () => {
      if (spent + ms < SLICE_MS) {
        this.#run(worker, spent + ms);
        return;
      }
      this.#ready.push(worker);
      this.#idle += 1;
      this.#dispatch();
    });
  }
}
