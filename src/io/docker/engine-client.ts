/**
 * Docker Engine over its unix socket. The newest version of the API that both know is spoken, and asked for again whenever
 * the engine was away: it may have come back as another one. Nothing is tried twice here.
 */
import { type IncomingMessage, request } from "node:http";
import type { z } from "zod";
import type { NetworkSpec } from "../../core/docker/engine.ts";
import {
  ENGINE_ANSWER_MAX_BYTES,
  ENGINE_CALL_MS,
  ENGINE_CHANGE_MS,
  ENGINE_EVENT_MAX_BYTES,
} from "../../model/engine-limits.ts";
import { Fault, messageOf } from "../../model/fault.ts";
import { SYSTEM_CLOCK } from "../clock.ts";
import { bodyOf, parseJson, whyUnreachable } from "../master-call.ts";
import type { Clock, DockerEngine, EngineChange, Watch } from "../ports.ts";
import {
  changeOf,
  containersSchema,
  createBody,
  createdSchema,
  eventSchema,
  infoSchema,
  networkSchema,
  networksSchema,
  refusalSchema,
} from "./engine-messages.ts";

/** Versions of the API, as numbers after the `1.`: Docker 20.10 … 25, and those after it that still speak 25's. */
const API_OLDEST = 41;
const API_NEWEST = 44;
const EVENT_FILTERS = encodeURIComponent(JSON.stringify({ type: { network: true, container: true } }));

interface Call {
  readonly method?: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: object;
  readonly ms?: number;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

export interface EngineClientOptions {
  /** Path of its unix socket. */
  readonly socket: string;
  readonly clock?: Clock;
}

export class EngineClient implements DockerEngine {
  readonly #socket: string;
  readonly #clock: Clock;
  /** `/v1.41`; absent until the engine was asked. */
  #prefix: string | undefined;

  constructor({ socket, clock = SYSTEM_CLOCK }: EngineClientOptions) {
    this.#socket = socket;
    this.#clock = clock;
  }

  async info() {
    return this.#read(infoSchema, await this.#ask({ path: "/info" }));
  }

  async networks() {
    return this.#read(networksSchema, await this.#ask({ path: "/networks" }));
  }

  async network(id: string) {
    const answer = await this.#ask({ path: `/networks/${encodeURIComponent(id)}` });
    return answer.status === 404 ? undefined : this.#read(networkSchema, answer);
  }

  async createNetwork(spec: NetworkSpec) {
    const call = { method: "POST", path: "/networks/create", body: createBody(spec), ms: ENGINE_CHANGE_MS } as const;
    const answer = await this.#ask(call);
    if (answer.status === 409)
      throw new Fault("in-use", `Docker has a network ${spec.name} already; remove or rename one of the two`, {
        network: spec.name,
      });
    return this.#read(createdSchema, answer).Id;
  }

  async removeNetwork(id: string) {
    const path = `/networks/${encodeURIComponent(id)}`;
    const answer = await this.#ask({ method: "DELETE", path, ms: ENGINE_CHANGE_MS });
    if (answer.status === 404) return;
    if (answer.status === 403)
      throw new Fault("in-use", `Docker does not remove the network ${id}: ${refusalOf(answer)}`, { network: id });
    if (answer.status >= 300) throw this.#failed(answer);
  }

  async containers() {
    return this.#read(containersSchema, await this.#ask({ path: "/containers/json" }));
  }

  async watch(onChange: (change: EngineChange) => void, onEnd: (reason: Fault) => void): Promise<Watch> {
    const { answer, destroy } = await this.#send({
      path: `${await this.#versioned()}/events?filters=${EVENT_FILTERS}`,
    });
    if (answer.statusCode !== 200) throw this.#failed(await this.#whole(answer));
    let isOver = false;
    const end = (reason: Fault | undefined) => {
      if (isOver) return;
      isOver = true;
      destroy();
      if (reason !== undefined) onEnd(reason);
    };
    readLines(answer, (line) => {
      const event = eventSchema.safeParse(parseJson(line));
      const change = event.success ? changeOf(event.data) : undefined;
      if (change !== undefined && !isOver) onChange(change);
    }).then(
      () => end(this.#absent("ended its stream of events")),
      (thrown: unknown) => end(thrown instanceof Fault ? thrown : this.#absent(messageOf(thrown))),
    );
    return { close: () => end(undefined) };
  }

  /** A call in the version of the API that both know. */
  async #ask(call: Call): Promise<Answer> {
    return this.#call({ ...call, path: `${await this.#versioned()}${call.path}` });
  }

  async #versioned(): Promise<string> {
    this.#prefix ??= await this.#negotiate();
    return this.#prefix;
  }

  async #negotiate(): Promise<string> {
    const { headers } = await this.#call({ path: "/_ping" });
    const spoken = String(headers["api-version"] ?? "");
    const minor = /^1\.(\d{1,3})$/.exec(spoken)?.[1];
    if (minor === undefined)
      throw this.#fault("engine-failed", "is no Docker Engine; name Docker's socket with --docker-socket");
    if (Number(minor) < API_OLDEST)
      throw this.#fault("unsupported-version", `speaks API ${spoken}; Weft needs Docker 20.10 (API 1.${API_OLDEST})`);
    return `/v1.${Math.min(Number(minor), API_NEWEST)}`;
  }

  async #call(call: Call): Promise<Answer> {
    const ms = call.ms ?? ENGINE_CALL_MS;
    const { answer, destroy } = await this.#send(call);
    try {
      return await this.#whole(answer, ms);
    } finally {
      destroy();
    }
  }

  /** Resolves when the answer begins. @throws Fault not-ready, no-rights */
  async #send({ method = "GET", path, body, ms = ENGINE_CALL_MS }: Call) {
    const text = body === undefined ? "" : JSON.stringify(body);
    const headers = {
      host: "docker",
      "content-length": Buffer.byteLength(text),
      ...(body && { "content-type": "application/json" }),
    };
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    const sent = request({ socketPath: this.#socket, method, path, headers, agent: false });
    sent.on("response", resolve);
    sent.on("error", reject);
    sent.end(text);
    const late = this.#clock.after(ms, () => sent.destroy(lateError(ms)));
    try {
      return { answer: await promise, destroy: () => sent.destroy() };
    } catch (thrown) {
      throw this.#absent(whyUnreachable(thrown), thrown);
    } finally {
      late();
    }
  }

  async #whole(answer: IncomingMessage, ms = ENGINE_CALL_MS): Promise<Answer> {
    const late = this.#clock.after(ms, () => answer.destroy(lateError(ms)));
    try {
      const text = await bodyOf(answer, ENGINE_ANSWER_MAX_BYTES);
      return { status: answer.statusCode ?? 0, headers: answer.headers, text };
    } catch (thrown) {
      if (/longer than/.test(messageOf(thrown))) throw this.#fault("engine-failed", messageOf(thrown));
      throw this.#absent(whyUnreachable(thrown), thrown);
    } finally {
      late();
    }
  }

  #read<S extends z.ZodType>(schema: S, answer: Answer): z.output<S> {
    if (answer.status >= 300) throw this.#failed(answer);
    const read = schema.safeParse(parseJson(answer.text));
    if (read.success) return read.data;
    throw this.#fault("engine-failed", "answers what Weft does not understand; is another program behind its socket?");
  }

  /** An answer that is no success, where none of it was expected. */
  #failed(answer: Answer): Fault {
    const refusal = refusalOf(answer);
    // An engine that does not speak our versions any more.
    if (answer.status === 400 && /client version .* too old/.test(refusal))
      return this.#fault("unsupported-version", `wants a newer client: ${refusal}`);
    return this.#fault("engine-failed", `refuses (HTTP ${answer.status}): ${refusal}`);
  }

  /** It is not there now, and may be another one when it is back. */
  #absent(why: string, cause?: unknown): Fault {
    this.#prefix = undefined;
    if ((cause as NodeJS.ErrnoException | undefined)?.code === "EACCES")
      return this.#fault("no-rights", "may be used by root and the group docker alone; run the agent as root");
    return this.#fault("not-ready", `does not answer: ${why}; start it (systemctl start docker)`);
  }

  #fault(code: ConstructorParameters<typeof Fault>[0], what: string): Fault {
    return new Fault(code, `Docker at ${this.#socket} ${what}`, { socket: this.#socket });
  }
}

function lateError(ms: number): Error {
  return new Error(`no answer within ${ms / 1000} s`);
}

/** The engine's own words. */
function refusalOf({ text }: Answer): string {
  const refusal = refusalSchema.safeParse(parseJson(text));
  return refusal.success ? refusal.data.message : "without a reason";
}

/** Resolves at the stream's end. @throws Fault engine-failed: a line is longer than an event can be; Error: it broke off */
async function readLines(answer: IncomingMessage, onLine: (line: string) => void): Promise<void> {
  let rest = "";
  for await (const chunk of answer.setEncoding("utf8")) {
    const lines = (rest + String(chunk)).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > ENGINE_EVENT_MAX_BYTES)
      throw new Fault("engine-failed", `an event of Docker's is longer than ${ENGINE_EVENT_MAX_BYTES} bytes`);
    for (const line of lines) if (line !== "") onLine(line);
  }
}
