/**
 * Everything that an agent serves over HTTP. Reading is open; CNI calls come by the Unix socket only, because whoever
 * makes them decides over this host's containers.
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { allTasks, type Task } from "../../core/docker/tasks.ts";
import type { Capacity } from "../../core/ipam/capacity.ts";
import type { Clock } from "../../io/ports.ts";
import { addressesOf, isAttachment, type Lease, pluginOf } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import {
  assignmentSchema,
  attachmentSchema,
  cidrSchema,
  ipSchema,
  overlayStatusSchema,
  peerSchema,
  portMappingSchema,
} from "../../model/schemas.ts";
import { GossipMetrics } from "../gossip/gossip-metrics.ts";
import { addMembersRoute } from "../gossip/members-route.ts";
import { createApi, faultAnswer, json, notLocal, REFUSED, requireLocal } from "../http-api.ts";
import type { Agent } from "./agent.ts";
import type { AgentGossip } from "./agent-gossip.ts";
import { CNI_PATH } from "./cni-endpoint.ts";
import type { DatapathMetrics } from "./datapath-metrics.ts";
import { addDatapathRoutes, datapathReportSchema, datapathView } from "./datapath-routes.ts";
import { NETAVARK_PATH } from "./netavark-endpoint.ts";
import type { Session } from "./session.ts";

export interface AgentApiDeps {
  readonly agent: Agent;
  readonly session: Session;
  readonly gossip: AgentGossip;
  /** One for both apps of an agent. */
  readonly datapathMetrics: DatapathMetrics;
  readonly clock: Clock;
  readonly agentId: string;
  readonly version: string;
  /** Whether this is the Unix socket, which only root of this host can open. */
  readonly local: boolean;
  readonly onBug: (thrown: unknown) => void;
  /** Those of Docker; absent: the agent looks after no engine. */
  /** What of Docker is known; absent: this agent has nothing to do with Docker. */
  readonly docker?: { tasks(): readonly Task[]; problems(): readonly string[] };
}

export const agentStatusSchema = z
  .object({
    version: z.string(),
    agentId: z.string(),
    /** Whether a master has answered since the agent started. */
    registered: z.boolean(),
    nodePath: z.enum(["ingress forward", "policy rule"]),
    /** Absent from older agents. */
    datapath: datapathReportSchema.optional(),
    /** Other nodes that are known. */
    peers: z.number(),
    /** Whether these are all; soon after the agent's start there may be more. */
    peersComplete: z.boolean(),
    /** What of them is not served, one sentence each. */
    peerProblems: z.array(z.string()),
    /** What of Docker is not as it should be, or should be known, one sentence each. Older agents do not tell. */
    dockerProblems: z.array(z.string()).optional(),
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
export const capacitySchema: z.ZodType<Capacity> = z
  .object({
    network: z.string(),
    family: z.union([z.literal(4), z.literal(6)]),
    runtime: z.enum(["cni", "docker"]),
    half: cidrSchema,
    slice: cidrSchema,
    draining: z.literal(true).optional(),
    size: z.number(),
    used: z.number(),
    resting: z.number(),
    free: z.number(),
  })
  .openapi("Capacity");

const labelsSchema = z.record(z.string(), z.string());

/** What is leased, as people look at it. */
export const endpointSchema = z
  .object({
    containerId: z.string(),
    name: z.string().optional(),
    runtime: z.string(),
    network: z.string(),
    ifname: z.string(),
    addresses: z.array(ipSchema),
    /** By which plugin it was attached. */
    plugin: z.enum(["weft-cni", "weft-ipam", "docker"]),
    state: z.enum(["pending", "attached", "mending"]),
    since: z.string(),
    labels: labelsSchema.optional(),
    aliases: z.array(z.string()).optional(),
    ports: z.array(portMappingSchema).optional(),
  })
  .openapi("Endpoint");

const CAPACITY = createRoute({
  method: "get",
  path: "/v1/capacity",
  summary: "Addresses of this host for containers, per network and half. Numbers above 2^53 are rounded.",
  responses: { 200: json(z.object({ capacity: z.array(capacitySchema) }), "Capacity.") },
});
const ENDPOINTS = createRoute({
  method: "get",
  path: "/v1/endpoints",
  summary: "Every interface that has addresses of this host, with its container and runtime.",
  responses: { 200: json(z.object({ endpoints: z.array(endpointSchema) }), "Endpoints.") },
});
/** What runs, as names and virtual addresses are made of it. */
export const taskSchema = z
  .object({
    framework: z.string(),
    name: z.string(),
    runtime: z.string(),
    containerId: z.string(),
    image: z.string().optional(),
    labels: labelsSchema,
    ports: z.array(
      z.object({
        protocol: z.string(),
        containerPort: z.number(),
        hostPort: z.number().optional(),
        hostIp: ipSchema.optional(),
      }),
    ),
    health: z.enum(["healthy", "unhealthy", "starting"]).optional(),
    networks: z.array(
      z.object({ network: z.string(), addresses: z.array(ipSchema), endpointId: z.string().optional() }),
    ),
  })
  .openapi("Task");

const TASKS = createRoute({
  method: "get",
  path: "/v1/tasks",
  summary: "What runs on this host: Docker's containers, and those of other runtimes that have addresses of Weft's.",
  responses: { 200: json(z.object({ tasks: z.array(taskSchema) }), "Tasks.") },
});
const LEASE_CHECK = createRoute({
  method: "get",
  path: "/v1/leases/check",
  summary: "Compares leases with the kernel, by the Unix socket only. One sentence for each problem.",
  responses: { 200: json(z.object({ problems: z.array(z.string()) }), "Problems."), ...REFUSED },
});
const LEASE_GC = createRoute({
  method: "post",
  path: "/v1/leases/gc",
  summary: "Releases what lost its network namespace, by the Unix socket only.",
  responses: { 200: json(z.object({ released: z.array(endpointSchema) }), "What was released."), ...REFUSED },
});
const PEERS = createRoute({
  method: "get",
  path: "/v1/peers",
  summary: "The other nodes, as they are known here.",
  responses: { 200: json(z.object({ peers: z.array(peerSchema) }), "Peers.") },
});
const CNI = createRoute({
  method: "post",
  path: CNI_PATH,
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
const NETAVARK = createRoute({
  method: "post",
  path: NETAVARK_PATH,
  summary: "One call of the netavark plugin, by the Unix socket only; as of /v1/cni.",
  request: {
    body: {
      required: true,
      description: "COMMAND=, NETNS= and REQUEST_ID=, each ended by a zero byte, one more zero byte, standard input.",
      content: { "application/octet-stream": { schema: z.string() } },
    },
  },
  responses: {
    200: json(z.unknown(), "A network, a status block, or empty."),
    default: json(z.object({ error: z.string() }), "What netavark shows."),
  },
});

export function createAgentApp(deps: AgentApiDeps): OpenAPIHono {
  const { agent, session, datapathMetrics, onBug, version } = deps;
  const gossipMetrics = new GossipMetrics();
  const app = createApi({
    title: "Weft agent",
    version,
    metrics: async () => ({
      text: (await metricsText(deps)) + (await gossipMetrics.text(deps.gossip.member)) + (await datapathMetrics.text()),
      contentType: agent.metrics.contentType,
    }),
    onBug,
  });
  app.openapi(STATUS, (context) => context.json(statusView(deps), 200));
  // Arrays are copied because the schema's type is mutable.
  app.openapi(ATTACHMENTS, (context) => context.json({ attachments: [...agent.attachments()] }, 200));
  app.openapi(CAPACITY, (context) => context.json({ capacity: [...agent.capacities()] }, 200));
  app.openapi(ENDPOINTS, (context) => context.json({ endpoints: agent.leases().map(endpointView) }, 200));
  app.openapi(TASKS, (context) => {
    const tasks = allTasks(deps.docker?.tasks() ?? [], agent.leases());
    return context.json({ tasks: tasks.map(taskView) }, 200);
  });
  app.openapi(LEASE_CHECK, async (context) => {
    requireLocal(deps.local, "agent"); // calls of runtimes wait for it
    return context.json({ problems: [...(await agent.upkeep.audit())] }, 200);
  });
  app.openapi(LEASE_GC, async (context) => {
    requireLocal(deps.local, "agent");
    return context.json({ released: (await agent.upkeep.collect()).map(endpointView) }, 200);
  });
  app.openapi(PEERS, (context) => context.json({ peers: [...agent.peers()] }, 200));
  addDatapathRoutes(app, { ...deps, datapath: agent.datapath });
  addMembersRoute(app, () => deps.gossip.member, deps.clock);
  // On the socket they are answered before they get here.
  for (const direct of [CNI, NETAVARK]) {
    app.openAPIRegistry.registerPath(direct);
    app.post(direct.path, () => {
      throw notLocal("agent");
    });
  }
  app.get("/overlay-agent/overlay", (context) => overlayAnswer(context, agent, session));
  app.get("/healthz", (context) =>
    agent.assignment() === undefined
      ? faultAnswer(context, new Fault("not-ready", "no master has answered yet; the agent goes on trying"))
      : context.text("ok\n"),
  );
  return app;
}

/** JSON or nothing: the original's second form, protobuf, has no reader left (spec: overlay §3.7). */
function overlayAnswer(context: Context, agent: Agent, session: Session): Response {
  const accepted = context.req.header("accept") ?? "*/*";
  if (!/(application\/json|application\/\*|\*\/\*)/.test(accepted))
    return context.text("this endpoint answers application/json\n", 415);
  const document = agent.overlayDocument(session.configurationAttempts);
  return context.body(document, 200, { "content-type": "application/json" });
}

function endpointView(lease: Lease): z.infer<typeof endpointSchema> {
  const { name, runtime, network, state, since, labels, docker } = lease;
  const { containerId = lease.containerId, ifname = lease.ifname } = docker ?? {};
  const { aliases, ports } = isAttachment(lease) ? lease : {};
  return {
    containerId,
    ...(name !== undefined && { name }),
    runtime,
    network,
    ifname,
    addresses: [...addressesOf(lease)],
    plugin: pluginOf(lease),
    state,
    since,
    ...(labels !== undefined && { labels }),
    ...(aliases !== undefined && { aliases: [...aliases] }),
    ...(ports !== undefined && { ports: [...ports] }),
  };
}

function taskView({ ports, networks, ...rest }: Task): z.infer<typeof taskSchema> {
  return {
    ...rest,
    ports: [...ports],
    networks: networks.map((network) => ({ ...network, addresses: [...network.addresses] })),
  };
}

function statusView({ agent, docker, session, agentId, version }: AgentApiDeps): z.infer<typeof agentStatusSchema> {
  const peers = agent.peers();
  const assignment = agent.assignment();
  return {
    version,
    agentId,
    registered: session.isRegistered,
    nodePath: agent.nodePath(),
    datapath: datapathView(agent.datapath),
    peers: peers.length,
    peersComplete: agent.arePeersComplete,
    peerProblems: [...agent.peerProblems()],
    dockerProblems: [...(docker?.problems() ?? [])],
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
    peers: agent.peers().length,
    peersLeftOut: agent.peerProblems().length,
    attachments: agent.attachments().length,
    capacities: agent.capacities(),
    givenEarly: agent.upkeep.givenEarly,
    roomsPast: (mark) => agent.roomsPast(mark),
  });
}
