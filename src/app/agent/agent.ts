/**
 * One host's agent: registers with a master, keeps the kernel as its assignment, its peers and its attachments say, and
 * tells the master how that goes.
 *
 * What must survive is on disk before anything follows from it; so after a restart the loop runs before any master has
 * answered, and touches no packet. Peers are unknown until the first snapshot, and unknown is not gone
 * (docs/decisions/0008).
 */
import type { AddResult, CniReply } from "../../core/cni/reply.ts";
import { EMPTY_HOST_STATE, type HostState } from "../../core/host/host-state.ts";
import { type Capacity, capacities, rooms, usageOf } from "../../core/ipam/capacity.ts";
import { commonPart } from "../../core/ipam/slices.ts";
import { IdleSlices } from "../../core/ipam/usage-news.ts";
import { agentOverlayJson } from "../../core/mesos/overlay-json.ts";
import type { OverlayContext } from "../../core/overlay/context.ts";
import { desiredHost, peerOps, peerProblems, sysctlPaths } from "../../core/overlay/desired.ts";
import { type HostFacts, readFacts } from "../../core/overlay/facts.ts";
import { overlayStatuses, uniformStatuses } from "../../core/overlay/status.ts";
import type { PeerUpdate } from "../../io/ports.ts";
import type { Attachment, Lease } from "../../model/attachment.ts";
import type { Assignment, OverlayStatus, Peer } from "../../model/cluster.ts";
import type { AgentDependencies, AgentSettings } from "./agent-dependencies.ts";
import { AttachService, type DelCall } from "./attach-service.ts";
import type { AddCall } from "./attacher.ts";
import { CapacityAlarm } from "./capacity-alarm.ts";
import { ClaimBook } from "./claim-book.ts";
import { writeConflists } from "./conflists.ts";
import { DatapathWatch } from "./datapath-watch.ts";
import type { DockerDriver } from "./docker/docker-driver.ts";
import { FailureLog } from "./failure-log.ts";
import { Loop, type PassReport, type Plan } from "./loop.ts";
import { MemberBook } from "./member-book.ts";
import { AgentMetrics } from "./metrics.ts";
import { NO_FEATURES, requireFeatures } from "./required-features.ts";
import { Room, type RoomAnswer } from "./room.ts";
import { tidings } from "./tidings.ts";

export class Agent {
  readonly metrics = new AgentMetrics();
  readonly datapath: DatapathWatch;
  readonly #settings: AgentSettings;
  readonly #deps: AgentDependencies;
  readonly #loop: Loop;
  readonly #attach: AttachService;
  readonly #peerLog: FailureLog;
  readonly #alarm: CapacityAlarm;
  readonly #room: Room;
  readonly #idle = new IdleSlices();
  readonly #claims: ClaimBook;
  #features = NO_FEATURES;
  #facts: HostFacts | undefined;
  #assignment: Assignment | undefined;
  /** The cluster removed this agent, and has not let it in again. */
  #isRemoved = false;
  readonly #peers = new Map<string, Peer>();
  readonly #members = new MemberBook();
  /** All peers are known; before, what the kernel holds for others stays. */
  #arePeersComplete = false;
  #statuses: readonly OverlayStatus[] = [];
  /** The assignment that the running or last pass works for. */
  #planned: Assignment | undefined;
  /** What the last pass programmed. Containers can be attached with what it has in common with what is in force. */
  #programmed: Assignment | undefined;

  constructor(settings: AgentSettings, deps: AgentDependencies) {
    this.#settings = settings;
    this.#deps = deps;
    this.#peerLog = new FailureLog(deps.log);
    this.#alarm = new CapacityAlarm(deps.log);
    this.#claims = new ClaimBook({ ...deps, ...(deps.claim && { ask: deps.claim }) });
    this.#room = new Room({ clock: deps.clock, askForRoom: deps.askForRoom ?? (async () => undefined) });
    this.#loop = new Loop({
      ...deps,
      subject: {
        plan: () => this.#plan(),
        repair: (observed) => this.#attach.repair(observed),
        report: (report) => this.#report(report),
      },
    });
    this.datapath = new DatapathWatch({
      ...deps,
      maxLevel: settings.datapathLevel ?? 2,
      attachments: () => this.attachments(),
      peers: () => this.peers(),
      pass: () => this.#loop.pass(),
    });
    this.#attach = new AttachService({
      ...deps,
      host: {
        context: () => this.#servingContext(),
        moreRoom: (network, deadline) => this.#moreRoom(network, deadline),
        hosting: () => this.#claims.hosting(this.#assignment),
        claim: (wanted, deadline) => this.#claims.claim(wanted, deadline),
        lostTo: (lease) => this.#claims.lostTo(lease, this.#assignment),
        statuses: () => this.#statuses,
        changed: (lease) => {
          this.#loop.soon();
          // The master gives nobody else what is in use, and gives at once what is not.
          if (this.#claims.concerns(lease, this.#assignment)) this.#tell();
        },
        again: () => this.#loop.soon(),
        exclusive: (work) => this.#loop.exclusive(work),
        heal: () => this.#loop.pass(),
        refused: () => this.#tell(),
        ...(deps.addNetwork && { addNetwork: deps.addNetwork }),
      },
    });
  }

  /**
   * Takes up what the disk holds and makes the first pass.
   * @throws Fault kernel-lacks, no-rights, bad-request (no device has the agent's address), storage
   */
  async start(): Promise<void> {
    const { kernel, store } = this.#deps;
    this.#features = await kernel.features();
    requireFeatures(this.#features);
    this.#facts = readFacts(await kernel.observe([]), this.#settings.ip);
    const stored = store.assignment();
    // One for another address would move the tunnel's end to a place where this host is not.
    if (stored?.agent.ip === this.#settings.ip) this.#take(stored);
    if (store.wasRemoved()) this.#dismiss();
    await this.#attach.recover();
    await this.#loop.start();
  }

  /** Ends what runs. The kernel stays as it is, so that no packet is lost. */
  async stop(): Promise<void> {
    await this.datapath.stop();
    await this.#loop.stop();
  }

  // ---- what comes in -------------------------------------------------------------------------------------------------

  /** The master's answer. It is durable before anything follows from it. */
  assigned(assignment: Assignment): void {
    if (JSON.stringify(assignment) !== JSON.stringify(this.#assignment)) {
      this.#take(assignment, () => this.#deps.store.saveAssignment(assignment));
      this.#loop.changed();
    }
    this.#tell();
  }

  /** The cluster removed this agent. @returns whether that is news @throws Fault storage */
  removed(): boolean {
    if (this.#isRemoved) return false;
    this.#deps.store.saveRemoval();
    this.#deps.log.warn(
      {},
      "this agent was removed from the cluster: its networks are taken down, and its containers have none any more; " +
        "to let it in again give it a token that is made now, with 'weft token create'",
    );
    this.#dismiss();
    this.#loop.changed();
    return true;
  }

  peersChanged(update: PeerUpdate): void {
    if (this.#isRemoved) return;
    if (update.type === "snapshot") {
      this.#peers.clear();
      for (const peer of update.peers) this.#peers.set(peer.id, peer);
      this.#claims.peersAre(update.peers);
      this.#arePeersComplete = true;
      this.#loop.changed();
      this.#noteOutdated();
    } else this.#peersChanged(update.peers);
  }

  /** Another agent told of its labelled containers. */
  membersTold(agentId: string, told: Uint8Array | undefined): void {
    if (this.#members.heard(agentId, told) && this.#assignment?.policies !== undefined) this.#loop.changed();
  }

  /** Carries out a CNI call; `body` is that of POST /v1/cni. */
  cni(body: Uint8Array): Promise<CniReply> {
    return this.#attach.answer(body);
  }

  /** For protocols beside CNI; see AttachService. */
  attach(call: AddCall): Promise<AddResult> {
    return this.#attach.attach(call);
  }

  detach(call: DelCall): Promise<void> {
    return this.#attach.detach(call);
  }

  /** What a Docker engine calls, and is asked of. */
  get docker(): DockerDriver {
    return this.#attach.docker;
  }

  // ---- what can be asked ---------------------------------------------------------------------------------------------

  assignment(): Assignment | undefined {
    return this.#assignment;
  }

  /** Those that are known; see `arePeersComplete`. */
  peers(): readonly Peer[] {
    return [...this.#peers.values()];
  }

  /** Whether there may be more than `peers` tells. */
  get arePeersComplete(): boolean {
    return this.#arePeersComplete;
  }

  attachments(): readonly Attachment[] {
    return this.#attach.attachments();
  }

  /** All that is leased on this host, oldest first. */
  leases(): readonly Lease[] {
    return this.#attach.leases();
  }

  /** Addresses of this host; none without an assignment. */
  capacities(): readonly Capacity[] {
    if (this.#assignment === undefined) return [];
    return capacities(this.#assignment, this.#attach.ledger, this.#deps.clock.now());
  }

  /** Networks whose addresses on this host have passed a mark, in percent. */
  roomsPast(mark: number): number {
    return this.#alarm.count(mark);
  }

  /** Leases compared with the kernel, and how they were given. */
  get upkeep(): Pick<AttachService, "audit" | "collect" | "givenEarly"> {
    return this.#attach;
  }

  statuses(): readonly OverlayStatus[] {
    return this.#statuses;
  }

  /** What of the peers is not served, one sentence each. */
  peerProblems(withStale = true): readonly string[] {
    const context = this.#context();
    if (context === undefined) return [];
    const problems = peerProblems(this.peers(), context).filter(({ isStale }) => withStale || isStale !== true);
    return problems.map(({ id, problem }) => `peer ${id}: ${problem}`);
  }

  /** How containers reach nodes; see docs/decisions/0004. */
  nodePath(): "ingress forward" | "policy rule" {
    return this.#features.ingressForward ? "ingress forward" : "policy rule";
  }

  /** The original's document. An agent without an assignment has no networks yet. */
  overlayDocument(configurationAttempts: number): string {
    const { ip } = this.#settings;
    if (this.#assignment === undefined) return JSON.stringify({ configuration_attempts: configurationAttempts, ip });
    const { overlays, backend } = this.#assignment.agent;
    return agentOverlayJson({ ip, overlays, backend, statuses: this.#statuses, configurationAttempts });
  }

  // ---- inside --------------------------------------------------------------------------------------------------------

  #take(assignment: Assignment, save: () => void = () => {}): void {
    const { cniConfDir, socketPath } = this.#settings;
    // First: an agent that dies between the two has lost nothing, and goes on with it.
    this.#attach.reassigned(assignment, this.#assignment);
    save();
    this.#isRemoved = false;
    this.#assignment = assignment;
    this.#statuses = uniformStatuses(assignment.agent.overlays, "STATUS_CONFIGURING");
    if (cniConfDir !== undefined) writeConflists(cniConfDir, socketPath, assignment.agent.overlays);
  }

  /** What was of the cluster goes with the next pass. */
  #dismiss(): void {
    const { cniConfDir, socketPath } = this.#settings;
    this.#isRemoved = true;
    this.#assignment = undefined;
    this.#statuses = [];
    this.#peers.clear();
    this.#arePeersComplete = false;
    this.#attach.dismissed();
    this.#deps.onServing?.(undefined);
    if (cniConfDir !== undefined) writeConflists(cniConfDir, socketPath, []);
  }

  #context(): OverlayContext | undefined {
    if (this.#assignment === undefined || this.#facts === undefined) return undefined;
    const hosting = this.#claims.hosting(this.#assignment);
    const context = {
      assignment: this.#assignment,
      facts: this.#facts,
      features: this.#features,
      datapath: this.datapath.wishes,
      hosting,
    };
    if (this.#assignment.policies === undefined) return context;
    const members = this.#members.members(this.#assignment, this.attachments(), this.peers(), hosting);
    return { ...context, members, otherMembersStay: !this.#arePeersComplete };
  }

  #plan(): Plan | undefined {
    const context = this.#context();
    this.#planned = context?.assignment;
    if (context === undefined && this.#isRemoved) this.datapath.dismissed();
    if (context === undefined) return this.#isRemoved ? NOTHING : undefined;
    const attachments = this.#attach.attachments();
    this.#members.tell(context.assignment, attachments, (told) => this.#deps.onMembers?.(told));
    return {
      sysctlPaths: sysctlPaths({ ...context, attachments }),
      desired: (observed) => this.#desired(context, observed),
    };
  }

  #desired(context: OverlayContext, observed: HostState): HostState {
    this.#facts = readFacts(observed, this.#settings.ip);
    this.#peerLog.note(this.peerProblems(false));
    // A pair that is lost is made by `repair`, with its inside; made here it would be a device and no more.
    const present = new Set(observed.links.map(({ name }) => name));
    const attachments = this.#attach.attachments().filter(({ hostIfname }) => present.has(hostIfname));
    const peers = { peers: this.peers(), otherPeersStay: !this.#arePeersComplete };
    const desired = desiredHost({ ...context, facts: this.#facts, ...peers, attachments, observed });
    this.datapath.planned({ ...context, facts: this.#facts }, desired);
    return desired;
  }

  /** They are programmed at once, without reading the kernel. */
  #peersChanged(changed: ReadonlyMap<string, Peer | undefined>): void {
    const before = [...changed.keys()].flatMap((id) => this.#peers.get(id) ?? []);
    const after = [...changed.values()].flatMap((peer) => peer ?? []);
    let isHostingChanged = false;
    for (const [id, peer] of changed) {
      if (peer === undefined) this.#peers.delete(id);
      else this.#peers.set(id, peer);
      isHostingChanged = this.#claims.peerIs(id, peer) || isHostingChanged;
    }
    const context = this.#context();
    if (context !== undefined && this.#programmed === this.#assignment)
      void this.#loop.applyNow(peerOps(before, after, context));
    else this.#loop.changed();
    if (!isHostingChanged) return;
    this.#loop.changed();
    this.#noteOutdated();
  }

  #noteOutdated(): void {
    if (this.#claims.isOutdated(this.#assignment)) this.#deps.onOutdated?.();
  }

  #report({ failures: all, fault, operations, durationMs }: PassReport): void {
    const failures = this.datapath.passed(all);
    const overlays = this.#assignment?.agent.overlays ?? [];
    const earlier = new Map(this.#statuses.map(({ name, status }) => [name, status]));
    this.#statuses = fault
      ? uniformStatuses(overlays, "STATUS_FAILED", fault.message)
      : overlayStatuses(overlays, failures, this.#attach.attachments());
    for (const { name, status } of this.#statuses)
      if (status === "STATUS_FAILED" && earlier.get(name) !== status) this.metrics.networkFailed();
    const before = this.#programmed;
    this.#programmed = fault === undefined ? this.#planned : undefined;
    if (this.#programmed !== before) {
      this.#room.programmed();
      this.#claims.programmed();
      if (this.#programmed !== undefined) this.#deps.onServing?.(this.#programmed);
    }
    if (this.#assignment !== undefined) this.#alarm.note(rooms(this.#assignment, this.capacities()));
    this.metrics.passed({ durationMs, operations, failures: failures.length, isImpossible: fault !== undefined });
    this.#tell();
  }

  /** How the networks are, and how full. */
  #tell(): void {
    const assignment = this.#assignment;
    const all = this.capacities();
    const idle = this.#idle.note(all, this.#deps.clock.now(), assignment?.elastic?.emptySeconds);
    const leases = this.#attach.leases();
    const uses = assignment && this.#claims.uses(assignment, leases);
    const usage = (network: string) => usageOf(network, all, idle);
    const short = this.#attach.shortfalls();
    this.#deps.onStatus(tidings(this.#statuses, { assignment, leases, usage, uses, short }), assignment);
  }

  /** For containers. While a new assignment is not programmed yet, what it has in common with the one before. */
  #servingContext(): OverlayContext | undefined {
    const context = this.#context();
    if (context === undefined || this.#programmed === undefined) return undefined;
    if (this.#programmed === context.assignment) return context;
    const assignment = commonPart(context.assignment, this.#programmed);
    return assignment && { ...context, assignment };
  }

  #moreRoom(network: string, deadline: number): Promise<RoomAnswer> {
    if (this.#assignment?.elastic === undefined) return Promise.resolve("no-answer");
    // It holds every address, which the last pass may not have seen.
    this.#tell();
    return this.#room.more(network, deadline);
  }
}

/** Of a host that is no member: nothing of what ownership claims is to be there. */
const NOTHING: Plan = { sysctlPaths: [], desired: () => EMPTY_HOST_STATE };
