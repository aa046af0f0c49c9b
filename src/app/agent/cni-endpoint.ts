/**
 * POST /v1/cni on the agent's Unix socket: where the CNI executable hands over a runtime's call.
 *
 * An agent that is still starting says "try again", at once: a runtime that waits for the answer instead would hold up
 * every container of its own. VERSION asks for nothing that an agent has to be ready for.
 */
import { decodeCall } from "../../core/cni/call.ts";
import { bugReply, type CniReply, errorReply, versionReply } from "../../core/cni/reply.ts";
import type { DirectCall } from "../../io/http-server.ts";
import { Fault, messageOf } from "../../model/fault.ts";
import { CNI_CALL_MAX_BYTES } from "../../model/limits.ts";

export const CNI_PATH = "/v1/cni";

/** What carries out calls. */
export interface CniService {
  isStarted(): boolean;
  cni(body: Uint8Array): Promise<CniReply>;
  /** Told of what was thrown; the caller gets a CNI error all the same. */
  onBug(thrown: unknown): void;
}

export function cniEndpoint(service: CniService): DirectCall {
  return {
    path: CNI_PATH,
    maxBytes: CNI_CALL_MAX_BYTES,
    async answer(body) {
      if (!service.isStarted()) return replyWhileStarting(body);
      return service.cni(body).catch((bug: unknown) => {
        service.onBug(bug);
        return bugReply(messageOf(bug));
      });
    },
  };
}

/** A call that is wrong is told so: that will not change. */
function replyWhileStarting(body: Uint8Array): CniReply {
  const { version, command, call } = decodeCall(body);
  if (call instanceof Fault) return errorReply(version, command, call);
  if (call.command === "VERSION") return versionReply(call.asked);
  const fault = new Fault("not-ready", "the weft agent of this host is starting; try again in a moment");
  return errorReply(version, command, fault);
}
