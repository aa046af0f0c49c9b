/**
 * The open peer streams: each agent gets all peers but itself, then every change. Changes are collected for a moment and
 * leave in one piece; a reader that does not keep up is cut off and comes back for a snapshot, so that it costs a
 * bounded amount of memory. A blank line tells a silent stream from a dead one.
 */
import type { Clock, PeerUpdate } from "../../io/ports.ts";
import type { Peer } from "../../model/cluster.ts";
import { PEER_STREAM_BACKLOG_MAX_BYTES, PEER_STREAM_BATCH_MS, PEER_STREAM_HEARTBEAT_MS } from "../../model/limits.ts";
import { PeerSnapshot } from "./peer-snapshot.ts";

export interface PeerStream {
  readonly body: ReadableStream<Uint8Array>;
  send(update: PeerUpdate): void;
  close(): void;
}

interface Reader {
  readonly agentId: string;
  readonly controller: ReadableStreamDefaultController<Uint8Array>;
  readonly onEnd: () => void;
}

interface Change {
  readonly id: string;
  readonly line: string;
}

const HEARTBEAT = Buffer.from("\n");

export class PeerStreams {
  readonly #clock: Clock;
  readonly #onCutOff: (agentId: string) => void;
  readonly #snapshot = new PeerSnapshot();
  readonly #readers = new Set<Reader>();
  #changes: Change[] = [];
  #cancelHeartbeat: () => void;

  /** @param onCutOff is told of each reader that was too slow */
  constructor(peers: readonly Peer[], clock: Clock, onCutOff: (agentId: string) => void) {
    this.#clock = clock;
    this.#onCutOff = onCutOff;
    for (const peer of peers) this.#snapshot.set(peer);
    this.#cancelHeartbeat = this.#beatLater();
  }

  set(peer: Peer): void {
    this.#snapshot.set(peer);
    this.#change(peer.id, { type: "peer", peer });
  }

  delete(id: string): void {
    this.#snapshot.delete(id);
    this.#change(id, { type: "gone", id });
  }

  /** @param onEnd is called once, whoever ends the stream */
  open(agentId: string, onEnd: () => void): PeerStream {
    this.#flush();
    let reader: Reader | undefined;
    const body = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          reader = { agentId, controller, onEnd };
        },
        cancel: () => {
          if (reader !== undefined) this.#end(reader);
        },
      },
      new ByteLengthQueuingStrategy({ highWaterMark: PEER_STREAM_BACKLOG_MAX_BYTES }),
    );
    // The constructor has called `start` by now.
    const opened = reader as unknown as Reader;
    this.#readers.add(opened);
    for (const piece of this.#snapshot.lineWithout(agentId)) this.#write(opened, piece);
    return {
      body,
      send: (update) => this.#write(opened, encode(update)),
      close: () => {
        if (this.#end(opened)) opened.controller.close();
      },
    };
  }

  /** Ends all streams and the heartbeat. */
  close(): void {
    this.#cancelHeartbeat();
    for (const reader of this.#readers) if (this.#end(reader)) reader.controller.close();
  }

  #change(id: string, update: PeerUpdate): void {
    if (this.#readers.size === 0) return;
    if (this.#changes.length === 0) this.#clock.after(PEER_STREAM_BATCH_MS, () => this.#flush());
    this.#changes.push({ id, line: lineOf(update) });
  }

  #flush(): void {
    const changes = this.#changes.splice(0);
    if (changes.length === 0) return;
    const changed = new Set(changes.map(({ id }) => id));
    const all = joined(changes);
    for (const reader of this.#readers) {
      const own = changed.has(reader.agentId) ? joined(changes.filter(({ id }) => id !== reader.agentId)) : all;
      if (own.length > 0) this.#write(reader, own);
    }
  }

  #beatLater(): () => void {
    return this.#clock.after(PEER_STREAM_HEARTBEAT_MS, () => {
      for (const reader of this.#readers) this.#write(reader, HEARTBEAT);
      this.#cancelHeartbeat = this.#beatLater();
    });
  }

  #write(reader: Reader, bytes: Uint8Array): void {
    if (!this.#readers.has(reader)) return;
    reader.controller.enqueue(bytes);
    if ((reader.controller.desiredSize ?? 0) > 0) return;
    this.#end(reader);
    reader.controller.error(new Error(`agent ${reader.agentId} does not read its peer stream`));
    this.#onCutOff(reader.agentId);
  }

  /** @returns false when the stream had ended before */
  #end(reader: Reader): boolean {
    const open = this.#readers.delete(reader);
    if (open) reader.onEnd();
    return open;
  }
}

function lineOf(update: PeerUpdate): string {
  return `${JSON.stringify(update)}\n`;
}

function encode(update: PeerUpdate): Uint8Array {
  return Buffer.from(lineOf(update));
}

function joined(changes: readonly Change[]): Uint8Array {
  return Buffer.from(changes.map(({ line }) => line).join(""));
}
