/**
 * Whom the cluster trusts, kept in step with the store: its signing key, members, epochs, tokens and gossip keys.
 *
 * A change is planned first (`admission`, `removal`), written by the caller together with what it belongs to, and applied
 * when it is written; so a disk that refuses leaves nothing half done. It is told to nobody before it is durable.
 */
import { type Applicant, isMember, refuseSecondId, type Voucher } from "../../core/trust/admission.ts";
import { FIRST_EPOCH, isFloorDue, withFloor, withRemovals } from "../../core/trust/epochs.ts";
import { newSecret, sha256 } from "../../io/crypto/keys.ts";
import type { Log } from "../../io/log.ts";
import type { Clock } from "../../io/ports.ts";
import type { Peer } from "../../model/cluster.ts";
import { assert, Fault, type FaultFacts } from "../../model/fault.ts";
import { assignmentText, issueAssignmentStatement } from "../../model/trust/assignment-statement.ts";
import { fromText, toText } from "../../model/trust/bytes.ts";
import { issueCredential } from "../../model/trust/credential.ts";
import type { EpochRecord } from "../../model/trust/epoch-record.ts";
import { GOSSIP_KEY_BYTES, type GossipKeys, gossipKeysOf, type KeyRing } from "../../model/trust/key-ring.ts";
import { memberIdOf, type Signer } from "../../model/trust/member.ts";
import type { MemberRecord, Membership } from "../../model/trust/membership.ts";
import { issueEpochFloor, issueRemoval } from "../../model/trust/removal.ts";
import { type Age, isNewer, type Refusals } from "../../model/trust/standing.ts";
import type { Token, TokenRecord } from "../../model/trust/token.ts";
import { type Caller, Callers, type SealedAnswer } from "./callers.ts";
import type { ControlRecords } from "./control-records.ts";
import { GossipKeyRing } from "./gossip-key-ring.ts";
import { Tokens } from "./tokens.ts";

/** The master's private keys, and the token that a new cluster begins with. */
export interface MasterSecrets {
  /** Signs what the cluster says. */
  readonly cluster: Signer;
  /** The master's own key as a member of the gossip. */
  readonly member: Signer;
  /** Seals what the store keeps of secrets: 32 bytes, the same on all masters of the cluster. */
  readonly storeKey: Uint8Array;
  /** Called once in the life of a cluster; what it gives can be used any number of times. */
  firstToken(): Token;
}

export interface ClusterTrustDeps {
  readonly records: ControlRecords;
  readonly clock: Clock;
  readonly log: Log;
  readonly secrets: MasterSecrets;
}

/** What one registration or deletion changes, to be written in one piece. */
export interface TrustChange {
  readonly member?: MemberRecord;
  /** Agents whose membership ends. */
  readonly gone: readonly string[];
  readonly epochs?: EpochRecord;
  readonly token?: TokenRecord;
}

interface SignedRefusals {
  readonly removals: readonly Uint8Array[];
  readonly floor: Uint8Array;
}

export class ClusterTrust {
  readonly tokens: Tokens;
  readonly callers: Callers;
  /** What agents are told of the epoch floor; absent: the one in force. */
  floorToTell: Uint8Array | undefined;
  /** Where agents may join the gossip. */
  seeds: readonly string[] = [];
  readonly gossipKeys: GossipKeyRing;
  /** Told after epochs or keys have changed: what the accessors below give is no longer what it was. */
  onChange: () => void = () => {};
  readonly #deps: ClusterTrustDeps;
  readonly #members = new Map<string, MemberRecord>();
  /** By public key in base64url. */
  readonly #byKey = new Map<string, MemberRecord>();
  #epochs: EpochRecord;
  #signed: SignedRefusals | undefined;
  #issued = new Map<string, Uint8Array>();

  /** @throws Fault storage, corrupt-store */
  constructor(deps: ClusterTrustDeps) {
    const { records, clock } = deps;
    this.#deps = deps;
    const own = toText(this.clusterKey);
    const known = records.clusterKey();
    if (known !== undefined && known !== own) throw foreignKey(known, own);
    const { members, tokens, epochs, keyRing } = records.trust();
    this.tokens = new Tokens(tokens, { records, clock });
    this.callers = new Callers(clock, (id) => this.tokens.withId(id));
    this.#epochs = epochs ?? FIRST_EPOCH;
    for (const member of members) this.#put(member);
    const ring = keyRing ?? { phase: "steady", current: { id: 1, key: toText(newSecret(GOSSIP_KEY_BYTES)) } };
    if (epochs === undefined || keyRing === undefined) this.#begin(ring);
    else if (known === undefined)
      records.change({ who: "master", what: "the cluster's public key is kept" }, () => records.saveClusterKey(own));
    this.gossipKeys = new GossipKeyRing(ring, deps);
    this.gossipKeys.onChange = () => this.onChange();
  }

  // ---- what gossip stands on -----------------------------------------------------------------------------------------

  /** The cluster's Ed25519 public key. */
  get clusterKey(): Uint8Array {
    return this.#deps.secrets.cluster.publicKey;
  }

  /** The master's own key as a member, and the id that its credential names. */
  get signer(): Signer {
    return this.#deps.secrets.member;
  }

  get masterId(): string {
    return `master-${memberIdOf(this.signer.publicKey)}`;
  }

  /** The master's own credential, of the current epoch. */
  get credential(): Uint8Array {
    const { publicKey } = this.signer;
    return this.#credential("master", publicKey, this.masterId, this.#epochs.epoch);
  }

  get epoch(): number {
    return this.#epochs.epoch;
  }

  /** What was taken back, to be asked by `isRefused`. */
  get refusals(): Refusals {
    return this.#epochs;
  }

  /** The removals, each signed by the cluster. */
  get removals(): readonly Uint8Array[] {
    return this.#words().removals;
  }

  /** The epoch floor, signed by the cluster. */
  get epochFloor(): Uint8Array {
    return this.#words().floor;
  }

  get keys(): GossipKeys {
    return gossipKeysOf(this.gossipKeys.ring);
  }

  memberOf(agentId: string): MemberRecord | undefined {
    return this.#members.get(agentId);
  }

  // ---- registration and removal --------------------------------------------------------------------------------------

  /**
   * Lets the caller register as this agent, or not; its proof counts as used from then on.
   * @returns the token whose use is to be counted, if there is one
   * @throws Fault not-admitted, unauthorized
   */
  admit(agentId: string, caller: Caller): TokenRecord | undefined {
    const { publicKey } = caller;
    if (publicKey === undefined)
      throw new Fault(
        "unauthorized",
        "a registration is signed by the agent's identity key; run the same version of Weft",
      );
    const text = toText(publicKey);
    const voucher = voucherOf(caller);
    const applicant = { agentId, publicKey: text, memberId: memberIdOf(publicKey) };
    const known = {
      ofAgent: this.#members.get(agentId),
      ofKey: this.#byKey.get(text),
      removals: this.#epochs.removals,
      date: this.#deps.clock.date(),
    };
    const isKnown = withProof(
      () => isMember(applicant, voucher, known),
      () => this.#proofOfRemoval(applicant),
    );
    caller.accept();
    return isKnown || voucher.type !== "token" ? undefined : voucher.token;
  }

  /**
   * Is it this agent that calls?
   * @throws Fault unauthorized
   */
  requireAgent(agentId: string, caller: Caller): void {
    const member = this.#members.get(agentId);
    if (member === undefined || caller.publicKey === undefined || toText(caller.publicKey) !== member.publicKey)
      throw new Fault("unauthorized", `this call is not signed by agent ${agentId}; only it may make it`, {
        agent: agentId,
      });
    caller.accept();
  }

  /**
   * What it changes that the owner of `publicKey` has this assignment.
   * @param replaced the agent whose record it takes over
   * @param token whose use is counted
   * @param seen of what the cluster signed for the agent, the newest that is about. It is ahead of what is known here when
   *   the database was restored from a backup; what is issued now must be newer still, or no peer believes it
   * @returns `undefined` when nothing changes
   * @throws Fault not-admitted, exhausted
   */
  admission(
    { peer, hostname, publicKey }: Subject,
    replaced: string | undefined,
    token: TokenRecord | undefined,
    seen?: Age,
  ): TrustChange | undefined {
    const text = toText(publicKey);
    const applicant = { agentId: peer.id, publicKey: text, memberId: memberIdOf(publicKey) };
    refuseSecondId(applicant, this.#byKey.get(text), replaced);
    const gone = replaced === undefined || replaced === peer.id ? [] : [replaced];
    const before = this.#members.get(peer.id);
    const isBehind = seen !== undefined && isNewer(seen, before ?? NEVER);
    const epochs = reaching(this.#epochsWithout(gone), isBehind ? seen.epoch : 0);
    const content = toText(sha256(Buffer.from(assignmentText({ peer, hostname, publicKey, epoch: 0, revision: 0 }))));
    const isSame = before?.content === content && !isBehind;
    const { epoch } = epochs;
    const risen = Math.max(before?.revision ?? 0, isBehind ? seen.revision : 0) + 1;
    const member: MemberRecord = {
      agentId: peer.id,
      publicKey: text,
      epoch,
      revision: isSame ? before.revision : risen,
      content,
    };
    const settled = withFloor(epochs, () => [...this.#others([peer.id, ...gone]), member]);
    if (isSame && before.epoch === epoch && token === undefined && settled === this.#epochs) return undefined;
    return {
      member,
      gone,
      ...(settled !== this.#epochs && { epochs: settled }),
      ...(token !== undefined && { token: { ...token, used: token.used + 1 } }),
    };
  }

  /** What it changes that these agents are removed. @throws Fault exhausted */
  removal(agentIds: readonly string[]): TrustChange {
    return { gone: agentIds, epochs: this.#epochsWithout(agentIds) };
  }

  /** Writes the change, as part of a larger one. */
  write({ member, gone, epochs, token }: TrustChange): void {
    const { records } = this.#deps;
    for (const id of gone) records.deleteMember(id);
    if (member !== undefined) records.putMember(member);
    if (epochs !== undefined) records.saveEpochs(epochs);
    if (token !== undefined) records.putToken(token);
  }

  /** The change is written. @returns whether agents should register again, so that the epoch floor can rise */
  apply({ member, gone, epochs, token }: TrustChange): boolean {
    for (const id of gone) this.#forget(id);
    if (member !== undefined) this.#put(member);
    if (token !== undefined) this.tokens.put(token);
    if (epochs === undefined) return false;
    this.#epochs = epochs;
    this.#signed = undefined;
    this.#deps.records.whenDurable(() => this.onChange());
    return isFloorDue(epochs) && gone.length > 0;
  }

  /** The answer to a registration, for this caller's eyes alone. @throws Fault bad-request */
  answer(text: string, caller: Caller): SealedAnswer {
    return caller.sealAnswer(Buffer.from(text), this.#deps.secrets.cluster);
  }

  /** All that makes this agent a member. */
  membershipOf(subject: Subject): Membership {
    const member = this.#members.get(subject.peer.id);
    assert(member !== undefined, "an agent that was let in has a member record");
    const { epoch, revision } = member;
    return {
      clusterKey: this.clusterKey,
      credential: this.#credential("agent", subject.publicKey, subject.peer.id, epoch),
      statement: issueAssignmentStatement({ ...subject, epoch, revision }, this.#deps.secrets.cluster),
      removals: this.removals,
      epochFloor: this.floorToTell ?? this.epochFloor,
      keys: this.keys,
      seeds: this.seeds,
    };
  }

  #credential(role: "agent" | "master", publicKey: Uint8Array, agentId: string, epoch: number): Uint8Array {
    return issueCredential({ role, publicKey, agentId, epoch }, this.#deps.secrets.cluster);
  }

  #words(): SignedRefusals {
    const { cluster } = this.#deps.secrets;
    if (this.#signed !== undefined) return this.#signed;
    // Each removal is told again with the next ones, and is signed once.
    const before = this.#issued;
    this.#issued = new Map();
    const removals = this.#epochs.removals.map((removal) => {
      const of = `${removal.epoch} ${removal.memberId} ${removal.agentId}`;
      const bytes = before.get(of) ?? issueRemoval(removal, cluster);
      this.#issued.set(of, bytes);
      return bytes;
    });
    this.#signed = { removals, floor: issueEpochFloor(this.#epochs.floor, cluster) };
    return this.#signed;
  }

  #epochsWithout(agentIds: readonly string[]): EpochRecord {
    const gone = agentIds.flatMap((agentId) => {
      const member = this.#members.get(agentId);
      const key = member && fromText(member.publicKey);
      // One from before there were members was never issued anything.
      return key === undefined ? [] : [{ agentId, memberId: memberIdOf(key) }];
    });
    return withRemovals(this.#epochs, gone, () => this.#others(agentIds));
  }

  #others(agentIds: readonly string[]): readonly MemberRecord[] {
    return [...this.#members.values()].filter(({ agentId }) => !agentIds.includes(agentId));
  }

  /** By which an agent believes that it was removed: the cluster's word, whoever carries it. */
  #proofOfRemoval({ agentId, memberId }: Pick<Applicant, "agentId" | "memberId">): FaultFacts {
    const { removals } = this.#epochs;
    const at = removals.findLastIndex((each) => each.agentId === agentId || each.memberId === memberId);
    const removal = this.removals[at];
    return { epochFloor: toText(this.epochFloor), ...(removal !== undefined && { removal: toText(removal) }) };
  }

  #put(member: MemberRecord): void {
    this.#forget(member.agentId);
    this.#members.set(member.agentId, member);
    this.#byKey.set(member.publicKey, member);
  }

  #forget(agentId: string): void {
    const before = this.#members.get(agentId);
    if (before !== undefined && this.#byKey.get(before.publicKey) === before) this.#byKey.delete(before.publicKey);
    this.#members.delete(agentId);
  }

  /** The first start of a cluster, or the first one after an upgrade. */
  #begin(ring: KeyRing): void {
    const { records, secrets, log } = this.#deps;
    const first = this.tokens.recordOf(secrets.firstToken(), { kind: "join", note: "first start" }, 0);
    records.change({ who: "master", what: "the cluster begins" }, () => {
      records.saveClusterKey(toText(this.clusterKey));
      records.saveEpochs(this.#epochs);
      records.saveKeyRing(ring);
      records.putToken(first);
    });
    this.tokens.put(first);
    log.debug({ token: first.id }, "join token made for this cluster");
  }
}

/** Adds the proof to the refusal of somebody who was not admitted. */
function withProof<T>(ask: () => T, proof: () => FaultFacts): T {
  try {
    return ask();
  } catch (thrown) {
    if (!(thrown instanceof Fault) || thrown.code !== "not-admitted") throw thrown;
    throw new Fault(thrown.code, thrown.message, { ...thrown.facts, ...proof() });
  }
}

/** As old as no word is. */
const NEVER: Age = { epoch: -1, revision: 0 };

function reaching(epochs: EpochRecord, epoch: number): EpochRecord {
  return epoch > epochs.epoch ? { ...epochs, epoch } : epochs;
}

/** The store belongs to another cluster than the master's `cluster.key`. */
export function foreignKey(stored: string, own: string | undefined): Fault {
  return new Fault(
    "bad-config",
    `the store is that of the cluster ${stored}, and ${own === undefined ? "there is no cluster.key here" : `cluster.key here is of ${own}`}: all masters ` +
      "of a cluster have the same one. Copy it from another master's data directory (mode 0600), or from the backup",
    { stored, ...(own !== undefined && { own }) },
  );
}

/** What an assignment statement is about. */
export interface Subject {
  readonly peer: Peer;
  readonly hostname: string;
  readonly publicKey: Uint8Array;
}

function voucherOf({ way, token }: Caller): Voucher {
  if (token !== undefined) return { type: "token", token };
  if (way === "socket") return { type: "socket" };
  return { type: way === "certificate" ? "certificate" : "nobody" };
}
