/**
 * weft-cni for machines without a C compiler: the same program as shim.c, in about thirty times its time. It hands
 * environment and stdin of a CNI call to the agent's unix socket, prints the answer, and exits 0 or 1.
 *
 * It imports nothing but what it needs of Node, because starting up is all that it does. What it must do is the table of
 * shim.test.ts, which runs against both; bounds and constants are those of shim.c.
 */
import { randomBytes } from "node:crypto";
import { readSync, writeSync } from "node:fs";
import { connect } from "node:net";

const CALL_MAX = 1 << 20;
const ANSWER_MAX = 1 << 20;
const RETRY_MS = 5_000;
const RETRY_PAUSE_MS = 100;
const ANSWER_TIMEOUT_MS = 60_000;
/** sun_path of linux/un.h, less the closing zero. */
const SOCKET_PATH_MAX = 107;
const SUPPORTED_VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const CODE = { environment: 4, io: 5, config: 7, tryAgain: 11 } as const;
/** What another try cannot change. */
const FINAL = ["EACCES", "EPERM", "ETIMEDOUT"];

let version = "1.1.0";
let socketPath = "/run/weft/agent.sock";

interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

function print(bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
}

function fail(code: number, message: string): never {
  print(Buffer.from(`${JSON.stringify({ cniVersion: version, code, msg: message })}\n`));
  process.exit(1);
}

function failTooLong(): never {
  fail(CODE.io, `the CNI call has more than ${CALL_MAX} bytes; shorten its environment or its configuration`);
}

function takeSocket(code: number, name: string, path: string): void {
  socketPath = path;
  if (!path.startsWith("/") || Buffer.byteLength(path) > SOCKET_PATH_MAX || path.includes("\0"))
    fail(code, `${name} is no path of a unix socket: it must begin with '/' and have at most ${SOCKET_PATH_MAX} bytes`);
}

function readStdin(): Buffer {
  const chunks: Buffer[] = [];
  for (let length = 0; length <= CALL_MAX; ) {
    const chunk = Buffer.allocUnsafe(1 << 16);
    try {
      const got = readSync(0, chunk);
      if (got === 0) return Buffer.concat(chunks);
      chunks.push(chunk.subarray(0, got));
      length += got;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EOF") return Buffer.concat(chunks);
      if (code !== "EAGAIN") fail(CODE.io, `the configuration on stdin cannot be read: ${code}`);
    }
  }
  return failTooLong();
}

/** Whether the configuration is well formed is the agent's business. */
function readConfig(stdin: Buffer): void {
  let config: { weft_socket?: unknown; cniVersion?: unknown } | null;
  try {
    config = JSON.parse(stdin.toString());
  } catch {
    return;
  }
  const { cniVersion, weft_socket } = config ?? {};
  if (typeof cniVersion === "string" && /^[0-9.]{1,16}$/.test(cniVersion)) version = cniVersion;
  if (typeof weft_socket === "string") takeSocket(CODE.config, "weft_socket", weft_socket);
}

/** The frame of core/cni/environment.ts, with an id that no other call has before everything else. */
function callOf(stdin: Buffer): Buffer {
  const inherited = Object.entries(process.env).filter(([name]) => name.startsWith("CNI_"));
  const lines = [["CNI_WEFT_REQUEST_ID", randomBytes(16).toString("hex")], ...inherited];
  const call = Buffer.concat([Buffer.from(`${lines.map(([name, value]) => `${name}=${value}\0`).join("")}\0`), stdin]);
  return call.length > CALL_MAX ? failTooLong() : call;
}

/** One try. @throws an error with a code */
function exchangeOnce(call: Buffer): Promise<Answer> {
  const head = `POST /v1/cni HTTP/1.0\r\nHost: weft\r\nConnection: close\r\nContent-Type: application/octet-stream\r\nContent-Length: ${call.length}\r\n\r\n`;
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const socket = connect(socketPath);
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(withCode("ETIMEDOUT")));
    socket.on("data", (chunk) => {
      chunks.push(chunk);
      length += chunk.length;
      if (length > ANSWER_MAX) socket.destroy(withCode("EPROTO"));
    });
    socket.on("error", reject);
    socket.on("end", () => {
      const answer = parseAnswer(Buffer.concat(chunks));
      if (answer === undefined) reject(withCode("EPROTO"));
      else resolve(answer);
    });
    socket.write(head);
    socket.write(call);
  });
}

function withCode(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** `undefined` when it is cut off or no HTTP. */
function parseAnswer(bytes: Buffer): Answer | undefined {
  const headEnd = bytes.indexOf("\r\n\r\n");
  const head = bytes.toString("latin1", 0, Math.max(headEnd, 0));
  const status = /^HTTP\/1\.\d (\d{3})/.exec(head)?.[1];
  if (status === undefined) return undefined;
  const body = bytes.subarray(headEnd + 4);
  const length = /^content-length:\s*(\d+)/im.exec(head)?.[1];
  if (length === undefined) return { status: Number(status), body };
  return Number(length) > body.length ? undefined : { status: Number(status), body: body.subarray(0, Number(length)) };
}

async function exchange(call: Buffer, mayWait: boolean): Promise<never> {
  let deadline = 0;
  for (;;) {
    const answer = await exchangeOnce(call).catch((error: NodeJS.ErrnoException) => error.code ?? error.message);
    if (deadline === 0) deadline = performance.now() + RETRY_MS;
    const isOver = performance.now() >= deadline;
    if (typeof answer === "string") {
      if (isOver || FINAL.includes(answer))
        fail(
          CODE.tryAgain,
          `the weft agent does not answer on ${socketPath} (${answer}); start it (weft agent), or name its socket by ` +
            "weft_socket in the network configuration",
        );
    } else if (answer.status !== 503 || !mayWait || isOver) finish(answer);
    await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
  }
}

function finish({ status, body }: Answer): never {
  if (status !== 200 && body[0] !== "{".charCodeAt(0))
    fail(CODE.io, `${socketPath} answered HTTP status ${status}; is it the socket of a weft agent?`);
  print(body);
  process.exit(status === 200 ? 0 : 1);
}

const command = process.env.CNI_COMMAND;
if (command === undefined) fail(CODE.environment, "CNI_COMMAND is missing: weft-cni is started by a container runtime");
if (process.env.WEFT_SOCKET !== undefined) takeSocket(CODE.environment, "WEFT_SOCKET", process.env.WEFT_SOCKET);
const stdin = readStdin();
const call = callOf(stdin);
readConfig(stdin);
if (command === "VERSION")
  print(Buffer.from(`${JSON.stringify({ cniVersion: version, supportedVersions: SUPPORTED_VERSIONS })}\n`));
else await exchange(call, command !== "STATUS");
