/**
 * One exchange of an agent with one master: a POST whose answer is JSON, and the proof that a call is this agent's. What
 * is no answer of a master is `Unanswered`, so that the next master is tried; what a master refuses is its fault.
 */
import type { IncomingMessage } from "node:http";
import type { Fault } from "../model/fault.ts";
import { parseFaultBody } from "../model/fault-table.ts";
import { MASTER_ANSWER_MAX_BYTES, MASTER_CALL_TIMEOUT_MS } from "../model/limits.ts";
import { fromText } from "../model/trust/bytes.ts";
import { type Call, type CallProof, type Challenge, formatProof, PROOF_HEADER } from "../model/trust/call-proof.ts";
import { type Prover, proveCall } from "./crypto/call-keys.ts";
import { bodyOf, type MasterAddress, parseJson, requestTo, whyUnreachable } from "./master-call.ts";
import { challengeSchema } from "./messages.ts";
import type { Clock } from "./ports.ts";

/** A master that was tried in vain: the next one is tried. */
export class Unanswered extends Error {}

/** What answers is not to be trusted. */
export class Distrusted extends Unanswered {}

/** A call that its maker proves, and what the proof was made of. */
export interface Proven {
  readonly call: Call;
  readonly challenge: Challenge;
  readonly proof: CallProof;
  readonly headers: Readonly<Record<string, string>>;
}

/** Asks the master for a challenge and proves the call with it. @throws Unanswered, Fault */
export async function proven(address: MasterAddress, call: Call, prover: Prover, clock: Clock): Promise<Proven> {
  const answer = await post(address, { method: "POST", path: "/v1/challenge", body: new Uint8Array() }, {}, clock);
  const message = challengeSchema.safeParse(answer);
  const nonce = fromText(message.data?.nonce ?? "");
  const ephemeral = fromText(message.data?.ephemeral ?? "");
  if (nonce === undefined || ephemeral === undefined || !message.success)
    throw new Unanswered("it gives no challenge; run the same version of Weft on masters and agents");
  const challenge = { nonce, ephemeral };
  const proof = proveCall(call, challenge, prover);
  return { call, challenge, proof, headers: { [PROOF_HEADER]: formatProof(proof) } };
}

/** @returns the answer's JSON, `undefined` for an empty one @throws Unanswered, or the Fault with which the master refused */
export async function post(
  address: MasterAddress,
  { path, body }: Call,
  headers: Readonly<Record<string, string>>,
  clock: Clock,
): Promise<unknown> {
  const { status, text } = await send(address, path, body, headers, clock).catch((error: unknown) => {
    throw new Unanswered(whyUnreachable(error));
  });
  const json = parseJson(text);
  const isOk = status >= 200 && status < 300;
  if (isOk && (json !== undefined || text === "")) return json;
  const fault = isOk ? undefined : parseFaultBody(json);
  if (fault === undefined)
    throw new Unanswered(`it answers POST ${path} with HTTP ${status}${isOk ? " and no JSON" : ""}; it is no master`);
  // This one cannot serve anybody now; another one may.
  if (fault.code === "not-ready" || fault.code === "not-leader") throw new Unanswered(fault.message);
  throw fault satisfies Fault;
}

async function send(
  address: MasterAddress,
  path: string,
  body: Uint8Array,
  more: Readonly<Record<string, string>>,
  clock: Clock,
): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const headers = { ...more, "content-type": "application/json", "content-length": body.length };
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
