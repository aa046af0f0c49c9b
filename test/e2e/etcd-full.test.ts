/**
 * A master whose etcd is full, as its callers see it: a clear refusal while that lasts, reading all the while, and afterwards
 * the same process goes on.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { registrant } from "../../bench/filled-store.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { Fault } from "../../src/model/fault.ts";
import { etcdProblem, TestEtcd } from "../support/etcd.ts";
import { MasterHome } from "../support/master-process.ts";
import { TestAgent } from "../support/trust.ts";

const skip = etcdProblem();
const WAIT_MS = 15_000;
const text64 = (text: string) => Buffer.from(text).toString("base64");

async function fill(etcd: TestEtcd): Promise<void> {
  const value = text64("x".repeat(500_000));
  for (let n = 0; n < 100; n += 1)
    try {
      await etcd.call("/v3/kv/put", { key: text64(`other/${n}`), value });
    } catch (thrown) {
      assert.match(String(thrown), /space exceeded/);
      return;
    }
  assert.fail("etcd has a quota");
}

/** What an operator does with etcdctl. */
async function makeRoom(etcd: TestEtcd): Promise<void> {
  await etcd.call("/v3/kv/deleterange", { key: text64("other/"), range_end: text64("other0") });
  const { header } = (await etcd.call("/v3/kv/range", { key: text64("x") })) as { header: { revision: string } };
  await etcd.call("/v3/kv/compaction", { revision: header.revision, physical: true });
  await etcd.call("/v3/maintenance/defragment");
  const { alarms } = (await etcd.call("/v3/maintenance/alarm", { action: "GET" })) as {
    alarms: { memberID: string }[];
  };
  for (const { memberID } of alarms)
    await etcd.call("/v3/maintenance/alarm", { action: "DEACTIVATE", alarm: "NOSPACE", memberID });
}

test("a full etcd is told to who asks for a change, and no restart is needed when it has room again", {
  skip,
}, async (t) => {
  const etcd = await TestEtcd.start({ members: 1, args: ["--quota-backend-bytes", String(8 << 20)] });
  t.after(() => etcd.stop());
  const home = new MasterHome();
  t.after(() => home.remove());
  const { url } = await home.start("--store", `etcd://${etcd.endpoints.join(",")}`, "--new-cluster");
  const read = () => fetch(`${url}/v1/agents`).then(async (answer) => (answer.ok ? await answer.json() : undefined));
  await waitFor("the master to lead", WAIT_MS, read);
  const agent = new TestAgent(home.joinToken());
  const before = await agent.register(url, registrant(1));

  await fill(etcd);
  const late = new TestAgent(home.joinToken());
  await assert.rejects(late.register(url, registrant(2)), (thrown: unknown) => {
    assert.ok(thrown instanceof Fault && thrown.code === "storage", String(thrown));
    assert.match(thrown.message, /etcd is full.*nothing was changed.*alarm disarm/);
    return true;
  });
  const refused = (await waitFor("reading to go on", WAIT_MS, read)) as { agents: { id: string }[] };
  assert.deepEqual(
    refused.agents.map(({ id }) => id),
    [registrant(1).agentId],
  );

  await makeRoom(etcd);
  const admitted = await waitFor("the master to write again", WAIT_MS, () => late.register(url, registrant(2)));
  assert.notEqual(admitted.agent.backend.vtepIp, before.agent.backend.vtepIp);
  assert.deepEqual((await agent.register(url, registrant(1))).agent, before.agent);
});
