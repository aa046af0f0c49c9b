/**
 * The agent's dealings with its masters: drives the registration machine, keeps the peer stream, reports the state of
 * the networks. All protocol decisions are the machine's; here are its effects.
 */
import { Registration, type RegistrationInput } from "../../core/registration/registration.ts";
import type { Log } from "../../io/log.ts";
import type { Clock, MasterClient, PeerSource, PeerUpdate, Random, RegisterRequest } from "../../io/ports.ts";
import type { Assignment, OverlayStatus } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import { STATUS_REPORT_RETRY_MS } from "../../model/limits.ts";
import type { AgentMetrics } from "./metrics.ts";

export interface SessionDependencies {
  readonly client: MasterClient;
  /** `onLost` is to be called once each time an open stream ends. */
  readonly openPeers: (onLost: () => void) => PeerSource;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: AgentMetrics;
  readonly onAssigned: (assignment: Assignment) => void;
  readonly onPeers: (update: PeerUpdate) => void;
  /** The agent cannot go on: somebody else has its identity, or its disk refused to write. */
  readonly onFatal: (fault: Fault) => void;
}

export class Session {
  readonly #request: RegisterRequest;
  readonly #deps: SessionDependencies;
  readonly #machine: Registration;
  readonly #peers: PeerSource;
  #cancelTimer: (() => void) | undefined;
  #isStreaming = false;
  #isStopped = false;
  #statuses: readonly OverlayStatus[] = [];
  #reported = "";
  #isReporting = false;
  #attempts = 0;

  constructor(request: RegisterRequest, deps: SessionDependencies) {
    this.#request = request;
    this.#deps = deps;
    this.#machine = new Registration(() => deps.random.fraction());
    this.#peers = deps.openPeers(() => this.#step({ type: "stream-lost" }));
  }

  start(): void {
    this.#step({ type: "start" });
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelTimer?.();
    this.#peers.stop();
  }

  get isRegistered(): boolean {
    return this.#machine.state() === "registered";
  }

  /** Status reports that the master took since the last registration (spec: overlay §3.2). */
  get configurationAttempts(): number {
    return this.#attempts;
  }

  /** What the master should know of the networks now; said when it differs from what it was told last. */
  report(statuses: readonly OverlayStatus[]): void {
    this.#statuses = statuses;
    void this.#reportIfNew();
  }

  #step(input: RegistrationInput): void {
    if (this.#isStopped) return;
    const { clock } = this.#deps;
    for (const effect of this.#machine.step(input, clock.now())) {
      if (effect.type === "register") void this.#register();
      else this.#deps.onFatal(effect.fault);
    }
    this.#cancelTimer?.();
    const deadline = this.#machine.nextDeadline();
    if (deadline !== undefined)
      this.#cancelTimer = clock.after(Math.max(0, deadline - clock.now()), () => this.#step({ type: "tick" }));
  }

  async #register(): Promise<void> {
    const { client, log, metrics, onFatal } = this.#deps;
    metrics.count("register_agent_messages_sent");
    const answer = await client.register(this.#request).catch(faultOf);
    if (this.#isStopped) return;
    if (answer instanceof Fault) {
      log.warn({ code: answer.code }, `not registered: ${answer.message}`);
      this.#step({ type: "register-failed", fault: answer });
      return;
    }
    metrics.count("update_agent_overlays_messages_received");
    try {
      this.#registered(answer);
    } catch (error) {
      // This host's own disk: what follows from an assignment must not begin before it is durable.
      onFatal(faultOf(error));
    }
  }

  #registered(assignment: Assignment): void {
    const { id, ip, backend } = assignment.agent;
    this.#deps.log.info({ agent: id, ip, vtep: backend.vtepIp }, "registered");
    this.#attempts = 0;
    this.#reported = "";
    this.#deps.onAssigned(assignment);
    this.#step({ type: "registered" });
    void this.#reportIfNew();
    if (this.#isStreaming) return;
    this.#isStreaming = true;
    this.#peers.start((update) => {
      if (update.type === "reassigned") this.#step({ type: "reassigned" });
      else this.#deps.onPeers(update);
    });
  }

  async #reportIfNew(): Promise<void> {
    const text = JSON.stringify(this.#statuses);
    const isSettled = this.#statuses.every(({ status }) => status !== "STATUS_CONFIGURING");
    if (this.#isReporting || this.#isStopped || !this.isRegistered || !isSettled || text === this.#reported) return;
    this.#isReporting = true;
    const { agentId, instanceId } = this.#request;
    const isTaken = await this.#sendReport({ agentId, instanceId, overlays: this.#statuses });
    this.#isReporting = false;
    if (isTaken) this.#reported = text;
    // What changed while the report was under way is said next, what did not arrive is said again.
    if (isTaken) void this.#reportIfNew();
    else this.#deps.clock.after(STATUS_REPORT_RETRY_MS, () => void this.#reportIfNew());
  }

  async #sendReport(report: Parameters<MasterClient["reportStatus"]>[0]): Promise<boolean> {
    const { client, log, metrics } = this.#deps;
    metrics.count("agent_registered_messages_sent");
    const refusal = await client.reportStatus(report).catch(faultOf);
    if (refusal instanceof Fault) {
      metrics.count("agent_registered_messages_dropped");
      log.warn({ code: refusal.code }, `status not reported: ${refusal.message}`);
      return false;
    }
    metrics.count("agent_registered_acknowledgements_received");
    this.#attempts++;
    return true;
  }
}

/** A refusal as a value; anything else that was thrown is a bug and goes on. */
function faultOf(thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown;
  throw thrown;
}
