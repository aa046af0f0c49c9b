/**
 * The master's part in gossip: one member like all others. It carries what the cluster took back (removals, the epoch
 * floor) and tells agents when there is something new to fetch; and it sees who lives.
 */
import type { MemberId } from "../../core/gossip/messages.ts";
import { ALIVE } from "../../core/gossip/messages.ts";
import { FLOOR_KEY, REMOVAL_KEY } from "../../core/trust/directory.ts";
import type { Log } from "../../io/log.ts";
import type { Clock, GossipStore, Random, Udp, UdpAddress } from "../../io/ports.ts";
import { EPOCH_FLOOR_DELAY_MS, REMOVALS_MAX } from "../../model/limits.ts";
import { fromText, sameBytes } from "../../model/trust/bytes.ts";
import { memberIdOf } from "../../model/trust/member.ts";
import type { Age } from "../../model/trust/standing.ts";
import { ClusterMember } from "../gossip/cluster-member.ts";
import { addressText } from "../gossip/gossip-node.ts";
import { ANNOUNCEMENT_KEY, INSTANCE_KEY } from "../gossip/record-keys.ts";
import type { ClusterTrust } from "./cluster-trust.ts";

export interface MasterGossipDependencies {
  readonly trust: ClusterTrust;
  readonly udp: Udp;
  readonly clock: Clock;
  readonly random: Random;
  readonly store: GossipStore;
  readonly log: Log;
  /** Where agents may be found that this host never heard of: another master may have led so far. */
  readonly seeds?: readonly string[];
  /** Told where an agent speaks gossip. */
  readonly onAddress?: (address: string, isAlive: boolean) => void;
  /** An agent came, went, or is another process than before. */
  readonly onAgent: (agentId: string) => void;
}

export class MasterGossip {
  readonly member: ClusterMember;
  readonly #deps: MasterGossipDependencies;
  /** New at each start, so that agents come to a master that may not know them. */
  readonly #start: string;
  #announcements = 0;
  /** The epoch floor that is told: see `#raiseFloor`. */
  #floor: Uint8Array;
  #cancelFloor: (() => void) | undefined;
  /** What was published of removals: those that are gone are deleted. */
  #published = new Set<string>();

  private constructor(member: ClusterMember, deps: MasterGossipDependencies) {
    this.member = member;
    this.#deps = deps;
    this.#start = deps.random.uuid();
    this.#floor = deps.trust.epochFloor;
  }

  /** @throws Fault port-taken, bad-request, no-rights, storage */
  static async open(at: UdpAddress, deps: MasterGossipDependencies): Promise<MasterGossip> {
    const { trust } = deps;
    const told = (id: MemberId) => {
      const agentId = member.directory.credentialOf(id)?.agentId;
      if (agentId === undefined) return;
      deps.onAgent(agentId);
      const view = member.gossip.member(id);
      const isAgent = trust.memberOf(agentId) !== undefined;
      if (view !== undefined && isAgent) deps.onAddress?.(view.head.address, view.status === ALIVE);
    };
    const papers = {
      clusterKey: trust.clusterKey,
      credential: trust.credential,
      removals: trust.removals,
      epochFloor: trust.epochFloor,
      keys: trust.keys,
      seeds: deps.seeds ?? [],
    };
    const member: ClusterMember = await ClusterMember.open(at, papers, {
      ...deps,
      signer: trust.signer,
      onChanges: () => {},
      onMember: told,
      onRecords: told,
    });
    const gossip = new MasterGossip(member, deps);
    trust.floorToTell = trust.epochFloor;
    trust.seeds = [addressText(member.transport.local)];
    trust.onChange = () => gossip.#renew();
    return gossip;
  }

  start(): void {
    this.member.start();
    this.#publish();
  }

  /** Asks all agents to register again. */
  announce(): void {
    this.#announcements += 1;
    this.#publish();
  }

  get announcement(): string {
    return `${this.#start} ${this.#announcements}`;
  }

  newestOf(agentId: string): Age | undefined {
    return this.member.directory.newestOf(agentId);
  }

  newestClaim(): number {
    let newest = 0;
    for (const { hosted = [] } of this.member.directory.peers())
      for (const { revision } of hosted) newest = Math.max(newest, revision);
    return newest;
  }

  /** The process that speaks for the agent, while it answers. */
  instanceOf(agentId: string): string | undefined {
    const record = this.#deps.trust.memberOf(agentId);
    const key = record && fromText(record.publicKey);
    const id = key && memberIdOf(key);
    if (id === undefined || this.member.gossip.member(id)?.status !== ALIVE) return undefined;
    const value = this.member.gossip.value(id, INSTANCE_KEY);
    return value && Buffer.from(value).toString();
  }

  close(): Promise<void> {
    this.#cancelFloor?.();
    return this.member.close(true);
  }

  #renew(): void {
    const { clusterKey, credential, removals, keys } = this.#deps.trust;
    // First: who was removed hears it too, if it listens. Once it is expelled nobody tells it anything.
    this.#publish();
    this.member.renew({ clusterKey, credential, removals, keys, epochFloor: this.#floor });
    this.#raiseFloor();
  }

  /**
   * The floor is told later than the words that living agents were just given: who hears of it first would drop those whose
   * newer word has not arrived yet.
   */
  #raiseFloor(): void {
    const { trust, clock } = this.#deps;
    if (this.#cancelFloor !== undefined || sameBytes(this.#floor, trust.epochFloor)) return;
    this.#cancelFloor = clock.after(EPOCH_FLOOR_DELAY_MS, () => {
      this.#cancelFloor = undefined;
      this.#floor = trust.epochFloor;
      trust.floorToTell = this.#floor;
      this.#renew();
    });
  }

  #publish(): void {
    const { trust } = this.#deps;
    const changes = new Map<string, Uint8Array | undefined>([
      [ANNOUNCEMENT_KEY, Buffer.from(this.announcement)],
      [FLOOR_KEY, this.#floor],
    ]);
    const { removals } = trust.refusals;
    const all = removals.map(({ memberId }, n) => [REMOVAL_KEY + memberId, trust.removals[n]] as const);
    // A version before this one kept more than fit. The oldest are known by now; who was away hears of all by registering.
    const words = new Map(all.slice(-REMOVALS_MAX));
    for (const key of this.#published) if (!words.has(key)) changes.set(key, undefined);
    for (const [key, word] of words) changes.set(key, word);
    this.#published = new Set(words.keys());
    this.member.publish(changes);
  }
}
