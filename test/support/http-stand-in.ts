/**
 * A small HTTP server that answers as a test says, on a free port of 127.0.0.1 or on a Unix socket; gone with the test.
 */
import { createServer, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import type { TestContext } from "node:test";

/** @returns its URL: `http://127.0.0.1:PORT`, or `unix:PATH` when a path was given */
export async function standIn(t: TestContext, listener: RequestListener, path?: string): Promise<string> {
  const server = createServer(listener);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject);
  server.listen(path === undefined ? { host: "127.0.0.1", port: 0 } : { path }, resolve);
  await promise;
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return path === undefined ? `http://127.0.0.1:${(server.address() as AddressInfo).port}` : `unix:${path}`;
}

/** An address at which nobody listens: it was free a moment ago. */
export async function nobody(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen({ host: "127.0.0.1", port: 0 }, resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return `http://127.0.0.1:${port}`;
}

export async function bodyOfRequest(request: IncomingMessage): Promise<unknown> {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) text += chunk;
  return JSON.parse(text);
}
