/**
 * The master's calls about trust under `/v1`: challenges for whoever is going to prove a call, and for operators the
 * tokens and the gossip's keys. No answer ever holds a key; the text of a new token is in one answer, on the socket.
 */
import { createRoute, type OpenAPIHono, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { ChallengeMessage } from "../../io/messages.ts";
import { challengeSchema } from "../../io/messages.ts";
import { Fault } from "../../model/fault.ts";
import { TOKEN_NOTE_MAX_LENGTH, TOKEN_TTL_MAX_S, TOKEN_USES_MAX } from "../../model/limits.ts";
import { toText } from "../../model/trust/bytes.ts";
import { PROOF_HEADER } from "../../model/trust/call-proof.ts";
import { json, REFUSED, requireLocal } from "../http-api.ts";
import type { MasterApiDeps } from "./api.ts";
import { type Caller, operatorOf } from "./callers.ts";
import { keyRingViewSchema, tokenViewSchema } from "./views.ts";

const CALLER = "caller";

const CHALLENGE = createRoute({
  method: "post",
  path: "/v1/challenge",
  summary: "Begins a call that is to be proven: the header Weft-Proof of the next one answers this.",
  responses: { 200: json(challengeSchema, "To be answered once, within half a minute.") },
});
const TOKENS = createRoute({
  method: "get",
  path: "/v1/tokens",
  summary: "All tokens, without their secrets. By the Unix socket, or with an operator's token.",
  responses: { 200: json(z.object({ tokens: z.array(tokenViewSchema) }), "Tokens."), ...REFUSED },
});
const tokenWishSchema = z.object({
  kind: z.enum(["join", "operator"]).default("join"),
  note: z.string().max(TOKEN_NOTE_MAX_LENGTH).default(""),
  uses: z.int().min(1).max(TOKEN_USES_MAX).optional(),
  ttlSeconds: z.int().min(1).max(TOKEN_TTL_MAX_S).optional(),
});
const CREATE_TOKEN = createRoute({
  method: "post",
  path: "/v1/tokens",
  summary: "Makes a token, and tells its text this once. Unix socket only: the answer holds a secret.",
  request: { body: { required: true, content: { "application/json": { schema: tokenWishSchema } } } },
  responses: { 200: json(z.object({ text: z.string(), token: tokenViewSchema }), "The token."), ...REFUSED },
});
const REVOKE_TOKEN = createRoute({
  method: "delete",
  path: "/v1/tokens/{id}",
  summary: "Ends a token; who joined by it stays. By the Unix socket, or with an operator's token.",
  request: { params: z.object({ id: z.string().max(64) }) },
  responses: { 200: json(tokenViewSchema, "The token."), ...REFUSED },
});
const KEYS = createRoute({
  method: "get",
  path: "/v1/gossip/keys",
  summary: "The ids of the gossip's keys, and how far a change of them is.",
  responses: { 200: json(keyRingViewSchema, "Ids and phase.") },
});
const ROTATE = createRoute({
  method: "post",
  path: "/v1/gossip/rotate-key",
  summary: "Begins a change of the gossip's key. By the Unix socket, or with an operator's token.",
  responses: { 200: json(keyRingViewSchema, "Ids and phase."), ...REFUSED },
});

/** Finds out who calls before any route is reached; a proof that does not hold is refused here. */
export function identifyCallers(app: OpenAPIHono, { cluster, local }: MasterApiDeps): void {
  app.use(async (context, next) => {
    const header = context.req.header(PROOF_HEADER);
    // The proof is over the bytes as they came; what reads the body later reads these.
    const body = header === undefined ? new Uint8Array() : new Uint8Array(await context.req.arrayBuffer());
    const { pathname, search } = new URL(context.req.url);
    const { hasCertificate = false } = (context.env ?? {}) as { hasCertificate?: boolean };
    const way = local ? "socket" : hasCertificate ? "certificate" : "network";
    const call = { method: context.req.method, path: pathname + search, body };
    (context as Context).set(CALLER, cluster.trust.callers.identify(call, header, way));
    await next();
  });
}

export function callerOf(context: Context): Caller {
  return context.get(CALLER) as Caller;
}

/** @throws Fault bad-request */
export function requireSameAgent(ofBody: string, ofPath: string): void {
  if (ofBody !== ofPath)
    throw new Fault("bad-request", "the agent of the path and that of the body differ; send the same twice");
}

/**
 * Changing calls of operators.
 * @throws Fault forbidden, not-admitted, unauthorized
 */
export function requireOperator(context: Context, { cluster, local }: MasterApiDeps): void {
  if (local) return;
  const { token, accept } = callerOf(context);
  if (token?.kind !== "operator")
    throw new Fault(
      "forbidden",
      "this call is served on the master's Unix socket, as root of the master's host, or from afar with an operator's " +
        "token: 'weft token create --operator' there, --operator-token-file here",
    );
  if (!cluster.trust.tokens.isValid(token))
    throw new Fault("not-admitted", `operator token ${token.id} does not count any more; make another one`);
  accept();
}

export function addTrustRoutes(app: OpenAPIHono, deps: MasterApiDeps): void {
  const { trust } = deps.cluster;
  app.openapi(CHALLENGE, (context) => {
    const { nonce, ephemeral } = trust.callers.challenge();
    const message: ChallengeMessage = { nonce: toText(nonce), ephemeral: toText(ephemeral) };
    return context.json(message, 200);
  });
  app.openapi(TOKENS, (context) => {
    requireOperator(context, deps);
    return context.json({ tokens: [...trust.tokens.list()] }, 200);
  });
  app.openapi(CREATE_TOKEN, (context) => {
    requireLocal(deps.local, "master");
    const { text, view } = trust.tokens.create(context.req.valid("json"), trust.epoch, operatorOf(callerOf(context)));
    return context.json({ text, token: view }, 200);
  });
  app.openapi(REVOKE_TOKEN, (context) => {
    requireOperator(context, deps);
    return context.json(trust.tokens.revoke(context.req.valid("param").id, operatorOf(callerOf(context))), 200);
  });
  app.openapi(KEYS, (context) => context.json(viewOf(deps), 200));
  app.openapi(ROTATE, (context) => {
    requireOperator(context, deps);
    trust.gossipKeys.rotate(operatorOf(callerOf(context)));
    return context.json(viewOf(deps), 200);
  });
}

function viewOf({ cluster }: MasterApiDeps) {
  const { phase, keys } = cluster.trust.gossipKeys.view();
  return { phase, keys: keys.map((key) => ({ ...key })) };
}
