/**
 * Docker's containers as tasks, as of the last look: after every event of a container or of a network, which moves
 * addresses, and now and then in any case. While the engine is away it is not known what runs, and the last list stays:
 * containers may outlive their daemon.
 */
import { dockerTasks, type Task } from "../../../core/docker/tasks.ts";
import { EngineLoop, type EngineLoopDeps } from "./engine-loop.ts";

export interface DockerTasksDeps extends EngineLoopDeps {
  /** Called with all tasks when they are not what they were; from then on `tasks` has them. */
  readonly onTasks: (tasks: readonly Task[]) => void;
}

export class DockerTasks {
  readonly #deps: DockerTasksDeps;
  readonly #loop: EngineLoop;
  #tasks: readonly Task[] = [];
  #text = "[]";

  constructor(deps: DockerTasksDeps) {
    this.#deps = deps;
    this.#loop = new EngineLoop(deps, { run: (signal) => this.#pass(signal), away: () => {} });
  }

  start(): void {
    this.#loop.changed();
  }

  /** The engine may have changed, or somebody wants to know of a container that is not in the list yet. */
  changed(): void {
    this.#loop.changed();
  }

  stop(): void {
    this.#loop.stop();
  }

  tasks(): readonly Task[] {
    return this.#tasks;
  }

  async #pass(signal: AbortSignal): Promise<boolean> {
    const tasks = dockerTasks(await this.#deps.engine.containers());
    if (signal.aborted) return true;
    // Docker's list is in no order of its own once containers restart.
    const sorted = tasks.toSorted((a, b) => (a.containerId < b.containerId ? -1 : 1));
    const text = JSON.stringify(sorted);
    if (text === this.#text) return true;
    this.#text = text;
    this.#tasks = sorted;
    this.#deps.onTasks(sorted);
    return true;
  }
}
