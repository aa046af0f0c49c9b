/** The socket in Docker's plugin directory: it answers from the first moment, always, and with reasons. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { Fault } from "../../../model/fault.ts";
import { listenForDocker, type PluginService } from "./plugin-endpoint.ts";

async function open(t: TestContext, service: Partial<PluginService> = {}) {
  const dir = mkdtempSync(join(tmpdir(), "weft-plugin-"));
  const path = join(dir, "weft.sock");
  const bugs: unknown[] = [];
  let activations = 0;
  const server = await listenForDocker(path, {
    started: Promise.resolve(),
    answer: async (call, body) => ({ call, body: Buffer.from(body).toString() }),
    activated: () => {
      activations++;
    },
    answered: () => {},
    onBug: (thrown) => bugs.push(thrown),
    ...service,
  });
  t.after(async () => {
    await server.close();
    rmSync(dir, { recursive: true, force: true });
  });
  return { path, bugs, activations: () => activations };
}

function post(socketPath: string, path: string, body?: string): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const call = request({ socketPath, path, method: "POST" }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() }));
    });
    call.on("error", reject);
    if (body !== undefined) call.setHeader("content-length", Buffer.byteLength(body));
    call.end(body);
  });
}

test("what depends on nothing is answered before the agent has started; the rest waits for it", async (t) => {
  const started = Promise.withResolvers<void>();
  const { path, activations } = await open(t, { started: started.promise });
  assert.equal(statSync(path).mode & 0o777, 0o600, "it is root's alone");
  assert.equal((await post(path, "/Plugin.Activate")).text, '{"Implements":["NetworkDriver","IpamDriver"]}');
  assert.equal(activations(), 1);
  assert.match((await post(path, "/IpamDriver.GetDefaultAddressSpaces")).text, /weft/);
  let isAnswered = false;
  const waiting = post(path, "/NetworkDriver.Leave", "{}").then((answer) => {
    isAnswered = true;
    return answer;
  });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(isAnswered, false);
  started.resolve();
  assert.deepEqual(JSON.parse((await waiting).text), { call: "/NetworkDriver.Leave", body: "{}" });
});

test("a refusal is an answer with its reason, a bug too, and it is told", async (t) => {
  const { path, bugs } = await open(t, {
    answer: async (call) => {
      throw call.endsWith("Join") ? new Fault("exhausted", "nothing is free") : new Error("broken");
    },
  });
  assert.deepEqual(await post(path, "/NetworkDriver.Join", "{}"), {
    status: 200,
    text: '{"Err":"nothing is free","Error":"nothing is free"}',
  });
  assert.deepEqual(bugs, []);
  assert.match((await post(path, "/NetworkDriver.Leave", "{}")).text, /broken/);
  assert.equal(bugs.length, 1);
});

test("what this driver has no use for is not found", async (t) => {
  const { path } = await open(t);
  for (const call of ["/NetworkDriver.AllocateNetwork", "/NetworkDriver.GwAllocCheck", "/"])
    assert.equal((await post(path, call, "{}")).status, 404, call);
});
