/**
 * The cluster as its master serves it: records, allocator and trust kept in step with the store.
 *
 * One order everywhere: decide, write, then change what is in memory. A write that is refused leaves nothing behind but a
 * fault; an answer leaves, and others hear, only when all before it is durable. Everything here is synchronous, so that no
 * two requests ever see each other half done.
 */
import { recordChangeText } from "../../core/control/record-change.ts";
import { Allocator } from "../../core/ipam/allocate.ts";
import { recordFor } from "../../core/ipam/identity.ts";
import type { PoolUsage } from "../../core/ipam/pool.ts";
import { masterStateJson } from "../../core/mesos/overlay-json.ts";
import type { Log } from "../../io/log.ts";
import type { Admission, ClaimRequest, Clock, RegisterRequest, StatusReport } from "../../io/ports.ts";
import type { AgentRecord, DatapathState, OverlayStatus, ReportAnswer, RestingItem } from "../../model/cluster.ts";
import { Fault } from "../../model/fault.ts";
import type { Ip } from "../../model/ip.ts";
import { type ClusterConfig, prefixesOf } from "../../model/network.ts";
import { type Claim, isWithin } from "../../model/reservation.ts";
import { assignmentOf, type Common, requireTellable } from "./assignment.ts";
import type { Book, Deed } from "./book.ts";
import type { Caller } from "./callers.ts";
import type { ClusterTrust, TrustChange } from "./cluster-trust.ts";
import type { ControlRecords } from "./control-records.ts";
import { Departures } from "./departures.ts";
import { configOf, type Effective } from "./effective.ts";
import { Elastic } from "./elastic.ts";
import type { MasterMetrics } from "./metrics.ts";
import { Policies } from "./policies.ts";
import type { Presence } from "./presence.ts";
import { Programs, type ProgramView } from "./programs.ts";
import { Records, withoutNetwork } from "./records.ts";
import { exhausted, reportShortages, subjectOf, undoing, withBoundedError } from "./registering.ts";
import { Reservations } from "./reservations.ts";
import { Shortages } from "./shortages.ts";
import { Sightings } from "./sightings.ts";

export interface ClusterDeps {
  readonly book: Book;
  readonly records: ControlRecords;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: MasterMetrics;
  readonly trust: ClusterTrust;
  readonly presence: Presence;
  readonly version: string;
}

/** Who has what, and what was given back and rests. */
export interface ClusterRecords {
  readonly records: readonly AgentRecord[];
  readonly resting: readonly RestingItem[];
}

/** An agent as `/v1/agents` shows it. */
export interface AgentView extends AgentRecord, ProgramView {
  readonly connected: boolean;
  readonly statuses: readonly OverlayStatus[];
  readonly datapath: DatapathState | undefined;
}

export class Cluster {
  /** Whom the cluster trusts, and what gossip stands on. */
  readonly trust: ClusterTrust;
  /** Further slices, and how much room there is. */
  readonly elastic: Elastic;
  readonly policies: Policies;
  readonly #programs: Programs;
  readonly reservations: Reservations;
  readonly #shortages: Shortages;
  #effective: Effective;
  #config: ClusterConfig;
  readonly #deps: ClusterDeps;
  readonly #records: Records;
  #allocator: Allocator;
  readonly #presence: Presence;
  readonly #sightings: Sightings;
  readonly #departures: Departures;
  #stateJson: string | undefined;
  /** As the store has it. */
  #resting: readonly RestingItem[];

  /** @throws Fault corrupt-store when the records contradict each other */
  constructor(effective: Effective, { records, resting }: ClusterRecords, deps: ClusterDeps) {
    this.#effective = effective;
    this.#config = configOf(effective);
    this.trust = deps.trust;
    this.#deps = deps;
    this.#allocator = Allocator.restore(this.#config.network, records, resting);
    this.#resting = this.#allocator.resting();
    this.#records = new Records(records);
    this.elastic = new Elastic({
      ...deps,
      config: () => this.#config,
      allocator: () => this.#allocator,
      commit: (record, before) => this.#commit(record, before, undefined),
      isKnown: (id) => this.#records.withId(id) !== undefined,
    });
    this.#presence = deps.presence;
    const sightings = new Sightings(records, deps.clock);
    this.#sightings = sightings;
    this.#departures = new Departures({
      ...deps,
      sightings,
      records: this.#records,
      config: () => this.#config,
      allocator: () => this.#allocator,
      write: (deed, make) => this.#write(deed, make),
      wake: () => this.elastic.wake(),
      forget: (id, records) => this.#forgetting(id, records),
      onGone: (id, resting) => this.#gone(id, resting),
      onChanged: (record) => this.#changed(record),
    });
    this.policies = new Policies(deps.records, (policies) => requireTellable(this.#common(), { policies }));
    this.#programs = new Programs({ ...deps, config: () => this.#config, policies: this.policies });
    this.policies.onChange = () => this.#presence.announce();
    const isOf = (agent: string, address: Ip) =>
      isWithin(this.#records.withId(agent)?.overlays.flatMap(prefixesOf) ?? [], address);
    this.reservations = new Reservations({
      records: deps.records,
      sightings,
      isOf,
      newest: () => this.#presence.newestClaim(),
      requireTellable: (reservations) => requireTellable(this.#common(), { reservations }),
    });
    this.reservations.onChange = () => this.#presence.announce();
    this.#shortages = new Shortages({
      ...deps,
      write: (deed, make) => this.#write(deed, make),
      isKnown: (id) => this.#records.withId(id) !== undefined,
      slices: () => this.elastic.exhausted(),
      look: () => this.elastic.look(),
    });
    this.trust.gossipKeys.connected = () => this.#sightings.connected();
    this.trust.gossipKeys.announce = () => this.#presence.announce();
  }

  get effective(): Effective {
    return this.#effective;
  }

  get config(): ClusterConfig {
    return this.#config;
  }

  /**
   * Puts another configuration in force, which has a place for all that agents hold; they come for what is new.
   * @param gone a network that it lacks: in the same change all agents lose it, and what is about it alone goes with it
   * @throws Fault storage, exhausted
   */
  force(effective: Effective, deed: Deed, gone?: string): void {
    const config = configOf(effective);
    requireTellable(this.#common(), { config });
    const before = this.#records.all();
    const after = before.map((record) => withoutNetwork(record, gone));
    const stripped = after.filter((record, index) => record !== before[index]);
    const allocator = Allocator.restore(config.network, after, this.#resting);
    let dropped: readonly (() => void)[] = [];
    this.#write(deed, (records) => {
      for (const record of stripped) records.putAgent(record);
      records.saveNetwork(effective.source);
      records.saveSettings(effective.settings);
      if (gone !== undefined)
        dropped = [this.reservations, this.policies, this.#shortages].map((book) => book.dropNetwork(gone));
    });
    for (const done of dropped) done();
    for (const record of stripped) this.#records.put(record, record.id);
    this.#effective = effective;
    this.#config = config;
    this.#allocator = allocator;
    this.#stateJson = undefined;
    this.#deps.log.info({ who: deed.who, what: deed.what }, "configuration changed");
    this.elastic.noteRoom();
    this.#shortages.check();
    this.#presence.announce();
  }

  /** @throws Fault unauthorized, not-admitted, identity-taken, exhausted, storage */
  register(request: RegisterRequest, caller: Caller): Admission {
    const { metrics, log } = this.#deps;
    metrics.count("register_agent_messages_received");
    try {
      const token = this.trust.admit(request.agentId, caller);
      this.#programs.requireNear(request);
      const known = this.#admit(request);
      this.elastic.wake();
      const registration = this.#allocator.register({ ...request, id: request.agentId }, known);
      reportShortages(request, registration.shortages, this.#deps);
      if (registration.record === undefined) throw exhausted(request, registration.shortages);
      const hosted = this.reservations.hostedBy(request.agentId);
      const reservations = this.reservations.of(registration.record.overlays.map(({ info }) => info.name));
      const subject = subjectOf(registration.record, hosted, caller);
      const commit = () => {
        const seen = this.#presence.newestOf(request.agentId);
        const trusted = this.trust.admission(subject, known?.id, token, seen);
        if (registration.changed || trusted !== undefined) this.#commit(subject.record, known, trusted);
      };
      undoing(registration.undo, commit);
      this.#sightings.registered(request.agentId, request.instanceId);
      this.#programs.registered(request);
      this.elastic.registered(request.agentId);
      this.#shortages.check();
      this.trust.gossipKeys.told("fetched", request.agentId);
      metrics.count("update_agent_overlays_messages_sent");
      log.info({ agent: request.agentId, ip: request.ip, changed: registration.changed }, "agent registered");
      return {
        assignment: assignmentOf(registration.record, { ...this.#common(), reservations }, hosted),
        membership: this.trust.membershipOf(subject),
        announcement: this.#presence.announcement,
      };
    } catch (thrown) {
      metrics.count("register_agent_messages_dropped");
      throw thrown;
    }
  }

  /** Takes what an agent says of its networks, less those that it does not have. @throws Fault as `caller`, storage */
  reportStatus({ overlays, datapath, ...who }: StatusReport, caller: Caller): ReportAnswer {
    const { metrics } = this.#deps;
    metrics.count("agent_registered_messages_received");
    try {
      const record = this.caller(who, caller);
      const names = new Set(record.overlays.map(({ info }) => info.name));
      const statuses = overlays.filter(({ name }) => names.has(name)).map(withBoundedError);
      this.#sightings.told(record.id, statuses, datapath);
      this.#stateJson = undefined;
      const answer = this.elastic.reported(record, overlays);
      this.#shortages.reported(record, statuses);
      metrics.count("agent_registered_acknowledgements_sent");
      return answer;
    } catch (thrown) {
      metrics.count("agent_registered_messages_dropped");
      throw thrown;
    }
  }

  /** Says that the agent hosts what it asks for; it registers then. @throws Fault as `caller`, `Reservations.claim` */
  claim(request: ClaimRequest, caller: Caller): readonly Claim[] {
    this.caller(request, caller);
    return this.reservations.claim(request);
  }

  /** The agent that calls, and no other process of its name. @throws Fault unknown-agent, unauthorized, identity-taken */
  caller({ agentId, instanceId }: Pick<StatusReport, "agentId" | "instanceId">, caller: Caller): AgentRecord {
    const record = this.#known(agentId);
    this.trust.requireAgent(agentId, caller);
    this.#sightings.refuseOther(record, instanceId);
    return record;
  }

  /** Gossip tells that the agent came, went, or is another process than before. */
  presenceChanged(agentId: string): void {
    const isConnected = this.#presence.instanceOf(agentId) !== undefined;
    if (!this.#sightings.seen(agentId, isConnected)) return;
    this.trust.gossipKeys.told(isConnected ? "connected" : "disconnected", agentId);
    this.#deps.log.info({ agent: agentId }, isConnected ? "agent connected" : "agent disconnected");
  }

  /** See Departures. @throws Fault in-use when one of them is or may be connected, storage */
  delete(ids: readonly string[], who: string): void {
    this.#departures.remove(ids, who);
  }

  /** @throws Fault unknown-agent */
  deleteOne(id: string, who: string, isForced = false): void {
    this.#departures.remove([this.#known(id).id], who, isForced);
  }

  /** New containers are refused on the agent's host, or no more so. @throws Fault unknown-agent, storage */
  drain(id: string, isDraining: boolean, who: string): void {
    this.#departures.drain(this.#known(id), isDraining, who);
  }

  /** Deletes by address, as the original did. @throws as `delete` */
  deleteByIp(ips: readonly string[], who: string): void {
    this.delete(
      this.agents().flatMap(({ id, ip }) => (ips.includes(ip) ? [id] : [])),
      who,
    );
  }

  /** The document of `/overlay-master/state`. */
  stateJson(): string {
    this.#stateJson ??= masterStateJson(
      this.#effective.source,
      this.#records.all().map((record) => ({ record, statuses: this.#sightings.statusesOf(record.id) })),
    );
    return this.#stateJson;
  }

  agents(): readonly AgentView[] {
    return this.#records.all().map((record) => ({
      ...record,
      ...this.#programs.viewOf(record.id),
      connected: this.#presence.instanceOf(record.id) !== undefined,
      statuses: this.#sightings.statusesOf(record.id),
      datapath: this.#sightings.datapathOf(record.id),
    }));
  }

  counts(): { readonly known: number; readonly connected: number } {
    return { known: this.#records.size, connected: this.#sightings.connected().length };
  }

  /** How much of each pool is given out. */
  usage(): readonly PoolUsage[] {
    return this.#allocator.usage();
  }

  /** Ends what it waits for. */
  close(): void {
    this.#departures.close();
    this.#shortages.close();
    this.trust.gossipKeys.close();
  }

  /** The record that the request is about to get. */
  #admit(request: RegisterRequest): AgentRecord | undefined {
    const ofIdentity = this.#records.withId(request.agentId);
    const ofAddress = this.#records.withIp(request.ip);
    return recordFor(request, { ofIdentity, ofAddress, connectedInstance: (id) => this.#presence.instanceOf(id) });
  }

  #commit(record: AgentRecord, known: AgentRecord | undefined, trusted: TrustChange | undefined): void {
    const resting = this.#allocator.resting();
    let forgotten = () => {};
    this.#write({ who: `agent ${record.id}`, what: recordChangeText(known, record) }, (records) => {
      records.putAgent(record, known?.id);
      if (known !== undefined && known.id !== record.id) forgotten = this.#forgetting(known.id, records);
      if (resting !== this.#resting) records.saveResting(resting);
      if (trusted !== undefined) this.trust.write(trusted);
    });
    forgotten();
    const isFloorDue = trusted !== undefined && this.trust.apply(trusted);
    this.#resting = resting;
    if (isFloorDue) this.#presence.announce();
    this.#records.put(record, known?.id ?? record.id);
    if (known !== undefined && known.id !== record.id) this.#forget(known.id);
    this.#stateJson = undefined;
  }

  #gone(id: string, resting: readonly RestingItem[]): void {
    this.#resting = resting;
    this.#records.delete(id);
    this.#forget(id);
    this.elastic.noteRoom();
    this.#shortages.check();
    this.#stateJson = undefined;
  }

  /** As part of a change. @returns what is to be called when it is written */
  #forgetting(id: string, records: ControlRecords): () => void {
    const done = [this.reservations, this.#shortages].map((book) => book.forget(id, records));
    return () => {
      for (const each of done) each();
    };
  }

  #changed(record: AgentRecord): void {
    this.#records.put(record, record.id);
    this.#stateJson = undefined;
  }

  #forget(id: string): void {
    this.#sightings.forget(id);
    this.elastic.forget(id);
    this.#programs.forget(id);
  }

  #common(): Common {
    return { config: this.#config, policies: this.policies.list(), reservations: this.reservations.list() };
  }

  get book(): Book {
    return this.#deps.book;
  }

  /** Resolves when all that was decided until now is durable. @throws Fault storage, not-leader */
  durable(): Promise<void> {
    return this.#deps.book.durable();
  }

  #write(deed: Deed, make: (records: ControlRecords) => void): void {
    const { records } = this.#deps;
    try {
      records.change(deed, () => make(records));
    } catch (thrown) {
      this.#deps.metrics.storeFailed();
      throw thrown;
    }
  }

  #known(id: string): AgentRecord {
    const record = this.#records.withId(id);
    if (record !== undefined) return record;
    throw new Fault("unknown-agent", `agent ${id} is not known here; 'weft agents' lists those that have registered`, {
      agent: id,
    });
  }
}
