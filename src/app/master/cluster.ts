/**
 * The cluster as its master serves it: records, allocator and trust kept in step with the store.
 *
 * One order everywhere: decide, commit, then change what is in memory and tell the peers. A commit that fails leaves
 * nothing behind but a fault; an answer is made only after it. Everything here is synchronous, so that no two requests
 * ever see each other half done.
 */
import { Allocator } from "../../core/ipam/allocate.ts";
import { recordFor } from "../../core/ipam/identity.ts";
import { type PoolUsage, shortageMessage } from "../../core/ipam/pool.ts";
import { masterStateJson } from "../../core/mesos/overlay-json.ts";
import type { Log } from "../../io/log.ts";
import type { Admission, Clock, MasterStore, RegisterRequest, StatusReport } from "../../io/ports.ts";
import type { AgentRecord, Assignment, OverlayStatus } from "../../model/cluster.ts";
import { assert, Fault } from "../../model/fault.ts";
import { STATUS_ERROR_MAX_LENGTH } from "../../model/limits.ts";
import { type ClusterConfig, type Overlay, prefixesOf } from "../../model/network.ts";
import type { NetworkSource } from "../../model/network-source.ts";
import type { Caller } from "./callers.ts";
import type { ClusterTrust, TrustChange } from "./cluster-trust.ts";
import type { MasterMetrics } from "./metrics.ts";
import { peerOf } from "./peer.ts";
import type { Presence } from "./presence.ts";
import { Records } from "./records.ts";

export interface ClusterDeps {
  readonly store: MasterStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly metrics: MasterMetrics;
  readonly trust: ClusterTrust;
  readonly presence: Presence;
}

/** What is in force, after the file was laid over what is stored. */
export interface ClusterState {
  readonly config: ClusterConfig;
  readonly source: NetworkSource;
  readonly records: readonly AgentRecord[];
}

/** An agent as `/v1/agents` shows it. */
export interface AgentView extends AgentRecord {
  readonly connected: boolean;
  readonly statuses: readonly OverlayStatus[];
}

export class Cluster {
  readonly config: ClusterConfig;
  /** Whom the cluster trusts, and what gossip stands on. */
  readonly trust: ClusterTrust;
  readonly #source: NetworkSource;
  readonly #deps: ClusterDeps;
  readonly #records: Records;
  readonly #allocator: Allocator;
  readonly #presence: Presence;
  /** The process that registered last as each agent. */
  readonly #instances = new Map<string, string>();
  /** Who was there when it was looked last. */
  readonly #connected = new Set<string>();
  readonly #statuses = new Map<string, readonly OverlayStatus[]>();
  #stateJson: string | undefined;

  /** @throws Fault corrupt-store when the records contradict each other */
  constructor({ config, source, records }: ClusterState, deps: ClusterDeps) {
    this.config = config;
    this.trust = deps.trust;
    this.#source = source;
    this.#deps = deps;
    this.#allocator = Allocator.restore(config.network, records);
    this.#records = new Records(records);
    this.#presence = deps.presence;
    this.trust.gossipKeys.connected = () => [...this.#connected];
    this.trust.gossipKeys.announce = () => this.#presence.announce();
  }

  /** @throws Fault unauthorized, not-admitted, identity-taken, exhausted, storage */
  register(request: RegisterRequest, caller: Caller): Admission {
    const { metrics, log } = this.#deps;
    metrics.count("register_agent_messages_received");
    try {
      const token = this.trust.admit(request.agentId, caller);
      const known = this.#admit(request);
      const registration = this.#allocator.register({ ...request, id: request.agentId }, known);
      this.#reportShortages(request, registration.shortages);
      if (registration.record === undefined) throw exhausted(request, registration.shortages);
      const subject = subjectOf(registration.record, caller);
      const commit = () => {
        const trusted = this.trust.admission(subject, known?.id, token);
        if (registration.changed || trusted !== undefined) this.#commit(subject.record, known, trusted);
      };
      undoing(registration.undo, commit);
      this.#instances.set(request.agentId, request.instanceId);
      this.trust.gossipKeys.told("fetched", request.agentId);
      metrics.count("update_agent_overlays_messages_sent");
      log.info({ agent: request.agentId, ip: request.ip, changed: registration.changed }, "agent registered");
      return { assignment: this.#assignment(registration.record), membership: this.trust.membershipOf(subject) };
    } catch (thrown) {
      metrics.count("register_agent_messages_dropped");
      throw thrown;
    }
  }

  /**
   * Takes what an agent says of its networks. One that it does not have is left out.
   * @throws Fault unknown-agent, unauthorized, identity-taken
   */
  reportStatus({ agentId, instanceId, overlays }: StatusReport, caller: Caller): void {
    const { metrics } = this.#deps;
    metrics.count("agent_registered_messages_received");
    try {
      const record = this.#known(agentId);
      this.trust.requireAgent(agentId, caller);
      this.#refuseOtherInstance(record, instanceId);
      const names = new Set(record.overlays.map(({ info }) => info.name));
      const statuses = overlays.filter(({ name }) => names.has(name)).map(withBoundedError);
      this.#statuses.set(agentId, statuses);
      this.#stateJson = undefined;
      metrics.count("agent_registered_acknowledgements_sent");
    } catch (thrown) {
      metrics.count("agent_registered_messages_dropped");
      throw thrown;
    }
  }

  /** Gossip tells that the agent came, went, or is another process than before. */
  presenceChanged(agentId: string): void {
    const isConnected = this.#presence.instanceOf(agentId) !== undefined;
    if (isConnected === this.#connected.has(agentId)) return;
    if (isConnected) this.#connected.add(agentId);
    else this.#connected.delete(agentId);
    this.trust.gossipKeys.told(isConnected ? "connected" : "disconnected", agentId);
    this.#deps.log.info({ agent: agentId }, isConnected ? "agent connected" : "agent disconnected");
  }

  /**
   * Frees what the agents hold and tells their peers. Unknown ones are left out.
   * @throws Fault in-use when one of them is connected: nobody is deleted then; storage
   */
  delete(ids: readonly string[]): void {
    const records = [...new Set(ids)].flatMap((id) => this.#records.withId(id) ?? []);
    for (const record of records)
      if (this.#presence.instanceOf(record.id) !== undefined)
        throw new Fault(
          "in-use",
          `agent ${record.id} (${record.hostname}, ${record.ip}) is connected, and would keep using its subnets; ` +
            "stop it first",
          { agent: record.id },
        );
    if (records.length === 0) return;
    const removed = records.map(({ id }) => id);
    const trusted = this.trust.removal(removed);
    this.#write((store) =>
      store.atomically(() => {
        store.deleteAgents(removed);
        this.trust.write(trusted);
      }),
    );
    const isFloorDue = this.trust.apply(trusted);
    for (const record of records) {
      this.#allocator.release(record);
      this.#records.delete(record.id);
      this.#forget(record.id);
      this.#deps.log.info({ agent: record.id, ip: record.ip, epoch: this.trust.epoch }, "agent deleted");
    }
    if (isFloorDue) this.#presence.announce();
    this.#stateJson = undefined;
  }

  /** @throws Fault unknown-agent */
  deleteOne(id: string): void {
    this.delete([this.#known(id).id]);
  }

  /** Deletes by address, as the original did. @throws as `delete` */
  deleteByIp(ips: readonly string[]): void {
    this.delete(this.agents().flatMap(({ id, ip }) => (ips.includes(ip) ? [id] : [])));
  }

  /** The document of `/overlay-master/state`. */
  stateJson(): string {
    this.#stateJson ??= masterStateJson(
      this.#source,
      this.#records.all().map((record) => ({ record, statuses: this.#statuses.get(record.id) ?? [] })),
    );
    return this.#stateJson;
  }

  agents(): readonly AgentView[] {
    return this.#records.all().map((record) => ({
      ...record,
      connected: this.#presence.instanceOf(record.id) !== undefined,
      statuses: this.#statuses.get(record.id) ?? [],
    }));
  }

  counts(): { readonly known: number; readonly connected: number } {
    return { known: this.#records.size, connected: this.#connected.size };
  }

  /** How much of each pool is given out. */
  usage(): readonly PoolUsage[] {
    return this.#allocator.usage();
  }

  /** Ends what it waits for. */
  close(): void {
    this.trust.gossipKeys.close();
  }

  /** The record that the request is about to get. */
  #admit(request: RegisterRequest): AgentRecord | undefined {
    const ofIdentity = this.#records.withId(request.agentId);
    const ofAddress = this.#records.withIp(request.ip);
    return recordFor(request, { ofIdentity, ofAddress, connectedInstance: (id) => this.#presence.instanceOf(id) });
  }

  /** A process that another one has followed has nothing to say any more. */
  #refuseOtherInstance({ id, ip, hostname }: AgentRecord, instanceId: string): void {
    const last = this.#instances.get(id);
    if (last === undefined || last === instanceId) return;
    throw new Fault(
      "identity-taken",
      `agent ${id} registered from ${ip} (${hostname}) as another process; stop one of the two`,
      { agent: id, holder: id },
    );
  }

  #commit(record: AgentRecord, known: AgentRecord | undefined, trusted: TrustChange | undefined): void {
    this.#write((store) =>
      store.atomically(() => {
        store.putAgent(record, known?.id);
        if (trusted !== undefined) this.trust.write(trusted);
      }),
    );
    const isFloorDue = trusted !== undefined && this.trust.apply(trusted);
    if (isFloorDue) this.#presence.announce();
    this.#records.put(record, known?.id ?? record.id);
    if (known !== undefined && known.id !== record.id) this.#forget(known.id);
    this.#stateJson = undefined;
  }

  #forget(id: string): void {
    this.#statuses.delete(id);
    this.#instances.delete(id);
    this.#connected.delete(id);
  }

  #write(call: (store: MasterStore) => void): void {
    try {
      call(this.#deps.store);
    } catch (thrown) {
      this.#deps.metrics.storeFailed();
      throw thrown;
    }
  }

  #known(id: string): AgentRecord {
    const record = this.#records.withId(id);
    if (record !== undefined) return record;
    throw new Fault("unknown-agent", `agent ${id} is not known here; it must register first`, { agent: id });
  }

  #reportShortages({ agentId, ip }: RegisterRequest, shortages: readonly PoolUsage[]): void {
    for (const shortage of shortages) {
      this.#deps.metrics.allocationFailed(shortage.kind);
      this.#deps.log.warn(
        { agent: agentId, ip, reason: shortageMessage(shortage) },
        "agent did not get all it asked for",
      );
    }
  }

  #assignment(agent: AgentRecord): Assignment {
    const { network, overlayMtu, enableIpv6 } = this.config;
    return {
      agent,
      overlaySubnets: network.overlays.flatMap(prefixesOf),
      ...networkRules(network.overlays),
      vtepSubnets: [network.vtepSubnet, network.vtepSubnet6].filter((pool) => pool !== undefined),
      ...(overlayMtu !== undefined && { overlayMtu }),
      enableIpv6,
    };
  }
}

/** Nothing where all is as by default: older agents and most clusters never see it. */
function networkRules(overlays: readonly Overlay[]): Pick<Assignment, "networks"> {
  if (overlays.every(({ isolation, egress }) => isolation === undefined && egress === undefined)) return {};
  const networks = overlays.map((overlay) => ({
    name: overlay.name,
    prefixes: prefixesOf(overlay),
    ...(overlay.isolation !== undefined && { isolation: overlay.isolation }),
    ...(overlay.egress !== undefined && { egress: overlay.egress }),
  }));
  return { networks };
}

/** The agent that registers, as the cluster's word on it says it. */
function subjectOf(record: AgentRecord, { publicKey }: Caller) {
  assert(publicKey !== undefined, "who was let in has signed");
  return { record, peer: peerOf(record), hostname: record.hostname, publicKey };
}

/** What was allocated is given back when `commit` fails. */
function undoing(undo: () => void, commit: () => void): void {
  try {
    commit();
  } catch (thrown) {
    undo();
    throw thrown;
  }
}

function exhausted({ agentId, ip }: RegisterRequest, shortages: readonly PoolUsage[]): Fault {
  return new Fault("exhausted", `agent ${agentId} (${ip}): ${shortages.map(shortageMessage).join("; ")}`, {
    agent: agentId,
    pools: shortages.map(({ pool }) => pool),
  });
}

function withBoundedError(status: OverlayStatus): OverlayStatus {
  const { name, status: word, error } = status;
  return { name, status: word, ...(error !== undefined && { error: error.slice(0, STATUS_ERROR_MAX_LENGTH) }) };
}
