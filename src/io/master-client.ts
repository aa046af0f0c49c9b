/**
 * An agent's calls to its master over HTTP. Several masters may be named; each call goes to the one that answered last,
 * and to the others in turn when that one cannot be reached, is not ready, or is no master.
 *
 * What a master refuses is final: the fault goes to the caller as it came. Only when nobody answered is it `not-ready`,
 * with the reason for each address.
 */
import type { IncomingMessage } from "node:http";
import type { z } from "zod";
import { Fault } from "../model/fault.ts";
import { parseFaultBody } from "../model/fault-table.ts";
import { MASTER_ANSWER_MAX_BYTES, MASTER_CALL_TIMEOUT_MS } from "../model/limits.ts";
import { assignmentSchema, issuesOf } from "../model/schemas.ts";
import { SYSTEM_CLOCK } from "./clock.ts";
import { bodyOf, type MasterAddress, parseJson, parseMasterAddress, requestTo, whyUnreachable } from "./master-call.ts";
import type { Clock, MasterClient } from "./ports.ts";

export interface HttpMasterClient extends MasterClient {
  /** The URL, as it was given, of the master that answered last; the first one before any did. */
  current(): string;
}

/** A master that was tried in vain: the next one is tried. */
class Unanswered extends Error {}

/**
 * @param urls at least one, each as `parseMasterAddress` takes it
 * @throws Fault bad-request
 */
export function openMasterClient(urls: readonly string[], clock: Clock = SYSTEM_CLOCK): HttpMasterClient {
  const addresses = urls.map(parseMasterAddress);
  if (addresses.length === 0)
    throw new Fault("bad-request", "no master is named; give at least one, such as http://10.0.0.1:5050");
  let last = 0;

  async function call(path: string, body: unknown): Promise<{ answer: unknown; url: string }> {
    const reasons: string[] = [];
    const first = last;
    for (let n = 0; n < addresses.length; n += 1) {
      const index = (first + n) % addresses.length;
      const address = addresses[index] as MasterAddress;
      try {
        const answer = await exchange(address, path, JSON.stringify(body), clock);
        last = index;
        return { answer, url: address.text };
      } catch (thrown) {
        if (!(thrown instanceof Unanswered)) {
          last = index;
          throw thrown;
        }
        reasons.push(`${address.text}: ${thrown.message}`);
      }
    }
    throw new Fault("not-ready", `no master answers (${reasons.join("; ")}); start one, or correct its address`, {
      urls,
    });
  }

  return {
    current: () => (addresses[last] as MasterAddress).text,
    register: async (request) => {
      const { answer, url } = await call("/v1/agents/register", request);
      return decoded(answer, assignmentSchema, url);
    },
    reportStatus: async (report) => {
      await call(`/v1/agents/${encodeURIComponent(report.agentId)}/status`, report);
    },
  };
}

/** @throws Unanswered, or the Fault with which the master refused */
async function exchange(address: MasterAddress, path: string, body: string, clock: Clock): Promise<unknown> {
  const { status, text } = await post(address, path, body, clock).catch((error: unknown) => {
    throw new Unanswered(whyUnreachable(error));
  });
  const json = parseJson(text);
  const isOk = status >= 200 && status < 300;
  if (isOk && (json !== undefined || text === "")) return json;
  const fault = isOk ? undefined : parseFaultBody(json);
  if (fault === undefined)
    throw new Unanswered(`it answers POST ${path} with HTTP ${status}${isOk ? " and no JSON" : ""}; it is no master`);
  // This one cannot serve anybody now; another one may.
  if (fault.code === "not-ready") throw new Unanswered(fault.message);
  throw fault;
}

async function post(
  address: MasterAddress,
  path: string,
  body: string,
  clock: Clock,
): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
  const request = requestTo(address, { method: "POST", path, headers });
  const late = new Error(`no answer within ${MASTER_CALL_TIMEOUT_MS / 1000} s`);
  const { promise: timedOut, reject: rejectLate } = Promise.withResolvers<never>();
  const cancel = clock.after(MASTER_CALL_TIMEOUT_MS, () => rejectLate(late));
  request.on("response", resolve);
  request.on("error", reject);
  request.end(body);
  try {
    const read = promise.then(async (answer) => ({
      status: answer.statusCode ?? 0,
      text: await bodyOf(answer, MASTER_ANSWER_MAX_BYTES),
    }));
    return await Promise.race([read, timedOut]);
  } finally {
    cancel();
    request.destroy();
  }
}

function decoded<T>(answer: unknown, schema: z.ZodType<T>, url: string): T {
  const result = schema.safeParse(answer);
  if (result.success) return result.data;
  throw new Fault(
    "not-ready",
    `${url} answers with something that is no assignment (${issuesOf(result.error).slice(0, 3).join("; ")}); ` +
      "run the same version of Weft on masters and agents",
    { url },
  );
}
