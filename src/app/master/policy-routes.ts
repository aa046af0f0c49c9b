/**
 * The master's calls about policies under `/v1/policies`. Where policies are kept is the book's business; what a change
 * leads to, its owner's.
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import { Fault } from "../../model/fault.ts";
import { POLICIES_MAX } from "../../model/limits.ts";
import { type Policy, type PolicyBook, policyNameSchema, policySchema } from "../../model/policy.ts";
import { json, REFUSED } from "../http-api.ts";

export const policiesSchema = z.object({ policies: z.array(policySchema) });

const params = z.object({ name: policyNameSchema });
const bodySchema = z.object({ policy: policySchema });
const LIST = createRoute({
  method: "get",
  path: "/v1/policies",
  summary: "All policies, by name.",
  responses: { 200: json(policiesSchema, "Policies.") },
});
const PUT = createRoute({
  method: "put",
  path: "/v1/policies/{name}",
  summary: "Adds a policy, or changes the one of this name. By the Unix socket, or with an operator's token.",
  request: { params, body: { required: true, content: { "application/json": { schema: bodySchema } } } },
  responses: { 200: json(bodySchema, "The policy."), ...REFUSED },
});
const REMOVE = createRoute({
  method: "delete",
  path: "/v1/policies/{name}",
  summary: "Removes a policy. By the Unix socket, or with an operator's token.",
  request: { params },
  responses: { 200: json(z.object({ removed: z.string() }), "Its name."), ...REFUSED },
});

export interface PolicyRouteDeps {
  readonly book: PolicyBook;
  /** @throws Fault unless the caller may change policies */
  readonly requireOperator: (context: Context) => void;
  /** The operator, in the words of the event log. */
  readonly whoOf: (context: Context) => string;
  /** Names of the networks that are there. */
  readonly networks: () => readonly string[];
}

export function addPolicyRoutes(app: OpenAPIHono, deps: PolicyRouteDeps): void {
  app.openapi(LIST, (context) => context.json({ policies: [...deps.book.list()] }, 200));
  app.openapi(PUT, (context) => {
    deps.requireOperator(context);
    const { policy } = context.req.valid("json");
    checkPolicy(policy, context.req.valid("param").name, deps);
    deps.book.put(policy, deps.whoOf(context));
    return context.json({ policy }, 200);
  });
  app.openapi(REMOVE, (context) => {
    deps.requireOperator(context);
    const { name } = context.req.valid("param");
    if (!deps.book.remove(name, deps.whoOf(context)))
      throw new Fault("bad-request", `there is no policy ${name}; 'weft policy ls' shows which there are`, { name });
    return context.json({ removed: name }, 200);
  });
}

/** @throws Fault bad-request, unknown-network, exhausted */
function checkPolicy({ name, network }: Policy, path: string, { book, networks }: PolicyRouteDeps): void {
  if (name !== path)
    throw new Fault("bad-request", `the policy is named ${name}, the call ${path}; give both one name`);
  if (network !== undefined && !networks().includes(network))
    throw new Fault("unknown-network", `policy ${name}: there is no network ${network}; see 'weft networks'`, {
      network,
    });
  const others = book.list().filter((each) => each.name !== name);
  if (others.length >= POLICIES_MAX)
    throw new Fault("exhausted", `policy ${name}: there are ${POLICIES_MAX} policies already; remove one first`);
}
