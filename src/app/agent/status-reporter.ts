/**
 * Tells the master how the agent's networks are: when it differs from what the master was told last, and to each master
 * that took the agent in anew, for that one was told nothing.
 *
 * At most one report is on its way and at most one retry is set, however often the networks change meanwhile; what is
 * sent is always the latest. A network that is still being configured is no news yet (spec: overlay §3.3).
 */
import type { Log } from "../../io/log.ts";
import type { Clock, MasterClient, StatusReport } from "../../io/ports.ts";
import type { OverlayStatus } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { STATUS_REPORT_RETRY_MS } from "../../model/limits.ts";
import type { AgentMetrics } from "./metrics.ts";
import { RefusalLog } from "./refusal-log.ts";

export interface StatusReporterDependencies {
  readonly client: Pick<MasterClient, "reportStatus">;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: AgentMetrics;
  /** Nothing is sent while this says no. */
  readonly isRegistered: () => boolean;
}

export class StatusReporter {
  readonly #from: Pick<StatusReport, "agentId" | "instanceId">;
  readonly #deps: StatusReporterDependencies;
  readonly #refusals: RefusalLog;
  #statuses: readonly OverlayStatus[] = [];
  /** What the master that took the agent in last was told, as text. */
  #told: string | undefined;
  #registration = 0;
  #taken = 0;
  #isSending = false;
  #cancelRetry: (() => void) | undefined;

  constructor({ agentId, instanceId }: Pick<StatusReport, "agentId" | "instanceId">, deps: StatusReporterDependencies) {
    this.#from = { agentId, instanceId };
    this.#deps = deps;
    this.#refusals = new RefusalLog(deps.log, "status not reported");
  }

  /** Reports that were taken since the last registration (spec: overlay §3.2). */
  get taken(): number {
    return this.#taken;
  }

  say(statuses: readonly OverlayStatus[]): void {
    this.#statuses = statuses;
    void this.#sendIfNew();
  }

  /** A master took the agent in. What is still on its way went to the one before. */
  registered(): void {
    this.#registration++;
    this.#taken = 0;
    this.#told = undefined;
    this.stop();
    void this.#sendIfNew();
  }

  /** Gives up the retry that is set, if one is. */
  stop(): void {
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
  }

  async #sendIfNew(): Promise<void> {
    if (this.#isSending || this.#cancelRetry !== undefined || !this.#deps.isRegistered()) return;
    const text = JSON.stringify(this.#statuses);
    const isSettled = this.#statuses.every(({ status }) => status !== "STATUS_CONFIGURING");
    if (!isSettled || text === this.#told) return;
    const registration = this.#registration;
    this.#isSending = true;
    const isTaken = await this.#send({ ...this.#from, overlays: this.#statuses });
    this.#isSending = false;
    if (registration === this.#registration && !isTaken) return this.#retryLater();
    if (registration === this.#registration) {
      this.#told = text;
      this.#taken++;
    }
    // What changed while the report was on its way, or has another master to go to.
    void this.#sendIfNew();
  }

  #retryLater(): void {
    // Another registration begins anew by itself, and so does nothing once the agent has ended.
    if (!this.#deps.isRegistered()) return;
    this.#cancelRetry = this.#deps.clock.after(STATUS_REPORT_RETRY_MS, () => {
      this.#cancelRetry = undefined;
      void this.#sendIfNew();
    });
  }

  async #send(report: StatusReport): Promise<boolean> {
    const { client, metrics } = this.#deps;
    metrics.count("agent_registered_messages_sent");
    try {
      await client.reportStatus(report);
    } catch (thrown) {
      // A call that outlives the session finds the disk closed.
      if (!(thrown instanceof Fault) && this.#deps.isRegistered()) throw thrown;
      if (!(thrown instanceof Fault)) return false;
      metrics.count("agent_registered_messages_dropped");
      this.#refusals.note(thrown);
      return false;
    }
    metrics.count("agent_registered_acknowledgements_received");
    this.#refusals.over();
    return true;
  }
}
