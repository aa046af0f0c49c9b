/**
 * An agent that dies at any step of an ADD or a DEL, and comes back. "Step" is every kernel operation and every write
 * to the store; what a dead agent would have cleaned up stays.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Killed } from "../../src/io/kernel/fake-kernel.ts";
import type { AgentStore } from "../../src/io/ports.ts";
import { AttachRig } from "../support/attach-rig.ts";
import type { TestCall } from "../support/cni.ts";

const C1 = "/run/netns/c1";
const ADD: TestCall = { command: "ADD", containerId: "c1", netns: C1, network: "both", requestId: "r1" };
const DEL: TestCall = { command: "DEL", containerId: "c1", network: "both", requestId: "r2" };

/** Sends a call to an agent that may die of it. @returns whether it lived */
async function survives(rig: AttachRig, call: TestCall): Promise<boolean> {
  try {
    assert.equal((await rig.call(call)).status, 200);
    return true;
  } catch (error) {
    if (!(error instanceof Killed)) throw error;
    return false;
  }
}

/** How many steps a call takes that nobody disturbs. */
async function stepsOf(call: TestCall, ...before: TestCall[]): Promise<number> {
  const rig = await AttachRig.open(C1);
  for (const each of before) assert.equal((await rig.call(each)).status, 200);
  const life = rig.restart();
  assert(await survives(rig, call));
  return life.steps;
}

async function isWhole(rig: AttachRig): Promise<boolean> {
  const answer = await rig.call(ADD); // the stored answer, if the attachment is there
  const { status } = await rig.call({ ...ADD, command: "CHECK", prevResult: answer.json });
  return answer.status === 200 && status === 200;
}

/** @returns the step at which something was left, or `undefined` */
async function firstLeakOfAdd(wrapStore?: (store: AgentStore) => AgentStore): Promise<string | undefined> {
  const steps = await stepsOf(ADD);
  assert(steps > 15, `an ADD has many steps, not ${steps}`);
  for (let n = 0; n < steps; n++) {
    const rig = await AttachRig.open(C1);
    const before = await rig.dump(C1);
    if (wrapStore !== undefined) rig.wrapStore = wrapStore;
    rig.restart(n);
    assert(!(await survives(rig, ADD)), `dies at step ${n}`);
    rig.restart();
    await rig.service.recover();
    if ((await rig.dump(C1)) !== before) return `step ${n}: ${await rig.dump(C1)}`;
    if (rig.store.attachments().length > 0) return `step ${n}: ${JSON.stringify(rig.store.attachments())}`;
    assert.equal((await rig.call(ADD)).status, 200, `step ${n}: the same request sent again succeeds`);
    assert(await isWhole(rig), `step ${n}: and is whole`);
    assert.equal((await rig.call(DEL)).status, 200);
    assert.equal(await rig.dump(C1), before, `step ${n}: and leaves nothing`);
  }
  return undefined;
}

test("an agent that dies at any step of an ADD leaves nothing once it is back, and the call may be sent again", async () => {
  assert.equal(await firstLeakOfAdd(), undefined);
});

test("control: with a store that forgets what is pending the same test finds a leak", async () => {
  const forgetful = (store: AgentStore): AgentStore => ({
    ...store,
    putAttachment: (attachment) => {
      if (attachment.state === "attached") store.putAttachment(attachment);
    },
  });
  assert.match((await firstLeakOfAdd(forgetful)) ?? "", /weft/);
});

test("an agent that dies after the last write and before the answer has attached, and gives the answer later", async () => {
  const rig = await AttachRig.open(C1);
  rig.restart(await stepsOf(ADD));
  assert(await survives(rig, ADD));
  const whole = await rig.dump(C1);
  rig.restart();
  await rig.service.recover();
  assert.equal(await rig.dump(C1), whole);
  assert(await isWhole(rig));
});

test("an agent that dies at any step of a DEL has either not begun or finishes it when it is back", async () => {
  const steps = await stepsOf(DEL, ADD);
  assert(steps >= 4, `a DEL has some steps, not ${steps}`);
  for (let n = 0; n < steps; n++) {
    const rig = await AttachRig.open(C1);
    const before = await rig.dump(C1);
    await rig.call(ADD);
    rig.restart(n);
    assert(!(await survives(rig, DEL)), `dies at step ${n}`);
    rig.restart();
    await rig.service.recover();
    if (n === 0) assert(await isWhole(rig), "before the first write nothing has happened");
    else assert.equal(await rig.dump(C1), before, `step ${n}`);
    assert.equal((await rig.call(DEL)).status, 200, `step ${n}: the same request sent again succeeds`);
    assert.equal(await rig.dump(C1), before);
    assert.deepEqual(rig.store.attachments(), []);
  }
});

test("an agent that dies again while it recovers still recovers", async () => {
  for (let n = 0; n < 4; n++) {
    const rig = await AttachRig.open(C1);
    const before = await rig.dump(C1);
    rig.restart(12);
    assert(!(await survives(rig, ADD)));
    rig.restart(n);
    await rig.service.recover().catch((error) => assert(error instanceof Killed));
    rig.restart();
    await rig.service.recover();
    assert.equal(await rig.dump(C1), before);
    assert.deepEqual(rig.store.attachments(), []);
  }
});

// ---- random histories ------------------------------------------------------------------------------------------------

const CONTAINERS = ["a", "b", "c", "d", "e", "f", "g"] as const;
const netnsOf = (containerId: string) => `/run/netns/${containerId}`;

type Step =
  | { readonly kind: "calls"; readonly calls: readonly TestCall[]; readonly diesAfter: number | undefined }
  /** The container's namespace goes, and a new one comes at its path. */
  | { readonly kind: "renew"; readonly containerId: string }
  | { readonly kind: "lose"; readonly nth: number };

const container = fc.constantFrom(...CONTAINERS);
const call = fc
  .record({
    command: fc.constantFrom("ADD", "ADD", "DEL"),
    containerId: container,
    requestId: fc.constantFrom("r1", "r2", "r3"),
  })
  .map((each): TestCall => ({ ...each, netns: netnsOf(each.containerId), network: "both" }));
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("calls" as const),
      calls: fc.array(call, { minLength: 1, maxLength: 6 }),
      diesAfter: fc.option(fc.nat(60), { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("renew" as const), containerId: container }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("lose" as const), nth: fc.nat(4) }) },
);

async function carryOut(rig: AttachRig, step: Step): Promise<void> {
  if (step.kind === "renew") {
    rig.machine.deleteNetns(netnsOf(step.containerId));
    await rig.newNetns(netnsOf(step.containerId));
  } else if (step.kind === "lose") {
    const lost = rig.store.attachments()[step.nth];
    if (lost !== undefined) await rig.kernel.apply([{ op: "link.delete", name: lost.hostIfname }]);
  } else {
    const life = step.diesAfter === undefined ? undefined : rig.restart(step.diesAfter);
    await Promise.all(
      step.calls.map((each) =>
        rig.call(each).catch((error) => assert(error instanceof Killed && life?.isOver(), String(error))),
      ),
    );
    if (life !== undefined) rig.restart();
  }
  await rig.service.recover();
}

/** No address has two holders, every lease has its devices, and every device of ours has a lease. */
async function checkInvariants(rig: AttachRig): Promise<void> {
  const attachments = rig.store.attachments();
  const addresses = attachments.flatMap(({ ip, ip6 }) => [ip, ip6]);
  assert.equal(new Set(addresses).size, addresses.length, `distinct: ${addresses.join()}`);
  assert(attachments.every(({ state }) => state === "attached"));
  await rig.pass();
  const { links } = await rig.kernel.observe([]);
  const veths = links.filter(({ kind }) => kind === "veth").map(({ name }) => name);
  assert.deepEqual(veths.sort(), attachments.map(({ hostIfname }) => hostIfname).sort());
  for (const { containerId, netns, requestId } of attachments) {
    const add: TestCall = { command: "ADD", containerId, netns, network: "both", requestId };
    const { json } = await rig.call({ ...add, command: "CHECK", prevResult: (await rig.call(add)).json });
    assert.equal(json, undefined, `${containerId} is whole: ${json?.msg}`);
  }
}

test("any history of calls, deaths, lost devices and new namespaces: no address twice, nothing lost, nothing left", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 8 }), async (history) => {
      const paths = CONTAINERS.map(netnsOf);
      const rig = await AttachRig.open(...paths);
      const before = await rig.dump(...paths);
      for (const each of history) {
        await carryOut(rig, each);
        await checkInvariants(rig);
      }
      for (const containerId of CONTAINERS) await rig.call({ ...DEL, containerId });
      assert.equal(await rig.dump(...paths), before);
      assert.deepEqual(rig.store.attachments(), []);
    }),
    { numRuns: 200 },
  );
});
