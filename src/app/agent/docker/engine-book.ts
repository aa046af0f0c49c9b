/**
 * Keeps the leases of a Docker engine and the engine's own lists one. An engine that could not reach the agent forgets
 * an endpoint all the same, and never speaks of it again: what it has not listed for ENGINE_FORGETS_MS is given back. What the
 * agent has forgotten of the engine's networks it learns from the list.
 */
import { DRIVER, NETWORK_OPTION } from "../../../core/docker/engine.ts";
import type { Log } from "../../../io/log.ts";
import type { AgentStore, Clock, DockerEngine } from "../../../io/ports.ts";
import type { DockerNetwork, Lease } from "../../../model/attachment.ts";
import { ENGINE_COMPARE_INTERVAL_MS, ENGINE_FORGETS_MS } from "../../../model/engine-limits.ts";
import { Fault } from "../../../model/fault.ts";

export interface EngineBookDependencies {
  readonly engine: Pick<DockerEngine, "networks" | "network">;
  readonly store: Pick<AgentStore, "dockerNetworks" | "putDockerNetwork" | "deleteDockerNetwork">;
  readonly clock: Clock;
  readonly log: Log;
  readonly leases: () => readonly Lease[];
  /** Gives one back. @throws Fault */
  readonly detach: (lease: Lease) => Promise<void>;
}

export class EngineBook {
  readonly #deps: EngineBookDependencies;
  /** Since when the engine does not list them; by the lease's container. */
  readonly #missing = new Map<string, number>();
  #cancelTimer: (() => void) | undefined;
  #isStopped = false;

  constructor(deps: EngineBookDependencies) {
    this.#deps = deps;
  }

  start(): void {
    void this.#again();
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelTimer?.();
  }

  async #again(): Promise<void> {
    try {
      await this.compare();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      // An engine that is away speaks for nothing: its containers may live on.
      this.#deps.log.debug({}, `Docker was not asked for its lists: ${error.message}`);
    }
    if (!this.#isStopped)
      this.#cancelTimer = this.#deps.clock.after(ENGINE_COMPARE_INTERVAL_MS, () => void this.#again());
  }

  /** @throws Fault as the engine's calls, storage */
  async compare(): Promise<void> {
    const { engine } = this.#deps;
    const listed = (await engine.networks()).filter(({ driver }) => driver === DRIVER);
    const attached = await Promise.all(listed.map(({ id }) => engine.network(id)));
    this.#learn(listed.map(({ id, options, internal }) => networkOf(id, options, internal)));
    const endpoints = attached.flatMap((network) => network?.endpoints ?? []);
    await this.#giveBack(new Set(endpoints.map(({ endpointId }) => endpointId)));
  }

  #learn(listed: readonly (DockerNetwork | undefined)[]): void {
    const { store } = this.#deps;
    const known = new Map(store.dockerNetworks().map((network) => [network.id, network]));
    for (const network of listed) {
      if (network !== undefined && !known.has(network.id)) store.putDockerNetwork(network);
      if (network !== undefined) known.delete(network.id);
    }
    // One that is just being made is not listed yet, and is learned again by the next list.
    const used = new Set(this.#deps.leases().map(({ docker }) => docker?.networkId));
    for (const id of known.keys()) if (!used.has(id) && this.#isGone(`network ${id}`)) store.deleteDockerNetwork(id);
  }

  async #giveBack(listed: ReadonlySet<string>): Promise<void> {
    const { detach, leases, log } = this.#deps;
    const held = leases().filter(({ docker }) => docker !== undefined);
    const missing = held.filter(({ containerId }) => !listed.has(containerId));
    const still = new Set(missing.map(({ containerId }) => containerId));
    for (const key of this.#missing.keys())
      if (!key.startsWith("network ") && !still.has(key)) this.#missing.delete(key);
    for (const lease of missing) {
      if (!this.#isGone(lease.containerId)) continue;
      log.warn(
        { network: lease.network, endpoint: lease.containerId },
        "given back: Docker knows nothing of it any more",
      );
      await detach(lease);
    }
  }

  #isGone(key: string): boolean {
    const now = this.#deps.clock.now();
    const since = this.#missing.get(key);
    if (since === undefined) this.#missing.set(key, now);
    if (since === undefined || now - since < ENGINE_FORGETS_MS) return false;
    this.#missing.delete(key);
    return true;
  }
}

function networkOf(
  id: string,
  options: Readonly<Record<string, string>>,
  internal: boolean,
): DockerNetwork | undefined {
  const { [NETWORK_OPTION]: network, "com.docker.network.driver.mtu": mtu } = options;
  if (network === undefined) return undefined;
  return { id, network, ...(mtu !== undefined && { mtu: Number(mtu) }), ...(internal && { internal }) };
}
