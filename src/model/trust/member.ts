/**
 * Who takes part in a cluster, as far as signatures tell: a member is its Ed25519 public key, and its id a digest of it.
 *
 * What is signed begins with the name of its kind and a zero byte, so that a signature over one kind can never be shown
 * for another: no name is the beginning of another one's. Signing and verifying are done outside (src/io/crypto); cores
 * get them as arguments.
 */
import { createHash } from "node:crypto";

/** RFC 8032: Ed25519. */
export const PUBLIC_KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

/** A private key that signs and is not to be seen. */
export interface Signer {
  /** 32 bytes, as RFC 8032 writes them. */
  readonly publicKey: Uint8Array;
  /** @returns 64 bytes; the same for the same input */
  sign(bytes: Uint8Array): Uint8Array;
}

/** Whether `signature` is one of `publicKey` over `bytes`. Never throws: what is no key or no signature is none of it. */
export type Verify = (publicKey: Uint8Array, bytes: Uint8Array, signature: Uint8Array) => boolean;

export type MemberRole = "agent" | "master";

const MEMBER_ID_BYTES = 8;

/** The first 8 bytes of the key's SHA-256, as 16 hexadecimal digits. */
export function memberIdOf(publicKey: Uint8Array): string {
  return createHash("sha256").update(publicKey).digest().subarray(0, MEMBER_ID_BYTES).toString("hex");
}

/** What a member id looks like; its bytes are those of the digits. */
export const MEMBER_ID_FORM = /^[0-9a-f]{16}$/;

/** Each kind of signed thing, as its signature names it. */
export type SignedKind =
  | "weft credential v1"
  | "weft assignment v1"
  | "weft removal v1"
  | "weft epoch floor v1"
  | "weft call v1"
  | "weft answer v1";

/** The bytes that a signature of this kind is over. */
export function signedBytes(kind: SignedKind, payload: Uint8Array): Uint8Array {
  const name = Buffer.from(`${kind}\0`, "latin1");
  const bytes = new Uint8Array(name.length + payload.length);
  bytes.set(name);
  bytes.set(payload, name.length);
  return bytes;
}
