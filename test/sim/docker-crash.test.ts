/**
 * An agent that dies at any step of what Docker does with a container, comes back at once or later, and Docker's lists:
 * no address is given twice, nothing is lost that Docker still has, and nothing stays of what it has forgotten.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { EngineBook } from "../../src/app/agent/docker/engine-book.ts";
import { Killed } from "../../src/io/kernel/fake-kernel.ts";
import { SILENT_LOG } from "../../src/io/log.ts";
import { addressesOf, isAttachment } from "../../src/model/attachment.ts";
import { ENGINE_FORGETS_MS } from "../../src/model/engine-limits.ts";
import { FakeAttachRig } from "../support/attach-rig.ts";
import { EngineHand } from "../support/engine-hand.ts";

const PORT = { Proto: 17, IP: "", Port: 53, HostIP: "", HostPort: 5353, HostPortEnd: 5353 };

class World {
  readonly rig: FakeAttachRig;
  readonly hand: EngineHand;
  #book: EngineBook;

  private constructor(rig: FakeAttachRig) {
    this.rig = rig;
    this.hand = new EngineHand(rig);
    this.#book = this.#newBook();
  }

  static async open(): Promise<World> {
    return new World(await FakeAttachRig.open());
  }

  #newBook(): EngineBook {
    const { rig, hand } = this;
    return new EngineBook({
      engine: hand.engine,
      store: rig.store,
      clock: rig.clock,
      log: SILENT_LOG,
      leases: () => rig.service.leases(),
      detach: (lease) => rig.service.docker.detach(lease),
    });
  }

  /** The agent comes back: as its loop does, and what it does in the next minutes. */
  async recover(): Promise<void> {
    this.rig.restart();
    this.#book = this.#newBook();
    this.hand.isAway = false;
    await this.rig.service.recover();
  }

  async settle(): Promise<void> {
    await this.rig.service.repair(await this.rig.kernel.observe([]));
    await this.#book.compare();
    this.rig.clock.advance(ENGINE_FORGETS_MS);
    await this.#book.compare();
    await this.rig.service.repair(await this.rig.kernel.observe([]));
    await this.rig.pass();
  }

  /** Every endpoint that Docker lists has its lease, whole; no other lease is there, and no device without one. */
  async check(): Promise<void> {
    const leases = this.rig.store.leases();
    const addresses = leases.flatMap(addressesOf);
    assert.equal(new Set(addresses).size, addresses.length, `each once: ${addresses.join()}`);
    const listed = [...this.hand.containers.values()].map(({ endpointId }) => endpointId);
    assert.deepEqual(leases.map(({ containerId }) => containerId).sort(), listed.sort());
    for (const lease of leases.filter(isAttachment)) assert.equal(lease.state, "attached");
    const { links } = await this.rig.kernel.observe([]);
    const veths = links.filter(({ kind }) => kind === "veth").map(({ name }) => name);
    assert.deepEqual(
      veths.sort(),
      leases
        .filter(isAttachment)
        .map(({ hostIfname }) => hostIfname)
        .sort(),
    );
  }
}

/** @param isBackAtOnce before Docker has said what it says after an error */
async function dies(
  at: number,
  isBackAtOnce: boolean,
  work: (world: World, id: string) => Promise<unknown>,
): Promise<boolean> {
  const world = await World.open();
  const id = await world.hand.network("both");
  const life = world.rig.restart(at);
  let isDead = false;
  world.hand.before = async () => {
    if (!isDead || world.hand.isAway) return;
    if (isBackAtOnce) await world.recover();
    else world.hand.isAway = true;
    isDead = false;
  };
  const call = world.hand.call.bind(world.hand);
  world.hand.call = (method, body) =>
    call(method, body).catch((error) => {
      if (error instanceof Killed) isDead = true;
      throw error;
    });
  const failed = await work(world, id).then(
    () => false,
    () => true,
  );
  const hasDied = life.isOver();
  world.hand.before = async () => {};
  await world.recover();
  await world.settle();
  await world.check();
  if (failed) assert.equal(world.hand.containers.size, 0);
  await world.hand.start("after", id, failed ? [PORT] : []);
  await world.settle();
  await world.check();
  return hasDied;
}

for (const isBackAtOnce of [true, false]) {
  const when = isBackAtOnce ? "and is back at once" : "and is back when Docker has forgotten";
  test(`an agent that dies at any step of a start ${when}: nothing stays, and the next one works`, async () => {
    let steps = 0;
    while (await dies(steps, isBackAtOnce, (world, id) => world.hand.start("web", id, [PORT]))) steps++;
    assert.ok(steps > 15, `a start has ${steps} steps`);
  });

  test(`an agent that dies at any step of a stop ${when}: nothing stays`, async () => {
    const stop = async (world: World, id: string) => {
      const { rig } = world;
      rig.restart();
      await world.hand.start("web", id, [PORT]);
      await rig.service.repair(await rig.kernel.observe([]));
    };
    let steps = 0;
    for (;;) {
      const at = steps;
      let isOver = false;
      await dies(1_000, isBackAtOnce, async (world, id) => {
        await stop(world, id);
        const life = world.rig.restart(at);
        await world.hand.stop("web");
        isOver = life.isOver();
      });
      if (!isOver) break;
      steps++;
    }
    assert.ok(steps > 5, `a stop has ${steps} steps`);
  });
}

test("control: without a look at Docker's lists the same death leaves an address", async () => {
  const world = await World.open();
  const id = await world.hand.network("both");
  world.hand.before = async (method) => {
    if (method === "CreateEndpoint") world.hand.isAway = true;
  };
  await assert.rejects(world.hand.start("web", id));
  await world.recover();
  await world.rig.service.repair(await world.rig.kernel.observe([]));
  await assert.rejects(world.check());
  world.hand.before = async () => {};
  await world.settle();
  await world.check();
});

test("any history of containers, deaths and forgotten endpoints", async () => {
  const step = fc.record({
    kind: fc.constantFrom("start", "start", "stop", "kill", "forget", "pass"),
    name: fc.constantFrom("a", "b", "c", "d"),
    diesAfter: fc.option(fc.nat(25), { nil: undefined }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (history) => {
      const world = await World.open();
      const id = await world.hand.network("both");
      for (const { kind, name, diesAfter } of history) {
        if (diesAfter !== undefined) world.rig.restart(diesAfter);
        const runs = world.hand.containers.has(name);
        if (kind === "start" && !runs) await world.hand.start(name, id, []).catch(() => {});
        if (kind === "stop" && runs) await world.hand.stop(name).catch(() => {});
        if (kind === "forget" && runs) {
          world.hand.isAway = true;
          await world.hand.stop(name);
        }
        if (kind === "kill" || diesAfter !== undefined || kind === "forget") await world.recover();
        if (kind === "pass") await world.settle();
      }
      await world.recover();
      await world.settle();
      await world.check();
    }),
    { numRuns: 150 },
  );
});
