/**
 * The side that opens sealed datagrams (layout: seal.ts): who is heard, and which of their counters were seen.
 *
 * Nothing is kept of a datagram before its tag is known to be right, so that whoever has no key can neither fill a table
 * nor push an entry out of one. What junk costs: one GCM, and one HMAC where its session is unknown.
 */
import { createDecipheriv, type KeyObject } from "node:crypto";
import { DATAGRAM_MAX_BYTES, FORGOTTEN_SESSIONS_MAX, SESSIONS_MAX } from "../../model/limits.ts";
import type { UdpAddress } from "../ports.ts";
import { type KeyRing, type RingKey, sessionKey } from "./key-ring.ts";
import { ReplayWindow } from "./replay-window.ts";
import {
  authenticatedBytes,
  CIPHER,
  COUNTER_AT,
  HEADER_BYTES,
  KEY_ID_AT,
  nonceOf,
  SEAL_BYTES,
  SESSION_AT,
  TAG_BYTES,
  VERSION,
} from "./seal.ts";

/**
 * Why a datagram was not opened. All but `bad-tag` are said of what the header claims, without a look at the tag:
 * `wrong-source`: this session was heard from another address; `replay`, `too-old`: by the session's window.
 */
export type OpenRefusal =
  | "short"
  | "oversize"
  | "version"
  | "unknown-key"
  | "wrong-source"
  | "replay"
  | "too-old"
  | "bad-tag";

interface Session {
  readonly under: RingKey;
  readonly key: KeyObject;
  readonly window: ReplayWindow;
  readonly source: UdpAddress;
}

/** What is left of a session that had to make room: enough not to accept again what was accepted. */
interface ForgottenSession {
  readonly under: RingKey;
  readonly highest: number;
}

export interface OpenerOptions {
  readonly sessionsMax?: number;
  readonly forgottenMax?: number;
}

/** Opens what one socket receives. */
export class Opener {
  readonly #ring: KeyRing;
  readonly #local: UdpAddress;
  readonly #sessionsMax: number;
  readonly #forgottenMax: number;
  /** By key id and session. Those heard longest ago first. */
  readonly #sessions = new Map<string, Session>();
  /** The same names; those forgotten longest ago first. */
  readonly #forgotten = new Map<string, ForgottenSession>();

  /** @param local where the socket is bound, as senders address it */
  constructor(ring: KeyRing, local: UdpAddress, options: OpenerOptions = {}) {
    this.#ring = ring;
    this.#local = local;
    this.#sessionsMax = options.sessionsMax ?? SESSIONS_MAX;
    this.#forgottenMax = options.forgottenMax ?? FORGOTTEN_SESSIONS_MAX;
  }

  /** How many sessions are known. */
  get sessions(): number {
    return this.#sessions.size;
  }

  /** What can be said of a datagram for next to nothing: whether it is worth opening, and whether its session is known. */
  inspect(datagram: Buffer, from: UdpAddress): OpenRefusal | "known" | "stranger" {
    if (datagram.length < SEAL_BYTES) return "short";
    if (datagram.length > DATAGRAM_MAX_BYTES) return "oversize";
    if (datagram[0] !== VERSION) return "version";
    const under = this.#ring.byId(datagram[KEY_ID_AT] ?? 0);
    if (under === undefined) return "unknown-key";
    const session = this.#sessions.get(nameOf(datagram));
    if (session === undefined) return "stranger";
    if (session.source.ip !== from.ip || session.source.port !== from.port) return "wrong-source";
    const verdict = session.window.judge(counterOf(datagram));
    return verdict === "new" ? "known" : verdict;
  }

  /** @returns the payload, which shares no memory with `datagram`, or why there is none. Never throws. */
  open(datagram: Buffer, from: UdpAddress): Buffer | OpenRefusal {
    const verdict = this.inspect(datagram, from);
    if (verdict !== "known" && verdict !== "stranger") return verdict;
    const under = this.#ring.byId(datagram[KEY_ID_AT] ?? 0);
    if (under === undefined) return "unknown-key";
    const name = nameOf(datagram);
    const session = this.#sessions.get(name) ?? this.#newSession(name, under, datagram, from);
    const counter = counterOf(datagram);
    if (session.window.judge(counter) !== "new") return "too-old"; // of a session that was forgotten
    const payload = decipher(session.key, datagram, authenticatedBytes(datagram, from, this.#local));
    if (payload === undefined) return "bad-tag";
    session.window.note(counter);
    this.#hear(name, session);
    return payload;
  }

  /** Forgets what belongs to keys that are no longer in the ring. To be called when its keys were replaced. */
  forgetRemovedKeys(): void {
    for (const known of [this.#sessions, this.#forgotten])
      for (const [name, { under }] of known) if (!this.#ring.has(under)) known.delete(name);
  }

  /** Not kept yet. */
  #newSession(name: string, under: RingKey, datagram: Buffer, source: UdpAddress): Session {
    const window = new ReplayWindow(this.#forgotten.get(name)?.highest);
    return { under, key: sessionKey(under, datagram.subarray(SESSION_AT, COUNTER_AT)), window, source };
  }

  #hear(name: string, session: Session): void {
    if (!this.#sessions.delete(name)) this.#forgotten.delete(name);
    this.#sessions.set(name, session);
    if (this.#sessions.size <= this.#sessionsMax) return;
    for (const [oldest, { under, window }] of this.#sessions) {
      this.#sessions.delete(oldest);
      this.#forgotten.set(oldest, { under, highest: window.highest });
      break;
    }
    if (this.#forgotten.size <= this.#forgottenMax) return;
    for (const oldest of this.#forgotten.keys()) {
      this.#forgotten.delete(oldest);
      break;
    }
  }
}

/** Key id and session: one short string, which is what a Map finds fastest. */
function nameOf(datagram: Buffer): string {
  return datagram.toString("latin1", KEY_ID_AT, COUNTER_AT);
}

function counterOf(datagram: Buffer): number {
  return datagram.readUIntBE(COUNTER_AT, HEADER_BYTES - COUNTER_AT);
}

function decipher(key: KeyObject, datagram: Buffer, authenticated: Uint8Array): Buffer | undefined {
  const end = datagram.length - TAG_BYTES;
  const gcm = createDecipheriv(CIPHER, key, nonceOf(datagram), { authTagLength: TAG_BYTES });
  gcm.setAAD(authenticated);
  gcm.setAuthTag(datagram.subarray(end));
  const payload = gcm.update(datagram.subarray(HEADER_BYTES, end));
  // A wrong tag is an exception, and more than half of its cost is the stack that nobody reads (5.4 µs, 2.5 without).
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  try {
    gcm.final();
    return payload;
  } catch {
    return undefined;
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}
