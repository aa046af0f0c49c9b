/**
 * What an ADD may ask for beyond an address, and addresses that go to or come from other plugins, on the fake kernel.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { FakeAttachRig } from "../../../test/support/attach-rig.ts";
import type { TestCall } from "../../../test/support/cni.ts";
import { isAttachment } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { ip } from "../../model/ip.ts";

const C1 = "/run/netns/c1";
const C2 = "/run/netns/c2";
const ADD: TestCall = { command: "ADD", containerId: "c1", netns: C1, network: "both", requestId: "r1" };
const ADD2: TestCall = { ...ADD, containerId: "c2", netns: C2, requestId: "r2" };
const http = { hostPort: 8080, containerPort: 80, protocol: "tcp" };

function withPorts(call: TestCall, ...portMappings: object[]): TestCall {
  return { ...call, config: { runtimeConfig: { portMappings } } };
}

async function succeeds(rig: FakeAttachRig, call: TestCall) {
  const { status, json } = await rig.call(call);
  assert.equal(status, 200, json?.msg);
  return json;
}

async function refused(rig: FakeAttachRig, call: TestCall, code: number, message: RegExp): Promise<void> {
  const { status, json } = await rig.call(call);
  assert.notEqual(status, 200);
  assert.match(json.msg, message);
  assert.equal(json.code, code, json.msg);
}

const del = (call: TestCall): TestCall => ({ ...call, command: "DEL" });

// ---- host ports ------------------------------------------------------------------------------------------------------

test("a host port that another container holds is refused by its name, and nothing is left of the call", async () => {
  const rig = await FakeAttachRig.open(C1, C2);
  await succeeds(rig, withPorts(ADD, http));
  const before = await rig.dump(C2);
  await refused(rig, withPorts(ADD2, http), 102, /tcp port 8080 of this host is held by container c1/);
  assert.equal(await rig.dump(C2), before);
  await succeeds(rig, del(ADD));
  await succeeds(rig, withPorts(ADD2, http));
});

test("a host port that a process holds is refused by its name, unless it is kept for this container", async () => {
  const rig = await FakeAttachRig.open(C1);
  const holder = { address: ip("0.0.0.0"), pid: 42, command: "nginx -g daemon" };
  rig.holders = (protocol, port) => (protocol === "tcp" && port === 8080 ? [holder] : []);
  await refused(rig, withPorts(ADD, http), 102, /held by process 42 \(nginx -g daemon\)/);
  assert.deepEqual(rig.store.leases(), []);
  await succeeds(rig, withPorts(ADD, { ...http, hostPort: 8081 }));
  await succeeds(rig, del(ADD));
  rig.holders = () => [{ ...holder, command: "/usr/bin/conmon -c c1 -n web" }];
  await succeeds(rig, withPorts(ADD, http));
});

test("a socket at another address than the mapping's holds nothing of it", async () => {
  const rig = await FakeAttachRig.open(C1);
  rig.holders = () => [{ address: ip("127.0.0.1"), command: "" }];
  await succeeds(rig, withPorts(ADD, { ...http, hostIP: "10.0.0.11" }));
  await succeeds(rig, del(ADD));
  await refused(rig, withPorts(ADD, http), 102, /held by a process of the host/);
});

// ---- weft-ipam -------------------------------------------------------------------------------------------------------

const asIpam = (call: TestCall): TestCall => ({ ...call, environment: { CNI_WEFT_PLUGIN: "weft-ipam" } });

test("weft-ipam gives addresses with the length of their half, and makes no device", async () => {
  const rig = await FakeAttachRig.open(C1);
  const before = await rig.dump(C1);
  const { ips, interfaces, routes } = await succeeds(rig, asIpam(ADD));
  assert.equal(interfaces, undefined);
  assert.deepEqual(ips, [
    { address: "10.8.0.2/29", gateway: "10.8.0.1" },
    { address: "fd01:c::2/81", gateway: "fd01:c::1" },
  ]);
  assert.deepEqual(routes, [{ dst: "0.0.0.0/0" }, { dst: "::/0" }]);
  assert.equal(await rig.dump(C1), before);
  assert.equal(rig.service.attachments().length, 0);
  assert.deepEqual(
    await succeeds(rig, asIpam(ADD)),
    await succeeds(rig, asIpam(ADD)),
    "the same call, the same answer",
  );
  await refused(rig, asIpam({ ...ADD, requestId: "r9" }), 104, /is attached to both/);
  await succeeds(rig, asIpam({ ...ADD, command: "CHECK", config: { prevResult: { ips } } }));
});

test("what weft-ipam gave is held until DEL, and weft-cni's DEL does not mean it", async () => {
  const rig = await FakeAttachRig.open(C1, C2);
  await succeeds(rig, asIpam(ADD));
  await succeeds(rig, del(ADD));
  assert.equal(rig.store.leases().length, 1);
  const { ips } = await succeeds(rig, ADD2);
  assert.equal(ips[0].address, "10.8.0.3/32");
  await succeeds(rig, asIpam(del(ADD)));
  assert.deepEqual(
    rig.store.leases().map(({ containerId }) => containerId),
    ["c2"],
  );
});

test("a lease of weft-ipam ends with its namespace", async () => {
  const rig = await FakeAttachRig.open(C1, C2);
  await succeeds(rig, asIpam(ADD));
  await succeeds(rig, asIpam(ADD2));
  rig.machine.deleteNetns(C1);
  rig.restart();
  await rig.service.recover();
  assert.deepEqual(
    rig.store.leases().map(({ containerId }) => containerId),
    ["c2"],
  );
});

// ---- another IPAM plugin ---------------------------------------------------------------------------------------------

const foreign = (call: TestCall): TestCall => ({
  ...call,
  network: "lan",
  config: { ipam: { type: "static" } },
  environment: { CNI_PATH: "/opt/cni/bin", CNI_ARGS: "IgnoreUnknown=1;K=V" },
});
const GIVEN = JSON.stringify({
  cniVersion: "1.1.0",
  ips: [{ address: "192.168.7.5/24", gateway: "192.168.7.1" }],
  dns: {},
});

function plugged(rig: FakeAttachRig, answer = GIVEN): string[] {
  const calls: string[] = [];
  rig.plugin = async ({ type, cniPath, environment, stdin }) => {
    const { CNI_COMMAND, CNI_CONTAINERID, CNI_IFNAME, CNI_NETNS, CNI_ARGS } = environment;
    calls.push([CNI_COMMAND, type, cniPath, CNI_CONTAINERID, CNI_IFNAME, CNI_NETNS, CNI_ARGS].join(" "));
    assert.equal(JSON.parse(stdin).ipam.type, "static");
    return { ok: true, stdout: CNI_COMMAND === "ADD" ? answer : "" };
  };
  return calls;
}

test("addresses of another IPAM plugin are put on our interface, on a network that Weft knows nothing of", async () => {
  const rig = await FakeAttachRig.open(C1);
  const calls = plugged(rig);
  const before = await rig.dump(C1);
  const result = await succeeds(rig, foreign(ADD));
  assert.deepEqual(result.ips, [{ interface: 1, address: "192.168.7.5/32", gateway: "192.168.7.1" }]);
  assert.match(
    await rig.dump(C1),
    /addr 192\.168\.7\.5\/32 dev eth0\n.*\n?.*route 0\.0\.0\.0\/0 via 192\.168\.7\.1 dev eth0/,
  );
  await succeeds(rig, { ...foreign(ADD), command: "CHECK", prevResult: result });
  await succeeds(rig, foreign(del(ADD)));
  assert.equal(await rig.dump(C1), before);
  const subject = "static /opt/cni/bin c1 eth0 /run/netns/c1 IgnoreUnknown=1;K=V";
  assert.deepEqual(calls, [`ADD ${subject}`, `CHECK ${subject}`, `DEL ${subject}`]);
});

test("an address that Weft gave to another is refused, and given back", async () => {
  const rig = await FakeAttachRig.open(C1, C2);
  const { ips } = await succeeds(rig, ADD2);
  const calls = plugged(rig, JSON.stringify({ cniVersion: "1.0.0", ips: [{ address: ips[0].address }] }));
  await refused(rig, foreign(ADD), 102, /10\.8\.0\.2 .*held by .*c2/);
  await succeeds(rig, foreign(del(ADD)));
  assert.equal(calls.filter((call) => call.startsWith("DEL")).length, 2, "once by us, once by the runtime's own DEL");
  assert.equal(rig.store.leases().length, 1);
});

test("the plugin's refusal is the answer; an agent that dies while it is asked gives back what it gave", async () => {
  const rig = await FakeAttachRig.open(C1);
  const calls = plugged(rig);
  const before = await rig.dump(C1);
  rig.plugin = async () => ({ ok: false, stdout: '{"code":11,"msg":"no server answered"}' });
  await refused(rig, foreign(ADD), 11, /the plugin static refused: no server answered/);
  const asked = plugged(rig);
  await succeeds(rig, foreign(del(ADD)));
  assert.deepEqual(rig.store.leases(), []);
  asked.length = 0;
  // It dies right after its first write.
  rig.restart(1);
  await assert.rejects(rig.call(foreign(ADD)), /died/);
  assert.equal(rig.store.leases()[0]?.state, "pending");
  const after = plugged(rig);
  rig.restart();
  await rig.service.recover();
  await succeeds(rig, foreign(del(ADD)));
  assert.match(asked[0] ?? "", /^ADD static/);
  assert.match(after[0] ?? "", /^DEL static/);
  assert.deepEqual(rig.store.leases(), []);
  assert.equal(await rig.dump(C1), before);
  assert.equal(calls.length, 0);
});

test("DEL reaches the plugin even when Weft knows nothing of the container", async () => {
  const rig = await FakeAttachRig.open(C1);
  const calls = plugged(rig);
  await succeeds(rig, foreign(del(ADD)));
  assert.equal(calls.length, 1);
});

// ---- GC and STATUS ---------------------------------------------------------------------------------------------------

function gc(runtime: string, valid?: readonly string[]): TestCall {
  const list = valid?.map((containerID) => ({ containerID, ifname: "eth0" }));
  return {
    command: "GC",
    containerId: "",
    network: "both",
    environment: { CNI_WEFT_RUNTIME: runtime },
    config: list === undefined ? {} : { "cni.dev/valid-attachments": list },
  };
}

test("GC releases what its runtime made and lists no more; another runtime's, and other networks', stay", async () => {
  const paths = ["a", "b", "c", "d"].map((name) => `/run/netns/${name}`);
  const rig = await FakeAttachRig.open(...paths);
  const made = [
    ["a", "containerd", "both"],
    ["b", "containerd", "both"],
    ["c", "podman", "both"],
    ["d", "containerd", "dcos"],
  ] as const;
  for (const [containerId, runtime, network] of made) {
    const netns = `/run/netns/${containerId}`;
    await succeeds(rig, { ...ADD, containerId, network, netns, environment: { CNI_WEFT_RUNTIME: runtime } });
  }
  await succeeds(rig, gc("containerd", ["a"]));
  assert.deepEqual(
    rig.service.attachments().map(({ containerId }) => containerId),
    ["a", "c", "d"],
  );
  await succeeds(rig, gc("podman"));
  assert.equal(rig.service.attachments().length, 3, "no list: only what lost its namespace");
  rig.machine.deleteNetns("/run/netns/a");
  await succeeds(rig, gc("podman"));
  assert.deepEqual(
    rig.service.attachments().map(({ containerId }) => containerId),
    ["c", "d"],
  );
});

test("GC of weft-ipam means its own leases only", async () => {
  const rig = await FakeAttachRig.open(C1, C2);
  await succeeds(rig, { ...ADD, environment: { CNI_WEFT_RUNTIME: "x" } });
  await succeeds(rig, { ...ADD2, environment: { CNI_WEFT_RUNTIME: "x", CNI_WEFT_PLUGIN: "weft-ipam" } });
  await succeeds(rig, { ...gc("x", []), environment: { CNI_WEFT_RUNTIME: "x", CNI_WEFT_PLUGIN: "weft-ipam" } });
  assert.deepEqual(rig.store.leases().map(isAttachment), [true]);
  await succeeds(rig, gc("x", []));
  assert.deepEqual(rig.store.leases(), []);
});

test("STATUS: 50 when no address is left or the agent is not ready, 51 when the network has failed", async () => {
  const status: TestCall = { command: "STATUS", containerId: "", network: "both" };
  const paths = Array.from({ length: 10 }, (_, i) => `/run/netns/n${i}`);
  const rig = await FakeAttachRig.open(...paths);
  await succeeds(rig, status);
  rig.statuses = [{ name: "both", status: "STATUS_FAILED", error: "no vtep" }];
  await refused(rig, status, 51, /network both .*no vtep/);
  await succeeds(rig, { ...status, network: "dcos" });
  rig.statuses = [];
  for (const [i, netns] of paths.entries()) await succeeds(rig, { ...ADD, containerId: `n${i}`, netns });
  await refused(rig, status, 50, /no free address/);
  rig.isReady = false;
  await refused(rig, status, 50, /no addresses yet/);
});

test("STATUS and GC reach the other plugin, and one that is too old to know them is no obstacle", async () => {
  const rig = await FakeAttachRig.open(C1);
  const calls = plugged(rig);
  const status: TestCall = { ...foreign(ADD), command: "STATUS" };
  await succeeds(rig, status);
  await succeeds(rig, { ...status, command: "GC" });
  assert.deepEqual(calls, ["STATUS static /opt/cni/bin    ", "GC static /opt/cni/bin    "]);
  const says = (code: number) => async () => ({ ok: false, stdout: JSON.stringify({ code, msg: "no" }) });
  rig.plugin = says(50);
  await refused(rig, status, 50, /the plugin static refused: no/);
  await refused(rig, { ...status, command: "GC" }, 108, /the plugin static refused: no/);
  for (const code of [1, 4]) {
    rig.plugin = says(code);
    await succeeds(rig, status);
  }
});

test("the resolver that the other plugin names is that of the result, unless the configuration has one", async () => {
  const rig = await FakeAttachRig.open(C1, C2);
  plugged(rig, JSON.stringify({ ...JSON.parse(GIVEN), dns: { nameservers: ["192.168.7.53"] } }));
  const { dns } = await succeeds(rig, foreign(ADD));
  assert.deepEqual(dns, { nameservers: ["192.168.7.53"] });
  rig.restart();
  assert.deepEqual((await succeeds(rig, foreign(ADD))).dns, dns, "the same call sent again");
  const call = foreign({ ...ADD, requestId: "r3" });
  await succeeds(rig, del(call));
  const own = { ...call, config: { ...call.config, dns: { domain: "d" } } };
  assert.deepEqual((await succeeds(rig, own)).dns, { domain: "d" });
});

test("DEL of what ADD was refused for is success, a plugin that is not installed included", async () => {
  const rig = await FakeAttachRig.open(C1);
  for (const config of [
    { name: "my-bridge-network-of-mine", network: undefined },
    { ipam: [] },
    { ipam: { type: "a/b" } },
  ]) {
    const call = { ...ADD, config };
    await refused(rig, call, 7, /cannot be used/);
    rig.plugin = async () => {
      throw new Fault("delegate-failed", "in none of the folders", { isAbsent: true });
    };
    await succeeds(rig, del(call));
  }
  rig.plugin = async () => {
    throw new Fault("delegate-failed", "did not end");
  };
  await refused(rig, del(foreign(ADD)), 108, /did not end/);
});
