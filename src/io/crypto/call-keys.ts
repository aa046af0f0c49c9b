/**
 * What both ends of a proven call compute: signature and HMAC over it, and, for a registration, the key that seals its
 * answer.
 *
 * The key comes from X25519 between two keys of this exchange, from the token's key where one was used, and from the
 * whole conversation, both signatures included (docs/decisions/0023). So only who took part can open the answer, a
 * stolen key of later opens no recording, and at a first registration nobody without the token can make an answer.
 */
import { framed } from "../../model/trust/bytes.ts";
import {
  type Call,
  type CallProof,
  type Challenge,
  type Claim,
  macInput,
  transcriptOf,
} from "../../model/trust/call-proof.ts";
import { type Signer, signedBytes } from "../../model/trust/member.ts";
import type { Token } from "../../model/trust/token.ts";
import { deriveKey, hmac, sameSecret, sha256, verifySignature } from "./keys.ts";

const NOTHING = new Uint8Array();

/** What the master keeps of a token's secret, and both sides compute with. */
export function tokenKeyOf(secret: Uint8Array): Uint8Array {
  return deriveKey(secret, NOTHING, "weft token v1");
}

export interface Prover {
  readonly signer?: Signer;
  readonly token?: Token;
  /** The caller's X25519 key, for an answer that is sealed. */
  readonly ephemeral?: Uint8Array;
}

/** Proves the call to the master that gave the challenge. */
export function proveCall(call: Call, challenge: Challenge, { signer, token, ephemeral }: Prover): CallProof {
  const claim: Claim = {
    nonce: challenge.nonce,
    ...(signer && { publicKey: signer.publicKey }),
    ...(ephemeral && { ephemeral }),
    ...(token && { tokenId: token.id }),
  };
  const transcript = transcriptOf(call, claim, challenge.ephemeral);
  const signature = signer?.sign(transcript);
  const mac = token && macOf(tokenKeyOf(token.secret), transcript, signature);
  return { ...claim, ...(signature && { signature }), ...(mac && { mac }) };
}

/** Does the signature, if there is one, hold for the call? */
export function isSigned(proof: CallProof, transcript: Uint8Array): boolean {
  const { publicKey, signature } = proof;
  if (publicKey === undefined || signature === undefined) return publicKey === signature;
  return verifySignature(publicKey, transcript, signature);
}

export function isMacOf(tokenKey: Uint8Array, proof: CallProof, transcript: Uint8Array): boolean {
  return proof.mac !== undefined && sameSecret(proof.mac, macOf(tokenKey, transcript, proof.signature));
}

function macOf(tokenKey: Uint8Array, transcript: Uint8Array, signature: Uint8Array | undefined): Uint8Array {
  return hmac(deriveKey(tokenKey, NOTHING, "weft token proof v1"), macInput(transcript, signature));
}

/** What the cluster signs to answer a registration. */
export function answerBytes(transcript: Uint8Array, { signature, mac }: CallProof): Uint8Array {
  return signedBytes("weft answer v1", framed(transcript, signature ?? NOTHING, mac ?? NOTHING));
}

/**
 * @param shared of the agreement @param tokenKey when the caller proved to hold a token
 * @param clusterSignature over `answerBytes`
 */
export function answerKey(
  shared: Uint8Array,
  tokenKey: Uint8Array | undefined,
  answered: Uint8Array,
  clusterSignature: Uint8Array,
): Uint8Array {
  const salt = sha256(framed(answered, clusterSignature));
  return deriveKey(framed(shared, tokenKey ?? NOTHING), salt, "weft answer seal v1");
}
