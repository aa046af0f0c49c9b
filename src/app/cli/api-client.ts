/**
 * One call to the HTTP interface of a master or an agent, for the command line. Whatever goes wrong becomes a fault that
 * names the address and says what to do: nobody there, no rights, or not ours.
 */
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { Fault, messageOf } from "../../model/fault.ts";
import { parseFaultBody } from "../../model/fault-table.ts";

/** `unix:PATH` or `http://HOST:PORT`. */
export type ApiAddress = { readonly text: string } & (
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number }
);

export type Service = "master" | "agent";

const TIMEOUT_MS = 10_000;
const DEFAULT_PORT: Readonly<Record<Service, number>> = { master: 5050, agent: 5051 };

/** @throws Fault bad-request */
export function parseApiAddress(text: string, service: Service): ApiAddress {
  if (text.startsWith("unix:") && text.length > "unix:".length) return { text, socketPath: text.slice("unix:".length) };
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "http:" || url.hostname === "")
    throw new Fault("bad-request", `'${text}' is no address of a ${service}; give unix:PATH or http://HOST:PORT`);
  const host = url.hostname.replace(/^\[|\]$/g, "");
  // Port 80 is what URL drops; an http:// address without a port means the service's own.
  return { text, host, port: url.port === "" ? DEFAULT_PORT[service] : Number(url.port) };
}

/**
 * @returns the answer's JSON, `undefined` for an empty one
 * @throws Fault as the service refused; not-ready when nobody answers; no-rights; bad-request when it is not ours
 */
export async function callApi(
  address: ApiAddress,
  service: Service,
  method: "GET" | "DELETE",
  path: string,
): Promise<unknown> {
  const { status, body } = await exchange(address, service, method, path);
  const json = parseJson(body);
  if (status >= 200 && status < 300) {
    if (json === undefined && body !== "") throw notOurs(address, service, "with something that is not JSON");
    return json;
  }
  throw parseFaultBody(json) ?? notOurs(address, service, `${method} ${path} with HTTP ${status}`);
}

function exchange(
  address: ApiAddress,
  service: Service,
  method: string,
  path: string,
): Promise<{ status: number; body: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: string }>();
  const call: ClientRequest = request({ ...address, method, path, timeout: TIMEOUT_MS }, (answer: IncomingMessage) => {
    let body = "";
    answer.setEncoding("utf8");
    answer.on("data", (text: string) => {
      body += text;
    });
    answer.on("end", () => resolve({ status: answer.statusCode ?? 0, body }));
    answer.on("error", (error) => reject(unreachable(address, service, error)));
  });
  call.on("timeout", () => call.destroy(new Error(`no answer within ${TIMEOUT_MS / 1000} s`)));
  call.on("error", (error) => reject(unreachable(address, service, error)));
  call.end();
  return promise;
}

/** Why, in words, for what a mistyped or stopped service looks like. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such socket",
  ECONNREFUSED: "nothing listens there",
  ENOTFOUND: "the host name is unknown",
  EHOSTUNREACH: "no way leads to the host",
  ENETUNREACH: "no way leads to the network",
};

function unreachable(address: ApiAddress, service: Service, error: NodeJS.ErrnoException): Fault {
  if (error.code === "EACCES" || error.code === "EPERM")
    return new Fault(
      "no-rights",
      `${address.text} may be used by root only; call weft as root, or give its http:// URL`,
    );
  const reason = REASONS[error.code ?? ""] ?? messageOf(error);
  return new Fault(
    "not-ready",
    `no ${service} answers at ${address.text}: ${reason}; start one with 'weft ${service}', or name it with --${service}`,
  );
}

function notOurs(address: ApiAddress, service: Service, what: string): Fault {
  return new Fault(
    "bad-request",
    `${address.text} answers ${what}; it is no Weft ${service}, or one of another version`,
  );
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
