/**
 * What a runtime is told by an agent that is still starting: try again, at once. A runtime that waits for the answer
 * instead would hold up every container of its own. VERSION asks for nothing that an agent has to be ready for.
 */
import { decodeCall } from "../../core/cni/call.ts";
import { type CniReply, errorReply, versionReply } from "../../core/cni/reply.ts";
import { Fault } from "../../model/fault.ts";
import { CNI_CALL_MAX_BYTES } from "../../model/limits.ts";

export function isCniCall({ method, url }: Pick<Request, "method" | "url">): boolean {
  return method === "POST" && new URL(url).pathname === "/v1/cni";
}

export async function answerWhileStarting(request: Request): Promise<Response> {
  const length = request.headers.get("content-length");
  const isBounded = length !== null && Number(length) <= CNI_CALL_MAX_BYTES;
  const { status, body } = replyWhileStarting(
    isBounded ? new Uint8Array(await request.arrayBuffer()) : new Uint8Array(),
  );
  return new Response(body, { status, headers: { "content-type": "application/json" } });
}

/** A call that is wrong is told so: that will not change. */
function replyWhileStarting(bytes: Uint8Array): CniReply {
  const { version, command, call } = decodeCall(bytes);
  if (call instanceof Fault) return errorReply(version, command, call);
  if (call.command === "VERSION") return versionReply(call.asked);
  const fault = new Fault("not-ready", "the weft agent of this host is starting; try again in a moment");
  return errorReply(version, command, fault);
}
