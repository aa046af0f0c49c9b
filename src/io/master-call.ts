/**
 * One HTTP request to a master: where it may be, how its answer is read within bounds, and why it could not be had, in
 * words. Beneath all calls of an agent. Connections are not kept: calls are rare, and one that
 * is kept could lead to a master that is gone.
 */
import { type ClientRequest, type IncomingMessage, type RequestOptions, request } from "node:http";
import { request as requestSecurely } from "node:https";
import { Fault, messageOf } from "../model/fault.ts";

export interface MasterAddress {
  /** As it was given. */
  readonly text: string;
  readonly isSecure: boolean;
  readonly where: { readonly socketPath: string } | { readonly host: string; readonly port: number };
  /** For https; absent: the machine's own authorities, and no certificate of ours. */
  readonly tls?: TlsClient;
}

/** What a client brings for TLS, each in PEM. */
export interface TlsClient {
  /** Whom a master's certificate must be signed by. */
  readonly ca?: string;
  /** Our own certificate and its key: both or none. */
  readonly cert?: string;
  readonly key?: string;
}

const DEFAULT_PORT = 5050;
const FORM = /^(https?):\/\/(?:\[([0-9a-f:.]+)\]|([a-z0-9._-]+))(?::(\d{1,5}))?\/?$/i;

/**
 * Parses `http://HOST:PORT`, `https://HOST:PORT` (the port may be left out) or `unix:/PATH`.
 * @throws Fault bad-request
 */
export function parseMasterAddress(text: string, tls?: TlsClient): MasterAddress {
  if (/^unix:\/[^\0]+$/.test(text)) return { text, isSecure: false, where: { socketPath: text.slice("unix:".length) } };
  const [, scheme, ip6, name, portText] = FORM.exec(text) ?? [];
  const host = ip6 ?? name;
  const port = portText === undefined ? DEFAULT_PORT : Number(portText);
  if (scheme !== undefined && host !== undefined && port > 0 && port <= 65_535)
    return { text, isSecure: scheme.toLowerCase() === "https", where: { host, port }, ...(tls && { tls }) };
  throw new Fault(
    "bad-request",
    `'${text}' is no address of a master; give http://HOST:PORT, https://HOST:PORT or unix:/PATH`,
    { url: text },
  );
}

/** Begins a request; the caller sends the body and listens for `response` and `error`. */
export function requestTo({ isSecure, where, tls }: MasterAddress, options: RequestOptions): ClientRequest {
  return isSecure
    ? requestSecurely({ ...options, ...where, ...tls, agent: false })
    : request({ ...options, ...where, agent: false });
}

/** Rejects when the answer breaks off or is longer than `maxBytes`; it is not read further then. */
export function bodyOf(answer: IncomingMessage, maxBytes: number): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  let length = 0;
  answer.on("data", (chunk: Buffer) => {
    length += chunk.length;
    if (length > maxBytes) answer.destroy(new Error(`its answer is longer than ${maxBytes} bytes`));
    else chunks.push(chunk);
  });
  answer.on("end", () => resolve(Buffer.concat(chunks).toString()));
  answer.on("error", reject);
  return promise;
}

const STRANGER = "no authority that is known here signed its certificate; name the one that did with --tls-ca";

/** Why, in words, for what a mistyped or stopped master looks like. */
const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "there is no such socket",
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "it broke the connection off",
  ENOTFOUND: "the host name is unknown",
  EHOSTUNREACH: "no way leads to the host",
  ENETUNREACH: "no way leads to the network",
  EACCES: "only root may use the socket",
  EPROTO: "it speaks no TLS; name it by http://",
  DEPTH_ZERO_SELF_SIGNED_CERT: STRANGER,
  SELF_SIGNED_CERT_IN_CHAIN: STRANGER,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: STRANGER,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: STRANGER,
};

export function whyUnreachable(error: unknown): string {
  // OpenSSL ends what it says with a line break.
  return REASONS[(error as NodeJS.ErrnoException).code ?? ""] ?? messageOf(error).trim();
}

/** `undefined` for what is no JSON. */
export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
