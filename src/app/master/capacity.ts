/**
 * How much room there is, as `GET /v1/capacity` tells whoever places containers: what networks have left for agents, and
 * what each agent has left for containers. An agent that has told nothing since the master began is left out.
 */
import { z } from "@hono/zod-openapi";
import type { HalfUsage } from "../../model/cluster.ts";
import { type Family, familyOf } from "../../model/ip.ts";
import type { Cluster } from "./cluster.ts";
import { networkViews, poolSchema } from "./views.ts";

const familySchema = z.union([z.literal(4), z.literal(6)]);

export const networkRoomSchema = z
  .object({
    network: z.string(),
    family: familySchema,
    pools: z.array(poolSchema),
    /** No agent gets a slice of it until one comes back. */
    exhausted: z.boolean(),
  })
  .openapi("NetworkRoom");

export const agentRoomSchema = z
  .object({
    agent: z.string(),
    hostname: z.string(),
    connected: z.boolean(),
    network: z.string(),
    family: familySchema,
    runtime: z.enum(["cni", "docker"]),
    /** Addresses of this runtime's own halves, less what is draining. Above 2^53 they are rounded. */
    free: z.number(),
    used: z.number(),
    slices: z.number(),
    /**
     * `room`: a container can be placed; `full`: no address is free, and a further slice is to be had, so the next one has
     * it made; `exhausted`: neither.
     */
    state: z.enum(["room", "full", "exhausted"]),
    /** When the agent said so. */
    at: z.string(),
  })
  .openapi("AgentRoom");

export const capacityViewSchema = z
  .object({ networks: z.array(networkRoomSchema), agents: z.array(agentRoomSchema) })
  .openapi("ClusterCapacity");

export type CapacityView = z.infer<typeof capacityViewSchema>;
type AgentRoom = z.infer<typeof agentRoomSchema>;

const FAMILIES: readonly Family[] = [4, 6];

export function capacityView(cluster: Cluster): CapacityView {
  return {
    networks: networkViews(cluster).flatMap(({ name, pools }) =>
      FAMILIES.flatMap((family) => {
        const mine = pools.filter(({ kind }) => kind === (family === 4 ? "subnet" : "subnet6"));
        const exhausted = cluster.elastic.isExhausted(name, family);
        return mine.length === 0 ? [] : [{ network: name, family, pools: mine, exhausted }];
      }),
    ),
    agents: agentRooms(cluster),
  };
}

function agentRooms(cluster: Cluster): AgentRoom[] {
  const strict = new Set(
    cluster.config.network.overlays.filter(({ strictHalves }) => strictHalves === true).map(({ name }) => name),
  );
  return cluster.agents().flatMap(({ id, hostname, connected }) => {
    const told = cluster.elastic.told(id);
    return [...(told?.networks ?? [])].flatMap(([network, usage]) =>
      FAMILIES.flatMap((family) => {
        const open = usage.filter(({ half, draining }) => familyOf(half) === family && draining !== true);
        return runtimeRooms(open, strict.has(network)).map(({ hasRoom, ...room }) => ({
          agent: id,
          hostname,
          connected,
          network,
          family,
          ...room,
          state: hasRoom ? ("room" as const) : stateWithout(cluster, network, family),
          at: told?.at ?? "",
        }));
      }),
    );
  });
}

/** What is at rest is given too, when nothing else is left. */
function runtimeRooms(open: readonly HalfUsage[], isStrict: boolean) {
  const hasRoom = (halves: readonly HalfUsage[]) => halves.some(({ free, resting }) => free + resting > 0);
  return (["cni", "docker"] as const).flatMap((runtime) => {
    const own = open.filter((half) => half.runtime === runtime);
    if (own.length === 0) return [];
    const free = own.reduce((sum, half) => sum + half.free, 0);
    const used = own.reduce((sum, half) => sum + half.used, 0);
    return [{ runtime, free, used, slices: own.length, hasRoom: hasRoom(isStrict ? own : open) }];
  });
}

function stateWithout(cluster: Cluster, network: string, family: Family): "full" | "exhausted" {
  const mayGrow = cluster.config.elastic !== undefined && !cluster.elastic.isExhausted(network, family);
  return mayGrow ? "full" : "exhausted";
}
