import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import type { RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { bodyOfRequest, nobody, standIn } from "../../test/support/http-stand-in.ts";
import { StandInMaster } from "../../test/support/stand-in-master.ts";
import { newSigner } from "../../test/support/trust.ts";
import { Fault } from "../model/fault.ts";
import { faultBody } from "../model/fault-table.ts";
import { MASTER_ANSWER_MAX_BYTES, MASTER_CALL_TIMEOUT_MS } from "../model/limits.ts";
import { assignmentSchema } from "../model/schemas.ts";
import { openMasterClient } from "./master-client.ts";
import type { Clock, RegisterRequest } from "./ports.ts";
import { SimClock } from "./sim-clock.ts";

const ASSIGNMENT = assignmentSchema.parse({
  agent: {
    id: "a-1",
    ip: "10.0.0.11",
    hostname: "host-1",
    backend: { vni: 1024, vtepName: "vtep1024", vtepIp: "44.128.0.1/20", vtepMac: "70:b3:d5:80:00:01" },
    overlays: [{ info: { name: "dcos", subnet: "9.0.0.0/8", prefix: 24, enabled: true }, subnet: "9.0.1.0/24" }],
  },
  overlaySubnets: ["9.0.0.0/8"],
  vtepSubnets: ["44.128.0.0/20"],
  enableIpv6: false,
});

const REQUEST = {
  agentId: "a-1",
  instanceId: "i-1",
  ip: ASSIGNMENT.agent.ip,
  hostname: "host-1",
  networkConfig: { allocateSubnet: true, mesosBridge: true, dockerBridge: false },
} satisfies RegisterRequest;

function answering(status: number, body: unknown): RequestListener {
  return (_, response) => response.writeHead(status).end(JSON.stringify(body));
}

function refusing(status: number, fault: Fault): RequestListener {
  return answering(status, faultBody(fault));
}

const MASTER = new StandInMaster();
const assigning = MASTER.admit(ASSIGNMENT);

/** A client of an agent that may join, and a master of which only the answers after the challenge are the test's. */
function clientOf(urls: readonly string[], clock?: Clock) {
  const { signer, token } = MASTER.agent;
  return openMasterClient(
    urls,
    { signer, membership: () => undefined, joinToken: () => token },
    { ...(clock && { clock }) },
  );
}
const masterThat = (t: TestContext, listener: RequestListener, path?: string) =>
  standIn(t, MASTER.listener(listener), path);

function isFault(code: string, ...texts: string[]) {
  return (thrown: unknown): true => {
    assert(thrown instanceof Fault, String(thrown));
    assert.equal(thrown.code, code);
    for (const text of texts) assert(thrown.message.includes(text), `'${thrown.message}' lacks '${text}'`);
    return true;
  };
}

function socketPath(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "weft-test-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return join(directory, "master.sock");
}

test("register posts the request and gives the assignment, by TCP and by a Unix socket", async (t) => {
  for (const path of [undefined, socketPath(t)]) {
    const seen: unknown[] = [];
    const url = await masterThat(
      t,
      async (request, response) => {
        const body = Buffer.concat(await request.toArray());
        seen.push(request.method, request.url, request.headers["content-type"], JSON.parse(body.toString()));
        response.end(MASTER.answerTo(request, body, ASSIGNMENT));
      },
      path,
    );
    const clock = new SimClock();
    const { assignment, membership } = await clientOf([url], clock).register(REQUEST);
    assert.deepEqual(assignment, ASSIGNMENT);
    assert.deepEqual(membership.clusterKey, MASTER.cluster.publicKey);
    assert.equal(clock.pending, 0);
    assert.deepEqual(seen, ["POST", "/v1/agents/register", "application/json", REQUEST]);
  }
});

test("reportStatus posts to the agent's own path and takes an empty answer", async (t) => {
  const seen: unknown[] = [];
  const report = { agentId: "a-1", instanceId: "i-1", overlays: [{ name: "dcos", status: "STATUS_OK" as const }] };
  const url = await masterThat(t, async (request, response) => {
    seen.push(request.method, request.url, await bodyOfRequest(request));
    response.writeHead(204).end();
  });
  await clientOf([url]).reportStatus(report);
  assert.deepEqual(seen, ["POST", "/v1/agents/a-1/status", report]);
});

test("what the master refuses comes as it was said, and no other master is asked", async (t) => {
  let others = 0;
  const taken = new Fault("identity-taken", "agent a-1 is connected", { agent: "a-1" });
  const first = await masterThat(t, refusing(409, taken));
  const second = await masterThat(t, (request, response) => {
    others += 1;
    void assigning(request, response);
  });
  const client = clientOf([first, second]);
  await assert.rejects(client.register(REQUEST), (thrown) => {
    assert.deepEqual(thrown, taken);
    return true;
  });
  assert.deepEqual([others, client.current()], [0, first]);
});

test("masters are tried in turn, beginning with the one that answered last", async (t) => {
  const asked: string[] = [];
  let isFirstReady = false;
  const dead = await nobody();
  const first = await masterThat(t, (request, response) => {
    asked.push("first");
    const answer = isFirstReady ? assigning : refusing(503, new Fault("not-ready", "not the leader"));
    void answer(request, response);
  });
  const second = await masterThat(t, (request, response) => {
    asked.push("second");
    void assigning(request, response);
  });
  const client = clientOf([dead, first, second]);
  assert.equal(client.current(), dead);
  await client.register(REQUEST);
  assert.deepEqual([asked.splice(0), client.current()], [["first", "second"], second]);
  isFirstReady = true;
  await client.register(REQUEST);
  assert.deepEqual([asked, client.current()], [["second"], second]);
});

test("when nobody answers, each address and its reason are named", async (t) => {
  const dead = await nobody();
  const absent = `unix:${socketPath(t)}`;
  const stranger = await masterThat(t, answering(404, { message: "no such page" }));
  const broken = await masterThat(t, (request) => request.socket.destroy());
  const client = clientOf([dead, absent, stranger, broken]);
  await assert.rejects(
    client.register(REQUEST),
    isFault(
      "not-ready",
      `${dead}: nothing listens there`,
      `${absent}: there is no such socket`,
      `${stranger}: it answers POST /v1/agents/register with HTTP 404; it is no master`,
      `${broken}: `,
    ),
  );
  assert.equal(client.current(), dead);
});

test("a master that is silent, or stops in the middle of its answer, is left after the timeout", async (t) => {
  const clock = new SimClock();
  for (const beginning of [undefined, '{"agent":']) {
    const asked = Promise.withResolvers<void>();
    const hung = Promise.withResolvers<void>();
    const silent = await masterThat(t, (request, response) => {
      if (beginning !== undefined) response.write(beginning);
      request.socket.once("close", hung.resolve);
      asked.resolve();
    });
    const answer = clientOf([silent], clock).register(REQUEST);
    const refused = assert.rejects(answer, isFault("not-ready", silent, "no answer within 5 s"));
    await asked.promise;
    clock.advance(MASTER_CALL_TIMEOUT_MS - 1);
    assert.equal(clock.pending, 1);
    clock.advance(1);
    await refused;
    // The connection is not left open.
    await hung.promise;
    assert.equal(clock.pending, 0);
  }
});

test("an answer is read up to a bound", async (t) => {
  const url = await masterThat(t, (_, response) => response.end(" ".repeat(MASTER_ANSWER_MAX_BYTES + 1)));
  await assert.rejects(clientOf([url]).register(REQUEST), isFault("not-ready", `${MASTER_ANSWER_MAX_BYTES}`));
});

test("an answer that is no assignment is refused with what is wrong in it", async (t) => {
  const url = await masterThat(t, answering(200, ASSIGNMENT));
  await assert.rejects(clientOf([url]).register(REQUEST), isFault("not-ready", url, "clusterKey"));
  const wrong = await masterThat(t, MASTER.admit({ ...ASSIGNMENT, enableIpv6: "no" as never }));
  await assert.rejects(clientOf([wrong]).register(REQUEST), isFault("not-ready", wrong, "enableIpv6"));
  const text = await masterThat(t, (_, response) => response.end("<html>"));
  await assert.rejects(clientOf([text]).register(REQUEST), isFault("not-ready", text, "it is no master"));
});

test("an answer about another agent, or with papers that the cluster did not sign, is not believed", async (t) => {
  const other = { ...ASSIGNMENT, agent: { ...ASSIGNMENT.agent, id: "a-2" } };
  for (const listener of [MASTER.admit(other), MASTER.admit(ASSIGNMENT, newSigner())]) {
    const url = await masterThat(t, listener);
    await assert.rejects(clientOf([url]).register(REQUEST), isFault("unauthorized", url, "not about this agent"));
  }
  assert.deepEqual((await clientOf([await masterThat(t, assigning)]).register(REQUEST)).assignment, ASSIGNMENT);
});

test("a master that is not to be trusted is passed over for one that is", async (t) => {
  const bad = await masterThat(t, MASTER.admit(ASSIGNMENT, newSigner()));
  const client = clientOf([bad, await masterThat(t, assigning)]);
  assert.deepEqual((await client.register(REQUEST)).assignment, ASSIGNMENT);
  assert.notEqual(client.current(), bad);
});

test("a text that is no address of a master is refused with the right form", async () => {
  const wrong = ["", "10.0.0.1:5050", "ftp://h:1", "http://", "http://h:0", "http://h:65536", "http://h:1/v1"];
  for (const url of [...wrong, "http://u@h:1", "http://[::1", "unix:", "unix:master.sock", "http://a b:1"])
    assert.throws(() => clientOf([url]), isFault("bad-request", `'${url}'`, "http://HOST:PORT"), url);
  assert.throws(() => clientOf([]), isFault("bad-request", "no master is named"));
});

test("these are addresses of masters", () => {
  const urls = [
    "http://10.0.0.1:5050",
    "https://m1.example.com:443/",
    "http://[fd00::1]:80",
    "http://m1",
    "unix:/run/m",
  ];
  for (const url of urls) assert.equal(clientOf([url]).current(), url);
});
