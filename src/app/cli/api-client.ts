/**
 * One call to the HTTP interface of a master or an agent, for the command line. Whatever goes wrong becomes a fault that
 * names the address and says what to do: nobody there, no rights, not ours, or what the service itself refused.
 */
import type { IncomingMessage } from "node:http";
import type { z } from "zod";
import {
  bodyOf,
  type MasterAddress,
  parseJson,
  parseMasterAddress,
  requestTo,
  whyUnreachable,
} from "../../io/master-call.ts";
import { Fault } from "../../model/fault.ts";
import { parseFaultBody } from "../../model/fault-table.ts";
import { COMMAND_ANSWER_MAX_BYTES, COMMAND_TIMEOUT_MS } from "../../model/limits.ts";

export type ServiceName = "master" | "agent";

/** A master or an agent, where it was said to be. */
export interface Service {
  readonly name: ServiceName;
  readonly address: MasterAddress;
}

const AGENT_PORT = 5051;

/** @throws Fault bad-request */
export function parseService(name: ServiceName, text: string): Service {
  const address = parseMasterAddress(text);
  if (name === "master" || !("port" in address.where) || /:\d+\/?$/.test(text)) return { name, address };
  return { name, address: { ...address, where: { ...address.where, port: AGENT_PORT } } };
}

/**
 * @returns the answer as `schema` reads it
 * @throws Fault as the service refused; not-ready when nobody answers; no-rights; bad-request when it is not ours
 */
export async function callService<T>(
  service: Service,
  method: "GET" | "POST" | "DELETE",
  path: string,
  schema: z.ZodType<T>,
): Promise<T> {
  const { status, body } = await exchange(service, method, path);
  const json = parseJson(body);
  if (status < 200 || status >= 300)
    throw parseFaultBody(json) ?? notOurs(service, `${method} ${path} with HTTP ${status}`);
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  throw notOurs(service, `${method} ${path} in a form that is not known here`);
}

async function exchange(
  service: Service,
  method: string,
  path: string,
): Promise<{ readonly status: number; readonly body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const request = requestTo(service.address, { method, path, timeout: COMMAND_TIMEOUT_MS });
  request.on("timeout", () => request.destroy(new Error(`no answer within ${COMMAND_TIMEOUT_MS / 1000} s`)));
  request.on("response", resolve);
  request.on("error", reject);
  request.end();
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
