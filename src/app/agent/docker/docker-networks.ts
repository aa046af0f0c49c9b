/**
 * Keeps Docker's networks like the cluster's, as core/docker/networks.ts decides, from the first assignment on; those of
 * an agent that was removed go. What cannot be done is told by `problems` until it can.
 *
 * Nothing here may be waited for by what answers Docker's calls: Docker calls its drivers while it makes a network.
 */
import type { EngineInfo, EngineNetwork, NetworkSpec } from "../../../core/docker/engine.ts";
import {
  heldProblem,
  type NetworkProblem,
  planNetworks,
  swarmNote,
  wantedNetworks,
} from "../../../core/docker/networks.ts";
import type { Assignment } from "../../../model/cluster.ts";
import { ENGINE_INTERVAL_MS } from "../../../model/engine-limits.ts";
import { Fault } from "../../../model/fault.ts";
import { FailureLog } from "../failure-log.ts";
import { EngineLoop, type EngineLoopDeps } from "./engine-loop.ts";

export interface DockerNetworksDeps extends EngineLoopDeps {
  /** A user is making Docker's network of this name at this moment, and Docker's list may not have it yet. */
  readonly isArriving?: (name: string) => boolean;
}

export class DockerNetworks {
  readonly #deps: DockerNetworksDeps;
  readonly #loop: EngineLoop;
  readonly #problemLog: FailureLog;
  /** Absent: nobody has said yet what there should be, so nothing is touched. */
  #wanted: readonly NetworkSpec[] | undefined;
  #problems: readonly NetworkProblem[] = [];
  #info: EngineInfo | undefined;
  #infoAt = 0;
  /** The engine's networks when it was last asked what it is. */
  #ids = "";
  /** The engine or our driver refused something in this pass, and may not do so again. */
  #isRefused = false;

  constructor(deps: DockerNetworksDeps) {
    this.#deps = deps;
    this.#problemLog = new FailureLog(deps.log);
    this.#loop = new EngineLoop(deps, {
      only: "network",
      run: (signal) => this.#pass(signal),
      away: (reason) => this.#away(reason),
    });
  }

  /** The agent's assignment, whenever it may have changed. */
  assigned({ agent, enableIpv6 }: Assignment): void {
    this.#want(wantedNetworks(agent.overlays, enableIpv6));
  }

  /** The cluster removed the agent. */
  dismissed(): void {
    this.#want([]);
  }

  /** The engine may have changed: it asked the driver what it can, for instance, as it does when it starts. */
  changed(): void {
    if (this.#wanted !== undefined) this.#loop.changed();
  }

  stop(): void {
    this.#loop.stop();
  }

  /** What is not as it should be, by networks of the cluster. */
  problems(): readonly NetworkProblem[] {
    return this.#problems;
  }

  /** As it last answered; absent: it does not answer. */
  engine(): EngineInfo | undefined {
    return this.#info;
  }

  /** What people should know of the engine, one sentence each. */
  notes(): readonly string[] {
    return this.#info === undefined ? [] : [swarmNote(this.#info)].filter((note) => note !== undefined);
  }

  #want(wanted: readonly NetworkSpec[]): void {
    this.#wanted = wanted;
    this.#loop.changed();
  }

  async #pass(signal: AbortSignal): Promise<boolean> {
    const { engine, isArriving = () => false } = this.#deps;
    const present = await engine.networks();
    await this.#learn(present.map(({ id }) => id).join());
    const { create, remove, replace, problems } = planNetworks(this.#wanted ?? [], present);
    const found: (NetworkProblem | undefined)[] = [...problems];
    this.#isRefused = false;
    const works = [
      ...remove.map((network) => () => this.#remove(network)),
      ...replace.map(
        ({ network, spec }) =>
          () =>
            this.#replace(network, spec, signal),
      ),
      ...create.filter(({ name }) => !isArriving(name)).map((spec) => () => this.#create(spec)),
    ];
    for (const work of works) if (!signal.aborted) found.push(await work());
    if (signal.aborted) return true;
    this.#problems = found.filter((problem) => problem !== undefined);
    this.#problemLog.note(this.#problems.map(({ network, problem }) => `network ${network}: ${problem}`));
    // All other problems end with a change of the engine's or of the cluster's.
    return !this.#isRefused && !create.some(({ name }) => isArriving(name));
  }

  /**
   * Docker starts three programs to say what it is, while containers wait for the processor: it is not asked whenever one
   * of them joins a network, but when networks come or go, as they do with a swarm, and now and then.
   */
  async #learn(ids: string): Promise<void> {
    const { clock, engine } = this.#deps;
    const now = clock.now();
    if (this.#info !== undefined && ids === this.#ids && now - this.#infoAt < ENGINE_INTERVAL_MS) return;
    this.#info = await engine.info();
    this.#infoAt = now;
    this.#ids = ids;
  }

  /** @returns why it could not be made */
  async #create(spec: NetworkSpec): Promise<NetworkProblem | undefined> {
    try {
      const id = await this.#deps.engine.createNetwork(spec);
      this.#deps.log.info({ network: spec.name, id }, "Docker has the network now");
      return undefined;
    } catch (thrown) {
      return this.#refused(spec.name, thrown);
    }
  }

  /** @returns why it could not be removed */
  async #remove(network: EngineNetwork, spec?: NetworkSpec): Promise<NetworkProblem | undefined> {
    const { engine, log } = this.#deps;
    try {
      await engine.removeNetwork(network.id);
      log.info({ network: network.name, id: network.id }, "Docker has the network no more");
      return undefined;
    } catch (thrown) {
      if (!(thrown instanceof Fault) || thrown.code !== "in-use") return this.#refused(network.name, thrown);
      const endpoints = (await engine.network(network.id))?.endpoints ?? [];
      return heldProblem(network, endpoints, spec);
    }
  }

  async #replace(network: EngineNetwork, spec: NetworkSpec, signal: AbortSignal): Promise<NetworkProblem | undefined> {
    const problem = await this.#remove(network, spec);
    return problem ?? (signal.aborted ? undefined : this.#create(spec));
  }

  #away(reason: Fault): void {
    this.#info = undefined;
    const isSilent = reason.code === "not-ready";
    this.#problems = isSilent
      ? []
      : (this.#wanted ?? []).map(({ name }) => ({ network: name, problem: reason.message }));
  }

  /** @throws Fault not-ready: it concerns the engine, and no network */
  #refused(network: string, thrown: unknown): NetworkProblem {
    if (!(thrown instanceof Fault) || thrown.code === "not-ready") throw thrown;
    this.#isRefused = true;
    return { network, problem: thrown.message };
  }
}
