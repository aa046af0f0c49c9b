import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { newSigner } from "../../../test/support/trust.ts";
import { SYSTEM_CLOCK } from "../../io/clock.ts";
import { type Fetch, type HttpServer, listenTcp } from "../../io/http-server.ts";
import { SILENT_LOG } from "../../io/log.ts";
import { parseMasterAddress } from "../../io/master-call.ts";
import { post, proven } from "../../io/master-exchange.ts";
import type { Term } from "../../io/ports.ts";
import {
  MemoryControlPlace,
  type MemoryControlStore,
  openMemoryControlStore,
} from "../../io/store/memory-control-store.ts";
import { Fault } from "../../model/fault.ts";
import { faultBody, parseFaultBody } from "../../model/fault-table.ts";
import { toText } from "../../model/trust/bytes.ts";
import { PROOF_HEADER } from "../../model/trust/call-proof.ts";
import { Callers } from "./callers.ts";
import { FORWARDED_HEADER } from "./forward.ts";
import { type Arrival, MasterRole, type MasterRoleOptions } from "./role.ts";

const NETWORK: Arrival = { local: false, hasCertificate: false };
const SOCKET: Arrival = { local: true, hasCertificate: false };
const CERTIFICATE: Arrival = { local: false, hasCertificate: true };

interface Fake {
  readonly role: MasterRole;
  readonly store: MemoryControlStore;
  readonly url: string;
  readonly closings: number[];
  readonly running: Promise<void>;
  end(): Promise<void>;
}

/** What a leader saw of each call. */
async function echo(term: Term, request: Request, arrival: Arrival): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  if (pathname === "/refuse" && !arrival.local && !arrival.hasCertificate)
    return Response.json(faultBody(new Fault("forbidden", "only by the socket")), { status: 403 });
  if (pathname === "/empty") return new Response(null, { status: 204 });
  const body = await request.text();
  const headers = Object.fromEntries(request.headers);
  return Response.json(
    { term: term.number, method: request.method, path: pathname + search, body, headers, arrival },
    { status: 201, headers: { "x-answer": "yes" } },
  );
}

async function fake(
  t: TestContext,
  place: MemoryControlPlace,
  n: number,
  more: Partial<MasterRoleOptions> = {},
): Promise<Fake> {
  const closings: number[] = [];
  const store = openMemoryControlStore(place);
  let role: MasterRole | undefined;
  const listener: Fetch = (request, connection) => role?.listener(false)(request, connection) ?? Response.error();
  const server: HttpServer = await listenTcp(listener, { host: "127.0.0.1", port: 0 });
  const url = `http://${server.address}`;
  const serve = async (term: Term) => ({
    fetch: (request: Request, arrival: Arrival) => echo(term, request, arrival),
    close: async () => {
      closings.push(term.number);
    },
  });
  role = new MasterRole({ store, self: { id: `master-${n}`, url }, serve, log: SILENT_LOG, ...more });
  const ending = new AbortController();
  const running = role.run(ending.signal);
  running.catch(() => undefined);
  const end = async () => {
    ending.abort();
    await running.catch(() => undefined);
    await store.close();
    await server.close();
  };
  t.after(end);
  await settled();
  return { role, store, url, closings, running, end };
}

/** Everything that waits for nothing but promises is done. */
async function settled(): Promise<void> {
  for (let n = 0; n < 20; n += 1) await new Promise((resolve) => setImmediate(resolve));
}

async function two(t: TestContext) {
  const place = new MemoryControlPlace();
  const leader = await fake(t, place, 1);
  const standby = await fake(t, place, 2);
  return { place, leader, standby };
}

const call = (path: string, init: RequestInit = {}) => new Request(`http://weft${path}`, init);

async function refusal(answer: Response): Promise<Fault & { status: number }> {
  const fault = parseFaultBody(await answer.json());
  assert.ok(fault !== undefined);
  return Object.assign(fault, { status: answer.status });
}

test("a standby hands a call on as it is, and its answer back", async (t) => {
  const { leader, standby } = await two(t);
  assert.deepEqual([leader.role.role, standby.role.role], ["leader", "standby"]);
  const proof = { "weft-proof": "v1 nonce=abc", "content-type": "application/json", connection: "keep-alive" };
  const body = '{"a": "ü"}';
  const headers = { ...proof, "content-length": String(Buffer.byteLength(body)) };
  const answer = await standby.role.fetch(call("/v1/x%20y?b=c&b=%2F", { method: "POST", body, headers }), NETWORK);
  assert.deepEqual([answer.status, answer.headers.get("x-answer")], [201, "yes"]);
  const seen = (await answer.json()) as Record<string, unknown> & { headers: Record<string, string> };
  assert.deepEqual([seen.method, seen.path, seen.body], ["POST", "/v1/x%20y?b=c&b=%2F", body]);
  assert.deepEqual(seen.arrival, { hasCertificate: false, local: false });
  assert.deepEqual([seen.headers["weft-proof"], seen.headers["content-type"]], ["v1 nonce=abc", "application/json"]);
  assert.equal(seen.headers[FORWARDED_HEADER], "master-2");
  for (const method of ["GET", "DELETE", "HEAD"]) {
    const { status } = await standby.role.fetch(call("/v1/agents", { method }), NETWORK);
    assert.equal(status, 201, method);
  }
  assert.equal((await standby.role.fetch(call("/empty"), NETWORK)).status, 204);
});

test("what a call proves through a standby, it proves to the leader, once", async (t) => {
  const place = new MemoryControlPlace();
  const callers = new Callers(SYSTEM_CLOCK, () => undefined);
  const serve = async () => ({
    fetch: async (request: Request) => {
      const { pathname, search } = new URL(request.url);
      const { nonce, ephemeral } = callers.challenge();
      if (pathname === "/v1/challenge") return Response.json({ nonce: toText(nonce), ephemeral: toText(ephemeral) });
      const call = {
        method: request.method,
        path: pathname + search,
        body: new Uint8Array(await request.arrayBuffer()),
      };
      try {
        const caller = callers.identify(call, request.headers.get(PROOF_HEADER) ?? undefined, "network");
        caller.accept();
        return Response.json({ key: toText(caller.publicKey ?? new Uint8Array()) });
      } catch (thrown) {
        return Response.json(faultBody(thrown as Fault), { status: 401 });
      }
    },
    close: async () => {},
  });
  await fake(t, place, 1, { serve });
  const standby = await fake(t, place, 2, { serve });
  const address = parseMasterAddress(standby.url);
  const signer = newSigner();
  const made = { method: "POST", path: "/v1/agents/x%20y/status?a=%2F", body: Buffer.from('{"a":"ü"}') };
  const { headers } = await proven(address, made, { signer }, SYSTEM_CLOCK);
  await assert.rejects(post(address, { ...made, body: Buffer.from("{}") }, headers, SYSTEM_CLOCK), /does not hold/);
  assert.deepEqual(await post(address, made, headers, SYSTEM_CLOCK), { key: toText(signer.publicKey) });
  await assert.rejects(post(address, made, headers, SYSTEM_CLOCK), /answered before/);
});

test("a standby's socket and the certificates that it checked lend no rights", async (t) => {
  const { leader, standby } = await two(t);
  for (const arrival of [SOCKET, CERTIFICATE]) {
    assert.equal((await leader.role.fetch(call("/refuse"), arrival)).status, 201, "at the leader they do");
    const fault = await refusal(await standby.role.fetch(call("/refuse"), arrival));
    assert.deepEqual([fault.code, fault.status], ["not-leader", 503]);
    assert.match(fault.message, new RegExp(`on the host of the leader, ${leader.url}`));
    const answer = await standby.role.fetch(call("/v1/status"), arrival);
    assert.deepEqual(((await answer.json()) as { arrival: unknown }).arrival, { hasCertificate: false, local: false });
  }
  assert.equal((await refusal(await standby.role.fetch(call("/refuse"), NETWORK))).code, "forbidden");
});

test("a call goes on once only", async (t) => {
  const { standby } = await two(t);
  const headers = { [FORWARDED_HEADER]: "master-3" };
  const fault = await refusal(await standby.role.fetch(call("/v1/status", { headers }), NETWORK));
  assert.deepEqual([fault.code, fault.status], ["not-leader", 503]);
  const { place } = await two(t);
  assert.ok(place.leading !== undefined);
});

test("when none leads, or the leader is gone, the answer says so", async (t) => {
  const { place, leader, standby } = await two(t);
  leader.store.pause();
  standby.store.pause();
  const alone = new MasterRole({
    store: openMemoryControlStore(new MemoryControlPlace()),
    self: { id: "alone", url: "http://127.0.0.1:1" },
    serve: () => assert.fail("nothing is served"),
    log: SILENT_LOG,
  });
  const none = await refusal(await alone.fetch(call("/v1/status"), NETWORK));
  assert.deepEqual([none.code, none.status], ["not-leader", 503]);
  const other = openMemoryControlStore(new MemoryControlPlace());
  await other.lead({ id: "gone", url: "http://127.0.0.1:1" }, t.signal);
  const cutOff = new MasterRole({
    store: other,
    self: { id: "me", url: "http://127.0.0.1:2" },
    serve: () => assert.fail("nothing is served"),
    log: SILENT_LOG,
  });
  const gone = await refusal(await cutOff.fetch(call("/v1/status"), NETWORK));
  assert.equal(gone.code, "not-ready");
  assert.match(gone.message, /nothing listens there/);
  assert.equal(place.leading?.self.id, "master-1");
});

test("bodies are bounded on the way, too", async (t) => {
  const { standby } = await two(t);
  const large = { "content-length": String(2 << 20) };
  const fault = await refusal(
    await standby.role.fetch(call("/x", { method: "POST", body: "x", headers: large }), NETWORK),
  );
  assert.equal(fault.code, "bad-request");
  const chunked = { "transfer-encoding": "chunked" };
  const request = call("/x", { method: "POST", body: "x" });
  const unbounded = new Proxy(request, {
    get: (target, name) => (name === "headers" ? new Headers(chunked) : Reflect.get(target, name, target)),
  });
  assert.equal((await refusal(await standby.role.fetch(unbounded, NETWORK))).code, "bad-request");
});

test("/healthz says who leads, and what a master answers for itself is never handed on", async (t) => {
  const place = new MemoryControlPlace();
  const own: MasterRoleOptions["own"] = (request) =>
    new URL(request.url).pathname === "/metrics" ? new Response("mine") : undefined;
  const leader = await fake(t, place, 1, { own });
  const standby = await fake(t, place, 2, { own });
  const health = async ({ role }: Fake) => (await role.fetch(call("/healthz"), NETWORK)).json();
  assert.deepEqual(await health(leader), { status: "ok", role: "leader", id: "master-1", leader: leader.url });
  assert.deepEqual(await health(standby), { status: "ok", role: "standby", id: "master-2", leader: leader.url });
  for (const { role } of [leader, standby])
    assert.equal(await (await role.fetch(call("/metrics"), NETWORK)).text(), "mine");
});

test("the lead goes on to the standby when the term is lost, and back when that one ends", async (t) => {
  const { place, leader, standby } = await two(t);
  const first = place.leading?.number;
  place.depose();
  await settled();
  assert.deepEqual([leader.role.role, standby.role.role], ["standby", "leader"]);
  assert.deepEqual(leader.closings, [first]);
  const answer = await leader.role.fetch(call("/v1/status"), NETWORK);
  assert.equal(((await answer.json()) as { term: number }).term, place.leading?.number);
  await standby.end();
  await settled();
  assert.deepEqual([leader.role.role, place.leading?.self.id], ["leader", "master-1"]);
  assert.equal(standby.closings.length, 1);
});

test("a leader that still reads the state answers that it is not ready; one that cannot read it ends", async (t) => {
  const place = new MemoryControlPlace();
  const reading = Promise.withResolvers<never>();
  const first = await fake(t, place, 1, { serve: () => reading.promise });
  const fault = await refusal(await first.role.fetch(call("/v1/status"), NETWORK));
  assert.equal(fault.code, "not-ready");
  const second = await fake(t, place, 2);
  reading.reject(new Fault("corrupt-store", "damaged"));
  await assert.rejects(first.running, /damaged/);
  await settled();
  assert.equal(second.role.role, "leader", "and lets another one try");
});

test("a term that is over before its state was read is no failure", async (t) => {
  const place = new MemoryControlPlace();
  const reading = Promise.withResolvers<never>();
  let terms = 0;
  const first = await fake(t, place, 1, {
    serve: (term) => {
      terms += 1;
      return terms === 1
        ? reading.promise
        : Promise.resolve({ fetch: (request, at) => echo(term, request, at), close: async () => {} });
    },
  });
  const second = await fake(t, place, 2);
  place.depose();
  reading.reject(new Fault("not-leader", "another one leads"));
  await settled();
  assert.deepEqual([first.role.role, second.role.role], ["standby", "leader"]);
  await second.end();
  await settled();
  assert.deepEqual([first.role.role, terms], ["leader", 2]);
});
