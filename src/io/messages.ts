/**
 * The messages between agents and master as they arrive over HTTP, for both ends: the shapes are those of io/ports.ts.
 */
import { z } from "zod";
import {
  ANNOUNCEMENT_MAX_CHARS,
  FEATURES_MAX,
  PROGRAM_WORD_MAX_CHARS,
  RESERVED_ADDRESSES_MAX,
} from "../model/limits.ts";
import { claimSchema, reservedNameSchema } from "../model/reservation.ts";
import {
  agentIdSchema,
  agentNetworkConfigSchema,
  assignmentSchema,
  datapathStateSchema,
  hostnameSchema,
  ipSchema,
  newNetworkSchema,
  overlayStatusSchema,
} from "../model/schemas.ts";
import { membershipJson, membershipSchema } from "../model/trust/membership.ts";
import type { AddNetworkRequest, Admission, ClaimRequest, RegisterRequest, StatusReport } from "./ports.ts";

export const instanceIdSchema = agentIdSchema;

/** Of a version, and of a feature that this program may not know. */
const programWordSchema = z.string().max(PROGRAM_WORD_MAX_CHARS);

export const registerRequestSchema: z.ZodType<RegisterRequest> = z.object({
  agentId: agentIdSchema,
  instanceId: instanceIdSchema,
  ip: ipSchema,
  hostname: hostnameSchema,
  networkConfig: agentNetworkConfigSchema,
  version: programWordSchema.regex(/^[!-~]*$/).optional(),
  features: z.array(programWordSchema).max(FEATURES_MAX).optional(),
});

export const statusReportSchema: z.ZodType<StatusReport> = z.object({
  agentId: agentIdSchema,
  instanceId: instanceIdSchema,
  overlays: z.array(overlayStatusSchema),
  datapath: datapathStateSchema.optional(),
});

export const claimRequestSchema: z.ZodType<ClaimRequest> = z.object({
  agentId: agentIdSchema,
  instanceId: instanceIdSchema,
  network: z.string(),
  name: reservedNameSchema,
  addresses: z.array(ipSchema).min(1).max(RESERVED_ADDRESSES_MAX),
});
export const addNetworkRequestSchema: z.ZodType<AddNetworkRequest> = z.object({
  agentId: agentIdSchema,
  instanceId: instanceIdSchema,
  network: newNetworkSchema,
});
export const claimsSchema = z.object({ claims: z.array(claimSchema) });

/** A challenge on its way: bytes as base64url. */
export const challengeSchema = z.object({ nonce: z.string(), ephemeral: z.string() });
export type ChallengeMessage = z.infer<typeof challengeSchema>;

/** The answer to a registration on its way: bytes as base64url. */
export const sealedAnswerSchema = z.object({ clusterKey: z.string(), signature: z.string(), sealed: z.string() });

/** What is sealed in it, as `admissionJson` writes it. */
export const admissionSchema = z.object({
  assignment: assignmentSchema,
  membership: membershipSchema,
  announcement: z.string().max(ANNOUNCEMENT_MAX_CHARS).optional(),
}) satisfies z.ZodType<Admission>;

export function admissionJson({ membership, ...rest }: Admission): string {
  return JSON.stringify({ ...rest, membership: membershipJson(membership) });
}
