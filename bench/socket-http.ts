/**
 * Raw HTTP over a unix socket, an engine's or an agent's, with the time that each call takes: what a benchmark measures
 * must not be the start of a command line program.
 */
import { request } from "node:http";

/** No call of a benchmark takes so long, but one that hangs. */
const TIMEOUT_MS = 180_000;

export interface HttpReply {
  readonly status: number;
  readonly text: string;
  /** From the call until the last byte of the answer. */
  readonly ms: number;
}

export class SocketHttp {
  readonly #socket: string;

  constructor(socket: string) {
    this.#socket = socket;
  }

  /** Whatever the status. Rejects when the engine is away, or goes while it answers. */
  call(method: "GET" | "POST" | "DELETE", path: string, body?: object): Promise<HttpReply> {
    const text = body === undefined ? "" : JSON.stringify(body);
    const headers = { host: "docker", "content-length": Buffer.byteLength(text), "content-type": "application/json" };
    const start = performance.now();
    return new Promise((resolve, reject) => {
      const call = { socketPath: this.#socket, method, path, headers, agent: false, timeout: TIMEOUT_MS } as const;
      const sent = request(call, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (part: string) => {
          text += part;
        });
        answer.on("end", () => resolve({ status: answer.statusCode ?? 0, text, ms: performance.now() - start }));
        answer.on("error", reject);
      });
      sent.on("timeout", () => sent.destroy(new Error(`${method} ${path} is not answered`)));
      sent.on("error", reject);
      sent.end(text);
    });
  }

  /** A call of which nothing but success is expected. @returns the milliseconds that it took */
  async timed(path: string, body: object): Promise<number> {
    const { status, text, ms } = await this.call("POST", path, body);
    if (status < 300) return ms;
    throw new Error(`POST ${path} is answered with ${status}: ${text}`);
  }

  async get<T>(path: string): Promise<T> {
    const { status, text } = await this.call("GET", path);
    if (status !== 200) throw new Error(`GET ${path} is answered with ${status}: ${text}`);
    return JSON.parse(text) as T;
  }
}
