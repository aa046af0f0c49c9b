/**
 * HTTP on a TCP address or on a Unix socket, for both programs. A socket is for this host's root only (mode 0600); one
 * that a dead process left behind is replaced, one that a live process serves is refused.
 *
 * `close` ends what goes on for ever (streams) as well as what is idle, so that a program ends within a moment.
 */
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from "node:fs";
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { type AddressInfo, connect, isIPv6, type ListenOptions } from "node:net";
import { dirname } from "node:path";
import type { TLSSocket } from "node:tls";
import { getRequestListener } from "@hono/node-server";
import { Fault, type FaultCode, messageOf } from "../model/fault.ts";
import { parseIp } from "../model/ip.ts";

export type Fetch = (request: Request, connection: Connection) => Response | Promise<Response>;

/** What is known of who is at the other end. */
export interface Connection {
  /** It came by TLS, with a certificate that our client authority signed. */
  readonly hasCertificate: boolean;
}

/** What a server brings for TLS, each in PEM. */
export interface TlsServer {
  readonly cert: string;
  readonly key: string;
  /** Who shows a certificate of this authority is known by it; others are served too, as strangers. */
  readonly clientCa?: string;
}

/**
 * One kind of request that is answered without all that HTTP can be: what is asked often, and waited for. A body without
 * a length, or with one over `maxBytes`, is not for it.
 */
export interface DirectCall {
  readonly path: string;
  readonly maxBytes: number;
  /** @returns the status, and JSON or nothing */
  answer(body: Uint8Array): Promise<{ readonly status: number; readonly body: string }>;
}

export interface HttpServer {
  /** Where it listens: `0.0.0.0:5050`, `[::]:5050`, with the port that was really taken; or the socket's path. */
  readonly address: string;
  /** Ends all connections; resolves when they are gone. */
  close(): Promise<void>;
}

export interface TcpAddress {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

/**
 * Parses `ADDRESS:PORT` or `[IPV6]:PORT`.
 * @throws Fault bad-request
 */
export function parseTcpAddress(text: string): TcpAddress {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d{1,5})$/.exec(text);
  const host = parseIp(match?.[1] ?? match?.[2] ?? "");
  const port = Number(match?.[3]);
  if (host !== undefined && port <= 65_535 && isIPv6(host) === (match?.[1] !== undefined)) return { host, port };
  throw new Fault("bad-request", `'${text}' is no address to listen on; give ADDRESS:PORT, such as 0.0.0.0:5050`);
}

/**
 * @param tls absent: plain HTTP
 * @throws Fault port-taken, no-rights, bad-request, bad-config
 */
export async function listenTcp(fetch: Fetch, { host, port }: TcpAddress, tls?: TlsServer): Promise<HttpServer> {
  const shown = isIPv6(host) ? `[${host}]` : host;
  const create = tls === undefined ? createServer : (listener: RequestListener) => secureServer(listener, tls);
  const server = await listen(fetch, { host, port }, `${shown}:${port}`, create);
  return {
    address: `${shown}:${(server.address() as AddressInfo).port}`,
    close: () => closeServer(server),
  };
}

/** @throws Fault port-taken (a live process serves it), no-rights, bad-request */
export async function listenUnix(fetch: Fetch, path: string, direct: readonly DirectCall[] = []): Promise<HttpServer> {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
    await removeStaleSocket(path);
  } catch (thrown) {
    throw thrown instanceof Fault ? thrown : listenFault(thrown as NodeJS.ErrnoException, path);
  }
  // The mode must hold from the first moment on: another process could connect before a chmod.
  const before = process.umask(0o177);
  const listening = listen(fetch, { path }, path, createServer, direct);
  process.umask(before);
  const server = await listening;
  chmodSync(path, 0o600);
  // Node removes the socket's file when the server closes.
  return { address: path, close: () => closeServer(server) };
}

async function removeStaleSocket(path: string): Promise<void> {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new Fault("bad-request", `${path} is there and is no socket; remove it, or give another path with --socket`, {
      path,
    });
  if (await answers(path))
    throw new Fault("port-taken", `another process serves ${path}; stop it, or give another path with --socket`, {
      path,
    });
  unlinkSync(path);
}

function answers(path: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = connect(path);
  socket.once("connect", () => resolve(true));
  // Anything but "nobody listens" may be a live one that is busy.
  socket.once("error", ({ code }: NodeJS.ErrnoException) => resolve(code !== "ECONNREFUSED" && code !== "ENOENT"));
  return promise.finally(() => socket.destroy());
}

function secureServer(listener: RequestListener, { cert, key, clientCa }: TlsServer): Server {
  const clients = clientCa === undefined ? {} : { ca: clientCa, requestCert: true, rejectUnauthorized: false };
  try {
    return createSecureServer({ cert, key, ...clients, minVersion: "TLSv1.2" }, listener);
  } catch (thrown) {
    throw new Fault(
      "bad-config",
      `the certificate or key for TLS cannot be used (${messageOf(thrown)}); give PEM files`,
    );
  }
}

function listen(
  fetch: Fetch,
  where: ListenOptions,
  shown: string,
  create: (listener: RequestListener) => Server,
  direct: readonly DirectCall[] = [],
): Promise<Server> {
  const listener = getRequestListener(
    (request, { incoming }) =>
      fetch(request, { hasCertificate: (incoming.socket as Partial<TLSSocket>).authorized === true }),
    { overrideGlobalObjects: false },
  );
  const server = create((request, response) => {
    const call = direct.find((each) => isFor(each, request));
    if (call !== undefined) answerDirectly(call, request, response);
    else void listener(request, response);
  });
  const { promise, resolve, reject } = Promise.withResolvers<Server>();
  server.once("error", (error: NodeJS.ErrnoException) => reject(listenFault(error, shown)));
  server.listen(where, () => resolve(server));
  return promise;
}

function isFor({ path, maxBytes }: DirectCall, { method, url, headers }: IncomingMessage): boolean {
  // A request with neither header has no body.
  const length = headers["content-length"] ?? (headers["transfer-encoding"] === undefined ? 0 : Number.NaN);
  return method === "POST" && url === path && Number(length) <= maxBytes;
}

/** Node's parser holds a body to the length that it announces. */
function answerDirectly(direct: DirectCall, request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", async () => {
    const { status, body } = await direct.answer(Buffer.concat(chunks));
    response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(body) });
    response.end(body);
  });
}

const REASONS: Readonly<Record<string, readonly [FaultCode, string]>> = {
  EADDRINUSE: ["port-taken", "another process listens there; stop it, or give another address"],
  EADDRNOTAVAIL: ["bad-request", "no device of this host holds that address; give one that it has, or 0.0.0.0"],
  EACCES: ["no-rights", "this user may not listen there; run as root, or give another address"],
  EPERM: ["no-rights", "this user may not listen there; run as root, or give another address"],
  EROFS: ["no-rights", "the file system is read-only; give another path"],
};

function listenFault(error: NodeJS.ErrnoException, shown: string): Fault {
  const [code, reason] = REASONS[error.code ?? ""] ?? ["bad-request", `${messageOf(error)}; give another address`];
  return new Fault(code, `cannot listen on ${shown}: ${reason}`, { address: shown }, { cause: error });
}

function closeServer(server: Server): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.close(() => resolve());
  server.closeAllConnections();
  return promise;
}
