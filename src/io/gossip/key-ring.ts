/**
 * The cluster's keys that are valid now, and what is derived from them: one key for each session of each sender.
 *
 * AES-GCM breaks when one nonce is used twice under one key: both plaintexts and the key for tags are given away. All
 * agents share the cluster's key, keep no counters on disk, and 12 bytes are too few for random nonces of many senders.
 * So no datagram is sealed under the cluster's key: each start of a process draws a session of 8 random bytes, its key is
 * derived from both, and a counter that begins at 1 is the nonce. Nothing repeats unless two starts draw the same session:
 * 3·10⁻⁶ over ten million starts under one cluster key.
 *
 * RFC 5869, HKDF with SHA-256: extracted once for each cluster key, so that a session costs one expansion, which is one
 * HMAC (2 µs): what a datagram of an unknown session makes us do.
 */
import { createHmac, createSecretKey, type KeyObject } from "node:crypto";
import { assert, Fault } from "../../model/fault.ts";
import { CLUSTER_KEYS_MAX } from "../../model/limits.ts";

export const CLUSTER_KEY_BYTES = 32;
export const SESSION_BYTES = 8;
const KEY_ID_MAX = 255;

/** RFC 5869's salt and info: a key derived here is of no use to anything else that the cluster's key may be used for. */
const SALT = "weft datagram 1";
const INFO = Buffer.from("weft session ");

/** One key of the cluster. Every agent must know it by the same id. */
export interface ClusterKey {
  /** 0 … 255, in the clear on every datagram. */
  readonly id: number;
  readonly secret: KeyObject;
}

export interface ClusterKeys {
  /** Seals what is sent. It is accepted, too. */
  readonly current: ClusterKey;
  /** Accepted beside the current one: the previous key, the next one. */
  readonly accepted: readonly ClusterKey[];
}

/**
 * Takes over the bytes of a key: `bytes` is zero afterwards, whatever comes of it.
 * @throws Fault bad-config when these are not 32 bytes, or the id is no byte
 */
export function clusterKey(id: number, bytes: Uint8Array): ClusterKey {
  try {
    if (bytes.length !== CLUSTER_KEY_BYTES)
      throw new Fault("bad-config", `key ${id} of the cluster has ${bytes.length} bytes; give it ${CLUSTER_KEY_BYTES}`);
    if (!Number.isInteger(id) || id < 0 || id > KEY_ID_MAX)
      throw new Fault("bad-config", `a key of the cluster has the id ${id}; give it one from 0 to ${KEY_ID_MAX}`);
    return { id, secret: createSecretKey(bytes) };
  } finally {
    bytes.fill(0);
  }
}

/** A key while it is in the ring: what is known under it belongs to this object, and is worthless once it has left. */
export interface RingKey {
  readonly id: number;
  readonly secret: KeyObject;
  /** RFC 5869's PRK. */
  readonly extracted: KeyObject;
}

export class KeyRing {
  #keys: ReadonlyMap<number, RingKey> = new Map();
  #current: RingKey;

  /** @throws as `replace` */
  constructor(keys: ClusterKeys) {
    this.#current = this.#take(keys);
  }

  get current(): RingKey {
    return this.#current;
  }

  /** The key that datagrams with this id are opened with. */
  byId(id: number): RingKey | undefined {
    return this.#keys.get(id);
  }

  has(key: RingKey): boolean {
    return this.#keys.get(key.id) === key;
  }

  /**
   * From now on these keys are valid and no others. A key that stays (same id, same bytes) stays the same object.
   * @throws Fault bad-config when an id is there twice, or there are too many; then the ring is as it was
   */
  replace(keys: ClusterKeys): void {
    this.#current = this.#take(keys);
  }

  #take({ current, accepted }: ClusterKeys): RingKey {
    const all = [current, ...accepted];
    if (all.length > CLUSTER_KEYS_MAX)
      throw new Fault("bad-config", `${all.length} keys of the cluster at once; at most ${CLUSTER_KEYS_MAX} are valid`);
    const keys = new Map<number, RingKey>();
    for (const key of all) {
      if (keys.has(key.id)) throw new Fault("bad-config", `two keys of the cluster have the id ${key.id}`);
      const known = this.#keys.get(key.id);
      keys.set(key.id, known?.secret.equals(key.secret) ? known : { ...key, extracted: extract(key.secret) });
    }
    this.#keys = keys;
    const first = keys.get(current.id);
    assert(first !== undefined, "the current key is in the ring");
    return first;
  }
}

/** The AES-256 key of a session. `session` has 8 bytes. */
export function sessionKey(key: RingKey, session: Uint8Array): KeyObject {
  // RFC 5869 §2.3: T(1) = HMAC(PRK, info ‖ 0x01), and one block is all that is needed.
  return secretOf(createHmac("sha256", key.extracted).update(INFO).update(session).update(FIRST_BLOCK).digest());
}

const FIRST_BLOCK = Uint8Array.of(1);

/** RFC 5869 §2.2. */
function extract(secret: KeyObject): KeyObject {
  const bytes = secret.export();
  const extracted = secretOf(createHmac("sha256", SALT).update(bytes).digest());
  bytes.fill(0);
  return extracted;
}

/** A KeyObject keeps its own copy, outside of the heap; the one that was here need not lie about. */
function secretOf(bytes: Buffer): KeyObject {
  const key = createSecretKey(bytes);
  bytes.fill(0);
  return key;
}
