/**
 * How a call to the master shows who makes it, without telling a secret: an Ed25519 signature by a member's key, an HMAC
 * by a token, or both, over the call and the challenge that the master gave for it. It travels as one header, so that the
 * body stays what it is and is covered byte for byte.
 *
 * What is covered: method, path with query, SHA-256 of the body, the master's nonce and ephemeral key, and every field of
 * the proof itself that is neither signature nor HMAC.
 */
import { createHash } from "node:crypto";
import { CALL_PROOF_MAX_LENGTH, NONCE_BYTES } from "../limits.ts";
import { concat, framed, fromText, toText } from "./bytes.ts";
import { PUBLIC_KEY_BYTES, SIGNATURE_BYTES, signedBytes } from "./member.ts";
import { TOKEN_ID_FORM } from "./token.ts";

/** The header's name. */
export const PROOF_HEADER = "weft-proof";

/** What the master asks a proof to cover. */
export interface Challenge {
  readonly nonce: Uint8Array;
  /** An X25519 public key, 32 bytes. */
  readonly ephemeral: Uint8Array;
}

export interface Call {
  readonly method: string;
  /** With its query: `/v1/agents?name=a`. */
  readonly path: string;
  readonly body: Uint8Array;
}

/** The parts of a proof that are covered by signature and HMAC. */
export interface Claim {
  readonly nonce: Uint8Array;
  /** Whose signature it is; absent when only a token vouches. */
  readonly publicKey?: Uint8Array;
  /** The caller's own X25519 key, for an answer that is sealed. */
  readonly ephemeral?: Uint8Array;
  readonly tokenId?: string;
}

export interface CallProof extends Claim {
  readonly signature?: Uint8Array;
  readonly mac?: Uint8Array;
}

const MAC_BYTES = 32;
const NOTHING = new Uint8Array();

/** What the signature is over, and, together with the signature, the HMAC. */
export function transcriptOf(call: Call, claim: Claim, masterEphemeral: Uint8Array): Uint8Array {
  const payload = framed(
    Buffer.from(call.method),
    Buffer.from(call.path),
    createHash("sha256").update(call.body).digest(),
    claim.nonce,
    masterEphemeral,
    claim.publicKey ?? NOTHING,
    claim.ephemeral ?? NOTHING,
    Buffer.from(claim.tokenId ?? ""),
  );
  return signedBytes("weft call v1", payload);
}

/** What the HMAC of a token is over. */
export function macInput(transcript: Uint8Array, signature: Uint8Array | undefined): Uint8Array {
  return concat(Buffer.from("weft token proof v1\0"), framed(transcript, signature ?? NOTHING));
}

/** The value of the header. */
export function formatProof({ nonce, publicKey, ephemeral, tokenId, signature, mac }: CallProof): string {
  const fields: [string, string | undefined][] = [
    ["nonce", toText(nonce)],
    ["key", publicKey && toText(publicKey)],
    ["ephemeral", ephemeral && toText(ephemeral)],
    ["signature", signature && toText(signature)],
    ["token", tokenId],
    ["mac", mac && toText(mac)],
  ];
  return ["v1", ...fields.flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]))].join(" ");
}

/** @returns `undefined` for what `formatProof` does not write; a signature comes with its key, an HMAC with its token */
export function parseProof(text: string): CallProof | undefined {
  if (text.length > CALL_PROOF_MAX_LENGTH) return undefined;
  const [version, ...parts] = text.split(" ");
  const fields = new Map(parts.map((part) => [part.slice(0, part.indexOf("=")), part.slice(part.indexOf("=") + 1)]));
  const bytes = (name: string, length: number) => {
    const value = fromText(fields.get(name) ?? "");
    return value?.length === length ? value : undefined;
  };
  const nonce = bytes("nonce", NONCE_BYTES);
  if (version !== "v1" || nonce === undefined) return undefined;
  const publicKey = bytes("key", PUBLIC_KEY_BYTES);
  const ephemeral = bytes("ephemeral", PUBLIC_KEY_BYTES);
  const signature = bytes("signature", SIGNATURE_BYTES);
  const mac = bytes("mac", MAC_BYTES);
  const tokenId = fields.get("token");
  const proof: CallProof = {
    nonce,
    ...(publicKey && { publicKey }),
    ...(ephemeral && { ephemeral }),
    ...(signature && { signature }),
    ...(mac && { mac }),
    ...(tokenId !== undefined && TOKEN_ID_FORM.test(tokenId) && { tokenId }),
  };
  const isPaired = (publicKey === undefined) === (signature === undefined);
  const isTokenPaired = (proof.tokenId === undefined) === (mac === undefined);
  // Whatever is said twice, not said here, or said in another form is not what was covered.
  return isPaired && isTokenPaired && formatProof(proof) === text ? proof : undefined;
}
