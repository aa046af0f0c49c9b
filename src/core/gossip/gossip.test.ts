/**
 * What the simulation meets too rarely to rely on: one member, and what others say to it by hand.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { type SimIdentity, SimTrust } from "../../../sim/trust.ts";
import { seededRandom } from "../../../test/support/seeded-random.ts";
import type { GossipEffect } from "./context.ts";
import { Gossip } from "./gossip.ts";
import { ALIVE, DEAD, type Delta, type Entry, type Head, LEFT, type Message } from "./messages.ts";
import { Publisher } from "./publisher.ts";
import { Roster } from "./roster.ts";
import { deathBytes, headBytes } from "./signed.ts";
import { Table } from "./table.ts";

class Rig {
  readonly trust = new SimTrust();
  readonly self = this.trust.admitted();
  readonly gossip: Gossip;
  now = 0;
  unreadMs = 0;
  readonly #removed = new Set<string>();
  readonly #addresses = new Map<string, string>();

  constructor() {
    const { id, credential, sign } = this.self;
    this.gossip = new Gossip(
      { self: { id, address: "10.0.0.1:1", credential, sign }, gen: 5, seeds: [] },
      {
        table: new Table(new Roster()),
        fraction: seededRandom(1).fraction,
        verify: this.trust.verify,
        unreadMs: () => this.unreadMs,
        admit: (head) => (this.#removed.has(head.id) ? undefined : this.trust.publicKeyOf(head)),
      },
    );
    this.gossip.start(0);
    this.runFor(2_000);
  }

  /** Another member that is known here already. */
  peer(gen = 1): SimIdentity {
    const peer = this.trust.admitted();
    this.hear(peer, { type: "member", head: this.headOf(peer, gen), isAsked: true });
    return peer;
  }

  headOf({ id, credential, sign }: SimIdentity, gen = 1, inc = 0, hasLeft = false): Head {
    const unsigned = { id, gen, inc, hasLeft, address: this.#addressOf(id), credential };
    return { ...unsigned, signature: sign(headBytes(unsigned)) };
  }

  hear({ id }: SimIdentity, ...messages: readonly Message[]): readonly GossipEffect[] {
    return this.gossip.receive(this.#addressOf(id), id, messages, this.now);
  }

  expel({ id }: SimIdentity): void {
    this.#removed.add(id);
    this.gossip.expel(id, this.now);
  }

  /** @returns all effects of that time */
  runFor(ms: number): GossipEffect[] {
    const end = this.now + ms;
    const effects: GossipEffect[] = [];
    while (this.gossip.nextDeadline() <= end) {
      this.now = Math.max(this.now, this.gossip.nextDeadline());
      effects.push(...this.gossip.tick(this.now));
    }
    this.now = end;
    return effects;
  }

  #addressOf(id: string): string {
    const known = this.#addresses.get(id) ?? `10.0.1.${this.#addresses.size}:1`;
    this.#addresses.set(id, known);
    return known;
  }
}

function said(effects: readonly GossipEffect[], type: Message["type"]): Message[] {
  return effects.flatMap((effect) => (effect.type === "send" ? effect.messages.filter((m) => m.type === type) : []));
}

/** Runs until the one is pinged. @returns the number of the probe */
function probed(rig: Rig): number {
  for (;;) {
    const [ping] = said(rig.runFor(10), "ping");
    if (ping?.type === "ping") return ping.seq;
  }
}

function isSuspected(effects: readonly GossipEffect[]): boolean {
  return effects.some((effect) => effect.type === "event" && effect.event.type === "suspect");
}

function accusation(accuser: SimIdentity, id: string, gen = 1, inc = 0): Message {
  const unsigned = { id, gen, inc, accuser: accuser.id };
  return {
    type: "death",
    death: { ...unsigned, signature: accuser.sign(deathBytes(unsigned)), testimonies: [] },
    isAsked: true,
  };
}

describe("a member of the gossip", () => {
  it("has a later word than any that is made up about it", () => {
    const rig = new Rig();
    const liar = rig.peer();
    rig.hear(liar, { type: "ping", seq: 1, isLink: false, dead: { gen: 5, inc: 2 ** 32 - 1 } });
    const own = rig.gossip.member(rig.self.id);
    assert.ok(own !== undefined && own.gen > 5 && own.inc === 0, "it begins a new gen");
    rig.hear(liar, { type: "ping", seq: 2, isLink: false, dead: { gen: own.gen, inc: 7 } });
    assert.equal(rig.gossip.member(rig.self.id)?.inc, 8, "and contradicts the usual way else");
  });

  it("pings for others whom it knows, where it knows them to be, and testifies of nobody else", () => {
    const rig = new Rig();
    const [asker, target, stranger] = [rig.peer(), rig.peer(), "00000000000000ff"];
    const belief = { gen: 1, inc: 0, status: ALIVE } as const;
    for (const id of [target.id, stranger]) {
      const request: Message = { type: "ping-request", seq: 1, target: id, belief };
      const effects = [...rig.hear(asker, request), ...rig.runFor(170)];
      const own = (effect: GossipEffect) =>
        effect.type === "send" &&
        effect.messages.some((message) => message.type === "ping" && message.about === asker.id);
      const addresses = effects.filter(own).map((effect) => (effect.type === "send" ? effect.to : ""));
      const where = rig.gossip.member(id)?.head.address;
      assert.deepEqual([...new Set(addresses)], where === undefined ? [] : [where]);
      assert.equal(said(effects, "testimony").length, where === undefined ? 0 : 1);
    }
  });

  it("takes no values that were changed under old signatures", () => {
    const rig = new Rig();
    const owner = rig.peer();
    const publisher = new Publisher(owner.id, 1, owner.sign);
    const write = (key: string) => publisher.write(new Map([[key, Uint8Array.of(1)]])) as Delta;
    rig.hear(owner, { type: "delta", delta: write("a"), isAsked: false });
    rig.hear(owner, { type: "delta", delta: write("b"), isAsked: false });
    write("c");
    const whole = publisher.whole();
    const forged = whole.entries.map(
      (entry): Entry => (entry.key === "a" ? { ...entry, value: Uint8Array.of(6) } : entry),
    );
    rig.hear(owner, { type: "delta", delta: { ...whole, entries: forged }, isAsked: true });
    assert.deepEqual(rig.gossip.value(owner.id, "a"), Uint8Array.of(1));
    assert.equal(rig.gossip.refusals["bad-signature"], 1);
    rig.hear(owner, { type: "delta", delta: whole, isAsked: true });
    assert.equal(rig.gossip.state(owner.id)?.seq, 3, "the same unchanged is taken");
  });

  it("answers a stranger that asks, asks one that talks, and is never asked back for that", () => {
    const rig = new Rig();
    const stranger = rig.trust.admitted();
    const whoAreYou: Message = {
      type: "pull",
      item: { kind: "member", id: rig.self.id, gen: 0, version: 0 },
      isGraft: false,
    };
    const answer = rig.hear(stranger, whoAreYou);
    assert.deepEqual([said(answer, "member").length, said(answer, "pull").length], [1, 0]);
    assert.equal(said(rig.hear(stranger, { type: "prune" }), "pull").length, 1);
    rig.hear(stranger, { type: "member", head: rig.headOf(stranger), isAsked: true });
    assert.equal(rig.gossip.member(stranger.id)?.status, ALIVE);
    rig.expel(stranger);
    const refused = rig.hear(stranger, { type: "member", head: rig.headOf(stranger, 2), isAsked: true });
    assert.deepEqual([rig.gossip.member(stranger.id), said(refused, "pull").length], [undefined, 0]);
  });

  it("says each solo accusation once to each neighbour, and believes the second accuser", () => {
    const rig = new Rig();
    const [accused, one, other, neighbor] = [rig.peer(), rig.peer(), rig.peer(), rig.peer()];
    rig.hear(neighbor, { type: "neighbor", isUrgent: true });
    const passedOn = (message: Message, from: SimIdentity) => {
      rig.hear(from, message);
      return said(rig.runFor(10), "death").length;
    };
    assert.equal(passedOn(accusation(one, accused.id), one), 1);
    assert.equal(passedOn(accusation(one, accused.id), other), 0);
    assert.equal(rig.gossip.member(accused.id)?.status, ALIVE);
    rig.hear(other, accusation(other, accused.id));
    assert.equal(rig.gossip.member(accused.id)?.status, DEAD);
  });

  it("seconds who accuses alone one that it holds for dead itself", () => {
    const rig = new Rig();
    const [accused, one, other] = [rig.peer(), rig.peer(), rig.peer()];
    for (const accuser of [one, other]) rig.hear(accuser, accusation(accuser, accused.id));
    rig.hear(one, { type: "neighbor", isUrgent: true });
    const ping = said(rig.runFor(300), "ping").find((message) => message.type === "ping" && message.isLink);
    assert.ok(ping?.type === "ping");
    rig.hear(one, { type: "ack", seq: ping.seq, isLink: true, hasHeard: false });
    const late = accusation(one, accused.id);
    rig.hear(one, { ...late, isAsked: false } as Message);
    const [seconded] = said(rig.runFor(10), "death");
    assert.ok(seconded?.type === "death" && seconded.death.accuser === rig.self.id);
  });

  it("has no link to one that has said goodbye", () => {
    const rig = new Rig();
    const peer = rig.peer();
    rig.hear(peer, { type: "member", head: rig.headOf(peer, 1, 1, true), isAsked: false });
    rig.hear(peer, { type: "neighbor", isUrgent: true });
    assert.deepEqual([rig.gossip.member(peer.id)?.status, rig.gossip.neighbors()], [LEFT, []]);
    const stays = rig.peer();
    rig.hear(stays, { type: "neighbor", isUrgent: true });
    assert.deepEqual(rig.gossip.neighbors(), [stays.id]);
  });

  it("is not changed by a packet that comes twice", () => {
    const rig = new Rig();
    const owner = rig.peer();
    const publisher = new Publisher(owner.id, 1, owner.sign);
    const delta = publisher.write(new Map([["a", Uint8Array.of(1)]])) as Delta;
    const packet: readonly Message[] = [
      { type: "member", head: rig.headOf(owner, 1, 3), isAsked: false },
      { type: "delta", delta, isAsked: false },
      accusation(owner, rig.self.id, 5, 0),
    ];
    const changes = () => rig.hear(owner, ...packet).filter(({ type }) => type !== "send");
    assert.ok(changes().length > 0);
    const { root } = rig.gossip;
    assert.deepEqual(changes(), []);
    assert.equal(rig.gossip.root, root);
  });
});

/** A probe, from its first ping to suspicion, takes less; the next one by chance comes later. */
const LADDER_MS = 600;

describe("a probe", () => {
  it("finds one that is silent", () => {
    const rig = new Rig();
    rig.peer();
    probed(rig);
    assert.ok(isSuspected(rig.runFor(LADDER_MS)));
  });

  it("finds nothing while what arrived waits to be read, and the time until then is no round trip", () => {
    const rig = new Rig();
    const peer = rig.peer();
    const seq = probed(rig);
    rig.unreadMs = 200;
    const effects = rig.runFor(10_000);
    assert.deepEqual([isSuspected(effects), said(effects, "ping").length], [false, 0]);
    rig.hear(peer, { type: "ack", seq, isLink: false, hasHeard: false });
    const rtt = rig.gossip.member(peer.id)?.rttMs ?? 0;
    assert.ok(rtt > 0 && rtt <= 500, `${rtt}`);
  });

  it("ends with a newer word of the one that it is about", () => {
    const rig = new Rig();
    const peer = rig.peer();
    probed(rig);
    rig.hear(peer, { type: "member", head: rig.headOf(peer, 1, 1), isAsked: false });
    assert.ok(!isSuspected(rig.runFor(LADDER_MS)));
  });

  it("ends with a late answer to an older one", () => {
    const rig = new Rig();
    const peer = rig.peer();
    const first = probed(rig);
    const answer = { type: "ack", seq: first, isLink: false, hasHeard: false } as const;
    rig.hear(peer, answer);
    assert.notEqual(probed(rig), first);
    assert.ok(isSuspected(rig.runFor(LADDER_MS)));
    rig.hear(peer, answer);
    assert.equal(rig.gossip.member(peer.id)?.isSuspect, false);
  });
});
