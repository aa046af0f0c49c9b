/**
 * Attaching on Linux: what ADD makes as the kernel's own tools show it, packets through it, CHECK against damage, DEL,
 * and an agent that dies at every step of both.
 */
import assert from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { createNetns } from "../../src/io/kernel/netns.ts";
import { addCall, DEL, dieInDel, leakOfAdd } from "../support/attach-crash.ts";
import { AttachRig } from "../support/attach-rig.ts";
import type { TestCall } from "../support/cni.ts";
import { labOrReason } from "../support/lab.ts";
import { openTestNetns, type TestNetns } from "../support/netns.ts";

const skip = await labOrReason();

/** A host with the overlay programmed. */
async function openHost(t: TestContext): Promise<TestNetns & { readonly rig: AttachRig }> {
  const host = await openTestNetns(t);
  host.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire");
  host.run("ip", "link", "set", "eth0", "up");
  host.run("ip", "link", "set", "wire", "up");
  host.run("ip", "addr", "add", "10.0.0.11/24", "dev", "eth0");
  const rig = new AttachRig(host.kernel);
  await rig.pass();
  return { ...host, rig };
}

async function attach(rig: AttachRig, call: TestCall) {
  const { status, json } = await rig.call(call);
  assert.equal(status, 200, json?.msg);
  return json;
}

type Row = Readonly<Record<string, unknown>>;

function rows(container: TestNetns, ...args: string[]): string[] {
  return (container.json("ip", "-j", ...args) as Row[]).map((row) =>
    ["dst", "gateway", "dev", "scope", "lladdr", "state", "metric"]
      .filter((key) => row[key] !== undefined)
      .map((key) => `${key} ${row[key]}`)
      .join(" "),
  );
}

function addresses(container: TestNetns): string[] {
  const [eth0] = container.json("ip", "-j", "addr", "show", "dev", "eth0") as {
    addr_info: Row[];
    mtu: number;
    address: string;
  }[];
  return [
    `mtu ${eth0?.mtu}`,
    `mac ${eth0?.address}`,
    ...(eth0?.addr_info ?? []).map((each) => `${each.local}/${each.prefixlen}`),
  ];
}

function ping(from: TestNetns, to: string): void {
  from.run("ping", "-n", "-c", "1", "-W", "5", to);
}

test("an IPv4 network: address, routes and neighbour inside, packets both ways", { skip }, async (t) => {
  const host = await openHost(t);
  const [one, two] = [await openTestNetns(t), await openTestNetns(t)];
  const call = { ...addCall(one.path), network: "dcos" };
  await attach(host.rig, call);
  await attach(host.rig, { ...call, containerId: "c2", netns: two.path });
  assert.deepEqual(addresses(one), ["mtu 1420", "mac 02:57:09:00:01:02", "9.0.1.2/32"]);
  assert.deepEqual(rows(one, "route"), ["dst default gateway 9.0.1.1 dev eth0", "dst 9.0.1.1 dev eth0 scope link"]);
  assert.deepEqual(rows(one, "neigh"), ["dst 9.0.1.1 dev eth0 lladdr 02:57:00:00:00:01 state PERMANENT"]);
  ping(one, "9.0.1.1");
  ping(one, "9.0.1.3");
  ping(one, "10.0.0.11");
  ping(host, "9.0.1.2");
  await host.rig.pass();
});

test("an IPv6 network", { skip }, async (t) => {
  const host = await openHost(t);
  const [one, two] = [await openTestNetns(t), await openTestNetns(t)];
  const call = { ...addCall(one.path), network: "dcos6" };
  await attach(host.rig, call);
  await attach(host.rig, { ...call, containerId: "c2", netns: two.path });
  const [mtu, mac, ...rest] = addresses(one);
  assert.deepEqual([mtu, rest], ["mtu 1420", ["fd01:b::1:0:0:2/128"]]);
  assert.match(mac ?? "", /^mac 02:58:/);
  assert.deepEqual(rows(one, "-6", "route"), [
    "dst fd01:b::1:0:0:1 dev eth0 metric 1024",
    "dst fd01:b::1:0:0:2 dev eth0 metric 256",
    "dst default gateway fd01:b::1:0:0:1 dev eth0 metric 1024",
  ]);
  ping(one, "fd01:b::1:0:0:1");
  ping(one, "fd01:b::1:0:0:3");
  ping(host, "fd01:b::1:0:0:2");
  await host.rig.pass();
});

test("a dual-stack network, two interfaces in one container, and DEL leaves nothing of either", { skip }, async (t) => {
  const host = await openHost(t);
  const one = await openTestNetns(t);
  const before = await host.rig.dump(one.path);
  const both = addCall(one.path);
  await attach(host.rig, both);
  await attach(host.rig, { ...both, ifname: "eth1", network: "dcos", requestId: "r5" });
  assert.deepEqual(addresses(one).slice(2), ["10.8.0.2/32", "fd01:c::2/128"]);
  ping(one, "10.8.0.1");
  ping(one, "fd01:c::1");
  one.run("ping", "-n", "-c", "1", "-W", "5", "-I", "eth1", "9.0.1.1");
  await attach(host.rig, DEL);
  ping(host, "9.0.1.2"); // the other one is untouched
  await attach(host.rig, { ...DEL, ifname: "eth1", network: "dcos" });
  assert.equal(await host.rig.dump(one.path), before);
});

test("CHECK is content after ADD, and not after any damage", { skip }, async (t) => {
  const host = await openHost(t);
  // IPV4, IPV6 and GATEWAY stand for the attachment's own.
  const damage: readonly (readonly [inside: boolean, ...command: string[]])[] = [
    [true, "ip", "addr", "del", "IPV4/32", "dev", "eth0"],
    [true, "ip", "-6", "addr", "del", "IPV6/128", "dev", "eth0"],
    [true, "ip", "route", "del", "default"],
    [true, "ip", "neigh", "del", "GATEWAY", "dev", "eth0"],
    [true, "ip", "link", "set", "eth0", "mtu", "1300"],
    [true, "ip", "link", "set", "eth0", "address", "02:00:00:00:00:01"],
    [true, "ip", "link", "set", "eth0", "down"],
    [true, "ip", "link", "del", "eth0"],
    [false, "ip", "route", "del", "IPV4"],
    [false, "ip", "neigh", "flush", "IPV4", "nud", "permanent"],
    [false, "nft", "delete", "table", "netdev", "weft"],
  ];
  for (const [inside, program, ...args] of damage) {
    const one = await openTestNetns(t);
    const add = addCall(one.path);
    const prevResult = await attach(host.rig, add);
    const check = { ...add, command: "CHECK", prevResult };
    await attach(host.rig, check);
    const [four, six] = prevResult.ips.map(({ address }: { address: string }) => address.split("/")[0]);
    const own = { IPV4: four, IPV6: six, GATEWAY: prevResult.ips[0].gateway };
    const filled = args.map((arg) => arg.replace(/IPV4|IPV6|GATEWAY/, (name) => own[name as keyof typeof own]));
    (inside ? one : host).run(program as string, ...filled);
    const { json } = await host.rig.call(check);
    assert.equal(json?.code, 103, `${args.join(" ")} is noticed`);
    await attach(host.rig, DEL);
    await host.rig.pass();
  }
});

test("a name that is taken inside is refused, and stays what it was", { skip }, async (t) => {
  const host = await openHost(t);
  const one = await openTestNetns(t);
  one.run("ip", "link", "add", "eth0", "type", "bridge");
  const before = await host.rig.dump(one.path);
  const { json } = await host.rig.call(addCall(one.path));
  assert.equal(json.code, 104);
  assert.equal(await host.rig.dump(one.path), before);
  assert.equal((await host.rig.call(addCall(host.path))).json.code, 4, "the host's own namespace is no container");
  assert.equal((await host.rig.call(addCall("/etc/hostname"))).json.code, 4);
});

test("a device that was deleted from outside comes back, inside included", { skip }, async (t) => {
  const host = await openHost(t);
  const one = await openTestNetns(t);
  const { interfaces } = await attach(host.rig, addCall(one.path));
  const whole = await host.rig.dump(one.path);
  host.run("ip", "link", "del", interfaces[0].name);
  assert.throws(() => ping(one, "10.8.0.1"));
  assert.equal(await host.rig.service.repair(await host.kernel.observe([])), true);
  assert.equal(await host.rig.dump(one.path), whole);
  ping(one, "10.8.0.1");
});

test("a lease ends with its namespace", { skip }, async (t) => {
  const host = await openHost(t);
  const netns = createNetns();
  const path = `/proc/self/fd/${netns.fd}`;
  const before = await host.rig.dump();
  await attach(host.rig, addCall(path));
  await host.rig.service.recover();
  assert.equal(host.rig.store.leases().length, 1);
  const hasVeth = async () => (await host.kernel.observe([])).links.some(({ name }) => name.startsWith("weft"));
  const { promise: gone, resolve, reject } = Promise.withResolvers<void>();
  const watch = host.kernel.watch(({ kind }) => {
    if (kind === "link") hasVeth().then((isThere) => isThere || resolve(), reject);
  });
  netns.close();
  await gone; // the kernel takes its time
  watch.close();
  await host.rig.service.recover();
  assert.deepEqual(host.rig.store.leases(), []);
  assert.equal(await host.rig.dump(), before);
});

test("an agent that dies at any step of an ADD leaves nothing once it is back", { skip }, async (t) => {
  const host = await openHost(t);
  const one = await openTestNetns(t);
  assert.equal(await leakOfAdd(host.rig, one.path), undefined);
});

test("an agent that dies at any step of a DEL has either not begun or finishes it", { skip }, async (t) => {
  const host = await openHost(t);
  const one = await openTestNetns(t);
  await dieInDel(host.rig, one.path);
});

test("control: with a store that forgets what is pending the same test finds a leak", { skip }, async (t) => {
  const host = await openHost(t);
  const one = await openTestNetns(t);
  const leak = await leakOfAdd(host.rig, one.path, (store) => ({
    ...store,
    putLease: (attachment) => {
      if (attachment.state === "attached") store.putLease(attachment);
    },
  }));
  assert.match(leak ?? "", /weft/);
});
