/**
 * What the master's own HTTP interface shows, as schemas: they check nothing here, but the OpenAPI document and the types
 * of the answers come from them, so neither can drift from the other.
 */
import { z } from "@hono/zod-openapi";
import type { PoolUsage } from "../../core/ipam/pool.ts";
import {
  agentOverlaySchema,
  backendSchema,
  cidrSchema,
  datapathStateSchema,
  egressSchema,
  ipSchema,
  isolationSchema,
  overlayStatusSchema,
  spaceSchema,
} from "../../model/schemas.ts";
import type { Cluster } from "./cluster.ts";

/** Counts above 2⁵³ are rounded: an IPv6 pool has 2⁶⁴ addresses. */
export const poolSchema = z
  .object({
    kind: z.enum(["ip", "ip6", "subnet", "subnet6"]),
    network: z.string().optional(),
    pool: cidrSchema,
    used: z.number(),
    /** Given back a short while ago. */
    resting: z.number().optional(),
    size: z.number(),
  })
  .openapi("Pool");

export const agentSchema = z
  .object({
    id: z.string(),
    ip: ipSchema,
    hostname: z.string(),
    connected: z.boolean(),
    /** Of its program, as it told when it registered with this master; those before 0.2 do not tell. */
    version: z.string().optional(),
    /** What its program, being older, does not enforce of what is asked of it. */
    lacks: z.array(z.string()).optional(),
    backend: backendSchema,
    overlays: z.array(agentOverlaySchema),
    phase: z.literal("draining").optional(),
    statuses: z.array(overlayStatusSchema),
    /** How its host carries packets between containers; older agents do not tell. */
    datapath: datapathStateSchema.optional(),
  })
  .openapi("Agent");

export const networkSchema = z
  .object({
    name: z.string(),
    enabled: z.boolean(),
    phase: z.literal("draining").optional(),
    /** Whether containers that name no network are in this one. */
    default: z.boolean(),
    subnet: cidrSchema.optional(),
    prefix: z.number().optional(),
    subnet6: cidrSchema.optional(),
    prefix6: z.number().optional(),
    /** Agents give back what they have of the first space. */
    draining: z.literal(true).optional(),
    more: z.array(spaceSchema).optional(),
    /** The halves of an agent's subnet do not lend addresses to each other. */
    strictHalves: z.boolean().optional(),
    /** Which other networks it talks to; absent: all that let it in. */
    isolation: isolationSchema.optional(),
    /** How the outside is reached; absent: with the host's address. */
    egress: egressSchema.optional(),
    /** Agents that have a share of it, and of those the ones whose last word on it was a failure. */
    agents: z.number(),
    failed: z.number(),
    pools: z.array(poolSchema),
  })
  .openapi("Network");

export const statusSchema = z
  .object({
    version: z.string(),
    /** Absent where one master has the state to itself. */
    leader: z.object({ id: z.string(), url: z.string(), term: z.number() }).optional(),
    agents: z.object({ known: z.number(), connected: z.number() }),
    networks: z.number(),
    defaultNetwork: z.string().optional(),
    enableIpv6: z.boolean(),
    overlayMtu: z.number().optional(),
    /** Pools of VTEP addresses. */
    vteps: z.array(poolSchema),
    /** Changes of the configuration file that are not in force, one sentence each. */
    refusedChanges: z.array(z.string()),
    warnings: z.array(z.string()),
  })
  .openapi("Status");

export const tokenViewSchema = z
  .object({
    id: z.string(),
    kind: z.enum(["join", "operator"]),
    note: z.string(),
    created: z.string(),
    expires: z.string().optional(),
    uses: z.number().optional(),
    used: z.number(),
    revoked: z.boolean(),
    /** `valid`, or why it does not count any more. */
    state: z.string(),
  })
  .openapi("Token");

export const keyRingViewSchema = z
  .object({
    phase: z.enum(["steady", "spreading", "retiring"]),
    keys: z.array(z.object({ id: z.number(), use: z.enum(["sent with", "next", "last"]) })),
  })
  .openapi("GossipKeys");

export type PoolView = z.infer<typeof poolSchema>;
export type NetworkView = z.infer<typeof networkSchema>;

export function poolView(usage: PoolUsage): PoolView {
  const { used, size, resting, ...which } = usage;
  return {
    ...which,
    used: Number(used),
    ...(resting !== undefined && { resting: Number(resting) }),
    size: Number(size),
  };
}

export function networkViews(cluster: Cluster): NetworkView[] {
  const pools = Map.groupBy(cluster.usage(), ({ network }) => network);
  const shares = cluster.agents().flatMap(({ overlays, statuses }) =>
    overlays.map(({ info }) => ({
      name: info.name,
      failed: statuses.some(({ name, status }) => name === info.name && status === "STATUS_FAILED"),
    })),
  );
  const users = Map.groupBy(shares, ({ name }) => name);
  return cluster.config.network.overlays.map((overlay) => {
    const mine = users.get(overlay.name) ?? [];
    const { more, ...first } = overlay;
    return {
      ...first,
      ...(more !== undefined && { more: [...more] }),
      default: overlay.name === cluster.config.defaultNetwork,
      agents: mine.length,
      failed: mine.filter(({ failed }) => failed).length,
      pools: (pools.get(overlay.name) ?? []).map(poolView),
    };
  });
}
