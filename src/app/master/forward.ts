/**
 * A call as it is handed on from a standby to the leader: method, path with query, body and headers unchanged, so that what
 * it proves still holds, and marked, so that it goes no further. The answer comes back as it is.
 */
import type { IncomingMessage } from "node:http";
import { Readable } from "node:stream";
import { parseMasterAddress, requestTo, type TlsClient, whyUnreachable } from "../../io/master-call.ts";
import type { MasterAddress } from "../../io/ports.ts";
import { Fault } from "../../model/fault.ts";
import { HTTP_BODY_MAX_BYTES, MASTER_CALL_TIMEOUT_MS } from "../../model/limits.ts";

/** Holds the id of the master that handed the call on. */
export const FORWARDED_HEADER = "weft-forwarded-by";

/** Of one connection, and not of the call (RFC 9110 §7.6.1); and what the new connection says for itself. */
const HOP_BY_HOP = new Set([
  ...["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"],
  ...["host", "content-length", "expect"],
]);

export interface Way {
  readonly leader: MasterAddress;
  readonly self: MasterAddress;
  readonly tls?: TlsClient;
}

/** @throws Fault not-ready when the leader does not answer; bad-request */
export async function forward(request: Request, { leader, self, tls }: Way): Promise<Response> {
  const body = await bodyOfRequest(request);
  const { pathname, search } = new URL(request.url);
  const headers: Record<string, string> = {};
  for (const [name, value] of request.headers) if (!HOP_BY_HOP.has(name)) headers[name] = value;
  headers[FORWARDED_HEADER] = self.id;
  if (body.length > 0 || request.method !== "GET") headers["content-length"] = String(body.length);
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sent = requestTo(parseMasterAddress(leader.url, tls && { ...(tls.ca !== undefined && { ca: tls.ca }) }), {
    method: request.method,
    path: pathname + search,
    headers,
  });
  const late = setTimeout(
    () => sent.destroy(new Error(`no answer within ${MASTER_CALL_TIMEOUT_MS / 1000} s`)),
    MASTER_CALL_TIMEOUT_MS,
  ).unref();
  sent.on("response", resolve);
  sent.on("error", reject);
  sent.end(body);
  try {
    return answerFrom(await promise, request.method);
  } catch (thrown) {
    throw new Fault(
      "not-ready",
      `the leader ${leader.url} does not answer (${whyUnreachable(thrown)}), and whether it did what was asked is not known; try again in a moment`,
      { leader: leader.url },
    );
  } finally {
    clearTimeout(late);
  }
}

/** @throws Fault bad-request for what no master takes */
async function bodyOfRequest(request: Request): Promise<Buffer> {
  if (request.headers.has("transfer-encoding"))
    throw new Fault("bad-request", "the request's body has no length; send it with Content-Length");
  // Node's parser holds a body to the length that it announces.
  if (Number(request.headers.get("content-length") ?? 0) > HTTP_BODY_MAX_BYTES)
    throw new Fault("bad-request", `the request is larger than ${HTTP_BODY_MAX_BYTES} bytes; send less`);
  return Buffer.from(await request.arrayBuffer());
}

function answerFrom(answer: IncomingMessage, method: string): Response {
  const status = answer.statusCode ?? 502;
  const headers = new Headers();
  for (const [name, value] of Object.entries(answer.headersDistinct))
    if (!HOP_BY_HOP.has(name)) for (const each of value ?? []) headers.append(name, each);
  const isEmpty = method === "HEAD" || status === 204 || status === 304;
  if (isEmpty) answer.resume();
  return new Response(isEmpty ? null : (Readable.toWeb(answer) as ReadableStream), { status, headers });
}
