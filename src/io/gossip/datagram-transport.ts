/**
 * What gossip runs on: payloads from agent to agent, sealed, over one UDP socket. A payload that arrives was written by a
 * holder of the cluster's key, for this agent, and is given up once; it may be lost, late or out of order. After a restart
 * of this process recorded datagrams are new to it again, so whoever is above must not mind an old message
 * (docs/decisions/0024 says what that means for each kind).
 *
 * A datagram is judged by its header as it arrives, charged to a budget, queued, and opened in stretches of
 * RECEIVE_STRETCH_MS between which the event loop goes on.
 */
import { RECEIVE_QUEUE_MAX, RECEIVE_STRETCH_MS, STRANGER_QUEUE_MAX } from "../../model/limits.ts";
import type { Clock, SendClass, Udp, UdpAddress, UdpCounters, UdpRefusal, UdpSocket } from "../ports.ts";
import { queueIsFull } from "../udp-rules.ts";
import { type ClusterKeys, KeyRing } from "./key-ring.ts";
import { Opener, type OpenRefusal } from "./open.ts";
import { PAYLOAD_MAX_BYTES, Sealer, type SealerOptions } from "./seal.ts";
import { type RateRefusal, SourceLimits } from "./source-limits.ts";

/** Why a received datagram was dropped. `queue-full`: more came than could be opened in time. */
export type DropReason = OpenRefusal | RateRefusal | "queue-full";

/** Each a count since the transport was opened. */
export interface TransportCounters {
  readonly sent: Record<SendClass, number>;
  /** What `send` did not take. */
  readonly refused: Record<SendClass, Record<UdpRefusal, number>>;
  /** Payloads that were given up. */
  opened: number;
  readonly dropped: Record<DropReason, number>;
  /** Of the socket below, where each refusal that reached it is counted again. */
  readonly udp: Readonly<UdpCounters>;
}

export interface TransportOptions {
  readonly udp: Udp;
  readonly clock: Clock;
  readonly keys: ClusterKeys;
  /** The agent's own address, as its peers reach it: no wildcard, and no address translation between. Port 0: any. */
  readonly at: UdpAddress;
  /** Called once for each payload, whose bytes are the receiver's to keep. `from` is authenticated. It must not throw. */
  readonly onPayload: (payload: Buffer, from: UdpAddress) => void;
  /** Calls back soon, when sockets were read: `setImmediate`, or a simulated clock's `after(0, …)`. */
  readonly soon?: (call: () => void) => void;
  readonly sealing?: SealerOptions;
}

interface Received {
  readonly datagram: Buffer;
  readonly from: UdpAddress;
  readonly isKnown: boolean;
  /** When it arrived. */
  readonly at: number;
}

/** @throws Fault port-taken, bad-request, no-rights as Udp.open; bad-config as KeyRing */
export async function openDatagramTransport(options: TransportOptions): Promise<DatagramTransport> {
  const ring = new KeyRing(options.keys);
  let transport: DatagramTransport | undefined;
  const socket = await options.udp.open(options.at, (datagram, from) => transport?.receive(datagram, from));
  transport = new DatagramTransport(options, ring, socket);
  return transport;
}

export class DatagramTransport {
  readonly counters: TransportCounters;
  readonly #clock: Clock;
  readonly #ring: KeyRing;
  readonly #socket: UdpSocket;
  readonly #sealer: Sealer;
  readonly #opener: Opener;
  readonly #limits = new SourceLimits();
  readonly #onPayload: TransportOptions["onPayload"];
  readonly #soon: (call: () => void) => void;
  #queue: Received[] = [];
  #strangers = 0;
  #isDue = false;

  constructor({ clock, onPayload, soon, sealing }: TransportOptions, ring: KeyRing, socket: UdpSocket) {
    this.#clock = clock;
    this.#ring = ring;
    this.#socket = socket;
    this.#sealer = new Sealer(ring, socket.local, sealing);
    this.#opener = new Opener(ring, socket.local);
    this.#onPayload = onPayload;
    this.#soon = soon ?? setImmediate;
    this.counters = newCounters(socket.counters);
  }

  get local(): UdpAddress {
    return this.#socket.local;
  }

  /** Received datagrams that wait to be opened. A judgement about who is silent is worth nothing while there are any. */
  get waiting(): number {
    return this.#queue.length;
  }

  /** How long the oldest of what waits to be opened has waited, ms. */
  get unreadMs(): number {
    const [oldest] = this.#queue;
    return oldest === undefined ? 0 : this.#clock.now() - oldest.at;
  }

  /** Sessions of senders that are known. */
  get sessions(): number {
    return this.#opener.sessions;
  }

  /**
   * Seals and sends one payload of at most PAYLOAD_MAX_BYTES.
   * @returns why it was not taken; `undefined` when it was, which does not say that it arrives
   */
  send(to: UdpAddress, payload: Uint8Array, sendClass: SendClass): UdpRefusal | undefined {
    const refusal = this.#refusal(to, payload, sendClass);
    if (refusal === undefined) this.counters.sent[sendClass]++;
    else this.counters.refused[sendClass][refusal]++;
    return refusal;
  }

  #refusal(to: UdpAddress, payload: Uint8Array, sendClass: SendClass): UdpRefusal | undefined {
    if (payload.length > PAYLOAD_MAX_BYTES) return "too-long";
    // Before it is sealed: there is least time for it when the queue is full.
    if (queueIsFull(this.#socket.queued, sendClass)) return "queue-full";
    return this.#socket.send(to, this.#sealer.seal(to, payload), sendClass);
  }

  /**
   * From now on these keys are valid and no others: to rotate, have every agent accept the new key, then have every one
   * send with it, then remove the old one. A key that was removed must not come back under its id.
   * @throws Fault bad-config as KeyRing; then all is as it was
   */
  replaceKeys(keys: ClusterKeys): void {
    this.#ring.replace(keys);
    this.#opener.forgetRemovedKeys();
  }

  /** Goes on under a new session: see Sealer. */
  renewSession(): void {
    this.#sealer.renewSession();
  }

  /** What the socket received. */
  receive(datagram: Buffer, from: UdpAddress): void {
    const { dropped } = this.counters;
    const verdict = this.#opener.inspect(datagram, from);
    const isKnown = verdict === "known";
    if (!isKnown && verdict !== "stranger") {
      dropped[verdict]++;
      return;
    }
    const refusal = this.#limits.refuses(from.ip, isKnown, this.#clock.now());
    if (refusal !== undefined) dropped[refusal]++;
    else if (this.#queue.length >= RECEIVE_QUEUE_MAX || (!isKnown && this.#strangers >= STRANGER_QUEUE_MAX))
      dropped["queue-full"]++;
    else {
      this.#queue.push({ datagram, from, isKnown, at: this.#clock.now() });
      if (!isKnown) this.#strangers++;
      this.#openSoon();
    }
  }

  #openSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#soon(() => {
      this.#isDue = false;
      this.#openStretch();
    });
  }

  #openStretch(): void {
    const until = this.#clock.now() + RECEIVE_STRETCH_MS;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      if (!next.isKnown) this.#strangers--;
      this.#open(next);
      if (this.#clock.now() >= until) break;
    }
    if (this.#queue.length > 0) this.#openSoon();
  }

  #open({ datagram, from }: Received): void {
    const payload = this.#opener.open(datagram, from);
    if (typeof payload === "string") {
      this.counters.dropped[payload]++;
      return;
    }
    this.#limits.proved(from.ip);
    this.counters.opened++;
    this.#onPayload(payload, from);
  }

  /** No payload is given up once this is called. */
  close(): Promise<void> {
    this.#queue = [];
    return this.#socket.close();
  }
}

function newCounters(udp: Readonly<UdpCounters>): TransportCounters {
  const refused = (): Record<UdpRefusal, number> => ({ closed: 0, "queue-full": 0, "too-long": 0, unreachable: 0 });
  return {
    sent: { control: 0, bulk: 0 },
    refused: { control: refused(), bulk: refused() },
    opened: 0,
    dropped: {
      short: 0,
      oversize: 0,
      version: 0,
      "unknown-key": 0,
      "wrong-source": 0,
      replay: 0,
      "too-old": 0,
      "bad-tag": 0,
      "sender-rate": 0,
      "stranger-rate": 0,
      "queue-full": 0,
    },
    udp,
  };
}
