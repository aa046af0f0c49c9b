/**
 * Calls that meet each other and the pass, on the fake kernel: nobody waits for ever, and nobody's lease goes with
 * another's.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAttachRig } from "../../../test/support/attach-rig.ts";
import type { TestCall } from "../../../test/support/cni.ts";
import { Fault } from "../../model/fault.ts";

const C1 = "/run/netns/c1";
const C2 = "/run/netns/c2";
const ADD: TestCall = { command: "ADD", containerId: "c1", netns: C1, network: "both", requestId: "r1" };
const ADD2: TestCall = { ...ADD, containerId: "c2", netns: C2, requestId: "r2" };
const del = (call: TestCall): TestCall => ({ ...call, command: "DEL" });
const asIpam = (call: TestCall): TestCall => ({ ...call, environment: { CNI_WEFT_PLUGIN: "weft-ipam" } });

async function opened(...calls: TestCall[]): Promise<FakeAttachRig> {
  const rig = await FakeAttachRig.open(C1, C2);
  for (const call of calls) assert.equal((await rig.call(call)).status, 200);
  return rig;
}

function held(rig: FakeAttachRig): string[] {
  return rig.service.leases().map(({ containerId, state }) => `${containerId} ${state}`);
}

test("a DEL that arrives while a pass repairs another container does not stop both", async () => {
  const rig = await opened(ADD, ADD2);
  rig.machine.deleteNetns(C1);
  rig.machine.deleteNetns(C2);
  const deletions: Promise<{ status: number }>[] = [];
  const enter = rig.kernel.enter.bind(rig.kernel);
  rig.kernel.enter = (path) => {
    if (deletions.length === 0) deletions.push(rig.call(del(ADD2)));
    return enter(path);
  };
  await rig.service.collect();
  assert.deepEqual(
    (await Promise.all(deletions)).map(({ status }) => status),
    [200],
  );
  assert.deepEqual(held(rig), []);
});

test("one look at all releases every interface of a container, not only its first", async () => {
  const rig = await opened(asIpam(ADD), asIpam({ ...ADD, ifname: "eth1", requestId: "r3" }), ADD2);
  rig.machine.deleteNetns(C1);
  const released = await rig.service.collect();
  assert.deepEqual(
    released.map(({ ifname }) => ifname),
    ["eth0", "eth1"],
  );
  assert.deepEqual(held(rig), ["c2 attached"]);
});

test("what another plugin takes back late is not the next lease of the same interface", async () => {
  const rig = await opened();
  const gate = Promise.withResolvers<void>();
  let refusals = 1;
  const asked: string[] = [];
  rig.plugin = async ({ environment }) => {
    asked.push(environment.CNI_COMMAND ?? "");
    if (environment.CNI_COMMAND === "ADD")
      return { ok: true, stdout: '{"cniVersion":"1.1.0","ips":[{"address":"192.168.7.5/24"}]}' };
    return { ok: refusals-- <= 0, stdout: "{}" };
  };
  const foreign = { ...ADD, config: { ipam: { type: "static" } } };
  assert.equal((await rig.call(foreign)).status, 200);
  assert.notEqual((await rig.call(del(foreign))).status, 200);
  const apply = rig.kernel.apply.bind(rig.kernel);
  let next: Promise<{ status: number }> | undefined;
  rig.kernel.apply = async (ops) => {
    next ??= rig.call({ ...foreign, requestId: "r9" });
    gate.resolve();
    return apply(ops);
  };
  await rig.service.collect();
  await gate.promise;
  assert.equal((await next)?.status, 200);
  await rig.service.collect();
  assert.deepEqual(held(rig), ["c1 attached"]);
  assert.deepEqual(asked, ["ADD", "DEL", "DEL", "ADD"]);
});

test("a namespace that cannot be opened for now is not gone", async () => {
  const rig = await opened(asIpam(ADD));
  const enter = rig.kernel.enter.bind(rig.kernel);
  rig.kernel.enter = async () => {
    throw new Fault("kernel-refused", "too many open files");
  };
  assert.deepEqual(await rig.service.collect(), []);
  assert.deepEqual(held(rig), ["c1 attached"]);
  rig.kernel.enter = enter;
  rig.machine.deleteNetns(C1);
  await rig.service.collect();
  assert.deepEqual(held(rig), []);
});

test("ADD into the host's own namespace is refused whatever gives the addresses, and the host stays whole", async () => {
  const rig = await opened();
  const before = await rig.dump();
  const enter = rig.kernel.enter.bind(rig.kernel);
  rig.kernel.enter = async (path) => (path === "/proc/1/ns/net" ? rig.machine.kernel() : enter(path));
  rig.plugin = async () => ({ ok: true, stdout: '{"cniVersion":"1.1.0","ips":[{"address":"192.168.7.5/24"}]}' });
  for (const ifname of ["eth7", "cni"]) {
    const call = { ...ADD, netns: "/proc/1/ns/net", network: "lan", ifname, config: { ipam: { type: "static" } } };
    const { json } = await rig.call(call);
    assert.match(json.msg, /is the host's own network namespace/);
    assert.equal(await rig.dump(), before);
    assert.equal((await rig.call({ ...call, netns: C1 })).status, 200, "a container's is taken");
    assert.equal((await rig.call({ ...del(call), netns: C1 })).status, 200);
  }
});

// ---- GC --------------------------------------------------------------------------------------------------------------

const gc = (name: string, ...valid: string[]): TestCall => ({
  ...ADD,
  command: "GC",
  config: { name, "cni.dev/valid-attachments": valid.map((containerID) => ({ containerID, ifname: "eth0" })) },
});
const of = (name: string, call: TestCall): TestCall => ({ ...call, config: { name } });

test("GC of one configuration leaves what another of the same network made", async () => {
  const rig = await opened(of("front", ADD), of("back", ADD2));
  assert.equal((await rig.call(gc("front", "c1"))).status, 200);
  assert.deepEqual(held(rig), ["c1 attached", "c2 attached"]);
  assert.equal((await rig.call(gc("back"))).status, 200);
  assert.deepEqual(held(rig), ["c1 attached"]);
});

test("GC goes on after a refusal, which is its answer, and leaves an ADD alone that is under way", async () => {
  const rig = await opened(of("n", ADD), of("n", ADD2));
  rig.machine.failOp(1); // the first takes it out of the datapath, which nobody waits for
  const { status, json } = await rig.call(gc("n"));
  assert.equal(status, 500);
  assert.match(json.msg, /container c1/);
  assert.deepEqual(held(rig), [], "what was refused at first was taken back by the look round at the end");

  const asked = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const apply = rig.kernel.apply.bind(rig.kernel);
  rig.kernel.apply = async (ops) => {
    asked.resolve();
    await gate.promise;
    return apply(ops);
  };
  const adding = rig.call({ ...of("n", ADD), requestId: "r9" });
  await asked.promise;
  const collecting = rig.call(gc("n"));
  gate.resolve();
  assert.deepEqual([(await adding).status, (await collecting).status], [200, 200]);
  assert.deepEqual(held(rig), ["c1 attached"]);
});

test("GC does not take what came in the place of what it meant", async () => {
  const rig = await opened(of("n", ADD), of("n", ADD2));
  rig.machine.deleteNetns(C2);
  await rig.newNetns(C2);
  const apply = rig.kernel.apply.bind(rig.kernel);
  let next: Promise<{ status: number }> | undefined;
  rig.kernel.apply = async (ops) => {
    next ??= rig.call({ ...of("n", ADD2), requestId: "r9" }); // while c1 is taken, before it is c2's turn
    return apply(ops);
  };
  assert.equal((await rig.call(gc("n"))).status, 200);
  assert.equal((await next)?.status, 200);
  assert.deepEqual(held(rig), ["c2 attached"]);
});
