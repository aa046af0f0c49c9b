import assert from "node:assert/strict";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { FakeAttachRig } from "../../../test/support/attach-rig.ts";
import type { TestCall } from "../../../test/support/cni.ts";
import { isAttachment } from "../../model/attachment.ts";
import { ip } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";

const [C1, C2] = ["/run/netns/c1", "/run/netns/c2"] as const;
const ADD: TestCall = { command: "ADD", containerId: "c1", netns: C1, network: "both", requestId: "r1" };
const LONE: TestCall = {
  ...ADD,
  containerId: "c2",
  netns: C2,
  requestId: "r2",
  environment: { CNI_WEFT_PLUGIN: "weft-ipam" },
};

async function opened(...calls: TestCall[]): Promise<FakeAttachRig> {
  const rig = await FakeAttachRig.open(C1, C2);
  for (const call of calls) assert.equal((await rig.call(call)).status, 200);
  assert.deepEqual(await rig.service.audit(), []);
  return rig;
}

/** The first attachment's device on the host. */
function deviceOf(rig: FakeAttachRig): string {
  const [first] = rig.service.attachments();
  assert(first !== undefined);
  return first.hostIfname;
}

const released = async (rig: FakeAttachRig) => (await rig.service.collect()).map(({ containerId }) => containerId);

test("a lost device is found, and made again; a lost namespace is found, and its lease released", async () => {
  const rig = await opened(ADD, LONE);
  const device = deviceOf(rig);
  await rig.kernel.apply([{ op: "link.delete", name: device }]);
  rig.machine.deleteNetns(C2);
  assert.deepEqual(await rig.service.audit(), [
    `container c1, eth0 on both (10.8.0.2 and fd01:c::2): its device ${device} is gone; ` +
      "the agent makes it again, its log says why it has not yet",
    `container c2, eth0 on both (10.8.0.3 and fd01:c::3): its network namespace ${C2} is gone; release it: weft ipam gc`,
  ]);
  assert.deepEqual(await released(rig), ["c2"]);
  assert.deepEqual(await rig.service.audit(), []);
  assert.deepEqual(await released(rig), []);
});

test("a path that leads to another namespace is none of the lease", async () => {
  const rig = await opened(LONE);
  rig.machine.deleteNetns(C2);
  await rig.newNetns(C2);
  assert.match((await rig.service.audit()).join(), /c2, eth0 .*: its network namespace .* is gone/);
  assert.deepEqual(await released(rig), ["c2"]);
});

test("a device of ours without a lease is found, another's is not", async () => {
  const rig = await opened(ADD);
  const veth = { kind: "veth", up: false } as const;
  const end = (name: string, n: number) => ({ netns: C1, name, mac: mac(`02:57:00:00:00:0${n}`), mtu: 1500 });
  await rig.kernel.apply([
    { op: "link.add", link: { ...veth, name: "weftstray", alias: "weft dcos c9 eth0", peer: end("x", 1) } },
    { op: "link.add", link: { ...veth, name: "vethother", peer: end("y", 2) } },
  ]);
  const stray = "device weftstray (weft dcos c9 eth0) belongs to no lease; delete it: ip link del weftstray";
  assert.deepEqual(await rig.service.audit(), [stray]);
  assert.deepEqual(await released(rig), []);
});

test("an address that two leases hold is found", async () => {
  const rig = await opened(ADD, LONE);
  const [first] = rig.store.leases();
  assert(first !== undefined && isAttachment(first));
  rig.store.putLease({ ...first, ifname: "eth1", ip: ip("10.8.0.3") });
  rig.restart();
  assert.deepEqual(await rig.service.audit(), [
    "fd01:c::2 is held twice, by container c1 (eth0) and container c1 (eth1); end one of them",
    "10.8.0.3 is held twice, by container c2 (eth0) and container c1 (eth1); end one of them",
  ]);
});

test("what a call is at work on is no problem", async () => {
  const rig = await opened();
  const asked = Promise.withResolvers<void>();
  const gate = Promise.withResolvers<void>();
  const observe = rig.kernel.observe.bind(rig.kernel);
  rig.kernel.observe = async (paths) => {
    asked.resolve();
    await gate.promise;
    return observe(paths);
  };
  const auditing = rig.service.audit();
  await asked.promise;
  const attaching = rig.call(ADD);
  while (rig.service.leases().length === 0) await setImmediate(); // it has a lease, and waits to make its device
  gate.resolve();
  assert.deepEqual(await auditing, []);
  assert.equal((await attaching).status, 200);
  assert.deepEqual(await rig.service.audit(), []);
});

test("what another plugin does not take back is on its way out, and found", async () => {
  const rig = await opened();
  rig.plugin = async ({ environment }) =>
    environment.CNI_COMMAND === "ADD"
      ? { ok: true, stdout: '{"cniVersion":"1.1.0","ips":[{"address":"192.168.7.5/24"}]}' }
      : { ok: false, stdout: "{}" };
  const foreign = { ...ADD, config: { ipam: { type: "static" } } };
  assert.equal((await rig.call(foreign)).status, 200);
  assert.notEqual((await rig.call({ ...foreign, command: "DEL" })).status, 200);
  assert.deepEqual(await rig.service.audit(), [
    "container c1, eth0 on both (192.168.7.5): it is detached and not yet given back",
  ]);
});
