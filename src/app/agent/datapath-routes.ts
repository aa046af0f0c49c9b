/**
 * The datapath over HTTP: its level and what it counted, who talks to whom, and samples of packets.
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import { PATHS } from "../../core/host/datapath.ts";
import type { Clock } from "../../io/ports.ts";
import { SAMPLE_EVERY_MAX } from "../../model/datapath-limits.ts";
import { ipSchema } from "../../model/schemas.ts";
import { json, REFUSED, requireLocal } from "../http-api.ts";
import type { DatapathWatch } from "./datapath-watch.ts";

const pathSchema = z.enum(PATHS);
const countSchema = z.object({ packets: z.number(), bytes: z.number() });

export const datapathReportSchema = z
  .object({
    /** 0: the plain kernel. 1: programs around its VXLAN device. 2: programs in its place. */
    level: z.union([z.literal(0), z.literal(1), z.literal(2)]),
    /** Why it is not higher. */
    reasons: z.array(z.string()),
    /** What of it is left to the kernel. */
    notes: z.array(z.string()),
  })
  .openapi("DatapathReport");

export const trafficSchema = z
  .object({
    /** Milliseconds of a clock that never goes back, for rates. */
    nowMs: z.number(),
    datapath: datapathReportSchema,
    /** Since the datapath was made. `same-host`, `tunnel`, `encapsulated`: by a program; others were left to the kernel. */
    paths: z.partialRecord(pathSchema, countSchema),
    /** Since they began to talk; `0.0.0.0` and `::` is everybody outside of the networks. */
    pairs: z.array(countSchema.extend({ source: ipSchema, destination: ipSchema, path: pathSchema })),
  })
  .openapi("Traffic");

export const flowsSchema = z
  .object({
    flows: z.array(
      z.object({
        source: ipSchema,
        destination: ipSchema,
        sourcePort: z.number().optional(),
        destinationPort: z.number().optional(),
        /** The IP protocol's number. */
        protocol: z.number(),
        path: pathSchema,
        /** Where it came in. */
        dev: z.string().optional(),
        length: z.number(),
      }),
    ),
    /** To be given as `after` by the next call. */
    next: z.number(),
  })
  .openapi("Flows");

const TRAFFIC = createRoute({
  method: "get",
  path: "/v1/traffic",
  summary: "How packets of this host's containers went, and who talks to whom.",
  responses: { 200: json(trafficSchema, "Counts."), ...REFUSED },
});
const FLOWS = createRoute({
  method: "get",
  path: "/v1/flows",
  summary: "Samples of packets, by the Unix socket only. They are taken while somebody asks, and some seconds longer.",
  request: {
    query: z.object({
      every: z.coerce.number().int().min(1).max(SAMPLE_EVERY_MAX).default(100),
      after: z.coerce.number().int().min(0).default(0),
    }),
  },
  responses: { 200: json(flowsSchema, "The oldest first."), ...REFUSED },
});

export interface DatapathRoutesDeps {
  readonly datapath: DatapathWatch;
  readonly clock: Clock;
  readonly local: boolean;
}

export function addDatapathRoutes(app: OpenAPIHono, { datapath, clock, local }: DatapathRoutesDeps): void {
  app.openapi(TRAFFIC, async (context) => {
    const traffic = await datapath.traffic();
    const { paths, pairs } = traffic ?? { paths: {}, pairs: [] };
    return context.json({ nowMs: clock.now(), datapath: datapathView(datapath), paths, pairs: [...pairs] }, 200);
  });
  app.openapi(FLOWS, async (context) => {
    requireLocal(local, "agent"); // each sample costs the host something
    const { every, after } = context.req.valid("query");
    const { flows, next } = await datapath.flows(every, after);
    return context.json({ flows: [...flows], next }, 200);
  });
}

export function datapathView({ report }: DatapathWatch): z.infer<typeof datapathReportSchema> {
  return { level: report.level, reasons: [...report.reasons], notes: [...report.notes] };
}
