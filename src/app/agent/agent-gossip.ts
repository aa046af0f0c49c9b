/**
 * The agent's part in gossip: it says who it is and what the cluster assigned to it, and learns the same of its peers.
 *
 * It speaks as soon as it is a member, by what its disk holds, masters or not. Peers that it hears of are programmed at
 * once; what the kernel holds for others is pruned only when it has had the time to hear of all (GOSSIP_COMPLETE_MS),
 * because until then unknown is not gone.
 */

import type { MemberId } from "../../core/gossip/messages.ts";
import { ASSIGNMENT_KEY, changedPeers, type DirectoryChange } from "../../core/trust/directory.ts";
import type { Log } from "../../io/log.ts";
import type { AgentStore, Clock, PeerUpdate, Random, Udp, UdpAddress } from "../../io/ports.ts";
import { Fault } from "../../model/fault.ts";
import { GOSSIP_COMPLETE_MS } from "../../model/limits.ts";
import type { Signer } from "../../model/trust/member.ts";
import type { Membership } from "../../model/trust/membership.ts";
import { ClusterMember } from "../gossip/cluster-member.ts";
import { ANNOUNCEMENT_KEY, INSTANCE_KEY, MEMBERS_KEY } from "../gossip/record-keys.ts";

/** An agent without a neighbour asks the master so often. */
const SILENCE_MS = 20_000;

export interface AgentGossipDependencies {
  readonly udp: Udp;
  readonly clock: Clock;
  readonly random: Random;
  readonly store: AgentStore;
  readonly log: Log;
  readonly signer: Signer;
  readonly agentId: string;
  readonly instanceId: string;
  readonly onPeers: (update: PeerUpdate) => void;
  /** Another agent told of its containers' labels, or that there are none any more. */
  readonly onMembers: (agentId: string, told: Uint8Array | undefined) => void;
  /** A master has something new for its agents. */
  readonly onReassigned: () => void;
  /** The cluster removed this agent. */
  readonly onRemoved: () => void;
  /** The agent cannot take part. */
  readonly onFatal: (fault: Fault) => void;
}

export class AgentGossip {
  readonly #at: UdpAddress;
  readonly #deps: AgentGossipDependencies;
  #member: ClusterMember | undefined;
  #opening: Promise<void> | undefined;
  /** It was removed, and its socket is being closed. */
  #closing: Promise<void> | undefined;
  #isComplete = false;
  #isClosed = false;
  /** How often it was expelled: what was being opened then must not speak. */
  #expulsions = 0;
  #cancelComplete: (() => void) | undefined;
  #cancelSilence: (() => void) | undefined;
  /** What each master announced last. */
  readonly #announced = new Map<MemberId, string>();
  /** The announcement that the last admission was the answer to. */
  #answered: string | undefined;
  /** What this agent tells of its containers' labels. */
  #told: Uint8Array | undefined;

  constructor(at: UdpAddress, deps: AgentGossipDependencies) {
    this.#at = at;
    this.#deps = deps;
  }

  /**
   * Begins with what the disk holds, if this agent is a member. Not when it was one at another address: its disk may be a
   * copy, and then the master has to say first that nobody else speaks in its name.
   * @throws Fault port-taken, bad-request, no-rights
   */
  async start(): Promise<void> {
    const { store } = this.#deps;
    const membership = store.membership();
    if (membership !== undefined && store.assignment()?.agent.ip === this.#at.ip) await this.#open(membership);
  }

  get member(): ClusterMember | undefined {
    return this.#member;
  }

  /** What others are to know of this agent's labelled containers; absent: nothing. */
  tellMembers(told: Uint8Array | undefined): void {
    this.#told = told;
    this.#member?.publish(new Map([[MEMBERS_KEY, told]]));
  }

  /**
   * A master let this agent in, or gave it newer papers; they are on disk.
   * @param announcement the master's last: what it asks to be fetched is here
   */
  admitted(membership: Membership, announcement?: string): void {
    if (this.#isClosed) return;
    this.#answered = announcement;
    if (this.#member !== undefined) {
      this.#member.renew(membership);
      this.#publish(membership);
      return;
    }
    this.#opening ??= this.#openAfter(this.#closing, membership).catch((thrown: unknown) => {
      if (!(thrown instanceof Fault)) throw thrown;
      this.#deps.onFatal(thrown);
    });
  }

  /** Says nothing more until the agent is admitted anew. */
  expelled(): void {
    const [member, opening] = [this.#member, this.#opening];
    this.#expulsions++;
    this.#member = undefined;
    this.#opening = undefined;
    this.#isComplete = false;
    this.#announced.clear();
    this.#cancelComplete?.();
    this.#cancelSilence?.();
    const close = async () => {
      await opening;
      // What it is told by came from the member itself, which is still at it.
      await Promise.resolve();
      await member?.close(false);
    };
    this.#closing = Promise.all([this.#closing, close()]).then(() => undefined);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelComplete?.();
    this.#cancelSilence?.();
    await this.#opening;
    await this.#closing;
    await this.#member?.close(true);
  }

  async #openAfter(closing: Promise<void> | undefined, membership: Membership): Promise<void> {
    const expulsions = this.#expulsions;
    await closing;
    if (!this.#isClosed && this.#expulsions === expulsions) await this.#open(membership);
  }

  async #open(membership: Membership): Promise<void> {
    const { agentId } = this.#deps;
    const expulsions = this.#expulsions;
    const member = await ClusterMember.open(this.#at, membership, {
      ...this.#deps,
      ownAgentId: agentId,
      onChanges: (changes) => this.#changed(changes),
      onRecords: (owner) => this.#recordsChanged(owner),
      // Whoever was removed while it was not listening is answered by nobody; a master tells why.
      onDeaf: () => this.#deps.onReassigned(),
    });
    if (this.#isClosed || this.#expulsions !== expulsions) {
      await member.close(false);
      return;
    }
    this.#member = member;
    member.start();
    // It may have come with newer papers while the socket was opened.
    this.#publish(this.#deps.store.membership() ?? membership);
    this.#awaitCompleteness();
    this.#watchForSilence();
  }

  #publish({ statement }: Membership): void {
    const { instanceId } = this.#deps;
    this.#member?.publish(
      new Map<string, Uint8Array | undefined>([
        [ASSIGNMENT_KEY, statement],
        [INSTANCE_KEY, Buffer.from(instanceId)],
        [MEMBERS_KEY, this.#told],
      ]),
    );
  }

  #changed(changes: readonly DirectoryChange[]): void {
    const peers = changedPeers(changes);
    if (peers.size > 0) this.#deps.onPeers({ type: "changed", peers });
  }

  /**
   * Of a master the announcement counts: when it changes there is something to be fetched. Of another agent, what it
   * tells of its containers.
   */
  #recordsChanged(owner: MemberId): void {
    const member = this.#member;
    const credential = member?.directory.credentialOf(owner);
    if (member === undefined || credential === undefined) return;
    if (credential.role !== "master") {
      if (credential.agentId !== this.#deps.agentId)
        this.#deps.onMembers(credential.agentId, member.gossip.value(owner, MEMBERS_KEY));
      return;
    }
    const value = member.gossip.value(owner, ANNOUNCEMENT_KEY);
    if (value === undefined) return;
    const text = Buffer.from(value).toString();
    if (this.#announced.get(owner) === text) return;
    this.#announced.set(owner, text);
    if (text !== this.#answered) this.#deps.onReassigned();
  }

  /** Nobody of a cluster that has others: it may have been removed when it was not listening, and a master would say so. */
  #watchForSilence(): void {
    const { clock, onReassigned } = this.#deps;
    this.#cancelSilence = clock.after(SILENCE_MS, () => {
      const member = this.#member;
      if (member === undefined || this.#isClosed) return;
      const isAlone = member.gossip.gauges().neighbors === 0 && [...member.directory.peers()].length > 0;
      if (isAlone) onReassigned();
      this.#watchForSilence();
    });
  }

  #awaitCompleteness(): void {
    const { clock, onPeers } = this.#deps;
    this.#cancelComplete = clock.after(GOSSIP_COMPLETE_MS, () => {
      const member = this.#member;
      if (member === undefined || this.#isComplete) return;
      if (member.gossip.gauges().neighbors === 0) {
        this.#awaitCompleteness();
        return;
      }
      this.#isComplete = true;
      onPeers({ type: "snapshot", peers: [...member.directory.peers()] });
    });
  }
}
