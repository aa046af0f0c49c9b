import assert from "node:assert/strict";
import { test } from "node:test";
import { MasterRig, request } from "../../../test/support/master-rig.ts";
import { KEY_PHASE_MAX_MS, KEY_PHASE_MIN_MS } from "../../model/limits.ts";

const idsOf = async (rig: MasterRig, n: number) => {
  const { keys, sendingId } = (await rig.admission(request(n))).membership.keys;
  return [keys.map(({ id }) => id), sendingId];
};
const rotate = (rig: MasterRig) => rig.call("POST", "/v1/gossip/rotate-key", undefined, true);
const keys = (rig: MasterRig) => rig.json("/v1/gossip/keys");

test("the key is changed while agents come for it, phase by phase, and each is told to come", async () => {
  const rig = new MasterRig();
  const [before] = (await rig.admission(request(1))).membership.keys.keys;
  const leave = rig.connect(request(1));
  assert.deepEqual(await keys(rig), { phase: "steady", keys: [{ id: 1, use: "sent with" }] });

  assert.equal((await rotate(rig)).status, 200);
  assert.equal(rig.announcements, 1);
  assert.deepEqual(await idsOf(rig, 1), [[1, 2], 1]);
  assert.equal((await rotate(rig)).status, 409, "one change at a time");
  rig.clock.advance(KEY_PHASE_MIN_MS);
  assert.equal(rig.announcements, 2);
  assert.deepEqual(await keys(rig), {
    phase: "retiring",
    keys: [
      { id: 2, use: "sent with" },
      { id: 1, use: "last" },
    ],
  });
  assert.deepEqual(await idsOf(rig, 1), [[2, 1], 2]);
  rig.clock.advance(KEY_PHASE_MIN_MS);
  assert.equal(rig.announcements, 3);
  assert.deepEqual(await idsOf(rig, 1), [[2], 2]);
  const [after] = (await rig.admission(request(1))).membership.keys.keys;
  assert.notDeepEqual(after?.key, before?.key);
  leave();
});

test("an agent that does not come holds the change up to its bound", async () => {
  const rig = new MasterRig();
  await rig.register(request(1));
  rig.connect(request(1));
  await rotate(rig);
  rig.clock.advance(KEY_PHASE_MAX_MS - 1);
  assert.equal(rig.cluster.trust.gossipKeys.ring.phase, "spreading");
  rig.clock.advance(1);
  assert.equal(rig.cluster.trust.gossipKeys.ring.phase, "retiring");
});

test("a change survives a restart of the master, and keys are the same after it", async () => {
  const rig = new MasterRig();
  const { keys: first } = (await rig.admission(request(1))).membership.keys;
  await rotate(rig);
  rig.restart();
  const { keys: two } = (await rig.admission(request(1))).membership.keys;
  assert.deepEqual(two[0], first[0]);
  rig.clock.advance(2 * KEY_PHASE_MIN_MS);
  assert.deepEqual(rig.cluster.trust.gossipKeys.view(), { phase: "steady", keys: [{ id: 2, use: "sent with" }] });
  rig.restart();
  assert.deepEqual((await rig.admission(request(1))).membership.keys.keys, [two[1]]);
});

test("on a full disk the key stays what it is, and the change goes on when there is room", async () => {
  const rig = new MasterRig();
  rig.disk.full = true;
  assert.equal((await rotate(rig)).status, 507);
  assert.equal(rig.cluster.trust.gossipKeys.ring.phase, "steady");
  rig.disk.full = false;
  await rotate(rig);
  rig.disk.full = true;
  rig.clock.advance(KEY_PHASE_MIN_MS);
  assert.equal(rig.cluster.trust.gossipKeys.ring.phase, "spreading");
  rig.disk.full = false;
  rig.clock.advance(KEY_PHASE_MIN_MS);
  assert.equal(rig.cluster.trust.gossipKeys.ring.phase, "retiring");
});
