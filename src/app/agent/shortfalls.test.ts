import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAttachRig } from "../../../test/support/attach-rig.ts";
import { EngineHand } from "../../../test/support/engine-hand.ts";
import { SHORTFALL_QUIET_MS } from "../../model/limits.ts";
import { Shortfalls } from "./shortfalls.ts";

test("a shortfall is over when nobody was refused for a while and there is room", () => {
  const all = new Shortfalls();
  let isFree = false;
  const refuse = (kind: string, runtime: string, at: number) =>
    all.refused(kind, { network: "dcos", runtime, at, hasRoom: () => isFree });
  const lasting = (now: number) => [...all.lasting(now)];
  assert.deepEqual(lasting(0), []);
  refuse("cni", "podman", 0);
  refuse("docker 4", "docker", 1_000);
  assert.deepEqual(lasting(SHORTFALL_QUIET_MS + 1_000), [["dcos", { runtime: "podman" }]], "as long as there is none");
  isFree = true;
  assert.deepEqual(lasting(SHORTFALL_QUIET_MS), [["dcos", { runtime: "docker" }]], "each kind by itself");
  assert.deepEqual(lasting(SHORTFALL_QUIET_MS + 1_000), []);
  for (let now = 0; now < 10 * SHORTFALL_QUIET_MS; now += SHORTFALL_QUIET_MS - 1) {
    refuse("cni", `runtime ${now}`, now);
    assert.deepEqual(lasting(now + 1), [["dcos", { runtime: "runtime 0" }]], "it goes on as it began");
  }
});

/** Containers of this network have five addresses of each half. */
const SIZE = 10;

test("a full host tells of it when a container is refused, by CNI, Docker and weft-ipam, and until one gets an address", async () => {
  const rig = await FakeAttachRig.open();
  const add = async (n: number) => {
    const netns = `/run/netns/c${n}`;
    await rig.newNetns(netns);
    return rig.call({ command: "ADD", network: "both", containerId: `c${n}`, netns });
  };
  const lasting = () => [...rig.service.shortfalls()];
  for (let n = 0; n < SIZE; n++) assert.equal((await add(n)).status, 200);
  assert.deepEqual([lasting(), rig.refusals], [[], 0], "full is no shortage yet");
  assert.equal((await add(SIZE)).json.code, 101);
  assert.deepEqual([lasting(), rig.refusals], [[["both", { runtime: "" }]], 1]);
  const hand = new EngineHand(rig);
  await assert.rejects(async () => hand.start("web", await hand.network("both")), /no free address/);
  const lone = { CNI_WEFT_PLUGIN: "weft-ipam", CNI_WEFT_RUNTIME: "mesos" };
  await rig.newNetns("/run/netns/lone");
  const asked = { command: "ADD", network: "both", containerId: "lone", netns: "/run/netns/lone", environment: lone };
  assert.equal((await rig.call(asked)).json.code, 101);
  assert.equal(rig.refusals, 3);
  rig.clock.advance(SHORTFALL_QUIET_MS);
  assert.deepEqual(lasting(), [["both", { runtime: "" }]], "nothing is free");
  await rig.call({ command: "DEL", network: "both", containerId: "c0", netns: "/run/netns/c0" });
  assert.deepEqual(lasting(), []);
});
