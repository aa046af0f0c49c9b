import assert from "node:assert/strict";
import { test } from "node:test";
import { MemoryPolicyBook } from "../../../test/support/policy-book.ts";
import { Fault } from "../../model/fault.ts";
import { POLICIES_MAX, POLICY_LABELS_MAX } from "../../model/limits.ts";
import type { Policy } from "../../model/policy.ts";
import { policiesTable, policyText } from "../cli/policy-command.ts";
import { createApi } from "../http-api.ts";
import { addPolicyRoutes } from "./policy-routes.ts";

const DB: Policy = {
  name: "db",
  network: "dcos",
  from: { app: "web", tier: "1" },
  to: { app: "db" },
  ports: [{ protocol: "tcp", first: 5432, last: 5440 }],
};

function rig(mayChange = true) {
  const book = new MemoryPolicyBook();
  const app = createApi({
    title: "test",
    version: "0",
    metrics: async () => ({ text: "", contentType: "text/plain" }),
    onBug: (thrown) => assert.fail(String(thrown)),
  });
  const requireOperator = () => {
    if (!mayChange) throw new Fault("forbidden", "no");
  };
  addPolicyRoutes(app, { book, requireOperator, whoOf: () => "test", networks: () => ["dcos"] });
  const call = async (method: string, path: string, body?: unknown) => {
    const headers = { "content-type": "application/json" };
    const answer = await app.request(path, {
      method,
      headers,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    return [answer.status, await answer.text()] as const;
  };
  return { book, call };
}

test("policies are put, listed by name and removed", async () => {
  const { book, call } = rig();
  assert.equal((await call("PUT", "/v1/policies/db", { policy: DB }))[0], 200);
  assert.equal((await call("PUT", "/v1/policies/a", { policy: { ...DB, name: "a", network: undefined } }))[0], 200);
  assert.deepEqual(
    book.list().map(({ name }) => name),
    ["a", "db"],
  );
  assert.deepEqual(JSON.parse((await call("GET", "/v1/policies"))[1]), { policies: book.list() });
  assert.equal((await call("DELETE", "/v1/policies/a"))[0], 200);
  assert.match((await call("DELETE", "/v1/policies/a"))[1], /there is no policy a; 'weft policy ls'/);
  assert.deepEqual(book.list(), [DB]);
});

test("what is wrong is refused, and nothing is kept of it", async () => {
  const { book, call } = rig();
  const many = Object.fromEntries(Array.from({ length: POLICY_LABELS_MAX + 1 }, (_, i) => [`k${i}`, "v"]));
  const rows: readonly [change: object, problem: RegExp][] = [
    [{ name: "other" }, /named other, the call db/],
    [{ network: "nowhere" }, /there is no network nowhere/],
    [{ from: {} }, /policy.from: selects by 1 to 8 labels/],
    [{ to: many }, /policy.to: selects by 1 to 8 labels/],
    [{ ports: [{ protocol: "tcp", first: 2, last: 1 }] }, /ends before it begins/],
    [{ ports: [{ protocol: "icmp", first: 1, last: 1 }] }, /policy.ports\[0\].protocol/],
    [{ ports: [{ protocol: "tcp", first: 0, last: 65_536 }] }, /policy.ports\[0\].first/],
  ];
  for (const [change, problem] of rows) {
    const [status, text] = await call("PUT", "/v1/policies/db", { policy: { ...DB, ...change } });
    assert.ok(status >= 400, text);
    assert.match(text, problem);
  }
  for (const name of ["-a", "A", "a".repeat(33), "a/b"])
    assert.ok((await call("PUT", `/v1/policies/${encodeURIComponent(name)}`, { policy: { ...DB, name } }))[0] >= 400);
  assert.deepEqual(book.list(), []);
  for (let i = 0; i < POLICIES_MAX; i++) book.put({ ...DB, name: `p${i}` });
  assert.match((await call("PUT", "/v1/policies/db", { policy: DB }))[1], /there are 1000 policies already/);
  assert.equal((await call("PUT", "/v1/policies/p7", { policy: { ...DB, name: "p7" } }))[0], 200, "one that is there");
});

test("only operators change anything", async () => {
  const { book, call } = rig(false);
  assert.equal((await call("PUT", "/v1/policies/db", { policy: DB }))[0], 403);
  assert.equal((await call("DELETE", "/v1/policies/db"))[0], 403);
  assert.deepEqual(book.list(), []);
});

test("policies as text", () => {
  assert.equal(
    policiesTable([DB, { ...DB, name: "all", from: { a: "b" }, ports: [] }]),
    `NAME  NETWORK  FROM            TO      PORTS
db    dcos     app=web,tier=1  app=db  tcp/5432-5440
all   dcos     a=b             app=db  all`,
  );
  assert.equal(
    policyText(DB),
    "policy db\n  network  dcos\n  from     app=web,tier=1\n  to       app=db\n  ports    tcp/5432-5440",
  );
});
