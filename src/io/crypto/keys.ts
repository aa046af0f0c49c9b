/**
 * Keys and what is done with them, on node:crypto. Public keys travel as the 32 bytes of RFC 8032 and RFC 7748; private ones
 * stay in KeyObjects, which print as nothing. Every symmetric key here is 32 bytes.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  hkdfSync,
  type KeyObject,
  randomBytes,
  sign,
  timingSafeEqual,
  verify,
} from "node:crypto";
import { concat, sameBytes } from "../../model/trust/bytes.ts";
import { PUBLIC_KEY_BYTES, SIGNATURE_BYTES, type Signer, type Verify } from "../../model/trust/member.ts";

const KEY_BYTES = 32;
/** What stands before the raw key in SubjectPublicKeyInfo (RFC 8410 §4). */
const SPKI = {
  ed25519: Buffer.from("302a300506032b6570032100", "hex"),
  x25519: Buffer.from("302a300506032b656e032100", "hex"),
} as const;
/** NIST SP 800-38D: 96 bits, and the full tag. */
const GCM_NONCE_BYTES = 12;
const GCM_TAG_BYTES = 16;

/** A new Ed25519 private key as a file keeps it: PKCS#8 in PEM. */
export function newSignerPem(): string {
  return generateKeyPairSync("ed25519").privateKey.export({ format: "pem", type: "pkcs8" }).toString();
}

/** @returns `undefined` when the text is no Ed25519 private key */
export function signerOf(pem: string): Signer | undefined {
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType !== "ed25519") return undefined;
    return { publicKey: rawOf(createPublicKey(key)), sign: (bytes) => new Uint8Array(sign(null, bytes, key)) };
  } catch {
    return undefined;
  }
}

export const verifySignature: Verify = (publicKey, bytes, signature) => {
  if (publicKey.length !== PUBLIC_KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  try {
    return verify(null, bytes, verifyingKey(publicKey), signature);
  } catch {
    return false;
  }
};

/** The last one is kept: what an agent verifies when it starts is the cluster's, and to read a key takes half as long. */
let lastKey: { readonly raw: Uint8Array; readonly key: KeyObject } | undefined;

function verifyingKey(raw: Uint8Array): KeyObject {
  if (lastKey === undefined || !sameBytes(lastKey.raw, raw))
    lastKey = { raw: Uint8Array.from(raw), key: publicOf("ed25519", raw) };
  return lastKey.key;
}

/** One side of an X25519 agreement, for one exchange. */
export interface Agreement {
  readonly publicKey: Uint8Array;
  /** @returns the 32 bytes that only both sides know; `undefined` when the other's key is none (RFC 7748 §6.1) */
  shared(other: Uint8Array): Uint8Array | undefined;
}

export function newAgreement(): Agreement {
  const { publicKey, privateKey } = generateKeyPairSync("x25519");
  return {
    publicKey: rawOf(publicKey),
    shared: (other) => {
      if (other.length !== PUBLIC_KEY_BYTES) return undefined;
      try {
        return new Uint8Array(diffieHellman({ privateKey, publicKey: publicOf("x25519", other) }));
      } catch {
        return undefined;
      }
    },
  };
}

/** A symmetric key that only who has the private key can make. @param pem as `newSignerPem` gives it */
export function keyOfSigner(pem: string, purpose: string): Uint8Array {
  const { d = "" } = createPrivateKey(pem).export({ format: "jwk" });
  return deriveKey(Buffer.from(d, "base64url"), new Uint8Array(), purpose);
}

/** HKDF with SHA-256 (RFC 5869). `purpose` keeps keys of one secret apart. */
export function deriveKey(secret: Uint8Array, salt: Uint8Array, purpose: string): Uint8Array {
  return new Uint8Array(hkdfSync("sha256", secret, salt, purpose, KEY_BYTES));
}

export function hmac(key: Uint8Array, bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac("sha256", key).update(bytes).digest());
}

/** Takes as long wherever they differ. */
export function sameSecret(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

export function sha256(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(createHash("sha256").update(bytes).digest());
}

/** AES-256-GCM: a random nonce, what was sealed, and the tag. `context` is covered and not in it. */
export function seal(key: Uint8Array, plain: Uint8Array, context: Uint8Array): Uint8Array {
  const nonce = randomBytes(GCM_NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(context);
  return concat(nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag());
}

/** @returns `undefined` when it was not sealed with this key in this context, or was changed */
export function open(key: Uint8Array, sealed: Uint8Array, context: Uint8Array): Uint8Array | undefined {
  if (sealed.length < GCM_NONCE_BYTES + GCM_TAG_BYTES) return undefined;
  const end = sealed.length - GCM_TAG_BYTES;
  const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, GCM_NONCE_BYTES), {
    authTagLength: GCM_TAG_BYTES,
  });
  decipher.setAAD(context).setAuthTag(sealed.subarray(end));
  try {
    return concat(decipher.update(sealed.subarray(GCM_NONCE_BYTES, end)), decipher.final());
  } catch {
    return undefined;
  }
}

export function newSecret(bytes = KEY_BYTES): Uint8Array {
  return new Uint8Array(randomBytes(bytes));
}

function rawOf(key: KeyObject): Uint8Array {
  return new Uint8Array(key.export({ format: "der", type: "spki" }).subarray(-PUBLIC_KEY_BYTES));
}

function publicOf(kind: keyof typeof SPKI, raw: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([SPKI[kind], raw]), format: "der", type: "spki" });
}
