/**
 * Everything that a master serves over HTTP, as one application for one listener.
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { GossipMetrics } from "../gossip/gossip-metrics.ts";
import { addMembersRoute } from "../gossip/members-route.ts";
import { createApi } from "../http-api.ts";
import { addV1Routes, type MasterApiDeps } from "./api.ts";
import { addOverlayRoutes } from "./overlay-routes.ts";
import { addTrustRoutes, identifyCallers } from "./trust-routes.ts";
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
  identifyCallers(app, deps);
  addV1Routes(app, deps);
  addTrustRoutes(app, deps);
  addOverlayRoutes(app, deps);
  addMembersRoute(app, () => deps.gossip?.member, deps.clock);
  app.get("/healthz", (context) => context.text("ok\n"));
  return app;
}

function metricsText({ cluster, metrics, refusedChanges }: MasterApiDeps): Promise<string> {
  const { known, connected } = cluster.counts();
  return metrics.text({
    agents: known,
    connected,
    refusedChanges: refusedChanges.length,
    exhausted: cluster.elastic.exhausted(),
    pools: cluster.usage().map((usage) => {
      const { kind, network, used, size } = poolView(usage);
      return { pool: kind, network: network ?? "", used, size };
    }),
  });
}
