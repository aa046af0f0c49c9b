/**
 * The original's two endpoints on the master (spec: overlay §2.7). Reading is open to all, as it was; deleting was open
 * too, and is for operators only.
 */
import type { OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { Fault } from "../../model/fault.ts";
import { type Ip, parseIp } from "../../model/ip.ts";
import type { MasterApiDeps } from "./api.ts";
import { operatorOf } from "./callers.ts";
import type { Cluster } from "./cluster.ts";
import { callerOf, requireOperator } from "./trust-routes.ts";

const JSON_TYPE = "application/json";
/** A callback is script in the caller's page: a dotted name and nothing else. */
const CALLBACK = /^[A-Za-z_$][\w$.]{0,63}$/;

export function addOverlayRoutes(app: OpenAPIHono, deps: MasterApiDeps): void {
  const { cluster } = deps;
  app.all("/overlay-master/state", (context) => stateAnswer(context, cluster));
  app.all("/overlay-master/agents/delete", async (context) => {
    if (context.req.method !== "POST") return context.text("expecting a POST request\n", 405, { allow: "POST" });
    requireOperator(context, deps);
    cluster.deleteByIp(parseDelete(await context.req.text()), operatorOf(callerOf(context)));
    return context.body(cluster.stateJson(), 200, { "content-type": JSON_TYPE });
  });
}

function stateAnswer(context: Context, cluster: Cluster): Response {
  const callback = context.req.query("jsonp");
  if (callback === undefined) return context.body(cluster.stateJson(), 200, { "content-type": JSON_TYPE });
  if (!CALLBACK.test(callback)) throw new Fault("bad-request", "jsonp is no name of a function; give one such as cb");
  return context.body(`${callback}(${cluster.stateJson()});`, 200, { "content-type": "text/javascript" });
}

/** @throws Fault bad-request */
function parseDelete(text: string): Ip[] {
  const right = 'send {"agents":["10.0.0.11"]}';
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    throw new Fault("bad-request", `the request is not JSON; ${right}`);
  }
  const agents = (body as { agents?: unknown } | null)?.agents;
  if (!Array.isArray(agents)) throw new Fault("bad-request", `the request has no list 'agents'; ${right}`);
  return agents.map((each: unknown) => {
    const ip = typeof each === "string" ? parseIp(each) : undefined;
    if (ip === undefined) throw new Fault("bad-request", `${JSON.stringify(each)} is not an IP address; ${right}`);
    return ip;
  });
}
