import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { z } from "zod";
import { Fault } from "../../model/fault.ts";
import { faultBody } from "../../model/fault-table.ts";
import { callService, parseService } from "./api-client.ts";

const SHAPE = z.object({ ok: z.boolean() });

/** What a call to a server that answers so comes to: the value, or the fault. */
async function callTo(listener: RequestListener): Promise<unknown> {
  const server = createServer(listener);
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  try {
    return await ask(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

async function ask(address: string): Promise<unknown> {
  try {
    return await callService(parseService("master", address), "GET", "/v1/status", SHAPE);
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error;
  }
}

test("an answer of the right shape is the result", async () => {
  assert.deepEqual(await callTo((_, answer) => answer.end('{"ok":true,"more":1}')), { ok: true });
});

test("what the service refused comes as its own fault", async () => {
  const fault = new Fault("in-use", "agent x is connected; stop it first");
  const got = await callTo((_, answer) => answer.writeHead(409).end(JSON.stringify(faultBody(fault))));
  assert.ok(got instanceof Fault);
  assert.deepEqual([got.code, got.message], [fault.code, fault.message]);
});

test("an answer that is none of ours is refused with what it was", async () => {
  const rows: [RequestListener, RegExp][] = [
    [(_, answer) => answer.writeHead(404).end("<html>"), /GET \/v1\/status with HTTP 404; it is no Weft master/],
    [(_, answer) => answer.end('{"ok":"yes"}'), /in a form that is not known here/],
    [(_, answer) => answer.end("hello"), /in a form that is not known here/],
  ];
  for (const [listener, message] of rows) {
    const got = await callTo(listener);
    assert.ok(got instanceof Fault);
    assert.equal(got.code, "bad-request");
    assert.match(got.message, message);
  }
});

test("nobody there: the address, the reason and what to do", async () => {
  const rows: [string, RegExp][] = [
    [
      "unix:/run/weft-test/none.sock",
      /^no master answers at unix:\/run\/weft-test\/none\.sock: there is no such socket; start one with 'weft master'/,
    ],
    ["http://127.0.0.1:1", /^no master answers at http:\/\/127\.0\.0\.1:1: nothing listens there/],
  ];
  for (const [address, message] of rows) {
    const got = await ask(address);
    assert.ok(got instanceof Fault);
    assert.equal(got.code, "not-ready");
    assert.match(got.message, message);
  }
});

test("an address without a port means the service's own", () => {
  assert.deepEqual(parseService("master", "http://h").address.where, { host: "h", port: 5050 });
  assert.deepEqual(parseService("agent", "http://h").address.where, { host: "h", port: 5051 });
  assert.deepEqual(parseService("agent", "http://h:5050").address.where, { host: "h", port: 5050 });
  assert.throws(() => parseService("master", "run/weft.sock"), { code: "bad-request" });
});

test("https to a master that speaks http: one line that says so", async () => {
  const server = createServer((_, answer) => answer.end("{}"));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const got = await ask(`https://127.0.0.1:${(server.address() as AddressInfo).port}`);
  server.close();
  assert.ok(got instanceof Fault);
  assert.match(got.message, /it speaks no TLS; name it by http:\/\/; start one/);
});
