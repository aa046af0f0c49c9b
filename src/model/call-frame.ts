/**
 * The frame in which the executable hands a call of a container runtime to the agent, whichever protocol the runtime
 * speaks: lines `NAME=VALUE`, each ended by NUL, one more NUL, then the bytes of stdin.
 */
import { Fault } from "./fault.ts";
import { CNI_CALL_MAX_BYTES } from "./limits.ts";

export type CallVariables = ReadonlyMap<string, string>;

export interface CallFrame {
  readonly environment: CallVariables;
  readonly stdin: Uint8Array;
}

/**
 * Takes the frame apart. Of two lines for one variable the first counts, as with getenv.
 * @throws Fault bad-request when it is too long or has no end of the variables
 */
export function splitCall(body: Uint8Array): CallFrame {
  if (body.length > CNI_CALL_MAX_BYTES)
    throw new Fault("bad-request", `the call has ${body.length} bytes; at most ${CNI_CALL_MAX_BYTES} are read`);
  const environment = new Map<string, string>();
  const text = new TextDecoder();
  for (let from = 0; ; ) {
    const end = body.indexOf(0, from);
    if (end < 0)
      throw new Fault("bad-request", "the body is no call: after lines NAME=… each ended by NUL one more must come");
    if (end === from) return { environment, stdin: body.subarray(end + 1) };
    const line = text.decode(body.subarray(from, end));
    const equals = line.indexOf("=");
    const name = line.slice(0, equals);
    if (equals > 0 && !environment.has(name)) environment.set(name, line.slice(equals + 1));
    from = end + 1;
  }
}
