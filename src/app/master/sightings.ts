/**
 * What is known of agents and not stored, because each tells it anew to a master that begins: which process speaks for
 * it, whether it answers, and how its networks are.
 */
import type { Clock } from "../../io/ports.ts";
import type { AgentRecord, DatapathState, OverlayStatus } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";

/** So long a master that begins takes the agents that it knows for present, until gossip has told who is. */
export const ATTENDANCE_GRACE_MS = 30_000;

export class Sightings {
  readonly #clock: Pick<Clock, "now">;
  readonly #begun: number;
  /** Known before this master began: what they have they may have had then. */
  readonly #before: Set<string>;
  /** The process that registered last as each agent. */
  readonly #instances = new Map<string, string>();
  /** Whether it was there when it was looked last; only those that were once. */
  readonly #connected = new Map<string, boolean>();
  readonly #statuses = new Map<string, readonly OverlayStatus[]>();
  readonly #datapaths = new Map<string, DatapathState>();

  constructor(before: readonly Pick<AgentRecord, "id">[], clock: Pick<Clock, "now">) {
    this.#before = new Set(before.map(({ id }) => id));
    this.#clock = clock;
    this.#begun = clock.now();
  }

  registered(agentId: string, instanceId: string): void {
    this.#instances.set(agentId, instanceId);
  }

  /** A process that another one has followed has nothing to say any more. @throws Fault identity-taken */
  refuseOther({ id, ip, hostname }: AgentRecord, instanceId: string): void {
    const last = this.#instances.get(id);
    if (last === undefined || last === instanceId) return;
    throw new Fault(
      "identity-taken",
      `agent ${id} registered from ${ip} (${hostname}) as another process; stop one of the two`,
      { agent: id, holder: id },
    );
  }

  /** @returns whether that is another word than the last one */
  seen(agentId: string, isConnected: boolean): boolean {
    if (isConnected === (this.#connected.get(agentId) ?? false)) return false;
    this.#connected.set(agentId, isConnected);
    return true;
  }

  connected(): readonly string[] {
    return [...this.#connected].flatMap(([agentId, isConnected]) => (isConnected ? [agentId] : []));
  }

  /** Whether it is there, or may be: at first gossip has not told of all yet, and nobody is taken for gone. */
  mayBeHere(agentId: string): boolean {
    const isEarly = this.#clock.now() < this.#begun + ATTENDANCE_GRACE_MS;
    return this.#connected.get(agentId) ?? (isEarly && this.#before.has(agentId));
  }

  /** Those that may be there, may have had something when this master began, and have not told it yet. */
  unheard(): readonly string[] {
    return [...this.#before].filter((agentId) => !this.#statuses.has(agentId) && this.mayBeHere(agentId));
  }

  told(agentId: string, statuses: readonly OverlayStatus[], datapath: DatapathState | undefined): void {
    this.#statuses.set(agentId, statuses);
    if (datapath === undefined) this.#datapaths.delete(agentId);
    else this.#datapaths.set(agentId, datapath);
  }

  /** How it carries packets; `undefined` when it did not tell. */
  datapathOf(agentId: string): DatapathState | undefined {
    return this.#datapaths.get(agentId);
  }

  statusesOf(agentId: string): readonly OverlayStatus[] {
    return this.#statuses.get(agentId) ?? [];
  }

  /** What those said that may be there. */
  heard(): readonly (readonly [agentId: string, statuses: readonly OverlayStatus[]])[] {
    return [...this.#statuses].filter(([agentId]) => this.mayBeHere(agentId));
  }

  forget(agentId: string): void {
    this.#before.delete(agentId);
    this.#instances.delete(agentId);
    this.#connected.delete(agentId);
    this.#statuses.delete(agentId);
    this.#datapaths.delete(agentId);
  }
}
