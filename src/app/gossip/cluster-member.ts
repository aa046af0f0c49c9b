/**
 * A process of the cluster as a member of its gossip: the node below, and the directory that tells which of what gossip
 * carries the cluster has signed. Agents and masters both are one; what they publish differs.
 */

import type { GossipEvent } from "../../core/gossip/context.ts";
import type { Address, MemberId } from "../../core/gossip/messages.ts";
import { Directory, type DirectoryChange } from "../../core/trust/directory.ts";
import { verifySignature } from "../../io/crypto/keys.ts";
import { type ClusterKeys, clusterKey } from "../../io/gossip/key-ring.ts";
import type { Log } from "../../io/log.ts";
import type { Clock, GossipStore, Random, Udp, UdpAddress } from "../../io/ports.ts";
import { sameBytes } from "../../model/trust/bytes.ts";
import { verifyCredential } from "../../model/trust/credential.ts";
import type { GossipKeys } from "../../model/trust/key-ring.ts";
import { memberIdOf, type Signer } from "../../model/trust/member.ts";
import { logEvent, logMember } from "./gossip-log.ts";
import { GossipNode } from "./gossip-node.ts";

/** What the cluster gave this process, to be a member with. */
export interface MemberPapers {
  readonly clusterKey: Uint8Array;
  readonly credential: Uint8Array;
  /** Signed removals and epoch floor, as far as they are known here. */
  readonly removals: readonly Uint8Array[];
  readonly epochFloor: Uint8Array;
  readonly keys: GossipKeys;
  readonly seeds: readonly Address[];
}

export interface ClusterMemberDependencies {
  readonly udp: Udp;
  readonly clock: Clock;
  readonly random: Random;
  readonly store: GossipStore;
  readonly log: Log;
  readonly signer: Signer;
  /** Whose own assignment is no peer's. */
  readonly ownAgentId?: string;
  /** What follows from records of others; removals have been carried out. */
  readonly onChanges: (changes: readonly DirectoryChange[]) => void;
  /** Status, address or presence of the member may have changed. */
  readonly onMember?: (id: MemberId) => void;
  readonly onRecords?: (owner: MemberId) => void;
  /** The cluster removed this member itself: what it was issued is void. */
  readonly onRemoved?: () => void;
  /** Nobody answers any more. */
  readonly onDeaf?: () => void;
  readonly soon?: (call: () => void) => void;
}

export class ClusterMember {
  readonly id: MemberId;
  readonly directory: Directory;
  readonly #deps: ClusterMemberDependencies;
  readonly #node: GossipNode;
  #hasJoined = false;
  /** Of the credential that this member shows. */
  #ownEpoch: number;

  private constructor(
    id: MemberId,
    directory: Directory,
    node: GossipNode,
    deps: ClusterMemberDependencies,
    epoch: number,
  ) {
    this.#ownEpoch = epoch;
    this.id = id;
    this.directory = directory;
    this.#node = node;
    this.#deps = deps;
  }

  /** Opens the socket and takes up what is on disk; nothing is said before `start`. @throws Fault as GossipNode.open */
  static async open(at: UdpAddress, papers: MemberPapers, deps: ClusterMemberDependencies): Promise<ClusterMember> {
    const { signer, ownAgentId, store, log } = deps;
    const id = memberIdOf(signer.publicKey);
    const directory = new Directory(papers.clusterKey, verifySignature, ownAgentId, store.newestWords());
    for (const removal of papers.removals) directory.remove(removal);
    directory.raiseFloor(papers.epochFloor);
    let member: ClusterMember | undefined;
    const node = await GossipNode.open(
      {
        id,
        credential: papers.credential,
        sign: (bytes) => signer.sign(bytes),
        at,
        keys: sealKeysOf(papers.keys),
        seeds: papers.seeds,
      },
      {
        ...deps,
        verify: verifySignature,
        admit: (head) => directory.admit(head.id, head.credential),
        onMember: (changed) => member?.memberChanged(changed),
        onRecords: (owner) => member?.recordsChanged(owner),
        onEvent: (event) => member?.eventHappened(event),
        onSave: () => directory.keepNewest((words, gone) => store.saveNewestWords(words, gone)),
        onSaveFailed: (fault) => log.warn({}, `what gossip told is not on disk yet: ${fault.message}`),
      },
    );
    member = new ClusterMember(id, directory, node, deps, epochOf(papers));
    return member;
  }

  /** Begins to speak. What the disk knew is told first, all peers at once: their host programs them in one step. */
  start(): void {
    const known = [...this.#node.gossip.members()].map(({ head }) => head.id);
    this.#node.start();
    this.#carryOut(known.flatMap((id) => this.#learn(id)));
    for (const id of known) this.#deps.onRecords?.(id);
  }

  get gossip(): GossipNode["gossip"] {
    return this.#node.gossip;
  }

  get transport(): GossipNode["transport"] {
    return this.#node.transport;
  }

  /** Messages that could not be read. */
  get malformed(): number {
    return this.#node.malformed;
  }

  /** It has found others, or waited for them in vain. */
  get hasJoined(): boolean {
    return this.#hasJoined;
  }

  /** @throws Fault bad-request when the records are too large for gossip */
  publish(changes: ReadonlyMap<string, Uint8Array | undefined>): void {
    this.#node.publish(changes);
  }

  /** The cluster gave newer papers. */
  renew(papers: Pick<MemberPapers, "clusterKey" | "credential" | "removals" | "epochFloor" | "keys">): void {
    this.#ownEpoch = epochOf(papers);
    const changes = papers.removals.flatMap((removal) => this.directory.remove(removal));
    changes.push(...this.directory.raiseFloor(papers.epochFloor));
    this.#node.replaceKeys(sealKeysOf(papers.keys));
    const shown = this.gossip.member(this.id)?.head.credential;
    if (shown === undefined || !sameBytes(papers.credential, shown)) this.#node.renew(papers.credential);
    this.#carryOut(changes);
  }

  /** How people know the member: its agent's id. */
  nameOf(id: MemberId): string {
    return this.directory.credentialOf(id)?.agentId ?? id;
  }

  /** @param isGoodbye whether others are told that this process ends on purpose */
  close(isGoodbye: boolean): Promise<void> {
    return this.#node.close(isGoodbye);
  }

  recordsChanged(owner: MemberId): void {
    this.#carryOut(this.#learn(owner));
    this.#deps.onRecords?.(owner);
  }

  #learn(owner: MemberId): DirectoryChange[] {
    const { gossip } = this.#node;
    return this.directory.update(owner, {
      keys: () => gossip.keys(owner),
      value: (key) => gossip.value(owner, key),
    });
  }

  memberChanged(id: MemberId): void {
    const view = this.gossip.member(id);
    if (view !== undefined) logMember(this.#deps.log, view, this.nameOf(id));
    this.#deps.onMember?.(id);
  }

  eventHappened(event: GossipEvent): void {
    if (event.type === "joined") this.#hasJoined = true;
    if (event.type === "deaf") this.#deps.onDeaf?.();
    logEvent(this.#deps.log, event, (id) => this.nameOf(id));
  }

  #carryOut(changes: readonly DirectoryChange[]): void {
    for (const change of changes) {
      if (change.type !== "removed") continue;
      this.#deps.log.info({ member: change.memberId }, "member was removed from the cluster");
      this.#node.expel(change.memberId);
    }
    if (changes.length > 0) this.#deps.onChanges(changes);
    const { ownAgentId, onRemoved } = this.#deps;
    if (ownAgentId !== undefined && this.directory.isRemoved(ownAgentId, this.id, this.#ownEpoch)) onRemoved?.();
  }
}

/** A credential that nobody would believe is as old as can be. */
function epochOf({ credential, clusterKey }: Pick<MemberPapers, "credential" | "clusterKey">): number {
  return verifyCredential(credential, clusterKey, verifySignature)?.epoch ?? 0;
}

/** The transport takes the bytes over, so it gets copies. An id has one byte there. */
function sealKeysOf({ keys, sendingId }: GossipKeys): ClusterKeys {
  const all = keys.map(({ id, key }) => clusterKey(id % 256, Uint8Array.from(key)));
  const current = all[keys.findIndex(({ id }) => id === sendingId)] ?? (all[0] as (typeof all)[number]);
  return { current, accepted: all.filter((key) => key !== current) };
}
