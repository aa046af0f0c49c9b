/** Docker's lists and the agent's leases, compared: who speaks for what, since when, and what is learned again. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAttachRig } from "../../../../test/support/attach-rig.ts";
import { EngineHand, engineId } from "../../../../test/support/engine-hand.ts";
import { SILENT_LOG } from "../../../io/log.ts";
import { ENGINE_FORGETS_MS } from "../../../model/engine-limits.ts";
import { Fault } from "../../../model/fault.ts";
import { EngineBook } from "./engine-book.ts";

async function open() {
  const rig = await FakeAttachRig.open();
  const hand = new EngineHand(rig);
  const both = await hand.network("both");
  const book = new EngineBook({
    engine: hand.engine,
    store: rig.store,
    clock: rig.clock,
    log: SILENT_LOG,
    leases: () => rig.service.leases(),
    detach: (lease) => rig.service.docker.detach(lease),
  });
  return { rig, hand, both, book };
}

test("what Docker does not list is given back when it has not been listed for long enough, and not before", async () => {
  const { rig, hand, both, book } = await open();
  await hand.start("listed", both);
  const { Address } = await hand.call("RequestAddress", { PoolID: "both/4", Address: "" });
  await book.compare();
  rig.clock.advance(ENGINE_FORGETS_MS - 1);
  await book.compare();
  assert.equal(rig.service.leases().length, 2, "an engine's next call may be on its way");
  rig.clock.advance(1);
  await book.compare();
  assert.deepEqual(
    rig.service.leases().map(({ containerId }) => containerId),
    [hand.containers.get("listed")?.endpointId],
  );
  assert.ok(rig.store.resting().includes(Address.split("/")[0]));
});

test("an engine that is away speaks for nothing", async () => {
  const { rig, hand, both } = await open();
  await hand.start("web", both);
  const away = async (): Promise<never> => {
    throw new Fault("not-ready", "Docker does not answer");
  };
  const book = new EngineBook({
    engine: { networks: away, network: away },
    store: rig.store,
    clock: rig.clock,
    log: SILENT_LOG,
    leases: () => rig.service.leases(),
    detach: () => assert.fail("nothing is given back"),
  });
  for (let n = 0; n < 3; n++) {
    await assert.rejects(book.compare(), { code: "not-ready" });
    rig.clock.advance(ENGINE_FORGETS_MS);
  }
  assert.equal(rig.service.leases().length, 1);
});

test("a network that the agent has forgotten is learned from the list, and one that the engine has forgotten goes", async () => {
  const { rig, hand, both, book } = await open();
  rig.store.deleteDockerNetwork(both);
  await assert.rejects(hand.start("web", both), /does not know the Docker network/);
  await book.compare();
  await hand.start("web", both);
  const gone = engineId("gone");
  rig.store.putDockerNetwork({ id: gone, network: "both" });
  const known = () => rig.store.dockerNetworks().map(({ id }) => id);
  await book.compare();
  assert.deepEqual(known(), [both, gone], "it may only just have been made");
  rig.clock.advance(ENGINE_FORGETS_MS);
  await book.compare();
  assert.deepEqual(known(), [both]);
});
