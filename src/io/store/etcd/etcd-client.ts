/**
 * Calls to an etcd cluster over its JSON gateway: one member is asked, and the next one when that one does not answer in
 * time, until the call's own time is over. So a call may be carried out twice; whoever writes makes it such that the
 * second time does nothing (docs/decisions/0030).
 */
import { Agent, type IncomingMessage, request } from "node:http";
import { request as requestSecurely, Agent as SecureAgent } from "node:https";
import type { z } from "zod";
import { messageOf } from "../../../model/fault.ts";
import { ETCD_ANSWER_MAX_BYTES, ETCD_CALL_MS, ETCD_ROUND_PAUSE_MS, ETCD_TRY_MS } from "../../../model/limits.ts";
import { SYSTEM_CLOCK } from "../../clock.ts";
import { bodyOf, parseJson, type TlsClient, whyUnreachable } from "../../master-call.ts";
import type { Clock } from "../../ports.ts";
import { EtcdAnswerTooLong, EtcdError, EtcdUnreachable } from "./etcd-errors.ts";
import { tokenResponse } from "./etcd-messages.ts";
import { type EtcdEndpoint, endpointText } from "./etcd-url.ts";

export interface EtcdAccess {
  readonly endpoints: readonly EtcdEndpoint[];
  /** Absent: plain HTTP. */
  readonly tls?: TlsClient;
  readonly credentials?: { readonly user: string; readonly password: string };
  readonly clock?: Clock;
}

export interface CallOptions {
  /** Ends the call; its reason is what is thrown. */
  readonly signal?: AbortSignal;
  /** For all tries together. */
  readonly totalMs?: number;
  readonly tryMs?: number;
}

/** A line of a stream is one change of one small key. */
const ALIVE_MS = 60_000;
const LINE_MAX_BYTES = 1 << 20;
/** gRPC's metadata `hasleader`: a member that is cut off from the others ends the watch instead of keeping silent. */
const REQUIRE_LEADER = { "grpc-metadata-hasleader": "true" };

interface Sent {
  readonly answer: IncomingMessage;
  destroy(): void;
}

export class EtcdClient {
  readonly clock: Clock;
  readonly #endpoints: readonly EtcdEndpoint[];
  readonly #tls: TlsClient | undefined;
  readonly #agent: Agent;
  readonly #credentials: EtcdAccess["credentials"];
  #current = 0;
  #token: Promise<string> | undefined;

  constructor({ endpoints, tls, credentials, clock = SYSTEM_CLOCK }: EtcdAccess) {
    this.#endpoints = endpoints;
    this.#tls = tls;
    this.#agent = tls === undefined ? new Agent({ keepAlive: true }) : new SecureAgent({ keepAlive: true, ...tls });
    this.#credentials = credentials;
    this.clock = clock;
  }

  /**
   * @returns the answer, as the schema reads it
   * @throws EtcdError what etcd refused; EtcdUnreachable; EtcdAnswerTooLong; the signal's reason
   */
  async call<T>(path: string, body: unknown, schema: z.ZodType<T>, options: CallOptions = {}): Promise<T> {
    // Between two tries nothing else keeps a process alive that has no socket open, such as a command.
    const alive = setInterval(() => {}, ALIVE_MS);
    try {
      return await this.#insist(path, body, schema, options);
    } finally {
      clearInterval(alive);
    }
  }

  async #insist<T>(path: string, body: unknown, schema: z.ZodType<T>, options: CallOptions): Promise<T> {
    const { signal, totalMs = ETCD_CALL_MS, tryMs = ETCD_TRY_MS } = options;
    const { clock } = this;
    const end = clock.now() + totalMs;
    const text = JSON.stringify(body);
    const reasons = new Map<string, string>();
    let isTokenNew = false;
    for (let tries = 1; ; tries += 1) {
      signal?.throwIfAborted();
      const index = this.#current;
      const shown = endpointText(this.#endpoints[index] as EtcdEndpoint);
      const ms = Math.max(1, Math.min(tryMs, end - clock.now()));
      try {
        return schema.parse(await this.#once(index, path, text, ms, signal));
      } catch (thrown) {
        signal?.throwIfAborted();
        if (thrown instanceof EtcdAnswerTooLong) throw thrown;
        if (thrown instanceof EtcdError && !thrown.isTransient) {
          if (!thrown.asksForToken || this.#credentials === undefined || isTokenNew) throw thrown;
          this.#token = undefined;
          isTokenNew = true;
          continue;
        }
        reasons.set(
          shown,
          thrown instanceof Error && thrown.name === "ZodError" ? "is no etcd" : whyUnreachable(thrown),
        );
        this.#turnFrom(index);
      }
      if (clock.now() >= end)
        throw new EtcdUnreachable([...reasons].map(([endpoint, reason]) => `${endpoint}: ${reason}`));
      if (tries % this.#endpoints.length === 0) await pause(clock, ETCD_ROUND_PAUSE_MS, signal);
    }
  }

  /** The lines of an answer that does not end, from one member; the caller asks again when it ends or throws. */
  async *stream<T>(path: string, body: unknown, schema: z.ZodType<T>, signal: AbortSignal): AsyncGenerator<T> {
    const index = this.#current;
    try {
      const { answer, destroy } = await this.#send(
        index,
        path,
        JSON.stringify(body),
        ETCD_TRY_MS,
        signal,
        REQUIRE_LEADER,
      );
      const stop = () => destroy();
      signal.addEventListener("abort", stop);
      try {
        if (answer.statusCode !== 200)
          throw refusal(answer.statusCode, parseJson(await bodyOf(answer, LINE_MAX_BYTES)));
        for await (const line of linesOf(answer)) {
          const json = parseJson(line);
          if (typeof json === "object" && json !== null && "error" in json) throw refusal(200, json);
          yield schema.parse(json);
        }
      } finally {
        signal.removeEventListener("abort", stop);
        destroy();
      }
    } catch (thrown) {
      if (thrown instanceof EtcdError && thrown.asksForToken) this.#token = undefined;
      else this.#turnFrom(index);
      throw thrown;
    }
  }

  /** Ends idle connections; those of calls and streams end with these. */
  close(): void {
    this.#agent.destroy();
  }

  /** The next call goes to another member, unless one already chose it so. */
  #turnFrom(index: number): void {
    if (this.#current === index) this.#current = (index + 1) % this.#endpoints.length;
  }

  async #once(
    index: number,
    path: string,
    text: string,
    ms: number,
    signal: AbortSignal | undefined,
  ): Promise<unknown> {
    const { answer, destroy } = await this.#send(index, path, text, ms, signal);
    const late = this.clock.after(ms, () => answer.destroy(lateError(ms)));
    try {
      const body = await bodyOf(answer, ETCD_ANSWER_MAX_BYTES).catch((thrown: unknown) => {
        throw /longer than/.test(messageOf(thrown)) ? new EtcdAnswerTooLong(messageOf(thrown)) : thrown;
      });
      const json = parseJson(body);
      if (answer.statusCode !== 200) throw refusal(answer.statusCode, json);
      return json;
    } catch (thrown) {
      destroy();
      throw thrown;
    } finally {
      late();
    }
  }

  /** Resolves when the answer begins. */
  async #send(
    index: number,
    path: string,
    text: string,
    ms: number,
    signal: AbortSignal | undefined,
    more: Readonly<Record<string, string>> = {},
  ): Promise<Sent> {
    const token = await this.#tokenFor(path, index, ms, signal);
    const { host, port } = this.#endpoints[index] as EtcdEndpoint;
    // etcd tells its version to a GET alone.
    const method = path === "/version" ? "GET" : "POST";
    const body = method === "GET" ? "" : text;
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      ...(token && { authorization: token }),
      ...more,
    };
    const options = { host, port, path, method, headers, agent: this.#agent, ...(signal && { signal }) };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const sent = this.#tls === undefined ? request(options) : requestSecurely({ ...options, ...this.#tls });
    sent.on("response", resolve);
    sent.on("error", reject);
    sent.end(body);
    const late = this.clock.after(ms, () => sent.destroy(lateError(ms)));
    return promise.then((answer) => ({ answer, destroy: () => sent.destroy() })).finally(late);
  }

  /** One token for all calls; the empty one where etcd knows no users, or we are none. */
  #tokenFor(path: string, index: number, ms: number, signal: AbortSignal | undefined): Promise<string> {
    const credentials = this.#credentials;
    if (credentials === undefined || path === "/v3/auth/authenticate" || path === "/version")
      return Promise.resolve("");
    const body = JSON.stringify({ name: credentials.user, password: credentials.password });
    this.#token ??= this.#once(index, "/v3/auth/authenticate", body, ms, signal).then(
      (answer) => tokenResponse.parse(answer).token,
      (thrown: unknown) => {
        if (thrown instanceof EtcdError && /authentication is not enabled/.test(thrown.message)) return "";
        this.#token = undefined;
        throw thrown;
      },
    );
    return this.#token;
  }
}

/** Resolves after `ms`. Rejects with the signal's reason when that is sooner. */
export function pause(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  if (signal?.aborted) return Promise.reject(signal.reason as Error);
  const cancel = clock.after(ms, resolve);
  const stop = () => reject(signal?.reason as Error);
  signal?.addEventListener("abort", stop);
  return promise.finally(() => {
    cancel();
    signal?.removeEventListener("abort", stop);
  });
}

function lateError(ms: number): Error {
  return new Error(`no answer within ${Math.round(ms)} ms`);
}

/** An answer that is no success, or a line of a stream that is an error. */
function refusal(status: number | undefined, json: unknown): Error {
  const outer = json as { code?: unknown; message?: unknown; error?: unknown } | undefined;
  const inner =
    typeof outer?.error === "object" ? (outer.error as { grpc_code?: unknown; message?: unknown }) : undefined;
  const code = inner?.grpc_code ?? outer?.code;
  const message = inner?.message ?? outer?.message ?? outer?.error;
  if (typeof code === "number" && typeof message === "string") return new EtcdError(code, message);
  return new Error(`HTTP ${status} and no word of etcd's`);
}

async function* linesOf(answer: IncomingMessage): AsyncGenerator<string> {
  let rest = "";
  for await (const chunk of answer.setEncoding("utf8")) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > LINE_MAX_BYTES) throw new Error("a line of the stream is too long");
    for (const line of lines) if (line !== "") yield line;
  }
}
