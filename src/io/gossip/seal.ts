/**
 * Datagrams between agents, sealed with AES-256-GCM: the layout, and the side that seals. The other side is open.ts, the
 * keys are key-ring.ts, the reasons docs/decisions/0024.
 *
 *   0        1        2              10            16
 *   version  key id   session (8)    counter (6)   ciphertext …  tag (16)
 *
 * Numbers are in network order. The nonce is 6 zero bytes and the counter. Authenticated beside the ciphertext: the 16
 * bytes of the header, and the text `FROM-IP FROM-PORT TO-IP TO-PORT` of the canonical addresses, which is not sent. A
 * counter goes to one receiver, and the others would not know that it was used: without the addresses, what one received
 * could be played to each of the others once, and under any source.
 */
import { createCipheriv, type KeyObject, randomBytes } from "node:crypto";
import { assert } from "../../model/fault.ts";
import { DATAGRAM_MAX_BYTES } from "../../model/limits.ts";
import type { UdpAddress } from "../ports.ts";
import { type KeyRing, type RingKey, SESSION_BYTES, sessionKey } from "./key-ring.ts";

export const VERSION = 1;
export const HEADER_BYTES = 16;
export const TAG_BYTES = 16;
export const SEAL_BYTES = HEADER_BYTES + TAG_BYTES;
/** Bytes of a payload that fits one datagram. */
export const PAYLOAD_MAX_BYTES = DATAGRAM_MAX_BYTES - SEAL_BYTES;
export const CIPHER = "aes-256-gcm";

export const KEY_ID_AT = 1;
export const SESSION_AT = 2;
export const COUNTER_AT = 10;
const COUNTER_BYTES = 6;
const COUNTER_MAX = 2 ** (8 * COUNTER_BYTES) - 1;
const NONCE_BYTES = 12;
const NO_SESSION = new Uint8Array(SESSION_BYTES);

/** Two IPv6 addresses, two ports and three spaces are 91 characters. */
const AUTHENTICATED_MAX_BYTES = HEADER_BYTES + 96;
const authenticated = Buffer.alloc(AUTHENTICATED_MAX_BYTES);
const nonce = Buffer.alloc(NONCE_BYTES);

/** What the tag speaks for beside the ciphertext. Valid until the next call. */
export function authenticatedBytes(header: Uint8Array, from: UdpAddress, to: UdpAddress): Uint8Array {
  authenticated.set(header.subarray(0, HEADER_BYTES));
  const text = `${from.ip} ${from.port} ${to.ip} ${to.port}`;
  return authenticated.subarray(0, HEADER_BYTES + authenticated.write(text, HEADER_BYTES, "latin1"));
}

/** The nonce of a datagram with this header. Valid until the next call. */
export function nonceOf(header: Uint8Array): Uint8Array {
  nonce.set(header.subarray(COUNTER_AT, HEADER_BYTES), NONCE_BYTES - COUNTER_BYTES);
  return nonce;
}

export interface SealerOptions {
  /** Gives 8 bytes that nobody drew before. By default from the crypto source. */
  readonly newSession?: () => Uint8Array;
  /** The counter that the first session begins with: for tests of its end. */
  readonly firstCounter?: number;
}

/** Seals what one socket sends. */
export class Sealer {
  readonly #ring: KeyRing;
  readonly #local: UdpAddress;
  readonly #newSession: () => Uint8Array;
  #session: Uint8Array = NO_SESSION;
  #counter: number;
  /** The session's key under the current key of the cluster, once it was needed. */
  #derived: { readonly from: RingKey; readonly key: KeyObject } | undefined;

  /** @param local where the socket is bound: the receiver must see this source address, so there is no NAT between */
  constructor(ring: KeyRing, local: UdpAddress, options: SealerOptions = {}) {
    this.#ring = ring;
    this.#local = local;
    this.#newSession = options.newSession ?? (() => randomBytes(SESSION_BYTES));
    this.renewSession();
    this.#counter = options.firstCounter ?? 1;
  }

  /**
   * Goes on under a new session. To be called when this memory may live twice (a virtual machine that was resumed, or
   * copied while it ran): both copies would use the same counters.
   */
  renewSession(): void {
    this.#session = Uint8Array.from(this.#newSession());
    assert(this.#session.length === SESSION_BYTES, `a session has ${SESSION_BYTES} bytes`);
    this.#counter = 1;
    this.#derived = undefined;
  }

  /** The datagram that carries `payload`, of at most PAYLOAD_MAX_BYTES, to this address and to no other. */
  seal(to: UdpAddress, payload: Uint8Array): Buffer {
    assert(payload.length <= PAYLOAD_MAX_BYTES, `a payload has at most ${PAYLOAD_MAX_BYTES} bytes`);
    if (this.#counter > COUNTER_MAX) this.renewSession();
    const { current } = this.#ring;
    const key = this.#keyUnder(current);
    const datagram = Buffer.allocUnsafe(payload.length + SEAL_BYTES);
    datagram[0] = VERSION;
    datagram[KEY_ID_AT] = current.id;
    datagram.set(this.#session, SESSION_AT);
    datagram.writeUIntBE(this.#counter++, COUNTER_AT, COUNTER_BYTES);
    const cipher = createCipheriv(CIPHER, key, nonceOf(datagram), { authTagLength: TAG_BYTES });
    cipher.setAAD(authenticatedBytes(datagram, this.#local, to));
    datagram.set(cipher.update(payload), HEADER_BYTES);
    cipher.final();
    datagram.set(cipher.getAuthTag(), HEADER_BYTES + payload.length);
    return datagram;
  }

  #keyUnder(current: RingKey): KeyObject {
    if (this.#derived?.from !== current) this.#derived = { from: current, key: sessionKey(current, this.#session) };
    return this.#derived.key;
  }
}
