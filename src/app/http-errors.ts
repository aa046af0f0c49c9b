/**
 * How both programs answer a request that fails: a fault by the one table, with its message and facts as JSON. Anything
 * else that is thrown is a bug; the caller gets 500, and the process ends, so that state is read again.
 */
import { OpenAPIHono } from "@hono/zod-openapi";
import type { Context, MiddlewareHandler } from "hono";
import { HTTPException } from "hono/http-exception";
import type { ContentfulStatusCode } from "hono/utils/http-status";
import { Fault } from "../model/fault.ts";
import { FAULT_TABLE, faultBody } from "../model/fault-table.ts";
import { HTTP_BODY_MAX_BYTES } from "../model/limits.ts";
import { issuesOf } from "../model/schemas.ts";

/**
 * An application whose bodies are bounded and whose errors are answered as above.
 * @param onBug is told of what was thrown that is no fault
 */
export function createApi(onBug: (thrown: unknown) => void): OpenAPIHono {
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
  return app;
}

export function faultAnswer(context: Context, fault: Fault): Response {
  return context.json(faultBody(fault), FAULT_TABLE[fault.code].http as ContentfulStatusCode);
}

/** @throws Fault forbidden unless the request came by the program's Unix socket, which only root of this host can open */
export function requireLocal(local: boolean, program: "master" | "agent"): void {
  if (local) return;
  throw new Fault(
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
