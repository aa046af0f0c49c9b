/**
 * weft-cni and weft-ipam, and netavark's plugin weft, for machines without a C compiler: the same program as shim.c, in
 * about thirty times its time. It hands a runtime's call to the agent's unix socket, prints the answer, and exits 0 or 1.
 *
 * It imports nothing but what it needs of Node, because starting up is all that it does. What it must do is the table of
 * shim.test.ts, which runs against both; bounds and constants are those of shim.c.
 */
import { randomBytes } from "node:crypto";
import { readFileSync, write } from "node:fs";
import { connect } from "node:net";
import { basename } from "node:path";

const CALL_MAX = 1 << 20;
const ANSWER_MAX = 1 << 21;
const RETRY_MS = 700;
const RETRY_PAUSE_MS = 50;
const STDIN_TIMEOUT_MS = 5_000;
const CONNECT_TIMEOUT_MS = 5_000;
const ANSWER_TIMEOUT_MS = 75_000;
const LIFETIME_MS = 120_000;
/** sun_path of linux/un.h, less the closing zero. */
const SOCKET_PATH_MAX = 107;
const IPAM_PLUGIN = "weft-ipam";
const SUPPORTED_VERSIONS = ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
const CODE = { environment: 4, io: 5, config: 7, tryAgain: 11 } as const;
/** What another try cannot change. */
const FINAL = ["EACCES", "EPERM", "ETIMEDOUT"];

const WEFT_VERSION = "0.2.0";
const NETAVARK_API_VERSION = "1.0.0";

/** What differs between those who call; see shim.c. */
const CNI = {
  name: "CNI",
  path: "/v1/cni",
  nameSocket: "weft_socket in the network configuration",
  shorten: "its environment or its configuration",
};
const NETAVARK = {
  name: "netavark",
  path: "/v1/netavark",
  nameSocket: "-o weft.socket=PATH when the network is created",
  shorten: "what the container is given",
};
/** Behind our name, which the wrapper tells. */
const netavarkArguments = process.argv.slice(3);
const protocol = netavarkArguments.length > 0 ? NETAVARK : CNI;

let version = "1.1.0";
let socketPath = "/run/weft/agent.sock";

interface Answer {
  readonly status: number;
  readonly body: Buffer;
}

/** Not in one piece with waiting: a runtime that does not read must not keep our timers from running. */
function print(bytes: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const rest = (from: number): void => {
      if (from === bytes.length) resolve();
      else
        write(1, bytes, from, (error, written) => {
          if (error?.code === "EAGAIN") setTimeout(() => rest(from), 10);
          else if (error !== null) process.exit(1);
          else rest(from + written);
        });
    };
    rest(0);
  });
}

async function fail(code: number, message: string): Promise<never> {
  const json = protocol === CNI ? { cniVersion: version, code, msg: message } : { error: message };
  await print(Buffer.from(`${JSON.stringify(json)}\n`));
  process.exit(1);
}

function failTooLong(): Promise<never> {
  return fail(CODE.io, `the ${protocol.name} call has more than ${CALL_MAX} bytes; shorten ${protocol.shorten}`);
}

async function takeSocket(code: number, name: string, path: string): Promise<void> {
  socketPath = path;
  if (!path.startsWith("/") || Buffer.byteLength(path) > SOCKET_PATH_MAX || path.includes("\0"))
    await fail(
      code,
      `${name} is no path of a unix socket: it must begin with '/' and have at most ${SOCKET_PATH_MAX} bytes`,
    );
}

async function readStdin(): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  const patience = setTimeout(() => process.stdin.destroy(withCode("ETIMEDOUT")), STDIN_TIMEOUT_MS);
  try {
    for await (const chunk of process.stdin) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > CALL_MAX) return failTooLong();
    }
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const seconds = STDIN_TIMEOUT_MS / 1_000;
    if (code === "ETIMEDOUT")
      return fail(
        CODE.io,
        `the configuration on stdin did not end within ${seconds} seconds; its writer must close it`,
      );
    return fail(CODE.io, `the configuration on stdin cannot be read: ${code}`);
  }
  clearTimeout(patience);
  return Buffer.concat(chunks);
}

/** Whether the configuration is well formed is the agent's business. */
async function readConfig(stdin: Buffer): Promise<void> {
  const config = parsed(stdin);
  if (protocol === NETAVARK) {
    const network = "network" in config ? asObject(config.network) : config;
    const path = asObject(network.options)["weft.socket"];
    if (typeof path === "string") await takeSocket(CODE.config, "the option weft.socket", path);
    return;
  }
  const { cniVersion, weft_socket } = config;
  if (typeof cniVersion === "string" && /^[0-9.]{1,16}$/.test(cniVersion)) version = cniVersion;
  if (typeof weft_socket === "string") await takeSocket(CODE.config, "weft_socket", weft_socket);
}

function parsed(stdin: Buffer): Record<string, unknown> {
  try {
    return asObject(JSON.parse(stdin.toString()));
  } catch {
    return {};
  }
}

function asObject(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** By which name we were called (the wrapper tells), and by whom: an IPAM plugin is called by another plugin. */
function caller(): [string, string][] {
  const plugin = basename(process.argv[2] ?? process.argv[1] ?? "");
  const runtime: [string, string][] =
    process.env.CNI_WEFT_RUNTIME !== undefined
      ? []
      : [["CNI_WEFT_RUNTIME", readProc(plugin === IPAM_PLUGIN ? grandparent() : process.ppid, "comm").trimEnd()]];
  return [["CNI_WEFT_PLUGIN", plugin], ...runtime];
}

/** The file in /proc as text; empty when it cannot be read. */
function readProc(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    return "";
  }
}

/** The parent's parent; 0 when it is not known. It comes third behind the closing bracket of the name. */
function grandparent(): number {
  const stat = readProc(process.ppid, "stat");
  return Number.parseInt(stat.slice(stat.lastIndexOf(")") + 4), 10) || 0;
}

/** The frame of model/call-frame.ts, with an id that no other call has before everything else. */
async function callOf(stdin: Buffer): Promise<Buffer> {
  const id = randomBytes(16).toString("hex");
  const lines = protocol === CNI ? cniVariables(id) : netavarkVariables(id);
  const call = Buffer.concat([Buffer.from(`${lines.map(([name, value]) => `${name}=${value}\0`).join("")}\0`), stdin]);
  return call.length > CALL_MAX ? failTooLong() : call;
}

function cniVariables(id: string): [string, string | undefined][] {
  const inherited = Object.entries(process.env).filter(([name]) => name.startsWith("CNI_"));
  return [["CNI_WEFT_REQUEST_ID", id], ...caller(), ...inherited];
}

function netavarkVariables(id: string): [string, string | undefined][] {
  const [command, netns] = netavarkArguments;
  return [
    ["REQUEST_ID", id],
    ["COMMAND", command],
    ...(netns === undefined ? [] : [["NETNS", netns] as [string, string]]),
  ];
}

/** One try. @throws an error with a code */
function exchangeOnce(call: Buffer): Promise<Answer> {
  const head = `POST ${protocol.path} HTTP/1.0\r\nHost: weft\r\nConnection: close\r\nContent-Type: application/octet-stream\r\nContent-Length: ${call.length}\r\n\r\n`;
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const socket = connect(socketPath, () => socket.setTimeout(ANSWER_TIMEOUT_MS));
    socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy(withCode("ETIMEDOUT")));
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
        await fail(
          CODE.tryAgain,
          `the weft agent does not answer on ${socketPath} (${answer}); start it (weft agent), or name its socket by ` +
            protocol.nameSocket,
        );
    } else if (answer.status !== 503 || !mayWait || isOver) await finish(answer);
    await new Promise((resolve) => setTimeout(resolve, RETRY_PAUSE_MS));
  }
}

async function finish({ status, body }: Answer): Promise<never> {
  if (status !== 200 && body[0] !== "{".charCodeAt(0))
    await fail(CODE.io, `${socketPath} answered HTTP status ${status}; is it the socket of a weft agent?`);
  await print(body);
  process.exit(status === 200 ? 0 : 1);
}

async function serveNetavark(): Promise<never> {
  if (netavarkArguments[0] === "info") {
    await print(Buffer.from(`${JSON.stringify({ version: WEFT_VERSION, api_version: NETAVARK_API_VERSION })}\n`));
    process.exit(0);
  }
  const stdin = await readStdin();
  const call = await callOf(stdin);
  await readConfig(stdin);
  return exchange(call, true);
}

async function serveCni(): Promise<void> {
  const { CNI_COMMAND: command } = process.env;
  if (command === undefined)
    await fail(CODE.environment, "CNI_COMMAND is missing: a CNI plugin is started by a container runtime");
  const stdin = await readStdin();
  const call = await callOf(stdin);
  await readConfig(stdin);
  if (command !== "VERSION") return exchange(call, command !== "STATUS");
  await print(Buffer.from(`${JSON.stringify({ cniVersion: version, supportedVersions: SUPPORTED_VERSIONS })}\n`));
}

async function main(): Promise<void> {
  setTimeout(() => process.kill(process.pid, "SIGALRM"), LIFETIME_MS).unref();
  const { WEFT_SOCKET: inherited } = process.env;
  if (inherited !== undefined) await takeSocket(CODE.environment, "WEFT_SOCKET", inherited);
  return protocol === NETAVARK ? serveNetavark() : serveCni();
}

await main();
