/**
 * An agent that dies at any step of an ADD or a DEL and comes back, on the fake kernel, and random histories of calls and
 * deaths. test/kernel/cni.test.ts does the first part on Linux.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Killed } from "../../src/io/kernel/fake-kernel.ts";
import type { AgentStore } from "../../src/io/ports.ts";
import { isAttachment } from "../../src/model/attachment.ts";
import { addCall, DEL, dieInDel, isWhole, leakOfAdd, stepsOf, survives } from "../support/attach-crash.ts";
import { FakeAttachRig } from "../support/attach-rig.ts";
import type { TestCall } from "../support/cni.ts";

const C1 = "/run/netns/c1";
const ADD = addCall(C1);

test("an agent that dies at any step of an ADD leaves nothing once it is back, and the call may be sent again", async () => {
  assert.equal(await leakOfAdd(await FakeAttachRig.open(C1), C1), undefined);
});

test("control: with a store that forgets what is pending the same test finds a leak", async () => {
  const forgetful = (store: AgentStore): AgentStore => ({
    ...store,
    putLease: (attachment) => {
      if (attachment.state === "attached") store.putLease(attachment);
    },
  });
  assert.match((await leakOfAdd(await FakeAttachRig.open(C1), C1, forgetful)) ?? "", /weft/);
});

test("an agent that dies after the last write and before the answer has attached, and gives the answer later", async () => {
  const rig = await FakeAttachRig.open(C1);
  const steps = await stepsOf(rig, ADD);
  await rig.call(DEL);
  rig.restart(steps);
  assert(await survives(rig, ADD));
  const whole = await rig.dump(C1);
  rig.restart();
  await rig.service.recover();
  assert.equal(await rig.dump(C1), whole);
  assert(await isWhole(rig, ADD));
});

test("an agent that dies at any step of a DEL has either not begun or finishes it when it is back", async () => {
  await dieInDel(await FakeAttachRig.open(C1), C1);
});

test("an agent that dies again while it recovers still recovers", async () => {
  for (let n = 0; n < 4; n++) {
    const rig = await FakeAttachRig.open(C1);
    const before = await rig.dump(C1);
    rig.restart(12);
    assert(!(await survives(rig, ADD)));
    rig.restart(n);
    await rig.service.recover().catch((error) => assert(error instanceof Killed));
    rig.restart();
    await rig.service.recover();
    assert.equal(await rig.dump(C1), before);
    assert.deepEqual(rig.store.leases(), []);
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

async function carryOut(rig: FakeAttachRig, step: Step): Promise<void> {
  if (step.kind === "renew") {
    rig.machine.deleteNetns(netnsOf(step.containerId));
    await rig.newNetns(netnsOf(step.containerId));
  } else if (step.kind === "lose") {
    const lost = rig.store.leases().filter(isAttachment)[step.nth];
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
async function checkInvariants(rig: FakeAttachRig): Promise<void> {
  const attachments = rig.store.leases().filter(isAttachment);
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
      const rig = await FakeAttachRig.open(...paths);
      const before = await rig.dump(...paths);
      for (const each of history) {
        await carryOut(rig, each);
        await checkInvariants(rig);
      }
      for (const containerId of CONTAINERS) await rig.call({ ...DEL, containerId });
      assert.equal(await rig.dump(...paths), before);
      assert.deepEqual(rig.store.leases(), []);
    }),
    { numRuns: 200 },
  );
});
