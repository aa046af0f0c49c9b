/**
 * Networks that users of this host's Docker engine add to the cluster: the master is asked, and the engine's call waits
 * until this host has its part. Meanwhile nobody else may make Docker's network of that name, which the engine does not
 * list before the call is answered.
 */
import type { Clock } from "../../../io/ports.ts";
import type { Assignment } from "../../../model/cluster.ts";
import { ENGINE_ARRIVAL_MS } from "../../../model/engine-limits.ts";
import { Fault } from "../../../model/fault.ts";
import type { NewNetwork } from "../../../model/network.ts";

export interface ArrivalsDeps {
  readonly clock: Clock;
  /** @throws Fault as the master refused, not-ready */
  readonly ask: (wanted: NewNetwork) => Promise<void>;
}

export class Arrivals {
  readonly #deps: ArrivalsDeps;
  #served: Assignment | undefined;
  readonly #waiting = new Set<() => void>();
  /** Until when each is arriving, by the clock. */
  readonly #until = new Map<string, number>();

  constructor(deps: ArrivalsDeps) {
    this.#deps = deps;
  }

  /** The host carries containers of this assignment; absent: of none. */
  serves(assignment: Assignment | undefined): void {
    this.#served = assignment;
    for (const wake of [...this.#waiting]) wake();
  }

  /** @throws Fault as the master refused; not-ready */
  async add(wanted: NewNetwork, deadline: number): Promise<void> {
    const { ask, clock } = this.#deps;
    const { name } = wanted;
    this.#until.set(name, Number.POSITIVE_INFINITY);
    try {
      await ask(wanted);
      await this.#comes(name, deadline);
      this.#until.set(name, clock.now() + ENGINE_ARRIVAL_MS);
    } catch (error) {
      this.#until.delete(name);
      throw error;
    }
  }

  isArriving(name: string): boolean {
    const isOver = this.#deps.clock.now() >= (this.#until.get(name) ?? Number.NEGATIVE_INFINITY);
    if (isOver) this.#until.delete(name);
    return !isOver;
  }

  #comes(name: string, deadline: number): Promise<void> {
    const { clock } = this.#deps;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => {
      if (this.#served?.agent.overlays.some(({ info }) => info.name === name) === true) resolve();
    };
    const late = new Fault(
      "not-ready",
      `the cluster has network ${name} now, but this host has no part of it yet; when it has, it comes to Docker by itself`,
      { network: name },
    );
    const cancel = clock.after(Math.max(0, deadline - clock.now()), () => reject(late));
    this.#waiting.add(look);
    look();
    return promise.finally(() => {
      cancel();
      this.#waiting.delete(look);
    });
  }
}
