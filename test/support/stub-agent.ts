/**
 * The agent's end of the unix socket as a list of answers, one for each connection in turn; it keeps what it was sent.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";

/** `status` and `body` of an answer; or what becomes of the connection instead. */
export type StubAnswer =
  | { readonly status: number; readonly body?: string; readonly contentLength?: number }
  /** The connection breaks without an answer. */
  | "breaks"
  /** As `breaks`, and the socket itself goes and comes again, as when an agent restarts. */
  | "restarts";

export interface StubAgent {
  readonly socketPath: string;
  /** The bodies of the requests, in their order. */
  readonly requests: readonly Buffer[];
  /** Where they were posted. */
  readonly paths: readonly string[];
}

export async function startStubAgent(t: TestContext, answers: readonly StubAnswer[]): Promise<StubAgent> {
  const folder = mkdtempSync(join(tmpdir(), "weft-stub-"));
  const socketPath = join(folder, "agent.sock");
  const requests: Buffer[] = [];
  const paths: string[] = [];
  const left = [...answers];
  const onConnection = async (socket: Socket): Promise<void> => {
    socket.on("error", () => {});
    const { path, body } = await readRequest(socket);
    requests.push(body);
    paths.push(path);
    const answer = left.shift();
    if (answer === "restarts") {
      server.close();
      socket.destroy();
      server = createServer(onConnection).listen(socketPath);
    } else if (answer === undefined || answer === "breaks") socket.destroy();
    else socket.end(httpText(answer));
  };
  let server = createServer(onConnection).listen(socketPath);
  await new Promise((resolve) => server.once("listening", resolve));
  t.after(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });
  return { socketPath, requests, paths };
}

function httpText({ status, body = "", contentLength = Buffer.byteLength(body) }: Exclude<StubAnswer, string>): string {
  return `HTTP/1.1 ${status} Some Reason\r\nX-First: 1\r\nContent-Length: ${contentLength}\r\n\r\n${body}`;
}

async function readRequest(socket: Socket): Promise<{ readonly path: string; readonly body: Buffer }> {
  let bytes = Buffer.alloc(0);
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    bytes = Buffer.concat([bytes, chunk as Buffer]);
    const headEnd = bytes.indexOf("\r\n\r\n");
    if (headEnd < 0) continue;
    const head = bytes.toString("latin1", 0, headEnd);
    const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
    const path = /^POST (\/v1\/(?:cni|netavark)) HTTP\/1\.[01]\r\n/.exec(head)?.[1];
    if (path === undefined || Number.isNaN(length)) return { path: "", body: Buffer.from(`bad head: ${head}`) };
    if (bytes.length >= headEnd + 4 + length) return { path, body: bytes.subarray(headEnd + 4) };
  }
  return { path: "", body: Buffer.from("cut off") };
}
