import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type TestContext, test } from "node:test";
import { authority, certificatesProblem } from "../../../../test/support/certificates.ts";
import { SYSTEM_CLOCK } from "../../clock.ts";
import { deathOf, httpProbe } from "./leader-probe.ts";

const ID = "master-1";
const NEVER = new AbortController().signal;

async function serving(t: TestContext, answer: RequestListener, tls?: { cert: string; key: string }): Promise<string> {
  const server = tls === undefined ? createServer(answer) : createSecureServer(tls, answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http${tls === undefined ? "" : "s"}://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const saying = (body: unknown) => (async (_, response) => response.end(JSON.stringify(body))) as RequestListener;
const isAlive = (url: string) => httpProbe({ id: ID, url }, NEVER);

test("a leader lives when it says so, and when what it says is not understood", async (t) => {
  for (const body of [{ role: "leader", id: ID }, { status: "ok" }, "ok", null])
    assert.equal(await isAlive(await serving(t, saying(body))), true, JSON.stringify(body));
});

test("who stands by, is another one, is silent or is not there leads no more", async (t) => {
  for (const body of [
    { role: "standby", id: ID },
    { role: "leader", id: "master-2" },
  ])
    assert.equal(await isAlive(await serving(t, saying(body))), false, JSON.stringify(body));
  assert.equal(await isAlive(await serving(t, () => {})), false, "silent");
  assert.equal(await isAlive("http://127.0.0.1:1"), false, "not there");
  assert.equal(await isAlive("no address"), false);
});

test("a sign of life counts whoever signed the certificate", { skip: certificatesProblem() ?? false }, async (t) => {
  const { cert, key } = authority(t, "unknown").issue("leader");
  assert.equal(await isAlive(await serving(t, saying({ role: "leader", id: ID }), { cert, key })), true);
});

test("one lost sign of life is no death; three in a row are, unless the wait ends before", async () => {
  const signs = [false, false, true, false, true, false, false, false, true];
  let asked = 0;
  const probe = async () => signs[asked++] ?? true;
  const after: typeof SYSTEM_CLOCK.after = (_, call) => {
    call();
    return () => {};
  };
  await deathOf({ id: ID, url: "http://x" }, probe, { ...SYSTEM_CLOCK, after }, NEVER);
  assert.equal(asked, 8);
  const ending = new AbortController();
  const waiting = deathOf({ id: ID, url: "http://x" }, async () => true, SYSTEM_CLOCK, ending.signal);
  ending.abort(new Error("ended"));
  await assert.rejects(waiting, /ended/);
});
