/**
 * Tells the master how the agent's networks are: when it differs from what the master was told last, and to each master
 * that took the agent in anew, for that one was told nothing. How full they are is told soon where the master may have
 * something to do about it, else once in a while (core/ipam/usage-news.ts).
 *
 * At most one report is on its way and at most one timer is set, however often the networks change meanwhile; what is
 * sent is always the latest. A network that is still being configured is no news yet (spec: overlay §3.3).
 */
import { usageNews } from "../../core/ipam/usage-news.ts";
import type { Log } from "../../io/log.ts";
import type { Clock, MasterClient, StatusReport } from "../../io/ports.ts";
import type { Assignment, DatapathState, OverlayStatus, ReportAnswer } from "../../model/cluster.ts";
import { DATAPATH_REASONS_MAX } from "../../model/datapath-limits.ts";
import { Fault } from "../../model/fault.ts";
import { STATUS_REPORT_RETRY_MS, USAGE_ASKED_GAP_MS, USAGE_INTERVAL_MS, USAGE_NEWS_MS } from "../../model/limits.ts";
import type { AgentMetrics } from "./metrics.ts";
import { RefusalLog } from "./refusal-log.ts";

export interface StatusReporterDependencies {
  readonly client: Pick<MasterClient, "reportStatus">;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: AgentMetrics;
  /** Nothing is sent while this says no. */
  readonly isRegistered: () => boolean;
  /** The master says that this agent's record changed. */
  readonly onReassigned: () => void;
}

/** A call of a runtime waits for the answer to a report that begins after it asked. */
type Asking = (answer: ReportAnswer | undefined) => void;

interface Timer {
  readonly at: number;
  readonly isRetry: boolean;
  cancel(): void;
}

export class StatusReporter {
  readonly #from: Pick<StatusReport, "agentId" | "instanceId">;
  readonly #deps: StatusReporterDependencies;
  readonly #refusals: RefusalLog;
  #statuses: readonly OverlayStatus[] = [];
  #datapath: DatapathState | undefined;
  #elastic: Assignment["elastic"];
  #strict: ReadonlySet<string> = new Set();
  /** What the master that took the agent in last was told. */
  #told: readonly OverlayStatus[] | undefined;
  #toldDatapath: DatapathState | undefined;
  #sentAt = Number.NEGATIVE_INFINITY;
  /** Since when there is something that the master should hear soon. */
  #newsSince: number | undefined;
  #asking: Asking[] = [];
  #registration = 0;
  #taken = 0;
  #isSending = false;
  #timer: Timer | undefined;

  constructor({ agentId, instanceId }: Pick<StatusReport, "agentId" | "instanceId">, deps: StatusReporterDependencies) {
    this.#from = { agentId, instanceId };
    this.#deps = deps;
    this.#refusals = new RefusalLog(deps.log, "status not reported");
  }

  /** Reports that were taken since the last registration (spec: overlay §3.2). */
  get taken(): number {
    return this.#taken;
  }

  say(statuses: readonly OverlayStatus[], assignment?: Assignment, datapath?: DatapathState): void {
    this.#statuses = statuses;
    this.#datapath = datapath && { level: datapath.level, reasons: datapath.reasons.slice(0, DATAPATH_REASONS_MAX) };
    this.#elastic = assignment?.elastic;
    const strict = assignment?.agent.overlays.filter(({ info }) => info.strictHalves === true) ?? [];
    this.#strict = new Set(strict.map(({ info }) => info.name));
    void this.#sendIfDue();
  }

  /**
   * Says it as soon as the agent is registered and its networks are settled, whatever was told before.
   * @returns what the master answers; `undefined` when it was not told
   */
  ask(): Promise<ReportAnswer | undefined> {
    const { promise, resolve } = Promise.withResolvers<ReportAnswer | undefined>();
    this.#asking.push(resolve);
    void this.#sendIfDue();
    return promise;
  }

  /** A master took the agent in. What is still on its way went to the one before. */
  registered(): void {
    this.#registration++;
    this.#taken = 0;
    this.#told = undefined;
    this.#cancelTimer();
    void this.#sendIfDue();
  }

  /** Gives up what is set to be done later. */
  stop(): void {
    this.#cancelTimer();
    this.refuse();
  }

  /** No master answers: who waits for an answer waits no more. */
  refuse(): void {
    for (const asking of this.#asking.splice(0)) asking(undefined);
  }

  async #sendIfDue(): Promise<void> {
    if (this.#isSending || !this.#deps.isRegistered()) return;
    const now = this.#deps.clock.now();
    const due = this.#due(now);
    if (due === undefined) return;
    if (due > now) return this.#sendAt(due, false);
    this.#cancelTimer();
    const statuses = this.#statuses;
    const datapath = this.#datapath;
    const registration = this.#registration;
    const asking = this.#asking.splice(0);
    this.#isSending = true;
    this.#sentAt = now;
    this.#newsSince = undefined;
    const answer = await this.#send({ ...this.#from, overlays: statuses, ...(datapath && { datapath }) });
    this.#isSending = false;
    for (const each of asking) each(answer);
    if (registration === this.#registration && answer === undefined) this.#retryLater();
    else if (registration === this.#registration) {
      this.#told = statuses;
      this.#toldDatapath = datapath;
      this.#taken++;
      if (answer?.reassigned === true) this.#deps.onReassigned();
    }
    // What changed while the report was on its way, or has another master to go to.
    void this.#sendIfDue();
  }

  /** When the next report may leave; `undefined` when there is nothing to say. */
  #due(now: number): number | undefined {
    if (this.#statuses.some(({ status }) => status === "STATUS_CONFIGURING")) return undefined;
    if (this.#asking.length > 0) return Math.max(now, this.#sentAt + USAGE_ASKED_GAP_MS);
    if (this.#timer?.isRetry === true) return undefined;
    if (this.#told === undefined || textOf(this.#told) !== textOf(this.#statuses)) return now;
    if (JSON.stringify(this.#toldDatapath) !== JSON.stringify(this.#datapath)) return now;
    const news = usageNews(this.#told, this.#statuses, this.#elastic?.threshold, this.#strict);
    if (news === "none") return undefined;
    if (news === "later") return this.#sentAt + USAGE_INTERVAL_MS;
    // What else happens in this time is said with it.
    this.#newsSince ??= now;
    return this.#newsSince + USAGE_NEWS_MS;
  }

  #sendAt(at: number, isRetry: boolean): void {
    if (this.#timer !== undefined && this.#timer.at <= at) return;
    this.#cancelTimer();
    const fire = () => {
      this.#timer = undefined;
      void this.#sendIfDue();
    };
    const cancel = this.#deps.clock.after(at - this.#deps.clock.now(), fire);
    this.#timer = { at, isRetry, cancel };
  }

  #retryLater(): void {
    // Another registration begins anew by itself, and so does nothing once the agent has ended.
    if (this.#deps.isRegistered()) this.#sendAt(this.#deps.clock.now() + STATUS_REPORT_RETRY_MS, true);
  }

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
  }

  async #send(report: StatusReport): Promise<ReportAnswer | undefined> {
    const { client, metrics } = this.#deps;
    metrics.count("agent_registered_messages_sent");
    try {
      const answer = await client.reportStatus(report);
      metrics.count("agent_registered_acknowledgements_received");
      this.#refusals.over();
      return answer;
    } catch (thrown) {
      // A call that outlives the session finds the disk closed.
      if (!(thrown instanceof Fault) && this.#deps.isRegistered()) throw thrown;
      if (!(thrown instanceof Fault)) return undefined;
      metrics.count("agent_registered_messages_dropped");
      this.#refusals.note(thrown);
      // It was removed, or the master forgot it: a registration settles that.
      if (thrown.code === "unknown-agent") this.#deps.onReassigned();
      return undefined;
    }
  }
}

/** How the networks are, without how full they are. */
function textOf(statuses: readonly OverlayStatus[]): string {
  return JSON.stringify(statuses.map(({ usage: _, ...status }) => status));
}
