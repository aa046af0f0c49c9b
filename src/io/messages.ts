/**
 * The messages between agents and master as they arrive over HTTP, for both ends: the shapes are those of io/ports.ts.
 */
import { z } from "zod";
import {
  agentIdSchema,
  agentNetworkConfigSchema,
  hostnameSchema,
  ipSchema,
  overlayStatusSchema,
  peerSchema,
} from "../model/schemas.ts";
import type { PeerUpdate, RegisterRequest, StatusReport } from "./ports.ts";

export const instanceIdSchema = agentIdSchema;

export const registerRequestSchema: z.ZodType<RegisterRequest> = z.object({
  agentId: agentIdSchema,
  instanceId: instanceIdSchema,
  ip: ipSchema,
  hostname: hostnameSchema,
  networkConfig: agentNetworkConfigSchema,
});

export const statusReportSchema: z.ZodType<StatusReport> = z.object({
  agentId: agentIdSchema,
  instanceId: instanceIdSchema,
  overlays: z.array(overlayStatusSchema),
});

export const peerUpdateSchema: z.ZodType<PeerUpdate> = z.discriminatedUnion("type", [
  z.object({ type: z.literal("snapshot"), peers: z.array(peerSchema) }),
  z.object({ type: z.literal("peer"), peer: peerSchema }),
  z.object({ type: z.literal("gone"), id: agentIdSchema }),
  z.object({ type: z.literal("reassigned") }),
]);
