/**
 * What an ADD does that finds every address of a network held: the master is told at once, and the call waits for a
 * further slice, but not for long.
 */
import type { Clock } from "../../io/ports.ts";
import type { ReportAnswer } from "../../model/cluster.ts";

export interface RoomDependencies {
  readonly clock: Clock;
  /** Tells the master how full the networks are. @returns `undefined` when it was not told */
  readonly askForRoom: () => Promise<ReportAnswer | undefined>;
}

/** `grown`: it is worth another look; `exhausted`: the network has nothing more; `no-answer`: who knows. */
export type RoomAnswer = "grown" | "exhausted" | "no-answer";

export class Room {
  readonly #deps: RoomDependencies;
  readonly #waiting = new Set<() => void>();

  constructor(deps: RoomDependencies) {
    this.#deps = deps;
  }

  /** Waits until the agent's assignment is programmed anew, at most until `deadline`. */
  async more(network: string, deadline: number): Promise<RoomAnswer> {
    const { clock, askForRoom } = this.#deps;
    const { promise, resolve } = Promise.withResolvers<RoomAnswer>();
    const wake = () => resolve("grown");
    // From now on, because the assignment may be here before the answer is.
    this.#waiting.add(wake);
    const cancel = clock.after(Math.max(0, deadline - clock.now()), () => resolve("no-answer"));
    void askForRoom().then((answer) => {
      if (answer === undefined) resolve("no-answer");
      else if (!answer.reassigned) resolve(answer.exhausted.includes(network) ? "exhausted" : "no-answer");
    });
    try {
      return await promise;
    } finally {
      cancel();
      this.#waiting.delete(wake);
    }
  }

  /** The host carries a new assignment. */
  programmed(): void {
    for (const wake of [...this.#waiting]) wake();
  }
}
