/**
 * One call to the HTTP interface of a master or an agent, for the command line. Whatever goes wrong becomes a fault that
 * names the address and says what to do: nobody there, no rights, not ours, or what the service itself refused.
 */
import type { IncomingMessage } from "node:http";
import type { z } from "zod";
import { proveCall } from "../../io/crypto/call-keys.ts";
import {
  bodyOf,
  type MasterAddress,
  parseJson,
  parseMasterAddress,
  requestTo,
  type TlsClient,
  whyUnreachable,
} from "../../io/master-call.ts";
import { challengeSchema } from "../../io/messages.ts";
import { Fault } from "../../model/fault.ts";
import { parseFaultBody } from "../../model/fault-table.ts";
import { COMMAND_ANSWER_MAX_BYTES, COMMAND_TIMEOUT_MS } from "../../model/limits.ts";
import { fromText } from "../../model/trust/bytes.ts";
import { formatProof, PROOF_HEADER } from "../../model/trust/call-proof.ts";
import type { Token } from "../../model/trust/token.ts";

export type ServiceName = "master" | "agent";

/** A master or an agent, where it was said to be. */
export interface Service {
  readonly name: ServiceName;
  readonly address: MasterAddress;
  /** Proves calls from afar that change something. */
  readonly operator?: Token;
}

/** What a caller brings besides the address. */
export interface Credentials {
  readonly tls?: TlsClient | undefined;
  readonly operator?: Token | undefined;
}

const AGENT_PORT = 5051;

/** @throws Fault bad-request */
export function parseService(name: ServiceName, text: string, { tls, operator }: Credentials = {}): Service {
  const address = parseMasterAddress(text, tls);
  const own = { name, ...(operator && { operator }) };
  if (name === "master" || !("port" in address.where) || /:\d+\/?$/.test(text)) return { ...own, address };
  return { ...own, address: { ...address, where: { ...address.where, port: AGENT_PORT } } };
}

/**
 * @param body sent as JSON
 * @returns the answer as `schema` reads it
 * @throws Fault as the service refused; not-ready when nobody answers; no-rights; bad-request when it is not ours
 */
export async function callService<T>(
  service: Service,
  method: Method,
  path: string,
  schema: z.ZodType<T>,
  body?: unknown,
): Promise<T> {
  const text = body === undefined ? "" : JSON.stringify(body);
  const headers = service.operator === undefined ? {} : await proofOf(service, service.operator, method, path, text);
  return read(service, method, path, schema, text, headers);
}

type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
type Headers = Readonly<Record<string, string>>;

/** The secret itself does not travel. */
async function proofOf(service: Service, token: Token, method: Method, path: string, body: string): Promise<Headers> {
  const message = await read(service, "POST", "/v1/challenge", challengeSchema, "", {});
  const [nonce, ephemeral] = [fromText(message.nonce), fromText(message.ephemeral)];
  if (nonce === undefined || ephemeral === undefined) throw notOurs(service, "with a challenge that is none");
  const proof = proveCall({ method, path, body: Buffer.from(body) }, { nonce, ephemeral }, { token });
  return { [PROOF_HEADER]: formatProof(proof) };
}

async function read<T>(
  service: Service,
  method: Method,
  path: string,
  schema: z.ZodType<T>,
  text: string,
  headers: Headers,
): Promise<T> {
  const { status, body } = await exchange(service, method, path, text, headers);
  const json = parseJson(body);
  if (status < 200 || status >= 300)
    throw parseFaultBody(json) ?? notOurs(service, `${method} ${path} with HTTP ${status}`);
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  throw notOurs(service, `${method} ${path} in a form that is not known here`);
}

async function exchange(
  service: Service,
  method: Method,
  path: string,
  text: string,
  proof: Headers,
): Promise<{ readonly status: number; readonly body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const length = { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
  const headers = text === "" ? proof : { ...proof, ...length };
  const request = requestTo(service.address, { method, path, headers, timeout: COMMAND_TIMEOUT_MS });
  request.on("timeout", () => request.destroy(new Error(`no answer within ${COMMAND_TIMEOUT_MS / 1000} s`)));
  request.on("response", resolve);
  request.on("error", reject);
  request.end(text);
  try {
    const answer = await promise;
    return { status: answer.statusCode ?? 0, body: await bodyOf(answer, COMMAND_ANSWER_MAX_BYTES) };
  } catch (error) {
    throw unreachable(service, error);
  }
}

function unreachable({ name, address: { text } }: Service, error: unknown): Fault {
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EACCES" || code === "EPERM")
    return new Fault("no-rights", `${text} may be used by root only; run weft as root, or give an http:// address`);
  return new Fault(
    "not-ready",
    `no ${name} answers at ${text}: ${whyUnreachable(error)}; start one with 'weft ${name}', or name it with --${name}`,
  );
}

function notOurs({ name, address: { text } }: Service, what: string): Fault {
  return new Fault("bad-request", `${text} answers ${what}; it is no Weft ${name}, or one of another version`);
}
