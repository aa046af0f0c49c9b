/**
 * Many members of one gossip on one simulated network, without hosts around them: for figures and for what concerns gossip
 * alone.
 */
import type { GossipEffect } from "../src/core/gossip/context.ts";
import type { Address, Head, Message } from "../src/core/gossip/messages.ts";
import type { OwnerState } from "../src/core/gossip/owner-state.ts";
import { Publisher } from "../src/core/gossip/publisher.ts";
import { Roster } from "../src/core/gossip/roster.ts";
import { headBytes } from "../src/core/gossip/signed.ts";
import { Table } from "../src/core/gossip/table.ts";
import { TIMING, type Timing } from "../src/core/gossip/timing.ts";
import { nextGen } from "../src/core/gossip/version.ts";
import { seededRandom } from "../test/support/seeded-random.ts";
import { Engine } from "./engine.ts";
import { type MemberDependencies, SimMember } from "./member.ts";
import { Network, type NetworkShape, USUAL_NETWORK } from "./network.ts";
import { SimTrust } from "./trust.ts";

export interface GossipClusterShape {
  readonly members: number;
  readonly seed: number;
  readonly network?: Partial<NetworkShape>;
  readonly timing?: Timing;
  /** How many of the first members are named as seeds of all. */
  readonly seeds?: number;
  /** Each life of each member begins with a clock of its own. */
  readonly hasOwnClocks?: boolean;
  readonly trust?: SimTrust;
}

/** Of members that have run for long. */
const WARM_GEN = nextGen(0, 0);

/** Of a life's clock, ms. */
const CLOCK_ORIGIN_MAX = 1_000_000;
/** Gens of members that have lived for long do not fit 32 bits, nor their counts the signed ones. */
const FIRST_GEN_MAX = 2 ** 52 - 2 ** 40;

export type Effect = Exclude<GossipEffect, { type: "send" }>;
type Send = Extract<GossipEffect, { type: "send" }>;

export class GossipCluster {
  readonly engine = new Engine();
  readonly trust: SimTrust;
  readonly network: Network;
  readonly fraction: () => number;
  /** Told of every effect but sends. */
  onEffect: (member: SimMember, effect: Effect) => void = () => {};
  onSend: (member: SimMember, send: Send) => void = () => {};
  /** Told of what a member is about to handle. */
  onReceive: (member: SimMember, from: Address, messages: readonly Message[]) => void = () => {};
  readonly #members: SimMember[] = [];
  readonly #roster = new Roster();
  readonly #deps: MemberDependencies;

  constructor(shape: GossipClusterShape) {
    const { members, seed, network, timing = TIMING, seeds = 3, hasOwnClocks = false, trust = new SimTrust() } = shape;
    this.trust = trust;
    this.fraction = seededRandom(seed).fraction;
    this.network = new Network(this.engine, { ...USUAL_NETWORK, ...network }, this.fraction);
    const seedAddresses = Array.from({ length: Math.min(seeds, members) }, (_, n) => addressOf(n));
    this.#deps = {
      engine: this.engine,
      network: this.network,
      trust: this.trust,
      roster: this.#roster,
      fraction: this.fraction,
      timing,
      seeds: seedAddresses,
      onEffect: (member, effect) => this.onEffect(member, effect),
      onSend: (member, send) => this.onSend(member, send),
      onReceive: (member, from, messages) => this.onReceive(member, from, messages),
      firstGen: () => (hasOwnClocks ? Math.floor(this.fraction() * FIRST_GEN_MAX) : 0),
      clockOrigin: () => (hasOwnClocks ? Math.floor(this.fraction() * CLOCK_ORIGIN_MAX) : 0),
    };
    for (let n = 0; n < members; n += 1) this.add();
  }

  get members(): readonly SimMember[] {
    return this.#members;
  }

  /** One more that the cluster admits; not started. */
  add(address = addressOf(this.#members.length)): SimMember {
    const member = new SimMember(`m${this.#members.length}`, this.trust.admitted(), address, this.#deps);
    this.#members.push(member);
    return member;
  }

  /** Starts all with a table of everybody, as if they had run for long, with one record each; links are still to be made. */
  startWarm(recordBytes = 400): void {
    const all = new Table(this.#roster);
    for (const { head, state } of this.introductions(recordBytes)) {
      const publicKey = this.trust.publicKeyOf(head);
      if (publicKey !== undefined && all.putHead(head, publicKey, 0)) all.putState(state);
    }
    for (const member of this.members)
      this.engine.after(this.fraction() * 1_000, () => {
        const table = all.copy();
        table.expel(member.id);
        member.start({ gen: WARM_GEN, table });
        member.publish(new Map([["record", new Uint8Array(recordBytes)]]));
      });
  }

  /** What all know of each in a warm start: its head and one record. */
  introductions(recordBytes = 400): { readonly head: Head; readonly state: OwnerState }[] {
    return this.members.map((member) => this.#introduction(member, recordBytes));
  }

  get up(): readonly SimMember[] {
    return this.members.filter(({ isUp }) => isUp);
  }

  /** Whether links lead from each member that runs to each other one. */
  isConnected(members: readonly SimMember[] = this.up): boolean {
    const byId = new Map(members.map((member) => [member.id, member]));
    const first = members[0];
    if (first === undefined) return true;
    const seen = new Set([first.id]);
    const queue = [first];
    for (let member = queue.pop(); member !== undefined; member = queue.pop())
      for (const id of member.gossip?.neighbors() ?? []) {
        const other = byId.get(id);
        if (other === undefined || seen.has(id) || other.gossip?.neighbors().includes(member.id) !== true) continue;
        seen.add(id);
        queue.push(other);
      }
    return seen.size === byId.size;
  }

  #introduction(member: SimMember, recordBytes: number): { readonly head: Head; readonly state: OwnerState } {
    const { id, credential, sign } = member.identity;
    const unsigned = { id, gen: WARM_GEN, inc: 0, hasLeft: false, address: member.address, credential };
    const publisher = new Publisher(id, WARM_GEN, sign);
    publisher.write(new Map([["record", new Uint8Array(recordBytes)]]));
    return { head: { ...unsigned, signature: sign(headBytes(unsigned)) }, state: publisher.state };
  }
}

function addressOf(n: number): string {
  return `10.${(n >> 16) & 255}.${(n >> 8) & 255}.${n & 255}:62501`;
}
