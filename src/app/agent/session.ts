/**
 * The agent's dealings with its masters: drives the registration machine, reports the state of the networks. All protocol decisions are the machine's; here are its effects.
 */
import { Registration, type RegistrationInput } from "../../core/registration/registration.ts";
import type { Log } from "../../io/log.ts";
import type { Admission, ClaimRequest, Clock, MasterClient, Random, RegisterRequest } from "../../io/ports.ts";
import type { Assignment, DatapathState, OverlayStatus, ReportAnswer } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import type { NewNetwork } from "../../model/network.ts";
import type { Claim } from "../../model/reservation.ts";
import type { AgentMetrics } from "./metrics.ts";
import { RefusalLog } from "./refusal-log.ts";
import { StatusReporter } from "./status-reporter.ts";

export interface SessionDependencies {
  readonly client: MasterClient;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly metrics: AgentMetrics;
  readonly onAdmitted: (admission: Admission) => void;
  /** How many agents the cluster has, as far as that is known. */
  readonly crowd?: () => number;
  /** A master refused to let the agent in. */
  readonly onRefused?: (fault: Fault) => void;
  /** The agent cannot go on: somebody else has its identity, or its disk refused to write. */
  readonly onFatal: (fault: Fault) => void;
}

export class Session {
  readonly #request: RegisterRequest;
  readonly #deps: SessionDependencies;
  readonly #machine: Registration;
  readonly #reporter: StatusReporter;
  readonly #refusals: RefusalLog;
  #cancelTimer: (() => void) | undefined;
  #isStopped = false;
  /** The last call was in vain: nobody waits for a master. */
  #isAway = false;

  constructor(request: RegisterRequest, deps: SessionDependencies) {
    this.#request = request;
    this.#deps = deps;
    this.#machine = new Registration(() => deps.random.fraction(), deps.crowd);
    const isRegistered = () => this.isRegistered && !this.#isStopped;
    const onReassigned = () => this.#step({ type: "called" });
    this.#reporter = new StatusReporter(request, { ...deps, isRegistered, onReassigned });
    this.#refusals = new RefusalLog(deps.log, "not registered");
  }

  start(): void {
    this.#step({ type: "start" });
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelTimer?.();
    this.#reporter.stop();
  }

  /** A master has something new for this agent. */
  reassigned(): void {
    this.#step({ type: "reassigned" });
  }

  /** What this agent's record says is out of date, and that is news to nobody else. */
  called(): void {
    this.#step({ type: "called" });
  }

  /** Asks for what is reserved to be hosted here, and comes for the cluster's word on it. @throws Fault */
  async claim(wanted: Omit<ClaimRequest, "agentId" | "instanceId">): Promise<readonly Claim[]> {
    const { agentId, instanceId } = this.#request;
    const claims = (await this.#deps.client.claim?.({ agentId, instanceId, ...wanted })) ?? [];
    this.called();
    return claims;
  }

  /** Asks for a network that the cluster has not, and comes for this host's part of it. @throws Fault */
  async addNetwork(network: NewNetwork): Promise<void> {
    const { agentId, instanceId } = this.#request;
    await this.#deps.client.addNetwork?.({ agentId, instanceId, network });
    this.called();
  }

  get isRegistered(): boolean {
    return this.#machine.state() === "registered";
  }

  /** Status reports that the master took since the last registration (spec: overlay §3.2). */
  get configurationAttempts(): number {
    return this.#reporter.taken;
  }

  /** What the master should know of the networks now; said when it differs from what it was told last. */
  report(statuses: readonly OverlayStatus[], assignment?: Assignment, datapath?: DatapathState): void {
    this.#reporter.say(statuses, assignment, datapath);
  }

  /** Says now what `report` was told last. @returns what the master answers; `undefined` when it was not told */
  askForRoom(): Promise<ReportAnswer | undefined> {
    return this.#isAway ? Promise.resolve(undefined) : this.#reporter.ask();
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
    const { client, metrics, onFatal } = this.#deps;
    metrics.count("register_agent_messages_sent");
    // A call that outlives the session finds the disk closed; nobody waits for its outcome.
    const answer = await client
      .register(this.#request)
      .catch((thrown: unknown) => (this.#isStopped ? undefined : faultOf(thrown)));
    if (answer === undefined || this.#isStopped) return;
    if (answer instanceof Fault) {
      this.#refusals.note(answer);
      this.#isAway = true;
      this.#reporter.refuse();
      this.#step({ type: "register-failed", fault: answer });
      this.#deps.onRefused?.(answer);
      return;
    }
    metrics.count("update_agent_overlays_messages_received");
    try {
      this.#registered(answer);
    } catch (error) {
      // This host's own disk: what follows from an admission must not begin before it is durable.
      onFatal(faultOf(error));
    }
  }

  #registered(admission: Admission): void {
    const { id, ip, backend } = admission.assignment.agent;
    this.#deps.log.info({ agent: id, ip, vtep: backend.vtepIp }, "registered");
    this.#refusals.over();
    this.#isAway = false;
    this.#deps.onAdmitted(admission);
    this.#step({ type: "registered" });
    this.#reporter.registered();
  }
}

/** A refusal as a value; anything else that was thrown is a bug and goes on. */
function faultOf(thrown: unknown): Fault {
  if (thrown instanceof Fault) return thrown;
  throw thrown;
}
