import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAttachRig } from "../../../test/support/attach-rig.ts";
import { cniBody, type TestCall } from "../../../test/support/cni.ts";
import type { KernelOp } from "../../core/host/host-state.ts";
import { cidr, ip } from "../../model/ip.ts";

const C1 = "/run/netns/c1";
const ADD: TestCall = { command: "ADD", containerId: "c1", netns: C1, network: "both", requestId: "r1" };
const DEL: TestCall = { ...ADD, command: "DEL", requestId: "r2" };
const checkOf = (result: unknown): TestCall => ({ ...ADD, command: "CHECK", prevResult: result, requestId: "r3" });

async function added(rig: FakeAttachRig, call: TestCall = ADD) {
  const { status, json } = await rig.call(call);
  assert.equal(status, 200, JSON.stringify(json));
  return json;
}

/** Refused, with this CNI code and a message that says this. */
async function refused(rig: FakeAttachRig, call: TestCall, code: number, message: RegExp): Promise<void> {
  const { status, json } = await rig.call(call);
  assert.notEqual(status, 200);
  assert.equal(json.code, code, json.msg);
  assert.match(json.msg, message);
}

test("ADD makes both sides of each kind of network and says what it made", async () => {
  const rig = await FakeAttachRig.open(C1, "/run/netns/c2", "/run/netns/c3");
  const result = await added(rig);
  assert.deepEqual(result, {
    cniVersion: "1.1.0",
    interfaces: [
      { name: result.interfaces[0].name, mac: "02:57:00:00:00:01", mtu: 1420 },
      { name: "eth0", mac: "02:57:0a:08:00:02", mtu: 1420, sandbox: C1 },
    ],
    ips: [
      { interface: 1, address: "10.8.0.2/32", gateway: "10.8.0.1" },
      { interface: 1, address: "fd01:c::2/128", gateway: "fd01:c::1" },
    ],
    routes: [
      { dst: "0.0.0.0/0", gw: "10.8.0.1" },
      { dst: "::/0", gw: "fd01:c::1" },
    ],
    dns: {},
  });
  const four = await added(rig, { ...ADD, containerId: "c2", netns: "/run/netns/c2", network: "dcos" });
  assert.deepEqual(four.ips, [{ interface: 1, address: "9.0.1.2/32", gateway: "9.0.1.1" }]);
  const six = await added(rig, { ...ADD, containerId: "c3", netns: "/run/netns/c3", network: "dcos6" });
  assert.deepEqual(six.ips, [{ interface: 1, address: "fd01:b::1:0:0:2/128", gateway: "fd01:b::1:0:0:1" }]);
  await rig.pass(); // finds nothing to do: what ADD made is what the loop wants
});

test("the store has the lease, attached, before the answer leaves", async () => {
  const rig = await FakeAttachRig.open(C1);
  const { interfaces } = await added(rig);
  assert.deepEqual(rig.store.leases(), [
    {
      containerId: "c1",
      ifname: "eth0",
      network: "both",
      configName: "both",
      netns: C1,
      netnsId: rig.machine.netns(C1)?.id,
      hostIfname: interfaces[0].name,
      mac: "02:57:0a:08:00:02",
      ip: "10.8.0.2",
      ip6: "fd01:c::2",
      state: "attached",
      requestId: "r1",
      runtime: "",
      since: "1970-01-01T00:00:00Z",
    },
  ]);
  assert.equal(rig.passesAsked, 1);
});

test("DEL leaves nothing, and may be sent as often as one likes", async () => {
  const rig = await FakeAttachRig.open(C1);
  const before = await rig.dump(C1);
  await added(rig);
  assert.notEqual(await rig.dump(C1), before);
  for (let i = 0; i < 3; i++) assert.deepEqual(await rig.call(DEL), { status: 200, json: undefined });
  assert.equal(await rig.dump(C1), before);
  assert.deepEqual(rig.store.leases(), []);
});

test("an interface that is attached again after DEL stays, whatever sweeps by", async () => {
  const rig = await FakeAttachRig.open(C1);
  await added(rig);
  assert.equal((await rig.call(DEL)).status, 200);
  await added(rig, { ...ADD, requestId: "r9" });
  await rig.service.recover();
  assert.deepEqual(
    rig.service.attachments().map(({ requestId }) => requestId),
    ["r9"],
  );
});

test("DEL works without namespace, after the namespace, before the agent is ready, and for a network that left", async () => {
  const changes: ((rig: FakeAttachRig) => void)[] = [
    () => {},
    (rig) => rig.machine.deleteNetns(C1),
    (rig) => {
      rig.isReady = false;
    },
    (rig) => {
      const { assignment } = rig.context;
      rig.context.assignment = { ...assignment, agent: { ...assignment.agent, overlays: [] } };
    },
  ];
  for (const change of changes) {
    const rig = await FakeAttachRig.open(C1);
    const before = await rig.dump();
    await added(rig);
    change(rig);
    const { netns: _, ...call } = DEL;
    assert.deepEqual(await rig.call(call), { status: 200, json: undefined });
    assert.equal(await rig.dump(), before);
    assert.deepEqual(rig.store.leases(), []);
  }
});

test("DEL from a network that refused the container does not touch its interface on another", async () => {
  const rig = await FakeAttachRig.open(C1);
  await added(rig);
  assert.equal((await rig.call({ ...DEL, network: "dcos" })).status, 200);
  assert.equal(rig.store.leases().length, 1);
});

test("the same request gets the same answer, also from the agent's successor; another request is refused", async () => {
  const rig = await FakeAttachRig.open(C1);
  const first = await added(rig);
  assert.deepEqual(await added(rig), first);
  rig.restart();
  await rig.service.recover();
  assert.deepEqual(await added(rig), first);
  await refused(
    rig,
    { ...ADD, requestId: "r9" },
    104,
    /container c1: interface eth0 is attached to both; detach it first/,
  );
  await refused(rig, { ...ADD, requestId: undefined as never }, 104, /is attached to both/);
  assert.equal(rig.store.leases().length, 1);
});

test("the same request sent twice at once attaches once", async () => {
  const rig = await FakeAttachRig.open(C1);
  const [one, two] = await Promise.all([added(rig), added(rig)]);
  assert.deepEqual(one, two);
});

test("a container comes back in a new namespace without DEL: its old interface makes way", async () => {
  const rig = await FakeAttachRig.open(C1, "/run/netns/new");
  await added(rig);
  await added(rig, { ...ADD, netns: "/run/netns/new", requestId: "r9" });
  assert.equal(rig.store.leases().length, 1);
  assert.equal(rig.store.leases()[0]?.netns, "/run/netns/new");
  await rig.pass();
});

test("ADD is refused without leaving anything", async () => {
  const rig = await FakeAttachRig.open(C1);
  const before = await rig.dump(C1);
  await refused(rig, { ...ADD, network: "nope" }, 107, /knows no network nope; it has dcos, dcos6, both/);
  await refused(rig, { ...ADD, netns: "/run/netns/none" }, 4, /\/run\/netns\/none/);
  await refused(rig, { ...ADD, ifname: "lo" }, 104, /interface lo is there already/);
  rig.isReady = false;
  await refused(rig, ADD, 11, /waiting for its master, try again later/);
  rig.isReady = true;
  assert.equal(await rig.dump(C1), before);
  assert.deepEqual(rig.store.leases(), []);
  await added(rig); // and is taken afterwards
});

test("the host's own namespace is no container", async () => {
  const rig = await FakeAttachRig.open(C1);
  const inside = await rig.kernel.enter(C1);
  await inside.apply([{ op: "link.add", link: { kind: "bridge", name: "m-both", up: false, alias: "weft both" } }]);
  await refused(rig, ADD, 4, /is the host's own network namespace/);
});

test("a full network refuses and names its halves; the IPv6 address is not lost with it", async () => {
  const paths = Array.from({ length: 11 }, (_, i) => `/run/netns/c${i}`);
  const rig = await FakeAttachRig.open(...paths);
  const calls = paths.map((netns, i) => ({ ...ADD, netns, containerId: `c${i}`, requestId: `r${i}` }));
  for (const call of calls.slice(0, 10)) await added(rig, call);
  const status = { ...ADD, command: "STATUS" };
  await refused(
    rig,
    calls[10] as TestCall,
    101,
    /network both has no free address in 10\.8\.0\.0\/29 \(5 of 5 leased\) and 10\.8\.0\.8\/29 \(5 of 5 leased\)/,
  );
  await refused(rig, status, 50, /no free address/);
  assert.equal(rig.store.leases().length, 10);
  await rig.call({ ...DEL, containerId: "c0" });
  assert.equal((await rig.call(status)).status, 200);
  await added(rig, calls[10]);
});

test("an operation that the kernel refuses undoes the whole ADD, whichever it is", async () => {
  const counted = await FakeAttachRig.open(C1);
  const life = counted.restart();
  await added(counted);
  const ops = life.steps - 2; // the two writes of the store
  // The first is about the datapath: what is refused of it costs speed and no container.
  for (let n = 1; n < ops; n++) {
    const rig = await FakeAttachRig.open(C1);
    const before = await rig.dump(C1);
    rig.machine.failOp(n);
    rig.heal = async () => rig.machine.failOp(n); // in vain
    await refused(rig, ADD, 106, /the kernel refused to .*EIO.*nothing of the call is left/);
    assert.equal(await rig.dump(C1), before, `operation ${n}`);
    assert.deepEqual(rig.store.leases(), []);
    await added(rig);
  }
});

test("a full disk refuses ADD and DEL, and changes nothing", async () => {
  const rig = await FakeAttachRig.open(C1);
  const before = await rig.dump(C1);
  rig.disk.full = true;
  await refused(rig, ADD, 5, /full/);
  assert.equal(await rig.dump(C1), before);
  rig.disk.full = false;
  const result = await added(rig);
  const attached = await rig.dump(C1);
  rig.disk.full = true;
  await refused(rig, DEL, 5, /full/);
  assert.equal(await rig.dump(C1), attached);
  assert.equal((await rig.call(checkOf(result))).status, 200);
});

test("a disk that fills up during ADD: the device goes at once, the lease as soon as it can", async () => {
  const rig = await FakeAttachRig.open(C1);
  const before = await rig.dump(C1);
  rig.wrapStore = (store) => ({
    ...store,
    putLease: (attachment) => {
      rig.disk.full = attachment.state === "attached";
      store.putLease(attachment);
    },
  });
  rig.restart();
  await refused(rig, ADD, 5, /full/);
  assert.equal(await rig.dump(C1), before);
  assert.deepEqual(rig.service.attachments(), [], "the pass does not make it again");
  assert.match(rig.warnings.join(), /not taken back yet/);
  rig.disk.full = false;
  await rig.service.recover();
  assert.deepEqual(rig.store.leases(), []);
});

test("CHECK is content with what ADD made, and names what was damaged", async () => {
  const rig = await FakeAttachRig.open(C1);
  const result = await added(rig);
  const host = result.interfaces[0].name;
  assert.deepEqual(await rig.call(checkOf(result)), { status: 200, json: undefined });
  const route = {
    dst: cidr("0.0.0.0/0"),
    table: 254,
    metric: 0,
    type: "unicast",
    dev: "eth0",
    via: ip("10.8.0.1"),
  } as const;
  const damage: [where: string, KernelOp, RegExp][] = [
    [C1, { op: "route.delete", route }, /in the container route 0\.0\.0\.0\/0 by eth0 is missing or different/],
    [C1, { op: "link.set", name: "eth0", up: false }, /in the container device eth0 is not up/],
    [C1, { op: "link.set", name: "eth0", mtu: 1400 }, /in the container device eth0 has not mtu 1420/],
    ["", { op: "link.set", name: host, up: false }, /on the host device weft\w+ is not up/],
    [
      "",
      { op: "nft.chain.delete", family: "netdev", table: "weft", chain: host },
      /on the host chain weft\w+ of table netdev weft/,
    ],
    [
      "",
      { op: "link.delete", name: host },
      /in the container device eth0 is missing; on the host device weft\w+ is missing\. Detach/,
    ],
  ];
  for (const [where, op, message] of damage) {
    const broken = await FakeAttachRig.open(C1);
    const fresh = await added(broken);
    const kernel = where === "" ? broken.kernel : await broken.kernel.enter(where);
    assert.deepEqual(await kernel.apply([op]), []);
    const { json } = await broken.call(checkOf(fresh));
    assert.equal(json?.code, 103, `${op.op} is noticed`);
    assert.match([json.msg, json.details].join(), message);
  }
});

test("CHECK compares with what the runtime remembers", async () => {
  const rig = await FakeAttachRig.open(C1, "/run/netns/c2");
  const result = await added(rig);
  const [host, container] = result.interfaces;
  const table: [unknown, RegExp][] = [
    [{ ...result, interfaces: [host] }, /prevResult has no interface eth0/],
    [{ ...result, ips: result.ips.slice(0, 1) }, /prevResult does not have the leased address fd01:c::2 on eth0/],
    [{ ...result, interfaces: [container, host] }, /does not have the leased address 10\.8\.0\.2/],
  ];
  for (const [previous, message] of table) await refused(rig, checkOf(previous), 103, message);
  await refused(rig, { ...checkOf(result), netns: "/run/netns/c2" }, 103, /is another network namespace/);
  await refused(
    rig,
    { ...checkOf(result), containerId: "c7" },
    3,
    /container c7 has no interface eth0 on network both/,
  );
  await refused(rig, { ...checkOf(result), network: "dcos" }, 3, /on network dcos/);
});

test("a device that was deleted from outside is made again, inside included", async () => {
  const rig = await FakeAttachRig.open(C1);
  const result = await added(rig);
  const whole = await rig.dump(C1);
  await rig.kernel.apply([{ op: "link.delete", name: result.interfaces[0].name }]);
  assert.notEqual(await rig.dump(C1), whole);
  assert.equal(await rig.service.repair(await rig.kernel.observe([])), true);
  assert.equal(await rig.dump(C1), whole);
  assert.equal((await rig.call(checkOf(result))).status, 200);
  assert.equal(await rig.service.repair(await rig.kernel.observe([])), false, "and then there is nothing to do");
});

test("a repair that the kernel refuses leaves nothing half made, and is tried again", async () => {
  const rig = await FakeAttachRig.open(C1);
  const result = await added(rig);
  const whole = await rig.dump(C1);
  await rig.kernel.apply([{ op: "link.delete", name: result.interfaces[0].name }]);
  rig.machine.failOp(3);
  await rig.service.recover();
  assert.match(rig.warnings.join(), /is lost and cannot be made again/);
  await rig.service.recover();
  assert.equal(await rig.dump(C1), whole);
});

test("a lease ends with its namespace, and not before", async () => {
  const rig = await FakeAttachRig.open(C1);
  const before = await rig.dump();
  await added(rig);
  await rig.service.recover();
  assert.equal(rig.store.leases().length, 1);
  rig.machine.deleteNetns(C1);
  await rig.service.recover();
  assert.deepEqual(rig.store.leases(), []);
  assert.equal(await rig.dump(), before);
});

test("a namespace that took the path of another does not inherit its interface", async () => {
  const rig = await FakeAttachRig.open(C1);
  await added(rig);
  rig.machine.deleteNetns(C1);
  await rig.newNetns(C1);
  const fresh = await rig.dump(C1);
  await rig.service.recover();
  assert.deepEqual(rig.store.leases(), []);
  assert.match(fresh, /lo/);
  assert.doesNotMatch(await rig.dump(C1), /eth0 veth/);
});

test("GC without a list releases what lost its namespace and nothing else", async () => {
  const rig = await FakeAttachRig.open(C1, "/run/netns/c2");
  await added(rig);
  await added(rig, { ...ADD, containerId: "c2", netns: "/run/netns/c2" });
  rig.machine.deleteNetns(C1);
  const config = { cniVersion: "1.1.0", name: "both" };
  const reply = await rig.service.answer(cniBody({ CNI_COMMAND: "GC" }, config));
  assert.deepEqual(reply, { status: 200, body: "" });
  assert.deepEqual(
    rig.store.leases().map(({ containerId }) => containerId),
    ["c2"],
  );
});
