/**
 * What no engine that works ever answers, from a server in its place: the calls that its client makes when all is well are
 * the business of test/contract/docker-engine.test.ts.
 */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import type { RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { standIn } from "../../../test/support/http-stand-in.ts";
import { ENGINE_CALL_MS, ENGINE_EVENT_MAX_BYTES } from "../../model/engine-limits.ts";
import type { Fault } from "../../model/fault.ts";
import { SimClock } from "../sim-clock.ts";
import { EngineClient } from "./engine-client.ts";

interface Served {
  readonly client: EngineClient;
  readonly clock: SimClock;
  /** `METHOD PATH` of each request, in their order. */
  readonly asked: readonly string[];
}

/** A client of a server that answers pings as Docker of this API, and everything else by `answer`. */
async function serve(t: TestContext, answer: RequestListener, api = "1.41"): Promise<Served> {
  const folder = mkdtempSync(join(tmpdir(), "weft-test-engine-"));
  const asked: string[] = [];
  const socket = join(folder, "engine.sock");
  t.after(() => rmSync(folder, { recursive: true }));
  await standIn(
    t,
    (request, response) => {
      asked.push(`${request.method} ${request.url}`);
      if (request.url !== "/_ping") return answer(request, response);
      response.writeHead(200, api === "" ? {} : { "api-version": api }).end("OK");
    },
    socket,
  );
  const clock = new SimClock();
  return { client: new EngineClient({ socket, clock }), clock, asked };
}

test("the newest version that both know is spoken, and found out once", async (t) => {
  for (const [theirs, spoken] of [
    ["1.41", "1.41"],
    ["1.43", "1.43"],
    ["1.52", "1.44"],
  ]) {
    const { client, asked } = await serve(t, (_, response) => response.end("[]"), theirs);
    await client.networks();
    await client.containers();
    assert.deepEqual(asked, ["GET /_ping", `GET /v${spoken}/networks`, `GET /v${spoken}/containers/json`]);
  }
});

test("an engine that is too old, or too new for us, is named as such", async (t) => {
  const old = await serve(t, () => assert.fail("nothing is asked of it"), "1.40");
  await assert.rejects(old.client.networks(), { code: "unsupported-version", message: /API 1\.40/ });
  const message = "client version 1.44 is too old. Minimum supported API version is 1.60";
  const newer = await serve(t, (_, response) => response.writeHead(400).end(JSON.stringify({ message })), "1.61");
  await assert.rejects(newer.client.info(), { code: "unsupported-version" });
});

test("what is no engine, or none any more, is no empty list", async (t) => {
  const stranger = await serve(t, () => {}, "");
  await assert.rejects(stranger.client.networks(), { code: "engine-failed", message: /is no Docker Engine/ });
  for (const text of ["", "<html>", "{}", '[{"Id":7}]', '[{"Id":"a","Name":"b"}]']) {
    const { client } = await serve(t, (_, response) => response.end(text));
    await assert.rejects(client.networks(), { code: "engine-failed" }, text);
  }
});

test("the engine's own words are in what it refuses", async (t) => {
  const refusal = JSON.stringify({ message: "remote: no address is free in blue" });
  const { client } = await serve(t, (_, response) => response.writeHead(500).end(refusal));
  for (const call of [client.networks(), client.removeNetwork("a"), client.watch(assert.fail, assert.fail)])
    await assert.rejects(call, { code: "engine-failed", message: /no address is free in blue/ });
});

test("a call ends when its time is over: before an answer and in the middle of one", async (t) => {
  const silent = await serve(t, () => {});
  const broken = await serve(t, (_, response) => response.writeHead(200).write("["));
  for (const { client, clock, asked } of [silent, broken]) {
    const call = assert.rejects(client.networks(), { code: "not-ready", message: /no answer within 5 s/ });
    while (asked.length < 2) await new Promise(setImmediate);
    // What was sent of the answer arrives.
    await new Promise((resolve) => setTimeout(resolve, 20));
    clock.advance(ENGINE_CALL_MS);
    await call;
    assert.equal(clock.pending, 0);
  }
});

test("events in pieces are put together, those of health checks' programs are none, a line without an end ends it", async (t) => {
  const events = [
    '{"Type":"container","Action":"exec_create: true"}\n{"Type":"conta',
    'iner","Action":"start"}\n\n{"Type":"image","Action":"pull"}\nno JSON\n',
    '{"Type":"network","Action":"connect"}\n',
    "x".repeat(ENGINE_EVENT_MAX_BYTES + 1),
  ];
  const { client, clock, asked } = await serve(t, async (_, response) => {
    for (const text of events) await new Promise((resolve) => response.write(text, resolve));
  });
  const told: string[] = [];
  const reason = await new Promise<Fault>((resolve, reject) => {
    client.watch((change) => told.push(change), resolve).catch(reject);
  });
  assert.deepEqual(told, ["container", "network"]);
  assert.equal(reason.code, "engine-failed");
  assert.match(decodeURIComponent(asked[1] ?? ""), /\/events\?filters=\{"type":/);
  assert.equal(clock.pending, 0);
});

test("a socket that is not there is no fault that anybody must see", async () => {
  const client = new EngineClient({ socket: "/nowhere/docker.sock" });
  await assert.rejects(client.info(), { code: "not-ready", message: /there is no such socket/ });
});
