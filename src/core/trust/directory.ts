/**
 * What gossip's records say of the cluster, as far as the cluster signed it: who is let in, who has which assignment, who
 * was removed. Gossip carries, it decides nothing: whatever is not signed, is signed for somebody else, was taken back or
 * is older than what is known changes nothing here.
 */
import type { Peer } from "../../model/cluster.ts";
import { REMOVALS_MAX } from "../../model/limits.ts";
import { type AssignmentStatement, verifyAssignmentStatement } from "../../model/trust/assignment-statement.ts";
import { toText } from "../../model/trust/bytes.ts";
import { type Credential, verifyCredential } from "../../model/trust/credential.ts";
import { memberIdOf, type Verify } from "../../model/trust/member.ts";
import { type Removal, verifyEpochFloor, verifyRemoval } from "../../model/trust/removal.ts";
import { type Age, isNewer, isRefused, type NewestWord } from "../../model/trust/standing.ts";

/** Keys of records: an agent's own assignment, the epoch floor, and a removal before the removed member's id. */
export const ASSIGNMENT_KEY = "assignment";
export const FLOOR_KEY = "epoch-floor";
export const REMOVAL_KEY = "removal/";

export type DirectoryChange =
  | { readonly type: "peer"; readonly peer: Peer }
  | { readonly type: "gone"; readonly id: string }
  /** The member is out: gossip is to forget it. */
  | { readonly type: "removed"; readonly memberId: string };

/** What is known by the end of the changes, by agent id; `undefined`: it is gone. */
export function changedPeers(changes: readonly DirectoryChange[]): Map<string, Peer | undefined> {
  const peers = new Map<string, Peer | undefined>();
  for (const change of changes)
    if (change.type === "peer") peers.set(change.peer.id, change.peer);
    else if (change.type === "gone") peers.set(change.id, undefined);
  return peers;
}

/** Why records were not believed. */
export type Disbelief = "bad-signature" | "not-its-own" | "removed" | "older";

/** The records of one owner. */
export interface OwnerRecords {
  keys(): readonly string[];
  value(key: string): Uint8Array | undefined;
}

export class Directory {
  readonly disbelief: Record<Disbelief, number> = { "bad-signature": 0, "not-its-own": 0, removed: 0, older: 0 };
  readonly #clusterKey: Uint8Array;
  readonly #verify: Verify;
  readonly #ownAgentId: string | undefined;
  /** By member id. */
  readonly #credentials = new Map<string, Credential>();
  readonly #statements = new Map<string, AssignmentStatement>();
  /** By agent id: the member whose statement holds. */
  readonly #holders = new Map<string, string>();
  /**
   * By agent id, also of those whose word is gone again: an older one is a word that was taken back. As many as the cluster
   * has agents, because a removal stands for what it ends.
   */
  readonly #newest = new Map<string, NewestWord>();
  readonly #unsaved = new Set<string>();
  readonly #removals = new Map<string, Removal>();
  /** Removals as they came, in base64url, which were carried out. */
  readonly #heeded = new Set<string>();
  #floor = 0;

  /**
   * @param ownAgentId whose assignment is no peer's
   * @param newest what `keepNewest` handed out earlier
   */
  constructor(clusterKey: Uint8Array, verify: Verify, ownAgentId?: string, newest: readonly NewestWord[] = []) {
    this.#clusterKey = clusterKey;
    this.#verify = verify;
    this.#ownAgentId = ownAgentId;
    for (const word of newest) this.#newest.set(word.agentId, word);
  }

  /**
   * Whether the cluster lets the member in.
   * @returns the public key behind its id, always the same object
   */
  admit(memberId: string, credential: Uint8Array): Uint8Array | undefined {
    const word = verifyCredential(credential, this.#clusterKey, this.#verify);
    if (word === undefined || memberIdOf(word.publicKey) !== memberId) return undefined;
    const { agentId, epoch } = word;
    if (isRefused({ agentId, memberId, epoch }, this.#refusals())) return undefined;
    const before = this.#credentials.get(memberId);
    const kept = before === undefined ? word : { ...word, publicKey: before.publicKey };
    if (before === undefined || before.epoch <= epoch) this.#credentials.set(memberId, kept);
    return kept.publicKey;
  }

  credentialOf(memberId: string): Credential | undefined {
    return this.#credentials.get(memberId);
  }

  /** The member that speaks for the agent, as far as is known. */
  memberOf(agentId: string): string | undefined {
    return this.#holders.get(agentId);
  }

  statementOf(memberId: string): AssignmentStatement | undefined {
    return this.#statements.get(memberId);
  }

  /** Whether a removal names this agent or this member, and voids what it was issued up to that epoch. */
  isRemoved(agentId: string, memberId: string, epoch: number): boolean {
    return isRefused({ agentId, memberId, epoch }, { ...this.#refusals(), floor: 0 });
  }

  /** How old the newest word on the agent is, whoever it is that speaks for it now. */
  newestOf(agentId: string): Age | undefined {
    return this.#newest.get(agentId);
  }

  /** Of all agents but the own one. */
  *peers(): Generator<Peer> {
    for (const memberId of this.#holders.values()) {
      const statement = this.#statements.get(memberId);
      if (statement !== undefined && statement.peer.id !== this.#ownAgentId) yield statement.peer;
    }
  }

  /** Hands out what must outlive this process; what `keep` throws at is handed out again. */
  keepNewest(keep: (words: readonly NewestWord[], gone: readonly string[]) => void): void {
    if (this.#unsaved.size === 0) return;
    const ids = [...this.#unsaved];
    keep(
      ids.flatMap((id) => this.#newest.get(id) ?? []),
      ids.filter((id) => !this.#newest.has(id)),
    );
    this.#unsaved.clear();
  }

  /** Takes a removal from wherever it comes. @returns what changes by it; nothing when the cluster did not say so */
  remove(bytes: Uint8Array): DirectoryChange[] {
    // Masters tell all removals with each change of one: a signature is checked once.
    const text = toText(bytes);
    if (this.#heeded.has(text)) return [];
    const removal = verifyRemoval(bytes, this.#clusterKey, this.#verify);
    if (removal === undefined) {
      this.disbelief["bad-signature"] += 1;
      return [];
    }
    const before = this.#removals.get(removal.memberId);
    if (before !== undefined && before.epoch >= removal.epoch) return [];
    if (this.#removals.size >= 2 * REMOVALS_MAX && before === undefined) return [];
    this.#removals.set(removal.memberId, removal);
    if (this.#heeded.size >= 2 * REMOVALS_MAX) this.#heeded.clear();
    this.#heeded.add(text);
    return this.#sweep();
  }

  /** @returns as `remove` */
  raiseFloor(bytes: Uint8Array): DirectoryChange[] {
    const floor = verifyEpochFloor(bytes, this.#clusterKey, this.#verify);
    if (floor === undefined) this.disbelief["bad-signature"] += 1;
    if (floor === undefined || floor <= this.#floor) return [];
    this.#floor = floor;
    for (const [id, { epoch }] of this.#removals) if (epoch < floor) this.#removals.delete(id);
    return this.#sweep();
  }

  /** The owner's records changed. @returns what follows from that for this host */
  update(memberId: string, records: OwnerRecords): DirectoryChange[] {
    const changes: DirectoryChange[] = [];
    const floor = records.value(FLOOR_KEY);
    if (floor !== undefined) changes.push(...this.raiseFloor(floor));
    for (const key of records.keys()) {
      const removal = key.startsWith(REMOVAL_KEY) ? records.value(key) : undefined;
      if (removal !== undefined) changes.push(...this.remove(removal));
    }
    changes.push(...this.#assigned(memberId, records.value(ASSIGNMENT_KEY)));
    return changes;
  }

  #refusals() {
    return { floor: this.#floor, removals: [...this.#removals.values()] };
  }

  #assigned(memberId: string, bytes: Uint8Array | undefined): DirectoryChange[] {
    if (bytes === undefined) return this.#forget(memberId);
    const statement = verifyAssignmentStatement(bytes, this.#clusterKey, this.#verify);
    const why = statement === undefined ? "bad-signature" : this.#disbelieve(memberId, statement);
    if (why === undefined && statement !== undefined) return this.#take(memberId, statement);
    // What was believed before stays: a bad word is no word.
    if (why !== undefined) this.disbelief[why] += 1;
    return [];
  }

  #disbelieve(memberId: string, statement: AssignmentStatement): Disbelief | undefined {
    const { peer, publicKey, epoch } = statement;
    if (memberIdOf(publicKey) !== memberId) return "not-its-own";
    if (isRefused({ agentId: peer.id, memberId, epoch }, this.#refusals())) return "removed";
    const known = this.#newest.get(peer.id);
    if (known !== undefined && isNewer(known, statement)) return "older";
    const same = this.#statements.get(memberId);
    return same !== undefined && isNewer(same, statement) ? "older" : undefined;
  }

  #take(memberId: string, statement: AssignmentStatement): DirectoryChange[] {
    const { peer, epoch, revision } = statement;
    const newest = this.#newest.get(peer.id);
    if (newest === undefined || isNewer(statement, newest)) {
      this.#newest.set(peer.id, { agentId: peer.id, epoch, revision });
      this.#unsaved.add(peer.id);
    }
    const before = this.#statements.get(memberId);
    // What counted for the agent may have been another member's word.
    const inForce = this.#statements.get(this.#holders.get(peer.id) ?? "");
    const isSame = inForce !== undefined && JSON.stringify(inForce.peer) === JSON.stringify(peer);
    const changes = before !== undefined && before.peer.id !== peer.id ? this.#forget(memberId) : [];
    this.#statements.set(memberId, statement);
    this.#holders.set(peer.id, memberId);
    if (isSame || peer.id === this.#ownAgentId) return changes;
    return [...changes, { type: "peer", peer }];
  }

  #forget(memberId: string): DirectoryChange[] {
    const statement = this.#statements.get(memberId);
    this.#statements.delete(memberId);
    if (statement === undefined || this.#holders.get(statement.peer.id) !== memberId) return [];
    this.#holders.delete(statement.peer.id);
    return statement.peer.id === this.#ownAgentId ? [] : [{ type: "gone", id: statement.peer.id }];
  }

  /** Ends what was taken back just now. */
  #sweep(): DirectoryChange[] {
    const refusals = this.#refusals();
    const changes: DirectoryChange[] = [];
    for (const [memberId, { agentId, epoch }] of this.#credentials)
      if (isRefused({ agentId, memberId, epoch }, refusals)) {
        this.#credentials.delete(memberId);
        changes.push(...this.#forget(memberId), { type: "removed", memberId });
      }
    for (const [memberId, { peer, epoch }] of this.#statements)
      if (isRefused({ agentId: peer.id, memberId, epoch }, refusals)) changes.push(...this.#forget(memberId));
    for (const [agentId, { epoch }] of this.#newest)
      if (isRefused({ agentId, memberId: "", epoch }, refusals)) {
        this.#newest.delete(agentId);
        this.#unsaved.add(agentId);
      }
    return changes;
  }
}
