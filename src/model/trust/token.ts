/**
 * Tokens: what an operator hands to a host that is to join (`join`), or keeps for changing calls from afar (`operator`).
 *
 * The text holds the secret, 32 random bytes, and never travels: who has it shows that by an HMAC under a key made of it.
 * The master keeps that key, with the token's id, for as long as it must tell why a token does not count any more.
 */
import { z } from "zod";
import { EPOCH_MAX, TOKEN_NOTE_MAX_LENGTH } from "../limits.ts";
import { fromText, toText } from "./bytes.ts";

export type TokenKind = "join" | "operator";

/** A token as its holder has it. */
export interface Token {
  readonly kind: TokenKind;
  /** Eight letters and digits; no secret. */
  readonly id: string;
  /** 32 bytes. */
  readonly secret: Uint8Array;
}

/** A token as the master keeps it. */
export interface TokenRecord {
  readonly id: string;
  readonly kind: TokenKind;
  /** What HMACs are made with, base64url: derived from the secret. */
  readonly key: string;
  readonly note: string;
  /** RFC 3339, UTC, to the second. */
  readonly created: string;
  readonly expires?: string;
  /** How many agents may join by it; absent: any number. */
  readonly uses?: number;
  /** How many did. */
  readonly used: number;
  /** The cluster's epoch when it was made: it does not bring back who was removed later. */
  readonly epoch: number;
  readonly revoked: boolean;
}

export const SECRET_BYTES = 32;
export const TOKEN_ID_FORM = /^[a-z0-9]{8}$/;
/** 43 characters of base64url are 32 bytes. */
const TEXT_FORM = /^weft-(join|operator)-([a-z0-9]{8})-([A-Za-z0-9_-]{43})$/;

export function formatToken({ kind, id, secret }: Token): string {
  return `weft-${kind}-${id}-${toText(secret)}`;
}

/** @returns `undefined` for what is no token; white space around it is allowed, as files have it */
export function parseToken(text: string): Token | undefined {
  const [, kind, id, encoded] = TEXT_FORM.exec(text.trim()) ?? [];
  const secret = fromText(encoded ?? "");
  if (id === undefined || secret?.length !== SECRET_BYTES) return undefined;
  return { kind: kind as TokenKind, id, secret };
}

const dateSchema = z.string().regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/, { error: "is no time in UTC" });

export const tokenRecordSchema: z.ZodType<TokenRecord> = z.object({
  id: z.string().regex(TOKEN_ID_FORM),
  kind: z.enum(["join", "operator"]),
  key: z.string().refine((text) => fromText(text)?.length === SECRET_BYTES, { error: "is no key" }),
  note: z.string().max(TOKEN_NOTE_MAX_LENGTH),
  created: dateSchema,
  expires: dateSchema.optional(),
  uses: z.int().min(1).optional(),
  used: z.int().min(0),
  epoch: z.int().min(0).max(EPOCH_MAX),
  revoked: z.boolean(),
});
