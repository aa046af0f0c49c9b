/**
 * The socket in Docker's plugin directory. It answers from the first moment of the agent's life, because an engine that
 * finds none waits 15 s for each call, gives containers up that it should restart, and forgets what it should have told
 * us; calls that need the agent wait until it has started, for as long as any call may take.
 *
 * A refusal is an answer whose text the engine shows to its user where it can.
 */
import { CALL_PATHS, FIXED_ANSWERS, refusal } from "../../../core/docker/messages.ts";
import { type DirectCall, type HttpServer, listenUnix } from "../../../io/http-server.ts";
import { ENGINE_CALL_MAX_BYTES, ENGINE_CALL_MAX_MS } from "../../../model/engine-limits.ts";
import { Fault, messageOf } from "../../../model/fault.ts";

export interface PluginService {
  /** Resolves when the agent has started. */
  readonly started: Promise<void>;
  /** @throws Fault */
  answer(path: string, body: Uint8Array): Promise<object>;
  /** The engine asks what the driver can: it has just started, or just learned of the driver. */
  activated(): void;
  /** Told of each call of `CALL_PATHS`, after it. */
  answered(call: string, durationMs: number): void;
  /** Told of what was thrown and is no fault; the engine gets an answer all the same. */
  onBug(thrown: unknown): void;
}

/** @throws as `listenUnix` */
export function listenForDocker(path: string, service: PluginService): Promise<HttpServer> {
  const fixed = Object.entries(FIXED_ANSWERS).map(([name, answer]) =>
    direct(`/${name}`, async () => {
      if (name === "Plugin.Activate") service.activated();
      return answer;
    }),
  );
  const calls = CALL_PATHS.map((each) =>
    direct(each, async (body) => {
      const begin = performance.now();
      try {
        await startOf(service);
        return await service.answer(each, body);
      } finally {
        service.answered(each.slice(1), performance.now() - begin);
      }
    }),
  );
  // The engine takes 404 for a call that this driver has no use for.
  return listenUnix(() => new Response("no such call\n", { status: 404 }), path, [...fixed, ...calls]);

  function direct(each: string, answer: (body: Uint8Array) => Promise<object>): DirectCall {
    return {
      path: each,
      maxBytes: ENGINE_CALL_MAX_BYTES,
      answer: async (body) => {
        const reply = await answer(body).catch((thrown: unknown) => {
          if (!(thrown instanceof Fault)) service.onBug(thrown);
          return refusal(messageOf(thrown));
        });
        return { status: 200, body: JSON.stringify(reply) };
      },
    };
  }
}

async function startOf({ started }: PluginService): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Fault("not-ready", "the weft agent of this host is still starting; try again in a moment")),
    ENGINE_CALL_MAX_MS,
  ).unref();
  await Promise.race([started, promise]);
  clearTimeout(timer);
}
