/**
 * Everything that a master serves over HTTP, as one application for one listener.
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import { createApi } from "../http-errors.ts";
import { addV1Routes, type MasterApiDeps } from "./api.ts";
import { addOverlayRoutes } from "./overlay-routes.ts";
import { poolView } from "./views.ts";

export function createMasterApp(deps: MasterApiDeps): OpenAPIHono {
  const app = createApi(deps.onBug);
  addV1Routes(app, deps);
  addOverlayRoutes(app, deps.cluster, deps.local);
  app.get("/healthz", (context) => context.text("ok\n"));
  app.get("/metrics", async (context) =>
    context.body(await metricsText(deps), 200, { "content-type": deps.metrics.contentType }),
  );
  app.doc31("/v1/openapi.json", {
    openapi: "3.1.0",
    info: { title: "Weft master", version: deps.version },
  });
  return app;
}

function metricsText({ cluster, metrics, refusedChanges }: MasterApiDeps): Promise<string> {
  const { known, connected } = cluster.counts();
  return metrics.text({
    agents: known,
    connected,
    refusedChanges: refusedChanges.length,
    pools: cluster.usage().map((usage) => {
      const { kind, network, used, size } = poolView(usage);
      return { pool: kind, network: network ?? "", used, size };
    }),
  });
}
