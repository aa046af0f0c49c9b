/**
 * What is known of agents and not stored, because each tells it anew to a master that begins: which process speaks for
 * it, whether it answers, and how its networks are.
 */
import type { OverlayStatus } from "../../model/cluster.ts";

export class Sightings {
  /** The process that registered last as each agent. */
  readonly #instances = new Map<string, string>();
  /** Who was there when it was looked last. */
  readonly #connected = new Set<string>();
  readonly #statuses = new Map<string, readonly OverlayStatus[]>();

  registered(agentId: string, instanceId: string): void {
    this.#instances.set(agentId, instanceId);
  }

  instanceOf(agentId: string): string | undefined {
    return this.#instances.get(agentId);
  }

  /** @returns whether that is another word than the last one */
  seen(agentId: string, isConnected: boolean): boolean {
    if (isConnected === this.#connected.has(agentId)) return false;
    if (isConnected) this.#connected.add(agentId);
    else this.#connected.delete(agentId);
    return true;
  }

  connected(): readonly string[] {
    return [...this.#connected];
  }

  told(agentId: string, statuses: readonly OverlayStatus[]): void {
    this.#statuses.set(agentId, statuses);
  }

  statusesOf(agentId: string): readonly OverlayStatus[] {
    return this.#statuses.get(agentId) ?? [];
  }

  /** What those say that are there. */
  toldByConnected(): readonly (readonly [agentId: string, statuses: readonly OverlayStatus[]])[] {
    return [...this.#statuses].filter(([agentId]) => this.#connected.has(agentId));
  }

  forget(agentId: string): void {
    this.#instances.delete(agentId);
    this.#connected.delete(agentId);
    this.#statuses.delete(agentId);
  }
}
