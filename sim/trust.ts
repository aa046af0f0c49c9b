/**
 * The simulated twin of keys and signatures: quick, the same in every run, and strict. Only who holds the signer can make
 * what verifies; a changed byte does not verify.
 */
import type { Head, MemberId } from "../src/core/gossip/messages.ts";
import type { Sign, Verify } from "../src/core/gossip/signed.ts";
import type { Signer } from "../src/model/trust/member.ts";

export interface SimIdentity {
  readonly id: MemberId;
  readonly publicKey: Uint8Array;
  readonly credential: Uint8Array;
  readonly sign: Sign;
}

/** As long as a real one: a name, a role, a key, an epoch and a signature. */
const CREDENTIAL_BYTES = 150;

export class SimTrust {
  readonly #secrets = new WeakMap<Uint8Array, number>();
  /** By the key's bytes: a key that came in a packet is another object. */
  readonly #secretsByText = new Map<string, number>();
  readonly #identities = new Map<MemberId, SimIdentity>();
  /** Who was removed: refused from then on. Of the whole cluster; who has not heard of it yet asks its own set. */
  #count = 0;

  /** A member that the cluster admits. */
  admitted(): SimIdentity {
    const identity = this.stranger();
    this.#identities.set(identity.id, identity);
    return identity;
  }

  /** One with a key of its own and no word of the cluster. */
  stranger(): SimIdentity {
    const { publicKey, sign } = this.signer();
    const credential = new Uint8Array(CREDENTIAL_BYTES);
    credential.set(publicKey.subarray(0, 8));
    return { id: Buffer.from(publicKey.subarray(0, 8)).toString("hex"), publicKey, credential, sign };
  }

  /** A new pair of keys. */
  signer(): Signer {
    this.#count += 1;
    const publicKey = new Uint8Array(32);
    const view = new DataView(publicKey.buffer);
    view.setUint32(0, scramble(this.#count));
    view.setUint32(4, scramble(this.#count ^ 0x5bd1e995));
    const secret = scramble(this.#count ^ 0x1b873593);
    this.#secrets.set(publicKey, secret);
    this.#secretsByText.set(textOf(publicKey), secret);
    return { publicKey, sign: (bytes) => signature(secret, bytes) };
  }

  /** The key that the cluster admits under the head's id. */
  publicKeyOf(head: Head): Uint8Array | undefined {
    const identity = this.#identities.get(head.id);
    if (identity === undefined || head.credential.length !== CREDENTIAL_BYTES) return undefined;
    for (let n = 0; n < 8; n += 1) if (head.credential[n] !== identity.credential[n]) return undefined;
    return identity.publicKey;
  }

  readonly verify: Verify = (publicKey, bytes, given) => {
    const secret = this.#secrets.get(publicKey) ?? this.#secretsByText.get(textOf(publicKey));
    if (secret === undefined || given.length !== 64) return false;
    const [first, second] = sums(secret, bytes);
    return read(given, 0) === first && read(given, 4) === second;
  };
}

function signature(secret: number, bytes: Uint8Array): Uint8Array {
  const [first, second] = sums(secret, bytes);
  const out = new Uint8Array(64);
  for (let n = 0; n < 4; n += 1) {
    out[n] = first >>> (24 - 8 * n);
    out[4 + n] = second >>> (24 - 8 * n);
  }
  return out;
}

function read(bytes: Uint8Array, at: number): number {
  const [a, b, c, d] = [bytes[at] ?? 0, bytes[at + 1] ?? 0, bytes[at + 2] ?? 0, bytes[at + 3] ?? 0];
  return ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
}

function sums(secret: number, bytes: Uint8Array): readonly [number, number] {
  let first = secret ^ 0x811c9dc5;
  for (const byte of bytes) first = Math.imul(first ^ byte, 0x01000193);
  return [first >>> 0, scramble(first ^ secret ^ bytes.length)];
}

function scramble(value: number): number {
  let mixed = Math.imul(value ^ (value >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

function textOf(publicKey: Uint8Array): string {
  return Buffer.from(publicKey).toString("latin1");
}
