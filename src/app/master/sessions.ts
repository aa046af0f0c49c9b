/**
 * Which instance of which agent is connected: the one whose peer stream is open.
 *
 * A host that lost its power leaves a stream that looks open for as long as TCP retries, a quarter of an hour. So when
 * somebody else claims the identity or address, the connected one is asked to register again; if it does not within
 * the time in which an agent must notice a silent stream, it counts as gone.
 */
import type { Clock } from "../../io/ports.ts";
import { PEER_STREAM_SILENCE_MAX_MS } from "../../model/limits.ts";
import type { PeerStream } from "./peer-streams.ts";

interface Session {
  readonly instanceId: string;
  stream?: PeerStream;
  /** When it was asked for a sign of life that it has not given since. */
  askedAt?: number;
}

export class Sessions {
  readonly #clock: Clock;
  readonly #sessions = new Map<string, Session>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Number of connected agents. */
  get connected(): number {
    return [...this.#sessions.values()].filter(({ stream }) => stream !== undefined).length;
  }

  /** The connected agents. */
  ids(): readonly string[] {
    return [...this.#sessions].flatMap(([id, { stream }]) => (stream === undefined ? [] : [id]));
  }

  /** Asks every connected agent to register again, because there is something new for it. */
  askAllToRegister(): void {
    for (const { stream } of this.#sessions.values()) stream?.send({ type: "reassigned" });
  }

  /** The instance that is connected as `id`; one that was asked and stayed silent is disconnected first. */
  connectedInstance(id: string): string | undefined {
    const session = this.#sessions.get(id);
    if (session?.askedAt !== undefined && this.#clock.now() - session.askedAt > PEER_STREAM_SILENCE_MAX_MS)
      session.stream?.close();
    return session?.stream && session.instanceId;
  }

  /** Asks the connected instance to register again, which shows that it lives. */
  askForLife(id: string): void {
    const session = this.#sessions.get(id);
    if (session?.stream === undefined || session.askedAt !== undefined) return;
    session.askedAt = this.#clock.now();
    session.stream.send({ type: "reassigned" });
  }

  /** A request of this instance was accepted. */
  heard(id: string, instanceId: string): void {
    const session = this.#sessions.get(id);
    if (session?.instanceId === instanceId) session.askedAt = undefined;
    else {
      session?.stream?.close();
      this.#sessions.set(id, { instanceId });
    }
  }

  /** The instance's new stream takes the place of an older one. */
  connect(id: string, instanceId: string, open: (onEnd: () => void) => PeerStream): PeerStream {
    this.heard(id, instanceId);
    const session = this.#sessions.get(id) as Session;
    session.stream?.close();
    session.stream = undefined;
    let ended = false;
    const stream: PeerStream = open(() => {
      ended = true;
      if (session.stream !== undefined && session.stream === stream) session.stream = undefined;
    });
    // A stream may be cut off by its own first line.
    if (!ended) session.stream = stream;
    return stream;
  }

  forget(id: string): void {
    this.#sessions.get(id)?.stream?.close();
    this.#sessions.delete(id);
  }
}
