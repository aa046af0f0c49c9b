/**
 * Everything that a master serves over HTTP, as one application for one listener.
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { GossipMetrics } from "../gossip/gossip-metrics.ts";
import { addMembersRoute } from "../gossip/members-route.ts";
import { createApi } from "../http-api.ts";
import { addV1Routes, type MasterApiDeps } from "./api.ts";
import { operatorOf } from "./callers.ts";
import { addHistoryRoutes } from "./history-routes.ts";
import { addNetworkRoutes } from "./network-routes.ts";
import { addOverlayRoutes } from "./overlay-routes.ts";
import { addPolicyRoutes } from "./policy-routes.ts";
import { addReservationRoutes } from "./reservation-routes.ts";
import { addTrustRoutes, callerOf, identifyCallers, requireOperator } from "./trust-routes.ts";
import { poolView } from "./views.ts";

export function createMasterApp(deps: MasterApiDeps): OpenAPIHono {
  const { metrics, onBug, version } = deps;
  const gossipMetrics = new GossipMetrics();
  const app = createApi({
    title: "Weft master",
    version,
    metrics: async () => ({
      text: (await metricsText(deps)) + (await gossipMetrics.text(deps.gossip?.member)),
      contentType: metrics.contentType,
    }),
    onBug,
  });
  answerWhenDurable(app, deps);
  identifyCallers(app, deps);
  addV1Routes(app, deps);
  addNetworkRoutes(app, deps);
  addPolicyRoutes(app, {
    book: deps.cluster.policies,
    requireOperator: (context) => requireOperator(context, deps),
    whoOf: (context) => operatorOf(callerOf(context)),
    networks: () => deps.cluster.config.network.overlays.map(({ name }) => name),
  });
  addReservationRoutes(app, {
    book: deps.cluster.reservations,
    requireOperator: (context) => requireOperator(context, deps),
    whoOf: (context) => operatorOf(callerOf(context)),
    networks: () => deps.cluster.config.network.overlays,
    hostnames: () => Object.fromEntries(deps.cluster.agents().map(({ id, hostname }) => [id, hostname])),
    claim: (request, context) => deps.cluster.claim(request, callerOf(context)),
  });
  addTrustRoutes(app, deps);
  addHistoryRoutes(app, deps);
  addOverlayRoutes(app, deps);
  addMembersRoute(app, () => deps.gossip?.member, deps.clock);
  app.get("/healthz", (context) => context.text("ok\n"));
  return app;
}

/** No answer leaves, to whomever, before all that it may tell of is durable. */
function answerWhenDurable(app: OpenAPIHono, { cluster }: MasterApiDeps): void {
  app.use(async (_, next) => {
    await next();
    await cluster.durable();
  });
}

function metricsText({ cluster, metrics }: MasterApiDeps): Promise<string> {
  const { known, connected } = cluster.counts();
  return metrics.text({
    agents: known,
    connected,
    refusedChanges: cluster.effective.settings.refused.length,
    exhausted: cluster.elastic.exhausted(),
    pools: cluster.usage().map((usage) => {
      const { kind, network, used, size } = poolView(usage);
      return { pool: kind, network: network ?? "", used, size };
    }),
  });
}
