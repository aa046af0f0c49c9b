import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { EVENTS_READ_MAX_BYTES } from "../../model/control-limits.ts";
import { parseToken } from "../../model/trust/token.ts";

interface Events {
  readonly events: readonly { readonly revision: number; readonly who: string; readonly what: string }[];
}

test("each change has a revision and tells who made it; an answer that changes nothing makes none", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  await rig.register(request(1));
  await rig.call("POST", "/v1/tokens", {}, true);
  await rig.call("DELETE", "/v1/agents/agent-1", undefined, true);
  const { events } = (await rig.json("/v1/events")) as Events;
  assert.deepEqual(
    events.map(({ revision, who, what }) => [revision, who, what.replace(/[a-z2-7]{8}/, "ID")]),
    [
      [1, "master", "configuration file laid over what is stored"],
      [2, "master", "the cluster begins"],
      [3, "agent agent-1", "agent agent-1 (host-1, 10.0.0.1) added"],
      [4, "operator (socket)", "join token ID made"],
      [5, "operator (socket)", "agent agent-1 (host-1, 10.0.0.1) deleted"],
    ].map(([revision, who, what]) => [revision, who, String(what).replace(/[a-z2-7]{8}/, "ID")]),
  );
  const after = (await rig.json("/v1/events?after=3&limit=1")) as Events;
  assert.deepEqual(
    after.events.map(({ revision }) => revision),
    [4],
  );
});

test("the state of any revision is shown, without secrets", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  await rig.call("DELETE", "/v1/agents/agent-1", undefined, true);
  const keysAt = async (at: string) => {
    const answer = await rig.call("GET", `/v1/state${at}`, undefined, at !== "");
    const { entries } = (await answer.json()) as { entries: Record<string, unknown> };
    assert.ok(!JSON.stringify(entries).includes("sealed:"));
    return Object.keys(entries).filter((key) => key.startsWith("agent/"));
  };
  assert.deepEqual([await keysAt("?at=0"), await keysAt("?at=3"), await keysAt("")], [[], ["agent/agent-1"], []]);
  const future = await rig.call("GET", "/v1/state?at=99", undefined, true);
  assert.deepEqual([future.status, /no revision 99 yet/.test(await future.text())], [400, true]);
  rig.restart();
  assert.deepEqual(await keysAt("?at=3"), ["agent/agent-1"], "also after a restart");
});

test("how it was is for operators, because it reads all that changed since; how it is, is for all", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  assert.equal((await rig.call("GET", "/v1/state")).status, 200);
  const refused = await rig.call("GET", "/v1/state?at=2");
  assert.deepEqual([refused.status, /--operator-token-file/.test(await refused.text())], [403, true]);
  const made = (await (await rig.call("POST", "/v1/tokens", { kind: "operator" }, true)).json()) as { text: string };
  const token = parseToken(made.text);
  assert.ok(token !== undefined);
  const { headers } = await rig.proven("GET", "/v1/state?at=2", undefined, { token });
  assert.equal((await rig.call("GET", "/v1/state?at=2", undefined, false, headers)).status, 200);
});

test("an answer of events is bounded in bytes: the newest ones, or those that follow, until there are none", async () => {
  const rig = new MasterRig();
  const { book } = rig.cluster;
  const COUNT = 15;
  for (let n = 0; n < COUNT; n += 1)
    book.change({ who: "test", what: `change ${n}` }, () => book.put("large", `${n}-`.padEnd(500_000, "x")));
  const revisions = async (query: string) => {
    const answer = await rig.call("GET", `/v1/events?limit=1000${query}`);
    const text = await answer.text();
    assert.ok(Buffer.byteLength(text) <= EVENTS_READ_MAX_BYTES, `${text.length} bytes`);
    return (JSON.parse(text) as Events).events.map(({ revision }) => revision);
  };
  const newest = await revisions("");
  assert.equal(newest.at(-1), book.revision);
  assert.ok(newest.length > 1 && newest.length < COUNT);
  const all: number[] = [];
  for (let more = await revisions("&after=0"); more.length > 0; more = await revisions(`&after=${all.at(-1)}`))
    all.push(...more);
  assert.deepEqual(
    all,
    Array.from({ length: book.revision }, (_, n) => n + 1),
  );
  assert.match(String((await book.stateAt(book.revision - 10)).entries.get("large")), /^4-/);
});
