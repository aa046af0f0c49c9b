/**
 * An agent's dealings with the Docker engine of its host, which may come and go: the socket that the engine calls, and
 * what is asked of the engine from outside of any call. Without an engine it costs a socket and a refused connection now
 * and then.
 */
import { join } from "node:path";
import { DRIVER } from "../../../core/docker/engine.ts";
import type { Task } from "../../../core/docker/tasks.ts";
import type { HttpServer } from "../../../io/http-server.ts";
import type { Log } from "../../../io/log.ts";
import type { AgentStore, Clock, DockerEngine } from "../../../io/ports.ts";
import type { Assignment } from "../../../model/cluster.ts";
import { Fault } from "../../../model/fault.ts";
import type { NewNetwork } from "../../../model/network.ts";
import type { Agent } from "../agent.ts";
import { Arrivals } from "./arrivals.ts";
import { DockerNetworks } from "./docker-networks.ts";
import { DockerTasks } from "./docker-tasks.ts";
import { EngineBook } from "./engine-book.ts";
import { listenForDocker } from "./plugin-endpoint.ts";

export interface EngineSideDependencies {
  readonly agent: Agent;
  readonly engine: DockerEngine;
  readonly store: AgentStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly onBug: (thrown: unknown) => void;
  /** Asks the master to add a network. @throws Fault as it refused, not-ready */
  readonly addNetwork: (wanted: NewNetwork) => Promise<void>;
}

export class EngineSide {
  readonly #deps: EngineSideDependencies;
  readonly #started = Promise.withResolvers<void>();
  readonly #book: EngineBook;
  readonly #networks: DockerNetworks;
  readonly #tasks: DockerTasks;
  readonly #arrivals: Arrivals;
  #server: HttpServer | undefined;

  constructor(deps: EngineSideDependencies) {
    const { agent } = deps;
    this.#deps = deps;
    this.#book = new EngineBook({
      ...deps,
      leases: () => agent.leases(),
      detach: (lease) => agent.docker.detach(lease),
    });
    this.#arrivals = new Arrivals({ ...deps, ask: deps.addNetwork });
    this.#networks = new DockerNetworks({ ...deps, isArriving: (name) => this.#arrivals.isArriving(name) });
    this.#tasks = new DockerTasks({ ...deps, onTasks: (tasks) => agent.docker.runs(tasks) });
  }

  /**
   * Calls are taken from now on, and wait for `start`. A host where the socket cannot be made has no Docker, or another
   * agent for it: that is no reason not to serve the other runtimes.
   */
  async listen(pluginDir: string): Promise<void> {
    const { agent, log, onBug } = this.#deps;
    const answer = (path: string, body: Uint8Array) => agent.docker.answer(path, body);
    const activated = () => this.#networks.changed();
    const answered = (call: string, durationMs: number) => agent.metrics.dockerCalled(call, durationMs);
    try {
      const service = { started: this.#started.promise, answer, activated, answered, onBug };
      this.#server = await listenForDocker(join(pluginDir, `${DRIVER}.sock`), service);
    } catch (thrown) {
      if (!(thrown instanceof Fault)) throw thrown;
      log.warn({ code: thrown.code }, `Docker cannot use this agent's networks: ${thrown.message}`);
    }
  }

  /** The agent has started. */
  start(): void {
    this.#started.resolve();
    if (this.#server === undefined) return;
    this.#book.start();
    this.#tasks.start();
  }

  /** The host carries containers of this assignment; absent: the cluster removed the agent. */
  serves(assignment: Assignment | undefined): void {
    if (this.#server === undefined) return;
    this.#arrivals.serves(assignment);
    if (assignment === undefined) this.#networks.dismissed();
    else this.#networks.assigned(assignment);
  }

  /** See AttachHost. */
  addNetwork(wanted: NewNetwork, deadline: number): Promise<void> {
    return this.#arrivals.add(wanted, deadline);
  }

  /** What runs, as the engine last told. */
  tasks(): readonly Task[] {
    return this.#tasks.tasks();
  }

  /** What of Docker is not as it should be, or should be known, one sentence each. */
  problems(): readonly string[] {
    const problems = this.#networks.problems().map(({ network, problem }) => `network ${network}: ${problem}`);
    return [...problems, ...this.#networks.notes()];
  }

  async stop(): Promise<void> {
    this.#networks.stop();
    this.#tasks.stop();
    this.#book.stop();
    await this.#server?.close();
  }
}
