/**
 * All that one member knows: of each member its newest head, whether it was confirmed dead, and its records; and the
 * digest over that, kept in step with each change. Versions only rise here.
 */
import { ALIVE, DEAD, type Death, type Head, LEFT, type MemberId, type Status } from "./messages.ts";
import type { OwnerState } from "./owner-state.ts";
import { bucketOf, type Roster } from "./roster.ts";
import { type Hash64, hashMember, isNewer, memberVersion } from "./version.ts";

/** Immutable. */
export interface Member {
  readonly head: Head;
  /** Confirmed, and not yet contradicted by the member. */
  readonly death: Death | undefined;
  readonly status: Status;
  /** Of the head, or of the death, if there is one. */
  readonly gen: number;
  readonly inc: number;
  /** inc and status in one number. */
  readonly version: number;
  readonly publicKey: Uint8Array;
  /** When this state was adopted, on the clock of `now`. */
  readonly since: number;
  /** Contribution to the digest. */
  readonly hash: Hash64;
}

export class Table {
  readonly roster: Roster;
  #members: (Member | undefined)[] = [];
  #states: (OwnerState | undefined)[] = [];
  /** Last round trip, ms; 0: none yet. */
  #rtt = new Float32Array(64);
  /** Numbers of all members, in no order, and where each stands in it: for drawing one by chance. */
  #known: number[] = [];
  #dead = new Set<number>();
  readonly #buckets = new Uint32Array(256);
  #high = 0;
  #low = 0;

  constructor(roster: Roster) {
    this.roster = roster;
  }

  /** One that knows the same and then goes its own way; what is immutable is shared. Members of a simulation begin so. */
  copy(): Table {
    const copy = new Table(this.roster);
    copy.#members = this.#members.slice();
    copy.#states = this.#states.slice();
    copy.#rtt = this.#rtt.slice();
    copy.#known = this.#known.slice();
    copy.#dead = new Set(this.#dead);
    copy.#buckets.set(this.#buckets);
    copy.#high = this.#high;
    copy.#low = this.#low;
    return copy;
  }

  get size(): number {
    return this.#known.length;
  }

  /** Digest over everything. */
  get root(): Hash64 {
    return { high: this.#high >>> 0, low: this.#low >>> 0 };
  }

  /** Digests of the parts; a copy. */
  buckets(): Uint32Array {
    return this.#buckets.slice();
  }

  bucketDigest(index: number): number {
    return this.#buckets[index] as number;
  }

  member(id: MemberId): Member | undefined {
    const number = this.roster.numberOf(id);
    return number === undefined ? undefined : this.#members[number];
  }

  state(id: MemberId): OwnerState | undefined {
    const number = this.roster.numberOf(id);
    return number === undefined ? undefined : this.#states[number];
  }

  /** The n-th member in an order that is stable while none is added or expelled. */
  nth(n: number): Member {
    return this.#members[this.#known[n] as number] as Member;
  }

  /** How many are held for dead, and one of them by chance. */
  get dead(): number {
    return this.#dead.size;
  }

  /** @param fraction chance, in [0, 1) */
  someDead(fraction: number): Member | undefined {
    let left = Math.floor(fraction * this.#dead.size);
    for (const number of this.#dead) {
      if (left === 0) return this.#members[number];
      left -= 1;
    }
    return undefined;
  }

  *members(): Generator<Member> {
    for (const number of this.#known) yield this.#members[number] as Member;
  }

  /** Members in a part of the digest by rising id. */
  *inBucket(index: number): Generator<Member> {
    for (const number of this.roster.bucket(index)) {
      const member = this.#members[number];
      if (member !== undefined) yield member;
    }
  }

  rtt(id: MemberId): number {
    const number = this.roster.numberOf(id);
    return number === undefined ? 0 : (this.#rtt[number] ?? 0);
  }

  /** Smoothed as TCP does. */
  measured(id: MemberId, ms: number): void {
    const number = this.roster.numberOf(id);
    if (number === undefined) return;
    if (number >= this.#rtt.length) {
      const larger = new Float32Array(Math.max(number + 1, this.#rtt.length * 2));
      larger.set(this.#rtt);
      this.#rtt = larger;
    }
    const before = this.#rtt[number] as number;
    this.#rtt[number] = before === 0 ? ms : before + (ms - before) / 8;
  }

  /**
   * Takes a head that was verified. A death that it does not contradict stays.
   * @returns whether it was newer than what was known
   */
  putHead(head: Head, publicKey: Uint8Array, now: number): boolean {
    const number = this.roster.admit(head.id);
    if (number === undefined) return false;
    const before = this.#members[number];
    const status = head.hasLeft ? LEFT : ALIVE;
    const version = memberVersion(head.inc, status);
    if (before !== undefined && !isNewer(head.gen, version, before.gen, before.version)) {
      // A dead member whose head was not known to its end: the death holds against this one as well.
      if (before.death === undefined || !isNewer(head.gen, version, before.head.gen, headVersion(before.head)))
        return false;
      this.#setMember(number, { ...before, head, publicKey });
      return false;
    }
    this.#setMember(number, {
      head,
      death: undefined,
      status,
      gen: head.gen,
      inc: head.inc,
      version,
      publicKey,
      since: before?.status === status ? before.since : now,
      hash: hashMember(head.id, head.gen, version),
    });
    return true;
  }

  /** Takes a death that was confirmed. @returns whether it is news of a member that is known */
  putDeath(death: Death, now: number): boolean {
    const number = this.roster.numberOf(death.id);
    const before = number === undefined ? undefined : this.#members[number];
    const version = memberVersion(death.inc, DEAD);
    if (number === undefined || before === undefined) return false;
    if (before.status === LEFT && death.gen <= before.gen) return false;
    if (!isNewer(death.gen, version, before.gen, before.version)) return false;
    const { gen, inc } = death;
    const hash = hashMember(death.id, gen, version);
    this.#setMember(number, { ...before, death, status: DEAD, gen, inc, version, since: now, hash });
    return true;
  }

  /** Takes a state that is newer than the one it replaces. */
  putState(state: OwnerState): void {
    const number = this.roster.numberOf(state.owner);
    if (number === undefined || this.#members[number] === undefined) return;
    const before = this.#states[number];
    if (before !== undefined) this.#toggle(state.owner, before.hash);
    this.#toggle(state.owner, state.hash);
    this.#states[number] = state;
  }

  /** Forgets the member and all of its records. @returns whether it was known */
  expel(id: MemberId): boolean {
    const number = this.roster.numberOf(id);
    const member = number === undefined ? undefined : this.#members[number];
    if (number === undefined || member === undefined) return false;
    this.#toggle(id, member.hash);
    const state = this.#states[number];
    if (state !== undefined) this.#toggle(id, state.hash);
    this.#members[number] = undefined;
    this.#dead.delete(number);
    this.#states[number] = undefined;
    this.#known.splice(this.#known.indexOf(number), 1);
    return true;
  }

  #setMember(number: number, member: Member): void {
    const before = this.#members[number];
    if (before === undefined) this.#known.push(number);
    else this.#toggle(member.head.id, before.hash);
    this.#toggle(member.head.id, member.hash);
    this.#members[number] = member;
    if (member.status === DEAD) this.#dead.add(number);
    else this.#dead.delete(number);
  }

  #toggle(id: MemberId, hash: Hash64): void {
    this.#high ^= hash.high;
    this.#low ^= hash.low;
    const bucket = bucketOf(id);
    this.#buckets[bucket] = ((this.#buckets[bucket] as number) ^ hash.low) >>> 0;
  }
}

export function headVersion(head: Head): number {
  return memberVersion(head.inc, head.hasLeft ? LEFT : ALIVE);
}
