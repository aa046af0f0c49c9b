/**
 * What makes an agent a member, as it keeps it: the cluster's public key, the cluster's words on this agent and on who is
 * out, and the keys of the gossip. It comes sealed in the answer to a registration and lies on disk as JSON.
 */
import { z } from "zod";
import {
  ASSIGNMENT_STATEMENT_MAX_BYTES,
  CREDENTIAL_MAX_BYTES,
  EPOCH_MAX,
  GOSSIP_ADDRESS_MAX_LENGTH,
  GOSSIP_SEEDS_MAX,
  KEY_ID_MAX,
  REMOVAL_MAX_BYTES,
  REMOVALS_READ_MAX,
  REVISION_MAX,
} from "../limits.ts";
import { agentIdSchema } from "../schemas.ts";
import { fromText, toText } from "./bytes.ts";
import type { EpochRecord } from "./epoch-record.ts";
import { GOSSIP_KEY_BYTES, type GossipKeys } from "./key-ring.ts";
import { MEMBER_ID_FORM, PUBLIC_KEY_BYTES } from "./member.ts";
import type { Removal } from "./removal.ts";

export interface Membership {
  /** The cluster's Ed25519 public key: whoever else says to be its master is none. */
  readonly clusterKey: Uint8Array;
  /** Signed, as `issueCredential` and its kin give them; to be passed on as they are. */
  readonly credential: Uint8Array;
  readonly statement: Uint8Array;
  readonly removals: readonly Uint8Array[];
  readonly epochFloor: Uint8Array;
  readonly keys: GossipKeys;
  /** Where gossip may be joined: `10.0.0.10:62502`. */
  readonly seeds: readonly string[];
}

/** The master's durable word on one agent: whose key it has, and what was issued last. */
export interface MemberRecord {
  readonly agentId: string;
  /** Base64url of 32 bytes. */
  readonly publicKey: string;
  readonly epoch: number;
  readonly revision: number;
  /** What the statement said besides epoch and revision, as a digest: whether it changed is all that matters. */
  readonly content: string;
}

/** Base64url of at most `max` bytes, or of exactly so many, as bytes. */
function bytesSchema(max: number, exactly = false) {
  return z.string().transform((text, context) => {
    const bytes = fromText(text);
    if (bytes !== undefined && (exactly ? bytes.length === max : bytes.length <= max)) return bytes;
    context.addIssue({ code: "custom", message: `is not ${exactly ? "" : "at most "}${max} bytes in base64url` });
    return z.NEVER;
  });
}

const gossipKeysSchema = z
  .object({
    keys: z
      .array(z.object({ id: z.int().min(1).max(KEY_ID_MAX), key: bytesSchema(GOSSIP_KEY_BYTES, true) }))
      .min(1)
      .max(2),
    sendingId: z.int(),
  })
  .refine(({ keys, sendingId }) => keys.some(({ id }) => id === sendingId), { error: "lacks the key to send with" });

/** Reads what `membershipJson` gives. */
export const membershipSchema = z.object({
  clusterKey: bytesSchema(PUBLIC_KEY_BYTES, true),
  credential: bytesSchema(CREDENTIAL_MAX_BYTES),
  statement: bytesSchema(ASSIGNMENT_STATEMENT_MAX_BYTES),
  removals: z.array(bytesSchema(REMOVAL_MAX_BYTES)).max(REMOVALS_READ_MAX),
  epochFloor: bytesSchema(REMOVAL_MAX_BYTES),
  keys: gossipKeysSchema,
  // Masters of before gossip name none.
  seeds: z.array(z.string().max(GOSSIP_ADDRESS_MAX_LENGTH)).max(GOSSIP_SEEDS_MAX).default([]),
}) satisfies z.ZodType<Membership>;

/** As plain JSON, bytes as base64url. */
export function membershipJson({ keys, removals, seeds, ...words }: Membership): object {
  return {
    clusterKey: toText(words.clusterKey),
    credential: toText(words.credential),
    statement: toText(words.statement),
    removals: removals.map(toText),
    epochFloor: toText(words.epochFloor),
    keys: { keys: keys.keys.map(({ id, key }) => ({ id, key: toText(key) })), sendingId: keys.sendingId },
    seeds: [...seeds],
  };
}

const epochSchema = z.int().min(0).max(EPOCH_MAX);

export const memberRecordSchema: z.ZodType<MemberRecord> = z.object({
  agentId: agentIdSchema,
  publicKey: z.string().refine((text) => fromText(text)?.length === PUBLIC_KEY_BYTES, { error: "is no key" }),
  epoch: epochSchema,
  revision: z.int().min(0).max(REVISION_MAX),
  content: z.string(),
});

export const removalSchema: z.ZodType<Removal> = z.object({
  agentId: agentIdSchema,
  memberId: z.string().regex(MEMBER_ID_FORM),
  epoch: epochSchema,
});

export const epochRecordSchema: z.ZodType<EpochRecord> = z.object({
  epoch: epochSchema,
  floor: epochSchema,
  removals: z.array(removalSchema).max(REMOVALS_READ_MAX),
});
