/**
 * Everything that an agent serves over HTTP. Reading is open; CNI calls come by the Unix socket only, because whoever
 * makes them decides over this host's containers.
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { Fault } from "../../model/fault.ts";
import { assignmentSchema, attachmentSchema, overlayStatusSchema, peerSchema } from "../../model/schemas.ts";
import { createApi, faultAnswer, json, requireLocal } from "../http-api.ts";
import type { Agent } from "./agent.ts";
import type { Session } from "./session.ts";

export interface AgentApiDeps {
  readonly agent: Agent;
  readonly session: Session;
  readonly agentId: string;
  readonly version: string;
  /** Whether this is the Unix socket, which only root of this host can open. */
  readonly local: boolean;
  readonly onBug: (thrown: unknown) => void;
}

export const agentStatusSchema = z
  .object({
    version: z.string(),
    agentId: z.string(),
    /** Whether a master has answered since the agent started. */
    registered: z.boolean(),
    nodePath: z.enum(["ingress forward", "policy rule"]),
    /** Other nodes; absent while they are not known. */
    peers: z.number().optional(),
    /** What of them is not served, one sentence each. */
    peerProblems: z.array(z.string()),
    attachments: z.number(),
    statuses: z.array(overlayStatusSchema),
    assignment: assignmentSchema.optional(),
  })
  .openapi("AgentStatus");

const STATUS = createRoute({
  method: "get",
  path: "/v1/status",
  summary: "The agent, what it was assigned, and how its networks are.",
  responses: { 200: json(agentStatusSchema, "Status.") },
});
const ATTACHMENTS = createRoute({
  method: "get",
  path: "/v1/attachments",
  summary: "The interfaces of this host's containers, with their leases.",
  responses: { 200: json(z.object({ attachments: z.array(attachmentSchema) }), "Attachments.") },
});
const PEERS = createRoute({
  method: "get",
  path: "/v1/peers",
  summary: "The other nodes, as they are known here.",
  responses: { 200: json(z.object({ peers: z.array(peerSchema) }), "Peers.") },
});
const CNI = createRoute({
  method: "post",
  path: "/v1/cni",
  summary: "One CNI call, by the Unix socket only. 200: the plugin prints the body and ends with 0; else with 1.",
  request: {
    body: {
      required: true,
      description:
        "Lines NAME=VALUE of the environment, each ended by a zero byte, one more zero byte, standard input.",
      content: { "application/octet-stream": { schema: z.string() } },
    },
  },
  responses: { 200: json(z.unknown(), "A CNI result, or empty."), default: json(z.unknown(), "A CNI error.") },
});

export function createAgentApp(deps: AgentApiDeps): OpenAPIHono {
  const { agent, session, onBug, version } = deps;
  const app = createApi({
    title: "Weft agent",
    version,
    metrics: async () => ({ text: await metricsText(deps), contentType: agent.metrics.contentType }),
    onBug,
  });
  app.openapi(STATUS, (context) => context.json(statusView(deps), 200));
  // Arrays are copied because the schema's type is mutable.
  app.openapi(ATTACHMENTS, (context) => context.json({ attachments: [...agent.attachments()] }, 200));
  app.openapi(PEERS, (context) => context.json({ peers: [...(agent.peers() ?? [])] }, 200));
  app.openAPIRegistry.registerPath(CNI);
  app.post("/v1/cni", (context) => cniAnswer(context, deps));
  app.get("/overlay-agent/overlay", (context) => overlayAnswer(context, agent, session));
  app.get("/healthz", (context) =>
    agent.assignment() === undefined
      ? faultAnswer(context, new Fault("not-ready", "no master has answered yet; the agent goes on trying"))
      : context.text("ok\n"),
  );
  return app;
}

async function cniAnswer(context: Context, { agent, local }: AgentApiDeps): Promise<Response> {
  requireLocal(local, "agent");
  const { status, body } = await agent.cni(new Uint8Array(await context.req.arrayBuffer()));
  return context.body(body, status as ContentfulStatusCode, { "content-type": "application/json" });
}

/** JSON or nothing: the original's second form, protobuf, has no reader left (spec: overlay §3.7). */
function overlayAnswer(context: Context, agent: Agent, session: Session): Response {
  const accepted = context.req.header("accept") ?? "*/*";
  if (!/(application\/json|application\/\*|\*\/\*)/.test(accepted))
    return context.text("this endpoint answers application/json\n", 415);
  const document = agent.overlayDocument(session.configurationAttempts);
  return context.body(document, 200, { "content-type": "application/json" });
}

function statusView({ agent, session, agentId, version }: AgentApiDeps): z.infer<typeof agentStatusSchema> {
  const peers = agent.peers();
  const assignment = agent.assignment();
  return {
    version,
    agentId,
    registered: session.isRegistered,
    nodePath: agent.nodePath(),
    ...(peers !== undefined && { peers: peers.length }),
    peerProblems: [...agent.peerProblems()],
    attachments: agent.attachments().length,
    statuses: [...agent.statuses()],
    ...(assignment !== undefined && { assignment }),
  };
}

function metricsText({ agent, session }: AgentApiDeps): Promise<string> {
  const overlays = agent.assignment()?.agent.overlays ?? [];
  return agent.metrics.text({
    isRegistering: !session.isRegistered,
    networks: overlays.length,
    networksFailed: agent.statuses().filter(({ status }) => status === "STATUS_FAILED").length,
    networksWithoutIpv4: overlays.filter(({ info }) => info.subnet === undefined).length,
    peers: agent.peers()?.length ?? 0,
    peersLeftOut: agent.peerProblems().length,
    attachments: agent.attachments().length,
  });
}
