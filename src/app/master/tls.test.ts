import assert from "node:assert/strict";
import { test } from "node:test";
import { z } from "zod";
import { authority, certificatesProblem } from "../../../test/support/certificates.ts";
import { httpMaster } from "../../../test/support/http-master.ts";
import { MasterHome } from "../../../test/support/master-process.ts";
import { request } from "../../../test/support/master-rig.ts";
import { TestAgent } from "../../../test/support/trust.ts";
import { callService, parseService } from "../cli/api-client.ts";

const skip = certificatesProblem() ?? false;

test("over TLS a client's certificate stands for a token; without one, or by a stranger's, a token is wanted", {
  skip,
}, async (t) => {
  const ours = authority(t, "ours");
  const theirs = authority(t, "theirs");
  const { cert, key } = ours.issue("master");
  const master = await httpMaster(t, { cert, key, clientCa: ours.cert });
  const { url } = master;
  const member = ours.issue("agent");
  const tls = { ca: ours.cert, cert: member.cert, key: member.key };

  const agent = new TestAgent(undefined);
  assert.equal((await agent.register(url, request(1), tls)).agent.id, "agent-1");
  const later = await agent.register(url, request(1), { ca: ours.cert });
  assert.equal(later.agent.id, "agent-1", "a member's key does from then on");
  assert.equal(
    (await new TestAgent(master.secrets.token).register(url, request(2), { ca: ours.cert })).agent.id,
    "agent-2",
  );

  const stranger = theirs.issue("agent");
  for (const wrong of [{ ca: ours.cert }, { ca: ours.cert, cert: stranger.cert, key: stranger.key }])
    await assert.rejects(new TestAgent(undefined).register(url, request(3), wrong), { code: "not-admitted" });
  const other = { ...tls, ca: theirs.cert };
  await assert.rejects(new TestAgent(master.secrets.token).register(url, request(3), other), {
    code: "not-ready",
    message: /https:\/\/127\.0\.0\.1:\d+: .*(certificate|signature)/,
  });
  const plain = url.replace("https", "http");
  await assert.rejects(new TestAgent(master.secrets.token).register(plain, request(3)), { code: "not-ready" });
});

test("a certificate of a client is worth nothing where the master has no authority for clients", {
  skip,
}, async (t) => {
  const ours = authority(t, "ours");
  const { cert, key } = ours.issue("master");
  const { url, secrets } = await httpMaster(t, { cert, key });
  const member = ours.issue("agent");
  const tls = { ca: ours.cert, cert: member.cert, key: member.key };
  await assert.rejects(new TestAgent(undefined).register(url, request(1), tls), { code: "not-admitted" });
  assert.equal((await new TestAgent(secrets.token).register(url, request(1), tls)).agent.id, "agent-1");
});

test("the program serves https with the files it is given, and refuses those it should", { skip }, async (t) => {
  const files = new MasterHome();
  t.after(() => files.remove());
  const ours = authority(t, "ours");
  const { certFile, keyFile } = ours.issue("master");
  const master = await files.start("--tls-cert", certFile, "--tls-key", keyFile);
  const address = master.url.replace("http", "https");
  const status = (tls?: { ca: string }) =>
    callService(parseService("master", address, { tls }), "GET", "/v1/status", z.object({ agents: z.unknown() }));
  assert.deepEqual((await status({ ca: ours.cert })).agents, { known: 0, connected: 0 });
  await assert.rejects(status(), { code: "not-ready", message: /no authority that is known here.*--tls-ca/ });
  await master.stop();
  const rows: [string[], number, RegExp][] = [
    [["--tls-cert", certFile], 78, /--tls-cert and --tls-key go together/],
    [["--tls-client-ca", certFile], 78, /of no use without/],
    [["--tls-cert", certFile, "--tls-key", `${keyFile}-no`], 78, /there is no file/],
    [["--tls-cert", keyFile, "--tls-key", keyFile], 78, /--tls-cert: .* holds no certificate; name a file/],
    [
      ["--tls-cert", `${certFile}-no`, "--tls-key", keyFile],
      78,
      /--tls-cert: .* cannot be read \(ENOENT: no such file or directory\)/,
    ],
  ];
  for (const [args, exit, message] of rows) {
    const refused = await files.refusal(...args);
    assert.match(refused.message, message);
    assert.equal(refused.status, exit);
  }
});
