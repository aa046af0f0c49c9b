import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";

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
    const { entries } = (await rig.json(`/v1/state${at}`)) as { entries: Record<string, unknown> };
    assert.ok(!JSON.stringify(entries).includes("sealed:"));
    return Object.keys(entries).filter((key) => key.startsWith("agent/"));
  };
  assert.deepEqual([await keysAt("?at=0"), await keysAt("?at=3"), await keysAt("")], [[], ["agent/agent-1"], []]);
  const future = await rig.call("GET", "/v1/state?at=99");
  assert.deepEqual([future.status, /no revision 99 yet/.test(await future.text())], [400, true]);
  rig.restart();
  assert.deepEqual(await keysAt("?at=3"), ["agent/agent-1"], "also after a restart");
});
