/**
 * What waits to be sent. Control leaves at the end of the step in which it was said; bulk is gathered for a moment per
 * destination, keeps to a budget of bytes per second, and never stands before control: a probe that waits behind copies
 * would look like a dead member, and a healed partition would accuse everybody.
 *
 * Heads and deaths go before records in one destination's queue. A queue that is full drops what came last of the records,
 * for an answer in pieces is of no use without its beginning, and says so: the destination is then compared with as a
 * whole.
 */
import {
  GOSSIP_BULK_BURST_BYTES,
  GOSSIP_BULK_BYTES_PER_SECOND,
  GOSSIP_LINK_QUEUE_MAX_BYTES,
  GOSSIP_PACKET_MAX_BYTES,
  GOSSIP_QUEUE_MAX_BYTES,
} from "../../model/limits.ts";
import { messageBytes, PACKET_HEADER_BYTES } from "./codec.ts";
import type { Address, Message } from "./messages.ts";
import type { Timers } from "./timers.ts";

const ROOM = GOSSIP_PACKET_MAX_BYTES - PACKET_HEADER_BYTES;

interface Waiting {
  readonly message: Message;
  readonly bytes: number;
}

interface Queue {
  urgent: Waiting[];
  rest: Waiting[];
  bytes: number;
  hasOverflown: boolean;
}

export interface OutboxDependencies {
  readonly timers: Timers;
  readonly batchMs: number;
  readonly now: () => number;
  readonly send: (to: Address, messages: readonly Message[], bytes: number, isControl: boolean) => void;
  readonly onOverflow: (to: Address) => void;
}

export class Outbox {
  readonly #deps: OutboxDependencies;
  readonly #control = new Map<Address, Waiting[]>();
  /** In the order in which their turn comes. */
  readonly #queues = new Map<Address, Queue>();
  #bytes = 0;
  #tokens = GOSSIP_BULK_BURST_BYTES;
  #tokensAt = 0;
  #isScheduled = false;

  constructor(deps: OutboxDependencies) {
    this.#deps = deps;
  }

  /** Bytes of bulk that wait. */
  get waitingBytes(): number {
    return this.#bytes;
  }

  /** How long a message queued now would wait, ms. */
  get delayMs(): number {
    return (this.#bytes / GOSSIP_BULK_BYTES_PER_SECOND) * 1_000;
  }

  control(to: Address, message: Message): void {
    const waiting = { message, bytes: messageBytes(message) };
    const before = this.#control.get(to);
    if (before === undefined) this.#control.set(to, [waiting]);
    else before.push(waiting);
  }

  bulk(to: Address, message: Message): void {
    const bytes = messageBytes(message);
    let queue = this.#queues.get(to);
    if (queue === undefined) {
      queue = { urgent: [], rest: [], bytes: 0, hasOverflown: false };
      this.#queues.set(to, queue);
    }
    const isUrgent = message.type !== "delta" && message.type !== "sync-rows";
    (isUrgent ? queue.urgent : queue.rest).push({ message, bytes });
    queue.bytes += bytes;
    this.#bytes += bytes;
    while (queue.bytes > GOSSIP_LINK_QUEUE_MAX_BYTES || this.#bytes > GOSSIP_QUEUE_MAX_BYTES) {
      const dropped = queue.rest.pop() ?? queue.urgent.shift();
      if (dropped === undefined) break;
      queue.bytes -= dropped.bytes;
      this.#bytes -= dropped.bytes;
      if (!queue.hasOverflown) {
        queue.hasOverflown = true;
        this.#deps.onOverflow(to);
      }
    }
    this.#schedule(this.#deps.batchMs);
  }

  /** Sends the control messages of this step. */
  flushControl(): void {
    if (this.#control.size === 0) return;
    for (const [to, waiting] of this.#control)
      while (waiting.length > 0) {
        const { messages, bytes } = take(waiting, ROOM);
        this.#deps.send(to, messages, bytes + PACKET_HEADER_BYTES, true);
      }
    this.#control.clear();
  }

  /** Sends all that waits, whatever the budget. */
  flushAll(): void {
    this.flushControl();
    for (const [to, queue] of this.#queues)
      while (queue.bytes > 0) {
        const { messages, bytes } = takeFrom(queue);
        queue.bytes -= bytes;
        this.#deps.send(to, messages, bytes + PACKET_HEADER_BYTES, false);
      }
    this.clear();
  }

  clear(): void {
    this.#control.clear();
    this.#queues.clear();
    this.#bytes = 0;
  }

  #schedule(ms: number): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#deps.timers.at(this.#deps.now() + ms, () => {
      this.#isScheduled = false;
      this.#drain();
    });
  }

  /** One packet for each destination in turn, as long as there is budget. */
  #drain(): void {
    const now = this.#deps.now();
    this.#tokens = Math.min(
      GOSSIP_BULK_BURST_BYTES,
      this.#tokens + ((now - this.#tokensAt) * GOSSIP_BULK_BYTES_PER_SECOND) / 1_000,
    );
    this.#tokensAt = now;
    for (const [to, queue] of this.#queues) {
      if (this.#tokens <= 0) break;
      this.#queues.delete(to);
      const { messages, bytes } = takeFrom(queue);
      queue.bytes -= bytes;
      this.#bytes -= bytes;
      this.#tokens -= bytes + PACKET_HEADER_BYTES;
      // Its next turn comes after all others'; the loop sees what is added while it runs.
      if (queue.bytes > 0) this.#queues.set(to, queue);
      this.#deps.send(to, messages, bytes + PACKET_HEADER_BYTES, false);
    }
    if (this.#queues.size > 0) this.#schedule(Math.max(1, (-this.#tokens / GOSSIP_BULK_BYTES_PER_SECOND) * 1_000));
  }
}

function takeFrom({ urgent, rest }: Queue): { readonly messages: Message[]; readonly bytes: number } {
  const first = take(urgent, ROOM);
  const second = take(rest, ROOM - first.bytes);
  return { messages: [...first.messages, ...second.messages], bytes: first.bytes + second.bytes };
}

/** Removes as many from the front as fit; at least one when it has the whole room. */
function take(waiting: Waiting[], room: number): { readonly messages: Message[]; readonly bytes: number } {
  let count = 0;
  let bytes = 0;
  for (const { bytes: size } of waiting) {
    if (bytes + size > room && !(count === 0 && room === ROOM)) break;
    bytes += size;
    count += 1;
  }
  return { messages: waiting.splice(0, count).map(({ message }) => message), bytes };
}
