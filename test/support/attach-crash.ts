/**
 * An agent that dies at every step of an ADD and of a DEL in turn, and comes back: what must hold then, for any kernel.
 * "Step" is every kernel operation and every write to the store; what a dead agent would have cleaned up stays.
 */
import assert from "node:assert/strict";
import { Killed } from "../../src/io/kernel/fake-kernel.ts";
import type { AgentStore } from "../../src/io/ports.ts";
import type { AttachRig } from "./attach-rig.ts";
import type { TestCall } from "./cni.ts";

/** Sends a call to an agent that may die of it. @returns whether it lived */
export async function survives(rig: AttachRig, call: TestCall): Promise<boolean> {
  try {
    const { status, json } = await rig.call(call);
    assert.equal(status, 200, json?.msg);
    return true;
  } catch (error) {
    if (!(error instanceof Killed)) throw error;
    return false;
  }
}

export function addCall(netns: string): TestCall {
  return { command: "ADD", containerId: "c1", netns, network: "both", requestId: "r1" };
}

export const DEL: TestCall = { command: "DEL", containerId: "c1", network: "both", requestId: "r2" };

/** Whether the container that `add` attached is there as its answer said. Attaches it if it is not there. */
export async function isWhole(rig: AttachRig, add: TestCall): Promise<boolean> {
  const answer = await rig.call(add); // the stored answer, if the attachment is there
  const { status } = await rig.call({ ...add, command: "CHECK", prevResult: answer.json });
  return answer.status === 200 && status === 200;
}

/** How many steps a call takes that nobody disturbs. */
export async function stepsOf(rig: AttachRig, call: TestCall): Promise<number> {
  const life = rig.restart();
  assert(await survives(rig, call));
  return life.steps;
}

/** @returns what was left of an ADD that died, and at which step; `undefined` when nothing ever was */
export async function leakOfAdd(
  rig: AttachRig,
  netns: string,
  wrapStore: (store: AgentStore) => AgentStore = (store) => store,
): Promise<string | undefined> {
  const add = addCall(netns);
  const before = await rig.dump(netns);
  const steps = await stepsOf(rig, add);
  assert(steps > 15, `an ADD has many steps, not ${steps}`);
  await rig.call(DEL);
  for (let n = 0; n < steps; n++) {
    rig.wrapStore = wrapStore;
    rig.restart(n);
    assert(!(await survives(rig, add)), `dies at step ${n}`);
    rig.restart();
    await rig.service.recover();
    if ((await rig.dump(netns)) !== before) return `step ${n}: ${await rig.dump(netns)}`;
    if (rig.store.leases().length > 0) return `step ${n}: ${JSON.stringify(rig.store.leases())}`;
    assert(await isWhole(rig, add), `step ${n}: the same request sent again succeeds`);
    assert.equal((await rig.call(DEL)).status, 200);
    assert.equal(await rig.dump(netns), before, `step ${n}: and leaves nothing`);
  }
  return undefined;
}

/** A DEL that died has either not begun, or is finished by the next agent. */
export async function dieInDel(rig: AttachRig, netns: string): Promise<void> {
  const add = addCall(netns);
  const before = await rig.dump(netns);
  assert(await survives(rig, add));
  const steps = await stepsOf(rig, DEL);
  assert(steps >= 4, `a DEL has some steps, not ${steps}`);
  for (let n = 0; n < steps; n++) {
    assert(await survives(rig, add));
    rig.restart(n);
    assert(!(await survives(rig, DEL)), `dies at step ${n}`);
    rig.restart();
    await rig.service.recover();
    if (n === 0) assert(await isWhole(rig, add), "before the first write nothing has happened");
    else assert.equal(await rig.dump(netns), before, `step ${n}`);
    assert.equal((await rig.call(DEL)).status, 200, `step ${n}: the same request sent again succeeds`);
    assert.equal(await rig.dump(netns), before);
    assert.deepEqual(rig.store.leases(), []);
  }
}
