/**
 * Attacks on the trust between agents and masters, each sent for real, each beside an honest run of the same thing that
 * must pass, or the attack would prove nothing.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { newToken } from "../../src/app/master/tokens.ts";
import { answerBytes, answerKey, tokenKeyOf } from "../../src/io/crypto/call-keys.ts";
import { newAgreement, newSecret, seal, verifySignature } from "../../src/io/crypto/keys.ts";
import { admissionJson } from "../../src/io/messages.ts";
import { verifyAssignmentStatement } from "../../src/model/trust/assignment-statement.ts";
import { fromText, toText } from "../../src/model/trust/bytes.ts";
import { formatProof, PROOF_HEADER, parseProof, transcriptOf } from "../../src/model/trust/call-proof.ts";
import { verifyCredential } from "../../src/model/trust/credential.ts";
import type { EpochRecord } from "../../src/model/trust/epoch-record.ts";
import { memberIdOf } from "../../src/model/trust/member.ts";
import { isRefused } from "../../src/model/trust/standing.ts";
import { formatToken, parseToken, type Token } from "../../src/model/trust/token.ts";
import { eavesdropper, httpMaster } from "../support/http-master.ts";
import { standIn } from "../support/http-stand-in.ts";
import { MasterRig, request } from "../support/master-rig.ts";
import { seedAssignment } from "../support/seed-cluster.ts";
import { membershipFor, newSigner, TestAgent } from "../support/trust.ts";

const REGISTER = "/v1/agents/register";

async function refusal(answer: Response): Promise<string> {
  const { error } = (await answer.json()) as { error: { code: string } };
  return `${answer.status} ${error.code}`;
}

async function makeToken(rig: MasterRig, wish: object = {}): Promise<Token> {
  const answer = await rig.call("POST", "/v1/tokens", wish, true);
  assert.equal(answer.status, 200);
  const token = parseToken(((await answer.json()) as { text: string }).text);
  assert.ok(token !== undefined);
  return token;
}

test("no token, a wrong secret, an unknown id, another kind: not let in; the right one is", async () => {
  const rig = new MasterRig();
  const right = rig.secrets.token;
  const attempts: [Token | undefined, string][] = [
    [undefined, "403 not-admitted"],
    [{ ...right, secret: newSecret() }, "401 unauthorized"],
    [newToken("join"), "401 unauthorized"],
    [await makeToken(rig, { kind: "operator" }), "403 not-admitted"],
  ];
  for (const [token, expected] of attempts)
    assert.equal(
      await refusal(await rig.tryRegister(request(1), { signer: newSigner(), ...(token && { token }) })),
      expected,
    );
  assert.equal((await rig.tryRegister(request(1), { signer: newSigner(), token: right })).status, 200);
});

test("a token that is used up, expired or revoked lets nobody in, and in those that joined by it before", async () => {
  const rig = new MasterRig();
  const once = await makeToken(rig, { uses: 1 });
  const short = await makeToken(rig, { ttlSeconds: 60 });
  const taken = await makeToken(rig);
  const attempt = (n: number, token: Token) => rig.tryRegister(request(n), rig.proverOf(request(n), token));
  for (const [n, token] of [once, short, taken].entries()) assert.equal((await attempt(n + 1, token)).status, 200);
  rig.clock.advance(60_000);
  assert.equal((await rig.call("DELETE", `/v1/tokens/${taken.id}`, undefined, true)).status, 200);
  for (const [n, token] of [once, short, taken].entries()) {
    assert.equal(await refusal(await attempt(n + 10, token)), "403 not-admitted");
    assert.equal((await attempt(n + 1, token)).status, 200, "its answer may have been lost");
  }
  rig.restart();
  assert.equal(await refusal(await attempt(20, once)), "403 not-admitted", "uses are durable");
});

test("a registration that was recorded is worth nothing: not again, not changed, not after a restart", async () => {
  const rig = new MasterRig();
  const { signer, token } = rig.proverOf(request(1)) as { signer: never; token: Token };
  const record = async () =>
    (await rig.proven("POST", REGISTER, request(1), { signer, token, ephemeral: newAgreement().publicKey })).headers;
  const first = await record();
  const changed = await rig.call("POST", REGISTER, request(1, { ip: request(2).ip }), false, first);
  assert.equal(await refusal(changed), "401 unauthorized", "another body");
  assert.equal((await rig.call("POST", REGISTER, request(1), false, first)).status, 200, "as it was made");
  assert.equal(await refusal(await rig.call("POST", REGISTER, request(1), false, first)), "401 unauthorized", "again");
  const unused = await record();
  rig.restart();
  assert.equal(await refusal(await rig.call("POST", REGISTER, request(1), false, unused)), "401 unauthorized");
  const late = await record();
  rig.clock.advance(60_000);
  assert.equal(
    await refusal(await rig.call("POST", REGISTER, request(1), false, late)),
    "401 unauthorized",
    "too late",
  );
});

test("an agent's id belongs to its key: a stolen assignment, or a token, does not get it for another", async () => {
  const rig = new MasterRig();
  const { membership } = await rig.admission(request(1));
  const thief = newSigner();
  for (const token of [undefined, rig.secrets.token]) {
    const answer = await rig.tryRegister(request(1, { instanceId: "thief" }), {
      signer: thief,
      ...(token && { token }),
    });
    assert.equal(await refusal(answer), "403 not-admitted");
  }
  const said = verifyAssignmentStatement(membership.statement, membership.clusterKey, verifySignature);
  const own = verifyCredential(membership.credential, membership.clusterKey, verifySignature);
  const { publicKey } = rig.signerOf("agent-1");
  assert.deepEqual([said?.publicKey, own?.publicKey], [publicKey, publicKey], "both name the key whose they are");
  const copy = await rig.tryRegister(request(2), rig.proverOf(request(1)));
  assert.equal(await refusal(copy), "403 not-admitted", "one key is one agent");
  assert.equal(
    (await rig.tryRegister(request(1), { signer: rig.signerOf("agent-1") })).status,
    200,
    "its key alone does",
  );
});

test("calls of an agent are its own: unsigned, by another, replayed or changed ones are refused", async () => {
  const rig = new MasterRig();
  for (const n of [1, 2]) await rig.register(request(n));
  const path = "/v1/agents/agent-1/status";
  const report = { agentId: "agent-1", instanceId: "instance-1", overlays: [{ name: "dcos", status: "STATUS_OK" }] };
  assert.equal(await refusal(await rig.call("POST", path, report)), "401 unauthorized");
  assert.equal(await refusal(await rig.callAs("agent-2", "POST", path, report)), "401 unauthorized");
  const { headers } = await rig.proven("POST", path, report, { signer: rig.signerOf("agent-1") });
  const worse = { ...report, overlays: [{ name: "dcos", status: "STATUS_FAILED", error: "no" }] };
  assert.equal(await refusal(await rig.call("POST", path, worse, false, headers)), "401 unauthorized");
  assert.equal((await rig.call("POST", path, report, false, headers)).status, 200, "the honest one");
  assert.equal(await refusal(await rig.call("POST", path, report, false, headers)), "401 unauthorized");
  const elsewhere = await rig.proven("GET", path, undefined, { signer: rig.signerOf("agent-1") });
  assert.equal(await refusal(await rig.call("POST", path, report, false, elsewhere.headers)), "401 unauthorized");
});

test("changes from afar want an operator's token, proven for that very call", async () => {
  const rig = new MasterRig();
  for (const n of [1, 2]) await rig.register(request(n));
  const operator = await makeToken(rig, { kind: "operator" });
  const path = "/overlay-master/agents/delete";
  const body = { agents: ["10.0.0.1"] };
  const prove = async (token: Token) => (await rig.proven("POST", path, body, { token })).headers;
  const proveDelete = async (what: string) =>
    (await rig.proven("DELETE", what, undefined, { token: operator })).headers;
  const post = (headers: object, said: object = body) => rig.call("POST", path, said, false, headers);
  assert.equal(await refusal(await post({})), "403 forbidden");
  assert.equal(await refusal(await post({ [PROOF_HEADER]: "v1 nonsense" })), "401 unauthorized");
  assert.equal(await refusal(await post(await prove(rig.secrets.token))), "403 forbidden", "agents may not");
  assert.equal(await refusal(await post(await prove({ ...operator, secret: newSecret() }))), "401 unauthorized");
  const headers = await prove(operator);
  assert.equal(await refusal(await post(headers, { agents: ["10.0.0.2"] })), "401 unauthorized", "another agent");
  assert.equal((await post(headers)).status, 200, "the honest one");
  assert.equal(await refusal(await post(headers)), "401 unauthorized", "again");
  const revoke = await proveDelete(`/v1/tokens/${rig.secrets.token.id}`);
  assert.equal((await rig.call("DELETE", `/v1/tokens/${rig.secrets.token.id}`, undefined, false, revoke)).status, 200);
  for (const [method, what] of [
    ["DELETE", "/v1/agents/agent-2"],
    ["GET", "/v1/tokens"],
    ["POST", "/v1/gossip/rotate-key"],
  ] as const)
    assert.equal(await refusal(await rig.call(method, what)), "403 forbidden", what);
  const wish = await rig.proven("POST", "/v1/tokens", {}, { token: operator });
  assert.equal(await refusal(await rig.call("POST", "/v1/tokens", {}, false, wish.headers)), "403 forbidden");
  const forFirst = await proveDelete("/v1/agents/agent-1");
  assert.equal(
    await refusal(await rig.call("DELETE", "/v1/agents/agent-2", undefined, false, forFirst)),
    "401 unauthorized",
    "another path",
  );
  await rig.call("DELETE", `/v1/tokens/${operator.id}`, undefined, true);
  const late = await proveDelete("/v1/agents/agent-2");
  assert.equal(
    await refusal(await rig.call("DELETE", "/v1/agents/agent-2", undefined, false, late)),
    "403 not-admitted",
  );
});

test("who is removed stays out with all it had, and comes back by a token that is made afterwards", async () => {
  const rig = new MasterRig();
  const [mine, other] = [await rig.admission(request(1)), await rig.admission(request(2))];
  assert.equal((await rig.call("DELETE", "/v1/agents/agent-1", undefined, true)).status, 204);
  for (const token of [undefined, rig.secrets.token])
    assert.equal(
      await refusal(await rig.tryRegister(request(1), { signer: rig.signerOf("agent-1"), ...(token && { token }) })),
      "403 not-admitted",
    );
  const refused = ({ membership }: typeof mine) => {
    const credential = verifyCredential(membership.credential, membership.clusterKey, verifySignature);
    assert.ok(credential !== undefined);
    return isRefused({ ...credential, memberId: memberIdOf(credential.publicKey) }, rig.cluster.trust.refusals);
  };
  assert.deepEqual([refused(mine), refused(other)], [true, false]);
  rig.restart();
  assert.equal(rig.cluster.trust.epoch, 2, "the epoch is durable");
  const back = await rig.admission(request(1), rig.proverOf(request(1), await makeToken(rig)));
  assert.deepEqual([refused(mine), refused(back), back.membership.removals.length], [true, false, 1]);
});

test("who takes over the record of a lost host ends what that host was, and one key does so under another id", async () => {
  const rig = new MasterRig();
  const lost = await rig.admission(request(1));
  const heir = request(1, { agentId: "heir", instanceId: "heir" });
  const { membership, assignment } = await rig.admission(heir);
  assert.equal(assignment.agent.backend.vtepMac, lost.assignment.agent.backend.vtepMac);
  const { epoch, removals } = rig.cluster.trust.refusals as never as EpochRecord;
  assert.deepEqual([epoch, removals.map(({ agentId }) => agentId)], [2, ["agent-1"]]);
  const credential = verifyCredential(membership.credential, membership.clusterKey, verifySignature);
  assert.equal(credential?.epoch, 2);
  assert.equal(await refusal(await rig.tryRegister(request(1))), "403 not-admitted", "the lost one is out");
  // Its database is lost and its key is not: another id, the same key, the same address.
  const renamed = request(1, { agentId: "renamed", instanceId: "renamed" });
  const { membership: own } = await rig.admission(renamed, {
    signer: rig.signerOf("heir"),
    token: await makeToken(rig),
  });
  const named = verifyCredential(own.credential, own.clusterKey, verifySignature);
  assert.ok(named !== undefined);
  assert.ok(!isRefused({ ...named, memberId: memberIdOf(named.publicKey) }, rig.cluster.trust.refusals));
});

test("an agent from before there were keys joins by a token, and by nothing else", async () => {
  const rig = new MasterRig();
  const first = await rig.register(request(1));
  rig.forgetMembers();
  assert.equal(await refusal(await rig.tryRegister(request(1), { signer: newSigner() })), "403 not-admitted");
  assert.deepEqual(await rig.register(request(1)), first, "it keeps its record");
});

test("a revision rises with what is assigned, and an epoch with removals; what is alike is signed alike", async () => {
  const rig = new MasterRig();
  const said = async (delta = {}) => {
    const { membership } = await rig.admission(request(1, delta));
    const words = verifyAssignmentStatement(membership.statement, membership.clusterKey, verifySignature);
    return [words?.epoch, words?.revision, words?.hostname];
  };
  assert.deepEqual(await said(), [1, 1, "host-1"]);
  assert.deepEqual(await said({ instanceId: "again" }), [1, 1, "host-1"]);
  assert.deepEqual(await said({ hostname: "renamed" }), [1, 2, "renamed"]);
  await rig.register(request(2));
  await rig.call("DELETE", "/v1/agents/agent-2", undefined, true);
  assert.deepEqual(await said({ hostname: "renamed" }), [2, 2, "renamed"]);
  rig.restart();
  assert.deepEqual(await said({ hostname: "renamed" }), [2, 2, "renamed"]);
  assert.deepEqual(await said(), [2, 3, "host-1"]);
});

test("somebody on the path who changes keys gets nothing through, and one who only listens learns no secret", async (t) => {
  const master = await httpMaster(t);
  const between = await eavesdropper(t, master.url);
  const strange = () => toText(newAgreement().publicKey);
  const resign = (header: string) => {
    const proof = parseProof(header);
    assert.ok(proof !== undefined);
    return formatProof({ ...proof, ephemeral: newAgreement().publicKey });
  };
  const change = (how: (answer: Record<string, string>) => object) => (text: string) =>
    JSON.stringify(how(JSON.parse(text) as Record<string, string>));
  const flip = (text: string) => (text.startsWith("A") ? "B" : "A") + text.slice(1);
  const attacks: [string, Partial<typeof between>][] = [
    [
      "its own key in the challenge",
      {
        onAnswer: (p) => {
          if (p.path === "/v1/challenge") p.answer = change((a) => ({ ...a, ephemeral: strange() }))(p.answer);
        },
      },
    ],
    [
      "its own key in the registration",
      {
        onRequest: (p) => {
          if (p.path === REGISTER) p.headers[PROOF_HEADER] = resign(p.headers[PROOF_HEADER] ?? "");
        },
      },
    ],
    [
      "another address in the registration",
      {
        onRequest: (p) => {
          p.body = p.body.replace("10.0.0.1", "10.0.0.9");
        },
      },
    ],
    [
      "its own cluster",
      {
        onAnswer: (p) => {
          if (p.path === REGISTER)
            p.answer = change((a) => ({ ...a, clusterKey: toText(newSigner().publicKey) }))(p.answer);
        },
      },
    ],
    [
      "another signature",
      {
        onAnswer: (p) => {
          if (p.path === REGISTER) p.answer = change((a) => ({ ...a, signature: flip(a.signature ?? "") }))(p.answer);
        },
      },
    ],
    [
      "other content",
      {
        onAnswer: (p) => {
          if (p.path === REGISTER) p.answer = change((a) => ({ ...a, sealed: flip(a.sealed ?? "") }))(p.answer);
        },
      },
    ],
  ];
  const agent = new TestAgent(master.secrets.token);
  for (const [what, attack] of attacks) {
    Object.assign(between, { onRequest: () => {}, onAnswer: () => {} }, attack);
    await assert.rejects(agent.register(between.url, request(1)), { code: "unauthorized" }, what);
    assert.equal(agent.membership, undefined);
  }
  Object.assign(between, { onRequest: () => {}, onAnswer: () => {} });
  const assignment = await agent.register(between.url, request(1));
  assert.equal(assignment.agent.id, "agent-1", "the same way, left alone");
  await agent.client(between.url).reportStatus({ agentId: "agent-1", instanceId: "instance-1", overlays: [] });

  const heard = `${between.seen.join("\n")}\n${master.log.join("\n")}`;
  assert.ok(heard.includes("weft-proof") && heard.includes(master.secrets.token.id), "it was all there to be heard");
  const [key] = agent.membership?.keys.keys ?? [];
  assert.ok(key !== undefined);
  const { secret } = master.secrets.token;
  for (const [what, bytes] of Object.entries({ secret, tokenKey: tokenKeyOf(secret), gossipKey: key.key }))
    for (const encoding of ["base64url", "base64", "hex", "latin1"] as const)
      assert.ok(!heard.includes(Buffer.from(bytes).toString(encoding)), `${what} as ${encoding}`);
});

test("a false master learns nothing that it could use, and is believed by nobody", async (t) => {
  const real = await httpMaster(t);
  const impostor = newSigner();
  const seen: string[] = [];
  let claimed = impostor.publicKey;
  const agreement = newAgreement();
  const ASSIGNMENT = { ...seedAssignment(1), agent: { ...seedAssignment(1).agent, id: "agent-1" } };
  const falseUrl = await standIn(t, async (asked, response) => {
    const body = Buffer.concat(await asked.toArray());
    const header = String(asked.headers[PROOF_HEADER] ?? "");
    seen.push(header, body.toString());
    if (asked.url === "/v1/challenge")
      return response.end(JSON.stringify({ nonce: toText(newSecret(40)), ephemeral: toText(agreement.publicKey) }));
    const proof = parseProof(header);
    assert.ok(proof?.ephemeral !== undefined && proof.publicKey !== undefined);
    // All that a master does, but for what it does not know: the token and the cluster's private key.
    const call = { method: "POST", path: REGISTER, body };
    const answered = answerBytes(transcriptOf(call, proof, agreement.publicKey), proof);
    const signature = impostor.sign(answered);
    const shared = agreement.shared(proof.ephemeral) as Uint8Array;
    const membership = membershipFor(ASSIGNMENT, { publicKey: proof.publicKey, sign: () => signature }, impostor);
    const text = Buffer.from(admissionJson({ assignment: ASSIGNMENT, membership }));
    const sealed = seal(answerKey(shared, undefined, answered, signature), text, answered);
    return response.end(
      JSON.stringify({ clusterKey: toText(claimed), signature: toText(signature), sealed: toText(sealed) }),
    );
  });

  const newcomer = new TestAgent(real.secrets.token);
  await assert.rejects(newcomer.register(falseUrl, request(1)), {
    code: "unauthorized",
    message: /not made with join token .*; it is not the master that made that token/,
  });
  await assert.rejects(new TestAgent(undefined).register(falseUrl, request(1)), {
    code: "not-admitted",
    message: /--join-token-file/,
  });
  await newcomer.register(real.url, request(1));
  await assert.rejects(newcomer.register(falseUrl, request(1)), { code: "unauthorized", message: /another cluster/ });
  claimed = real.secrets.cluster.publicKey;
  await assert.rejects(newcomer.register(falseUrl, request(1)), { code: "unauthorized", message: /not signed/ });
  assert.ok(!seen.join().includes(toText(real.secrets.token.secret)));
  await newcomer.register(real.url, request(1));

  // The control: the same lies are believed by an agent whose cluster the impostor really is.
  claimed = impostor.publicKey;
  const betrayed = new TestAgent(undefined);
  betrayed.membership = { ...(newcomer.membership as never as object), clusterKey: impostor.publicKey } as never;
  assert.equal((await betrayed.register(falseUrl, request(1))).agent.id, "agent-1");
});

test("no answer to anybody holds a key or the secret of a token, but the one that makes the token", async () => {
  const rig = new MasterRig();
  const { membership } = await rig.admission(request(1));
  const made = await makeToken(rig, { note: "n", uses: 3 });
  const secrets = [rig.secrets.token.secret, made.secret, ...membership.keys.keys.map(({ key }) => key)];
  const hidden = [...secrets, ...secrets.slice(0, 2).map(tokenKeyOf)].map(toText);
  const { paths } = (await rig.json("/v1/openapi.json")) as { paths: Record<string, Record<string, object>> };
  const answers: string[] = [];
  for (const path of [...Object.keys(paths), "/overlay-master/state", "/metrics", `/v1/tokens/${made.id}`])
    for (const method of ["GET", "POST", "DELETE"].filter((each) => each !== "POST" || path !== "/v1/tokens"))
      for (const local of [true, false]) answers.push(await (await rig.call(method, path, undefined, local)).text());
  const all = answers.join("\n");
  assert.ok(all.includes(made.id), "the token is spoken of");
  for (const text of hidden) assert.ok(!all.includes(text));
  assert.ok(fromText(hidden[0] ?? "") !== undefined && formatToken(made).includes(toText(made.secret)));
});
