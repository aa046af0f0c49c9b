/**
 * What must survive, as ports: what masters share, what an agent must not forget, what gossip remembers. Like all ports
 * each has a real implementation and a simulated twin, and one contract suite (test/contract) for both.
 */
import type { Attachment, DockerNetwork, Lease, LeaseKey } from "../model/attachment.ts";
import type { Assignment } from "../model/cluster.ts";
import type { ControlEvent, ControlState } from "../model/control-event.ts";
import type { Fault } from "../model/fault.ts";
import type { Ip } from "../model/ip.ts";
import type { Membership } from "../model/trust/membership.ts";
import type { NewestWord } from "../model/trust/standing.ts";

/** The control plane's state and history, where all masters of a cluster find it. One master at a time writes: the leader. */
export interface ControlStore {
  /**
   * Resolves when this master leads; with a store of its own at once, else when no other leads any more.
   * @param self how the others find it, for `leader`
   * @throws Fault in-use, corrupt-store, unsupported-version, storage, unauthorized; not-leader when the signal ended the wait
   */
  lead(self: MasterAddress, signal: AbortSignal): Promise<Term>;
  /** Who leads, as far as is known here. */
  leader(): MasterAddress | undefined;
  close(): Promise<void>;
}

/** A store of the master's own: who has it open leads. */
export interface LocalControlStore extends ControlStore {
  leadNow(): LocalTerm;
}

/** The database of a master's host: what gossip remembers, and the control plane where no other store has it. */
export interface MasterDisk {
  readonly gossip: GossipStore;
  readonly control: LocalControlStore;
  close(): void;
}

/** Where a master serves its API: `https://10.0.0.2:5050`. */
export interface MasterAddress {
  readonly id: string;
  readonly url: string;
}

/** A time in which one master leads. Nothing that it writes lands after another one began. */
export interface Term {
  /** Rises with each change of the leader. */
  readonly number: number;
  /** Resolves with the reason when another leads, or the store cannot be reached for longer than the lease lasts. */
  readonly lost: Promise<Fault>;
  /** All entries, as of one revision. @throws Fault corrupt-store, storage, not-leader */
  load(): Promise<ControlState>;
  /**
   * Appends events of consecutive revisions. Durable when it resolves. One call at a time. When it rejects, some of them,
   * the first ones, may have been written: the caller loads again.
   * @throws Fault not-leader, storage; bad-request for an event that is too large, corrupt-store when somebody else writes
   */
  append(events: readonly ControlEvent[]): Promise<void>;
  /** Events with a higher revision, by revision: at most `limit` and EVENTS_READ_MAX_BYTES, one at least. @throws Fault storage */
  events(after: number, limit: number): Promise<readonly ControlEvent[]>;
  /** Deletes the events up to this revision, the last one maybe not; the state stays. @throws as `append` */
  forget(upTo: number): Promise<void>;
  /** Lets another one lead. */
  resign(): Promise<void>;
}

/** A term over a store of the master's own, which needs no waiting. */
export interface LocalTerm extends Term {
  loadNow(): ControlState;
  /** As `append`; what it refuses has not happened. It survives the end of the process; a power cut, once it is flushed. */
  appendNow(events: readonly ControlEvent[]): void;
  /** All that was appended survives a power cut when this returns. Absent: it does so anyway. @throws Fault storage */
  flushNow?(): void;
}

/**
 * What an agent must not forget. Each call that returned survives the end of the process; identity, assignment,
 * membership and Docker networks survive a power cut as well, after which no container lives that a lease could speak of (docs/decisions/0019).
 */
export interface AgentStore extends GossipStore {
  identity(): string | undefined;
  saveIdentity(id: string): void;
  assignment(): Assignment | undefined;
  /** The agent was not removed, then, or is admitted anew. */
  saveAssignment(assignment: Assignment): void;
  /** The cluster removed this agent: the assignment is void. */
  saveRemoval(): void;
  wasRemoved(): boolean;
  /** Absent until a master let the agent in. */
  membership(): Membership | undefined;
  saveMembership(membership: Membership): void;
  forgetMembership(): void;
  /** In the order in which they were first written. */
  leases(): readonly (Lease | Attachment)[];
  /**
   * Adds the lease or replaces the one of the same container and interface.
   * @param instead of these, which are deleted in the same step
   */
  putLease(lease: Lease | Attachment, instead?: readonly LeaseKey[]): void;
  /** Deletes the lease, and adds these addresses to those that rest. One that is not there is no error. */
  deleteLease(lease: LeaseKey, resting: readonly Ip[]): void;
  /** Released addresses, the one that was released first first. */
  resting(): readonly Ip[];
  /** These rest no more. */
  forgetResting(addresses: readonly Ip[]): void;
  /** Networks that the Docker engine made of the cluster's, in the order in which they were first written. */
  dockerNetworks(): readonly DockerNetwork[];
  /** Adds it, or replaces the one with the same id. */
  putDockerNetwork(network: DockerNetwork): void;
  /** One that is not there is no error. */
  deleteDockerNetwork(id: string): void;
  close(): void;
}

/**
 * What a member of the gossip must not forget: the gen, so as never to speak under one twice; the others, to find them;
 * the age of the newest word on each agent, so that no older one is believed.
 */
export interface GossipStore {
  /** 0 at first. */
  gossipGen(): number;
  /** Durable when it returns. */
  saveGossipGen(gen: number): void;
  gossipMembers(): readonly StoredMember[];
  /** Adds, replaces, or (without a blob) deletes. A crash may lose the last ones. */
  saveGossipMembers(members: readonly StoredMember[]): void;
  newestWords(): readonly NewestWord[];
  /** Adds, replaces and deletes. A crash may lose the last ones. */
  saveNewestWords(words: readonly NewestWord[], gone: readonly string[]): void;
}

export interface StoredMember {
  readonly id: string;
  readonly blob: Uint8Array | undefined;
}
