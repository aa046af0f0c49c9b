/**
 * One member of the simulated gossip: the shipping machine, driven as a process drives it. It can crash with or without
 * its disk, stand still, and handle late what arrives; a timer of a former life never fires in the next one.
 */
import type { GossipEffect, GossipEvent } from "../src/core/gossip/context.ts";
import { Gossip } from "../src/core/gossip/gossip.ts";
import type { Address, Head, MemberId, Message } from "../src/core/gossip/messages.ts";
import type { OwnerState } from "../src/core/gossip/owner-state.ts";
import type { Roster } from "../src/core/gossip/roster.ts";
import { Table } from "../src/core/gossip/table.ts";
import type { Timing } from "../src/core/gossip/timing.ts";
import { nextGen } from "../src/core/gossip/version.ts";
import type { Engine } from "./engine.ts";
import type { Network } from "./network.ts";
import type { Processor, Worker } from "./processor.ts";
import type { SimIdentity, SimTrust } from "./trust.ts";

export interface MemberDependencies {
  readonly engine: Engine;
  readonly network: Network;
  readonly trust: SimTrust;
  readonly roster: Roster;
  readonly fraction: () => number;
  readonly timing: Timing;
  readonly seeds: readonly Address[];
  /** Told of every effect but sends. */
  readonly onEffect: (member: SimMember, effect: Exclude<GossipEffect, { type: "send" }>) => void;
  /** Told of what is sent, before it is. */
  readonly onSend: (member: SimMember, effect: Extract<GossipEffect, { type: "send" }>) => void;
  /** Told of what is about to be handled. */
  readonly onReceive: (member: SimMember, from: Address, messages: readonly Message[]) => void;
  /** What a member's monotonic clock shows when it starts, ms. */
  readonly clockOrigin: () => number;
  /** A gen that its first life begins above; who loses its disk begins at 0. */
  readonly firstGen: () => number;
}

/** What survives a crash. */
interface Disk {
  gen: number;
  readonly known: Map<MemberId, { readonly head: Head; readonly state: OwnerState | undefined }>;
}

/** Datagrams that wait in the socket of a process that stands still. */
const SOCKET_PACKETS_MAX = 1_000;

export class SimMember {
  readonly name: string;
  readonly identity: SimIdentity;
  address: Address;
  /** What it shows to be let in. */
  credential: Uint8Array;
  /** Whom it lets in; without: whom the trust of the simulation does. */
  admit: ((head: Head) => Uint8Array | undefined) | undefined;
  readonly events: { readonly at: number; readonly event: GossipEvent }[] = [];
  gossip: Gossip | undefined;
  /** How late what arrives is handled, ms; asked for each packet. */
  inboundDelay: (() => number) | undefined;
  /** Bytes sent. */
  sent = 0;
  /** Members that this one was told to refuse. */
  readonly refused = new Set<MemberId>();
  readonly #deps: MemberDependencies;
  /** What it shares with others; without: nothing that it does takes time. */
  #processor: Processor | undefined;
  #disk: Disk = { gen: 0, known: new Map() };
  #life = 0;
  #dueAt = Number.POSITIVE_INFINITY;
  #pausedUntil = 0;
  #socket: { readonly at: number; readonly call: () => void }[] = [];
  /** When it last looked at its socket: of what came since it knows nothing. */
  #readAt = Number.NEGATIVE_INFINITY;
  #origin = 0;
  #dueOnClock = Number.POSITIVE_INFINITY;
  /** Work that was done and is still to be paid for, ms. */
  #owed = 0;
  readonly #worker: Worker = { step: () => this.#work() };

  constructor(name: string, identity: SimIdentity, address: Address, deps: MemberDependencies) {
    this.name = name;
    this.identity = identity;
    this.address = address;
    this.credential = identity.credential;
    this.#deps = deps;
  }

  get id(): MemberId {
    return this.identity.id;
  }

  get isUp(): boolean {
    return this.gossip !== undefined;
  }

  get isPaused(): boolean {
    return this.#deps.engine.now < this.#pausedUntil;
  }

  /** On the engine's clock. */
  get pausedUntil(): number {
    return this.#pausedUntil;
  }

  /** What its own clock shows. */
  get #now(): number {
    return this.#deps.engine.now + this.#origin;
  }

  /** @param warm what the member is to know from the first moment on, itself not, and the gen that it is known by */
  start(warm?: { readonly gen: number; readonly table: Table }): void {
    const { network, trust, roster, fraction, timing, seeds } = this.#deps;
    if (this.#life === 0) this.#disk.gen = this.#deps.firstGen();
    const gen = warm?.gen ?? nextGen(this.#disk.gen, fraction());
    const known = [...this.#disk.known.values()].map(({ head }) => head.address);
    this.#life += 1;
    this.#origin = this.#deps.clockOrigin();
    const gossip = new Gossip(
      {
        self: {
          id: this.id,
          address: this.address,
          credential: this.credential,
          sign: (bytes) => this.#signature(() => this.identity.sign(bytes)),
        },
        gen,
        seeds: [...seeds, ...known.slice(0, 16)],
        timing: warm === undefined ? timing : { ...timing, joinWaitMs: 0 },
      },
      {
        table: warm?.table ?? new Table(roster),
        fraction,
        unreadMs: () => this.#unreadMs(),
        verify: (...words) => this.#signature(() => trust.verify(...words)),
        admit: (head) => {
          if (this.admit !== undefined) return this.admit(head);
          return this.refused.has(head.id) ? undefined : trust.publicKeyOf(head);
        },
      },
    );
    for (const { head, state } of this.#disk.known.values()) gossip.restore(head, state);
    this.gossip = gossip;
    network.bind(this.address, (from, sender, messages) => this.#arrives(from, sender, messages));
    this.#done(gossip.start(this.#now));
  }

  /** The process ends without a word. */
  crash(): void {
    if (this.gossip === undefined) return;
    this.#save();
    this.#gone();
  }

  loseDisk(): void {
    this.#disk = { gen: 0, known: new Map() };
  }

  leave(): void {
    if (this.gossip === undefined) return;
    this.#save();
    this.#done(this.gossip.leave(this.#now));
    this.#gone();
  }

  /** Nothing happens in the process for so long, as when its host is suspended. */
  pause(ms: number): void {
    const { engine } = this.#deps;
    const life = this.#life;
    this.#pausedUntil = Math.max(this.#pausedUntil, engine.now + ms);
    engine.at(this.#pausedUntil, () => {
      if (life === this.#life && !this.isPaused) this.#resume();
    });
  }

  /** Its monotonic clock shows so much more at once: a host that was suspended, seen from inside. */
  jumpClock(ms: number): void {
    this.#origin += ms;
    if (this.gossip !== undefined && !this.isPaused) this.#done(this.gossip.tick(this.#now));
  }

  /** From now on what it does takes time there; `undefined`: none. */
  runOn(processor: Processor | undefined): void {
    if (processor !== this.#processor) this.#processor?.relieve();
    this.#processor = processor;
    if (!this.isPaused) this.#resume();
  }

  publish(changes: ReadonlyMap<string, Uint8Array | undefined>): void {
    const { gossip } = this;
    if (gossip !== undefined) this.#done(gossip.publish(changes, this.#now));
  }

  /** Shows another credential from now on. */
  renew(credential: Uint8Array): void {
    this.credential = credential;
    if (this.gossip !== undefined) this.#done(this.gossip.renew(credential, this.#now));
  }

  expel(id: MemberId): void {
    this.refused.add(id);
    this.forget(id);
  }

  /** Without refusing it by itself: `admit` has to. */
  forget(id: MemberId): void {
    this.#disk.known.delete(id);
    if (this.gossip !== undefined) this.#done(this.gossip.expel(id, this.#now));
  }

  #gone(): void {
    this.#life += 1;
    this.gossip = undefined;
    this.#dueAt = Number.POSITIVE_INFINITY;
    this.#pausedUntil = 0;
    this.#socket = [];
    this.#deps.network.unbind(this.address);
  }

  #save(): void {
    for (const { head } of this.gossip?.members() ?? [])
      if (head.id !== this.id) this.#disk.known.set(head.id, { head, state: this.gossip?.state(head.id) });
  }

  #arrives(from: Address, sender: MemberId, messages: readonly Message[]): void {
    const life = this.#life;
    const handle = () => {
      if (life !== this.#life || this.gossip === undefined) return;
      this.#deps.onReceive(this, from, messages);
      this.#done(this.gossip.receive(from, sender, messages, this.#now));
    };
    if (this.#processor !== undefined) {
      if (this.#socket.length < SOCKET_PACKETS_MAX) this.#socket.push({ at: this.#deps.engine.now, call: handle });
      this.#processor.wake(this.#worker);
    } else if (this.inboundDelay !== undefined)
      this.#deps.engine.after(this.inboundDelay(), () => this.#whenAwake(handle));
    else this.#whenAwake(handle);
  }

  #whenAwake(call: () => void): void {
    if (!this.isPaused) call();
    else if (this.#socket.length < SOCKET_PACKETS_MAX) this.#socket.push({ at: this.#deps.engine.now, call });
  }

  /** Timers come first, then what arrived meanwhile: the order of Node's event loop. */
  #resume(): void {
    const { gossip } = this;
    if (gossip === undefined) return;
    if (this.#processor !== undefined) {
      this.#processor.wake(this.#worker);
      return;
    }
    this.#done(gossip.tick(this.#now));
    const waiting = this.#socket;
    this.#socket = [];
    for (const { call } of waiting) call();
  }

  /** With a processor: timers come first, then the next packet. */
  #work(): number | undefined {
    const [processor, gossip] = [this.#processor, this.gossip];
    if (processor === undefined || gossip === undefined || this.isPaused) return undefined;
    if (this.#owed === 0) {
      if (this.#dueOnClock - this.#origin <= this.#deps.engine.now) {
        this.#owed = processor.costs.tickMs;
        this.#done(gossip.tick(Math.max(this.#now, this.#dueOnClock)));
      } else {
        this.#readAt = this.#deps.engine.now;
        const next = this.#socket.shift();
        if (next === undefined) return undefined;
        this.#owed = processor.costs.packetMs;
        next.call();
      }
    }
    const ms = Math.min(this.#owed, processor.costs.packetMs);
    this.#owed -= ms;
    return ms;
  }

  #unreadMs(): number {
    const [oldest] = this.#socket;
    return oldest === undefined || oldest.at > this.#readAt ? 0 : this.#deps.engine.now - oldest.at;
  }

  #signature<T>(call: () => T): T {
    this.#owed += this.#processor?.costs.signatureMs ?? 0;
    return call();
  }

  #done(effects: readonly GossipEffect[]): void {
    const { network, onEffect, engine } = this.#deps;
    for (const effect of effects) {
      if (effect.type === "send") {
        this.#deps.onSend(this, effect);
        this.#owed += this.#processor?.costs.sendMs ?? 0;
        this.sent += network.send(this.address, this.id, effect.to, effect.messages, effect.bytes);
        continue;
      }
      if (effect.type === "gen") this.#disk.gen = effect.gen;
      if (effect.type === "event") this.events.push({ at: engine.now, event: effect.event });
      onEffect(this, effect);
    }
    this.#schedule();
  }

  #schedule(): void {
    this.#dueOnClock = this.gossip?.nextDeadline() ?? Number.POSITIVE_INFINITY;
    const due = this.#dueOnClock - this.#origin;
    if (due >= this.#dueAt) return;
    this.#dueAt = due;
    const life = this.#life;
    this.#deps.engine.at(due, () => {
      if (life !== this.#life || this.#dueAt !== due) return;
      this.#dueAt = Number.POSITIVE_INFINITY;
      if (this.#processor !== undefined) {
        this.#processor.wake(this.#worker);
        return;
      }
      // One that stands still wakes by `pause` itself. The difference of two clocks is not exact: never before its time.
      if (!this.isPaused && this.gossip !== undefined)
        this.#done(this.gossip.tick(Math.max(this.#now, Math.min(this.#dueOnClock, this.#now + 1))));
    });
  }
}
