/**
 * An agent's peers from its master's stream, opened again whenever it ends, at the master that the agent's calls went to
 * last. What was known before an end stays with the reader; the next snapshot replaces it.
 */
import { type Backoff, backoffMs } from "../model/backoff.ts";
import {
  PEER_STREAM_BACKOFF_FIRST_MS,
  PEER_STREAM_BACKOFF_MAX_MS,
  PEER_STREAM_COMPLAINTS_MAX,
  PEER_STREAM_HEARTBEAT_MS,
} from "../model/limits.ts";
import type { Log } from "./log.ts";
import { PeerStream, type StreamMaster, type StreamReader } from "./peer-stream.ts";
import type { Clock, PeerSource, PeerUpdate, Random } from "./ports.ts";

export interface MasterPeerSourceDeps extends StreamReader {
  /** Tells the URL of the master to read from, and proves whose stream it is. */
  readonly client: StreamMaster & { current(): string };
  readonly clock: Clock;
  readonly random: Pick<Random, "fraction">;
  readonly log: Log;
  /**
   * Called once each time a stream ended or could not be opened: maybe another master serves now, or this one does not
   * know the agent any more.
   */
  readonly onLost: () => void;
}

const BACKOFF: Backoff = { firstMs: PEER_STREAM_BACKOFF_FIRST_MS, maxMs: PEER_STREAM_BACKOFF_MAX_MS };

/** Opens nothing before `start`. */
export function openMasterPeerSource(deps: MasterPeerSourceDeps): PeerSource {
  return new MasterPeerSource(deps);
}

class MasterPeerSource implements PeerSource {
  readonly #deps: MasterPeerSourceDeps;
  #stream: PeerStream | undefined;
  #cancelRetry: () => void = () => {};
  /** Streams since the last one that lasted. */
  #retries = 0;
  readonly #complaints = new Set<string>();

  constructor(deps: MasterPeerSourceDeps) {
    this.#deps = deps;
  }

  start(onUpdate: (update: PeerUpdate) => void): void {
    this.stop();
    this.#retries = 0;
    this.#connect(onUpdate);
  }

  stop(): void {
    this.#cancelRetry();
    this.#stream?.close();
    this.#stream = undefined;
  }

  #connect(onUpdate: (update: PeerUpdate) => void): void {
    const { client, clock, log } = this.#deps;
    const master = client.current();
    let openedAt: number | undefined;
    this.#stream = new PeerStream(client, this.#deps, clock, {
      onOpen: () => {
        openedAt = clock.now();
        log.info({ master }, "peer stream opened");
      },
      onUpdate,
      onComplaint: (text) => this.#complain(text),
      onEnd: (reason) => {
        // One that breaks again and again must not be opened without pause, each time for a whole snapshot.
        if (openedAt !== undefined && clock.now() - openedAt >= PEER_STREAM_HEARTBEAT_MS) this.#retries = 0;
        this.#reconnect(onUpdate, master, reason);
      },
    });
  }

  #reconnect(onUpdate: (update: PeerUpdate) => void, master: string, reason: string): void {
    const { clock, log, onLost, random } = this.#deps;
    // The first failure of a row is news, the others are not.
    if (this.#retries === 0) log.warn({ master, reason }, "peer stream lost; it is opened again");
    else log.debug({ master, reason, retries: this.#retries }, "peer stream not opened");
    this.#cancelRetry = clock.after(backoffMs(BACKOFF, this.#retries, random.fraction()), () =>
      this.#connect(onUpdate),
    );
    this.#retries += 1;
    onLost();
  }

  #complain(text: string): void {
    if (this.#complaints.has(text) || this.#complaints.size >= PEER_STREAM_COMPLAINTS_MAX) return;
    this.#complaints.add(text);
    this.#deps.log.warn({ reason: text }, "part of the peer stream skipped");
  }
}
