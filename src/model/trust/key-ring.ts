/**
 * The keys that gossip packets are sealed with, as the master keeps them. There are two at most: while a key is changed,
 * everybody takes packets under both.
 */
import { z } from "zod";
import { KEY_ID_MAX } from "../limits.ts";
import { fromText } from "./bytes.ts";

/** AES-256. */
export const GOSSIP_KEY_BYTES = 32;

/** A key as it is stored: base64url. */
export interface StoredGossipKey {
  /** From 1 on, never given twice. */
  readonly id: number;
  readonly key: string;
}

/**
 * `steady`: one key. `spreading`: `other` is the next key, taken but not sent with. `retiring`: `other` is the last key,
 * still taken.
 */
export type KeyPhase = "steady" | "spreading" | "retiring";

export interface KeyRing {
  readonly phase: KeyPhase;
  /** What packets are sealed with. */
  readonly current: StoredGossipKey;
  readonly other?: StoredGossipKey;
}

/** A key as gossip uses it. */
export interface GossipKey {
  readonly id: number;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

/** What a member may open packets with, and what it seals them with. */
export interface GossipKeys {
  /** One or two. */
  readonly keys: readonly GossipKey[];
  readonly sendingId: number;
}

export function gossipKeysOf({ current, other }: KeyRing): GossipKeys {
  const keys = [current, ...(other === undefined ? [] : [other])];
  return {
    keys: keys.map(({ id, key }) => ({ id, key: fromText(key) ?? new Uint8Array() })),
    sendingId: current.id,
  };
}

const storedKeySchema = z.object({
  id: z.int().min(1).max(KEY_ID_MAX),
  key: z.string().refine((text) => fromText(text)?.length === GOSSIP_KEY_BYTES, { error: "is no key" }),
});

export const keyRingSchema: z.ZodType<KeyRing> = z
  .object({
    phase: z.enum(["steady", "spreading", "retiring"]),
    current: storedKeySchema,
    other: storedKeySchema.optional(),
  })
  .refine(({ phase, other }) => (phase === "steady") === (other === undefined), {
    error: "has another number of keys than its phase",
  });
