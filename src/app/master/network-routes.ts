/**
 * Networks under `/v1`: what there is, and the changes that operators make while it carries traffic.
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { addNetworkRequestSchema } from "../../io/messages.ts";
import type { AddNetworkRequest } from "../../io/ports.ts";
import { CONFIG_FILE_MAX_BYTES } from "../../model/limits.ts";
import { agentIdSchema } from "../../model/schemas.ts";
import { json, REFUSED } from "../http-api.ts";
import type { MasterApiDeps } from "./api.ts";
import { operatorOf } from "./callers.ts";
import { NetworkAdmin } from "./network-admin.ts";
import { callerOf, requireOperator, requireSameAgent } from "./trust-routes.ts";
import { networkSchema, networkViews } from "./views.ts";

const nameParam = z.object({ name: z.string().max(64) });
const definitionSchema = z.record(z.string(), z.unknown());

export const holdersSchema = z.object({
  holders: z.array(
    z.object({ agent: z.string(), hostname: z.string(), containers: z.number().optional(), connected: z.boolean() }),
  ),
});
export const changesSchema = z.object({ changes: z.array(z.string()) });
export const planSchema = z.object({ changes: z.array(z.string()), refused: z.array(z.string()) });

const body = (schema: z.ZodType) => ({ body: { required: true, content: { "application/json": { schema } } } });
const fileSchema = z.object({ config: z.string().max(CONFIG_FILE_MAX_BYTES) });

const NETWORKS = createRoute({
  method: "get",
  path: "/v1/networks",
  summary: "The networks in force, with how much of each is given out.",
  responses: { 200: json(z.object({ networks: z.array(networkSchema) }), "Networks.") },
});
const ADD = createRoute({
  method: "post",
  path: "/v1/networks",
  summary: "Adds a network, defined as in the configuration file; agents have it in about a second. For operators.",
  request: body(definitionSchema),
  responses: { 204: { description: "Added." }, ...REFUSED },
});
const ADD_FOR = createRoute({
  method: "post",
  path: "/v1/agents/{id}/networks",
  summary: "An agent adds a network that a user of its host wants, where the configuration lets agents do so.",
  request: { params: z.object({ id: agentIdSchema }), ...body(addNetworkRequestSchema) },
  responses: { 204: { description: "Added, or there already." }, ...REFUSED },
});
const SET = createRoute({
  method: "patch",
  path: "/v1/networks/{name}",
  summary: "Changes fields of a network's definition; null takes one away. For operators.",
  request: { params: nameParam, ...body(definitionSchema) },
  responses: { 200: json(changesSchema, "What changed."), ...REFUSED },
});
const HOLDERS = createRoute({
  method: "get",
  path: "/v1/networks/{name}/holders",
  summary: "The agents that have containers in a network, or did not say.",
  request: { params: nameParam },
  responses: { 200: json(holdersSchema, "Agents."), ...REFUSED },
});
const REMOVE = createRoute({
  method: "delete",
  path: "/v1/networks/{name}",
  summary: "Removes a network that drained, or with force=true any: from every host, also those that come back later.",
  request: { params: nameParam, query: z.object({ force: z.enum(["true", "false"]).default("false") }) },
  responses: { 204: { description: "Removed." }, ...REFUSED },
});
const PLAN = createRoute({
  method: "post",
  path: "/v1/plan",
  summary: "What applying this configuration file would change, and what of it would be refused. Changes nothing.",
  request: body(fileSchema),
  responses: { 200: json(planSchema, "Plan."), ...REFUSED },
});
const APPLY = createRoute({
  method: "post",
  path: "/v1/apply",
  summary: "Lays a configuration file over what is in force. For operators.",
  request: body(fileSchema),
  responses: { 200: json(planSchema, "What was changed, and what was refused."), ...REFUSED },
});

export function addNetworkRoutes(app: OpenAPIHono, deps: MasterApiDeps): void {
  const { cluster } = deps;
  const admin = new NetworkAdmin(cluster);
  app.openapi(NETWORKS, (context) => context.json({ networks: networkViews(cluster) }, 200));
  app.openapi(ADD, (context) => {
    requireOperator(context, deps);
    admin.add(context.req.valid("json") as Readonly<Record<string, unknown>>, operatorOf(callerOf(context)));
    return context.body(null, 204);
  });
  app.openapi(ADD_FOR, (context) => {
    const { network, ...who } = context.req.valid("json") as AddNetworkRequest;
    requireSameAgent(who.agentId, context.req.valid("param").id);
    admin.addFor(cluster.caller(who, callerOf(context)), network);
    return context.body(null, 204);
  });
  app.openapi(SET, (context) => {
    requireOperator(context, deps);
    const patch = context.req.valid("json") as Readonly<Record<string, unknown>>;
    const changes = admin.set(context.req.valid("param").name, patch, operatorOf(callerOf(context)));
    return context.json({ changes: [...changes] }, 200);
  });
  app.openapi(HOLDERS, (context) => {
    const holders = admin.holders(context.req.valid("param").name);
    return context.json({ holders: holders.map((each) => ({ ...each })) }, 200);
  });
  app.openapi(REMOVE, (context) => {
    requireOperator(context, deps);
    const isForced = context.req.valid("query").force === "true";
    admin.remove(context.req.valid("param").name, isForced, operatorOf(callerOf(context)));
    return context.body(null, 204);
  });
  app.openapi(PLAN, (context) => {
    const { changes, refused } = admin.plan((context.req.valid("json") as { config: string }).config);
    return context.json({ changes: [...changes], refused: [...refused] }, 200);
  });
  app.openapi(APPLY, (context) => {
    requireOperator(context, deps);
    const { config } = context.req.valid("json") as { config: string };
    const { changes, refused } = admin.apply(config, operatorOf(callerOf(context)));
    return context.json({ changes: [...changes], refused: [...refused] }, 200);
  });
}
