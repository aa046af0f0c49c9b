/**
 * What the HTTP interfaces of both programs have in common. A request that fails is answered by the one table of faults,
 * with message and facts as JSON. Anything else that is thrown is a bug; the caller gets 500, and the process ends, so
 * that state is read again.
 */
import { OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { Fault } from "../model/fault.ts";
import { FAULT_TABLE, faultBody } from "../model/fault-table.ts";
import { HTTP_BODY_MAX_BYTES } from "../model/limits.ts";
import { issuesOf } from "../model/schemas.ts";

export interface ApiOptions {
  /** Of the OpenAPI document. */
  readonly title: string;
  readonly version: string;
  /** What `/metrics` answers. */
  readonly metrics: () => Promise<{ readonly text: string; readonly contentType: string }>;
  /** Told of what was thrown that is no fault. */
  readonly onBug: (thrown: unknown) => void;
}

/** An application whose bodies are bounded, with `/metrics` and `/v1/openapi.json`; the caller adds all other routes. */
export function createApi({ title, version, metrics, onBug }: ApiOptions): OpenAPIHono {
  const app = new OpenAPIHono({
    defaultHook: (result) => {
      if (!result.success) throw invalid(issuesOf(result.error));
    },
  });
  app.use(boundedBody);
  app.notFound((context) =>
    context.json(
      {
        error: {
          code: "bad-request",
          message: `there is no ${context.req.path} here; see /v1/openapi.json`,
          facts: {},
        },
      },
      404,
    ),
  );
  app.onError((thrown, context) => {
    const fault = thrown instanceof HTTPException ? malformed(thrown) : thrown;
    if (fault instanceof Fault) return faultAnswer(context, fault);
    onBug(thrown);
    return context.json(
      { error: { code: "bug", message: "this is a bug of weft; its log has the details", facts: {} } },
      500,
    );
  });
  app.get("/metrics", async (context) => {
    const { text, contentType } = await metrics();
    return context.body(text, 200, { "content-type": contentType });
  });
  app.doc31("/v1/openapi.json", { openapi: "3.1.0", info: { title, version } });
  return app;
}

/** An answer in JSON, for a route's description. */
export const json = <T extends z.ZodType>(schema: T, description: string) => ({
  description,
  content: { "application/json": { schema } },
});

const faultSchema = z
  .object({ error: z.object({ code: z.string(), message: z.string(), facts: z.record(z.string(), z.unknown()) }) })
  .openapi("Fault");

/** The answers of a route that may refuse. */
export const REFUSED = { default: json(faultSchema, "Refused: code, message and facts of the fault.") };

export function faultAnswer(context: Context, fault: Fault): Response {
  return context.json(faultBody(fault), FAULT_TABLE[fault.code].http as ContentfulStatusCode);
}

/** @throws Fault forbidden unless the request came by the program's Unix socket, which only root of this host can open */
export function requireLocal(local: boolean, program: "master" | "agent"): void {
  if (!local) throw notLocal(program);
}

export function notLocal(program: "master" | "agent"): Fault {
  return new Fault(
    "forbidden",
    `this call is served on the ${program}'s Unix socket only; make it there, as root of the ${program}'s host`,
  );
}

/** What did not fit a route's schema, all of it. */
function invalid(problems: string[]): Fault {
  return new Fault("bad-request", `the request cannot be read: ${problems.join("; ")}`, { problems });
}

/** hono's own refusals: a body that is not JSON. */
function malformed(thrown: HTTPException): Fault {
  return new Fault("bad-request", `the request cannot be read: ${thrown.message}; send JSON`, {}, { cause: thrown });
}

/** Node's parser holds a body to the length that it announces, so it is enough to look at that. */
const boundedBody: MiddlewareHandler = async (context, next) => {
  if (context.req.header("transfer-encoding") !== undefined)
    throw new Fault("bad-request", "the request's body has no length; send it with Content-Length");
  if (Number(context.req.header("content-length") ?? 0) > HTTP_BODY_MAX_BYTES)
    throw new Fault("bad-request", `the request is larger than ${HTTP_BODY_MAX_BYTES} bytes; send less`);
  await next();
};
