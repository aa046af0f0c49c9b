/**
 * The master's own HTTP interface under `/v1`, with its OpenAPI document. Calls of agents are signed by the agent's key, and
 * a registration is answered for that agent's eyes only; changing calls of operators come by the Unix socket or with an
 * operator's token. Reading is open to all, but for what was before (history-routes.ts).
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { admissionJson, registerRequestSchema, sealedAnswerSchema, statusReportSchema } from "../../io/messages.ts";
import type { Clock, MasterAddress } from "../../io/ports.ts";
import { agentIdSchema, reportAnswerSchema } from "../../model/schemas.ts";
import { toText } from "../../model/trust/bytes.ts";
import { json, REFUSED } from "../http-api.ts";
import { operatorOf } from "./callers.ts";
import { capacityView, capacityViewSchema } from "./capacity.ts";
import type { Cluster } from "./cluster.ts";
import type { MasterGossip } from "./master-gossip.ts";
import type { MasterMetrics } from "./metrics.ts";
import { callerOf, requireOperator, requireSameAgent } from "./trust-routes.ts";
import { agentSchema, poolView, statusSchema } from "./views.ts";

/** What one listener of the master serves. */
export interface MasterApiDeps {
  readonly cluster: Cluster;
  readonly metrics: MasterMetrics;
  /** Absent where a cluster is tested without gossip. */
  readonly gossip?: MasterGossip;
  readonly clock: Clock;
  readonly version: string;
  /** Who leads, where several masters share a store: this one. */
  readonly leader?: MasterAddress & { readonly term: number };
  readonly warnings: readonly string[];
  /** Whether this is the Unix socket, which only root of this host can open. */
  readonly local: boolean;
  readonly onBug: (thrown: unknown) => void;
}

const phaseSchema = z.object({ phase: z.literal("draining").nullable() });
const idParam = z.object({ id: agentIdSchema });

const REGISTER = createRoute({
  method: "post",
  path: "/v1/agents/register",
  summary: "An agent registers: the answer, sealed for it, is its record and what makes it a member of the cluster.",
  request: { body: { required: true, content: { "application/json": { schema: registerRequestSchema } } } },
  responses: { 200: json(sealedAnswerSchema, "Durable when it is sent."), ...REFUSED },
});
const REPORT = createRoute({
  method: "post",
  path: "/v1/agents/{id}/status",
  summary: "An agent says how its networks are.",
  request: {
    params: idParam,
    body: { required: true, content: { "application/json": { schema: statusReportSchema } } },
  },
  responses: { 200: json(reportAnswerSchema, "Taken; whether the agent should register again."), ...REFUSED },
});
const CAPACITY = createRoute({
  method: "get",
  path: "/v1/capacity",
  summary: "How much room networks have for agents, and agents for containers, as those told last.",
  responses: { 200: json(capacityViewSchema, "Capacity.") },
});
const AGENTS = createRoute({
  method: "get",
  path: "/v1/agents",
  summary: "All agents in the order in which they were added.",
  responses: { 200: json(z.object({ agents: z.array(agentSchema) }), "Agents.") },
});
const DELETE_AGENT = createRoute({
  method: "delete",
  path: "/v1/agents/{id}",
  summary:
    "Frees what an agent holds. By the Unix socket, or with an operator's token; without force=true refused while it is connected.",
  request: { params: idParam, query: z.object({ force: z.enum(["true", "false"]).default("false") }) },
  responses: { 204: { description: "Deleted." }, ...REFUSED },
});
const DRAIN_AGENT = createRoute({
  method: "patch",
  path: "/v1/agents/{id}",
  summary:
    "New containers are refused on the agent's host (phase: draining), or taken again (phase: null). For operators.",
  request: {
    params: idParam,
    body: { required: true, content: { "application/json": { schema: phaseSchema } } },
  },
  responses: { 204: { description: "Done." }, ...REFUSED },
});
const STATUS = createRoute({
  method: "get",
  path: "/v1/status",
  summary: "The master in a few numbers, and what of its configuration is not in force.",
  responses: { 200: json(statusSchema, "Status.") },
});

export function addV1Routes(app: OpenAPIHono, deps: MasterApiDeps): void {
  const { cluster } = deps;
  app.openapi(REGISTER, (context) => {
    const caller = callerOf(context);
    const admission = cluster.register(context.req.valid("json"), caller);
    const { signature, sealed } = cluster.trust.answer(admissionJson(admission), caller);
    const clusterKey = toText(cluster.trust.clusterKey);
    return context.json({ clusterKey, signature: toText(signature), sealed: toText(sealed) }, 200);
  });
  app.openapi(REPORT, (context) => {
    const report = context.req.valid("json");
    requireSameAgent(report.agentId, context.req.valid("param").id);
    const { reassigned, exhausted } = cluster.reportStatus(report, callerOf(context));
    return context.json({ reassigned, exhausted: [...exhausted] }, 200);
  });
  // Arrays are copied because the schema's type is mutable.
  app.openapi(AGENTS, (context) =>
    context.json(
      {
        agents: cluster.agents().map(({ datapath, ...each }) => ({
          ...each,
          overlays: [...each.overlays],
          statuses: [...each.statuses],
          ...(datapath && { datapath: { ...datapath, reasons: [...datapath.reasons] } }),
        })),
      },
      200,
    ),
  );
  app.openapi(DELETE_AGENT, (context) => {
    requireOperator(context, deps);
    const isForced = context.req.valid("query").force === "true";
    cluster.deleteOne(context.req.valid("param").id, operatorOf(callerOf(context)), isForced);
    return context.body(null, 204);
  });
  app.openapi(DRAIN_AGENT, (context) => {
    requireOperator(context, deps);
    const isDraining = context.req.valid("json").phase === "draining";
    cluster.drain(context.req.valid("param").id, isDraining, operatorOf(callerOf(context)));
    return context.body(null, 204);
  });
  app.openapi(CAPACITY, (context) => context.json(capacityView(cluster), 200));
  app.openapi(STATUS, (context) => context.json(statusView(deps), 200));
}

function statusView({ cluster, version, leader, warnings }: MasterApiDeps): z.infer<typeof statusSchema> {
  const { network, defaultNetwork, enableIpv6, overlayMtu } = cluster.config;
  return {
    version,
    ...(leader && { leader }),
    agents: cluster.counts(),
    networks: network.overlays.length,
    ...(defaultNetwork !== undefined && { defaultNetwork }),
    enableIpv6,
    ...(overlayMtu !== undefined && { overlayMtu }),
    vteps: cluster
      .usage()
      .filter(({ network }) => network === undefined)
      .map(poolView),
    refusedChanges: [...cluster.effective.settings.refused],
    warnings: [...warnings],
  };
}
