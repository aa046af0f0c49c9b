/** How the real kernel's port behaves when something goes wrong, at scale, and at the edges of a namespace. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { KernelOp, NftChain, NftTable, Route } from "../../src/core/host/host-state.ts";
import { openLinuxKernel } from "../../src/io/kernel/linux-kernel.ts";
import { createNetns, inNetns, openNetns } from "../../src/io/kernel/netns.ts";
import { Fault } from "../../src/model/fault.ts";
import { cidr, ip, nthAddress, nthSubnet } from "../../src/model/ip.ts";
import { bytesToMac, mac } from "../../src/model/mac.ts";
import { add, applyAll, BRIDGE, openWithDevices, VTEP } from "../support/kernel-objects.ts";
import { labOrReason } from "../support/lab.ts";
import { openTestNetns } from "../support/netns.ts";

const skip = await labOrReason();

const peerRoute = (i: number): Route => ({
  dst: nthSubnet(cidr("9.0.0.0/8"), 24, BigInt(i)),
  table: 254,
  metric: i,
  type: "unicast",
  dev: VTEP.name,
  via: nthAddress(cidr("44.128.0.0/20"), BigInt(i)),
  onlink: true,
});
const peerMac = (i: number) => bytesToMac(Uint8Array.of(0x70, 0xb3, 0xd5, 0x81, i >> 8, i & 0xff));

test("40 deletions at once, one of a device that is not there: the others are gone, with their routes", {
  skip,
}, async (t) => {
  const { kernel } = await openTestNetns(t);
  const other = await openTestNetns(t);
  const names = Array.from({ length: 40 }, (_, i) => `weft${i}`);
  await applyAll(
    kernel,
    names.flatMap((name, i): KernelOp[] => [
      {
        op: "link.add",
        link: {
          kind: "veth",
          name,
          up: true,
          peer: { netns: other.path, name: `eth${i}`, mac: bytesToMac(Uint8Array.of(2, 0, 0, 0, 0, i)), mtu: 1500 },
        },
      },
      { op: "link.set", name, up: true },
      {
        op: "route.replace",
        route: { dst: nthSubnet(cidr("9.0.0.0/8"), 32, BigInt(i)), table: 254, metric: 0, type: "unicast", dev: name },
      },
    ]),
  );
  assert.equal((await kernel.observe([])).routes.length, 40, "positive control");
  const failures = await kernel.apply(
    names.map((name, i): KernelOp => ({ op: "link.delete", name: i === 7 ? "weft-no" : name })),
  );
  const { links, routes } = await kernel.observe([]);
  assert.deepEqual(
    failures.map(({ index, error }) => `${index} ${error.code}`),
    ["7 ENODEV"],
  );
  assert.deepEqual([links.map(({ name }) => name), routes.map(({ dev }) => dev)], [["lo", "weft7"], ["weft7"]]);
  assert.deepEqual(
    (await other.kernel.links()).map(({ name }) => name),
    ["lo", "eth7"],
  );
});

test("2,000 peers, a bad one in the middle: all others are there, the bad one is named", { skip }, async (t) => {
  const { kernel, run } = await openWithDevices(t);
  const numbers = Array.from({ length: 2_000 }, (_, i) => i + 2);
  const ops = numbers.flatMap((i): KernelOp[] => [
    {
      op: "neighbor.replace",
      neighbor: { dev: VTEP.name, ip: nthAddress(cidr("44.128.0.0/20"), BigInt(i)), mac: peerMac(i) },
    },
    { op: "fdb.replace", entry: { dev: VTEP.name, mac: peerMac(i), dst: nthAddress(cidr("10.0.0.0/16"), BigInt(i)) } },
    { op: "route.replace", route: i === 1_000 ? { ...peerRoute(i), via: ip("255.255.255.255") } : peerRoute(i) },
  ]);
  const failures = await kernel.apply(ops);
  assert.deepEqual(
    failures.map(({ index, op }) => [index, op]),
    [[998 * 3 + 2, ops[998 * 3 + 2]]],
  );
  assert.equal(
    failures[0]?.error.message,
    "replace route 9.3.232.0/24 table 254 metric 1000: Nexthop has invalid gateway (EINVAL)",
  );
  const state = await kernel.observe([]);
  assert.deepEqual([state.neighbors.length, state.fdb.length, state.routes.length], [2_000, 2_000, 1_999]);
  assert.equal(run("ip", "route", "show", "proto", "87").trim().split("\n").length, 1_999);
});

test("all of a large call may fail, and each failure is told", { skip }, async (t) => {
  const { kernel } = await openWithDevices(t);
  const ops = Array.from({ length: 3_000 }, (_, i): KernelOp => ({ op: "route.delete", route: peerRoute(i + 2) }));
  const failures = await kernel.apply(ops);
  assert.deepEqual(
    failures.map(({ index }) => index),
    ops.map((_, index) => index),
  );
  assert.ok(failures.every(({ error }) => error.code === "ESRCH"));
});

test("a transaction with a bad operation is carried out without it", { skip }, async (t) => {
  const { kernel } = await openTestNetns(t);
  const table = (family: "ip" | "ip6"): NftTable => ({ family, name: "weft", chains: [], maps: [] });
  const chain: NftChain = { name: "x", rules: [[{ kind: "jump", chain: "nowhere" }]] };
  const failures = await kernel.apply([
    { op: "nft.table.replace", table: table("ip") },
    { op: "nft.chain.replace", family: "ip", table: "weft", chain },
    { op: "nft.chain.replace", family: "ip", table: "weft", chain: { ...chain, name: "y", rules: [] } },
    { op: "nft.table.replace", table: table("ip6") },
  ]);
  assert.deepEqual(
    failures.map(({ index, error }) => [index, error.code]),
    [[1, "ENOENT"]],
  );
  assert.match(failures[0]?.error.message ?? "", /^replace chain ip weft x: /);
  const { tables } = await kernel.observe([]);
  assert.deepEqual(tables, [{ ...table("ip"), chains: [{ name: "y", rules: [] }] }, table("ip6")]);
});

test("a link of somebody else's under our name is not marked as ours", { skip }, async (t) => {
  const { kernel, run } = await openTestNetns(t);
  run("ip", "link", "add", "m-dcos", "type", "bridge");
  const [failure] = await kernel.apply([{ op: "link.add", link: BRIDGE }]);
  assert.equal(failure?.error.code, "EEXIST");
  assert.equal((await kernel.observe([])).links.find(({ name }) => name === "m-dcos")?.alias, undefined);
});

test("operations find devices that the same call made, and lose those it deleted", { skip }, async (t) => {
  const { kernel } = await openTestNetns(t);
  const neighbor: KernelOp = {
    op: "neighbor.replace",
    neighbor: { dev: VTEP.name, ip: ip("44.128.0.2"), mac: mac("70:b3:d5:80:00:02") },
  };
  const failures = await kernel.apply([
    neighbor,
    ...add(VTEP),
    neighbor,
    { op: "link.delete", name: VTEP.name },
    neighbor,
    ...add(VTEP),
    neighbor,
  ]);
  assert.deepEqual(
    failures.map(({ index, error }) => [index, error.code]),
    [
      [0, "ENODEV"],
      [5, "ENODEV"],
    ],
  );
  assert.equal((await kernel.observe([])).neighbors.length, 1);
});

test("a rule cannot forward to a device that the same call deleted", { skip }, async (t) => {
  const { kernel } = await openWithDevices(t);
  const map = { name: "nodes4", type: "ipv4_addr : ipv4_addr", elements: [] } as const;
  const chain: NftChain = {
    name: "to-nodes",
    rules: [[{ kind: "forward", field: "ip daddr", map: "nodes4", device: VTEP.name }]],
  };
  const table: NftTable = { family: "netdev", name: "weft", chains: [chain], maps: [map] };
  await applyAll(kernel, [{ op: "nft.table.replace", table }]);
  const failures = await kernel.apply([
    { op: "route.delete", route: { ...peerRoute(2), dev: VTEP.name } },
    { op: "link.delete", name: VTEP.name },
    { op: "nft.table.replace", table },
  ]);
  assert.deepEqual(
    failures.map(({ error }) => error.message),
    [
      "delete route 9.0.2.0/24 table 254 metric 2: no such process (ESRCH)",
      "replace table netdev weft: there is no device vtep1024 (ENODEV)",
    ],
  );
});

test("deleting a route of metric 0 spares those of the same prefix with another", { skip }, async (t) => {
  const { kernel } = await openWithDevices(t);
  const other: Route = { ...peerRoute(2), via: ip("44.128.0.9"), metric: 5 };
  await applyAll(kernel, [{ op: "route.replace", route: other }]);
  const [failure] = await kernel.apply([{ op: "route.delete", route: { ...peerRoute(2), metric: 0 } }]);
  assert.equal(failure?.error.code, "ESRCH");
  assert.deepEqual((await kernel.observe([])).routes, [other]);
});

test("a port that is closed during a call reports what it could not do", { skip }, async (t) => {
  const { kernel } = await openWithDevices(t);
  const many = Array.from({ length: 600 }, (_, i): KernelOp => ({ op: "route.replace", route: peerRoute(i + 2) }));
  setImmediate(() => kernel.close());
  const failures = await kernel.apply(many);
  assert.ok(failures.length > 0 && failures.length < many.length, `${failures.length} failed`);
  assert.match(failures[0]?.error.message ?? "", /^replace route .*: this kernel port is closed/);
});

test("calls are carried out in the order they were made", { skip }, async (t) => {
  const { kernel } = await openWithDevices(t);
  const many = Array.from({ length: 1_500 }, (_, i): KernelOp => ({ op: "route.replace", route: peerRoute(i + 2) }));
  const [, during, , after] = await Promise.all([
    kernel.apply(many),
    kernel.observe([]),
    kernel.apply(many.map((op) => ({ ...op, op: "route.delete" }) as KernelOp)),
    kernel.observe([]),
  ]);
  assert.deepEqual([during.routes.length, after.routes.length], [1_500, 0]);
});

test("a namespace that cannot be opened for want of descriptors is not said to be gone", { skip }, async (t) => {
  const { kernel, path } = await openTestNetns(t);
  const fds: number[] = [];
  try {
    for (;;) fds.push(openSync("/dev/null", "r"));
  } catch {
    await assert.rejects(kernel.enter(path), (error) => error instanceof Fault && error.code === "kernel-refused");
  } finally {
    for (const fd of fds) closeSync(fd);
  }
  (await kernel.enter(path)).close();
});

test("a path that is no network namespace is refused for what it is", { skip }, async (t) => {
  const { kernel, path } = await openTestNetns(t);
  const directory = mkdtempSync(join(tmpdir(), "weft-test-"));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "file"), "");
  const rows = [
    [join(directory, "absent"), /does not exist; give the path of a network namespace/],
    [join(directory, "file"), /is no network namespace; give/],
    [directory, /is no network namespace; give/],
    ["/proc/self/ns/mnt", /is a namespace, but not of the network; give/],
  ] as const;
  for (const [wrong, message] of rows)
    await assert.rejects(kernel.enter(wrong), (error) => {
      assert.ok(error instanceof Fault && error.code === "bad-netns");
      assert.match(error.message, message);
      return error.message.startsWith(wrong);
    });
  const again = await kernel.enter(path);
  t.after(() => again.close());
  const bootId = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  assert.match(again.netnsId, new RegExp(`^${bootId}:\\d+$`));
});

test("an identity is not used again, even where the number of an inode is", { skip }, async (t) => {
  const root = openLinuxKernel();
  t.after(() => root.close());
  const identities = new Set<string>();
  for (let i = 0; i < 50; i++) {
    const netns = createNetns();
    const inside = await root.enter(`/proc/self/fd/${netns.fd}`);
    identities.add(inside.netnsId);
    inside.close();
    netns.close();
  }
  assert.equal(identities.size, 50);
});

test("a namespace that was entered stays the same one when its path goes", { skip }, async (t) => {
  const netns = createNetns();
  const root = openLinuxKernel();
  const kernel = await root.enter(`/proc/self/fd/${netns.fd}`);
  t.after(() => {
    kernel.close();
    root.close();
  });
  netns.close();
  await applyAll(kernel, add(BRIDGE));
  await applyAll(kernel, [{ op: "sysctl.set", sysctl: { path: "net/ipv4/conf/m-dcos/rp_filter", value: "2" } }]);
  assert.deepEqual(
    (await kernel.observe([])).links.map(({ name }) => name),
    ["lo", "m-dcos"],
  );
});

test("whatever happens inside a namespace, the process is back in its own", { skip }, async (t) => {
  const { path } = await openTestNetns(t);
  const netns = openNetns(path);
  const own = readlinkSync("/proc/thread-self/ns/net");
  const inside = inNetns(netns, () => readlinkSync("/proc/thread-self/ns/net"));
  assert.notEqual(inside, own);
  assert.throws(
    () =>
      inNetns(netns, () => {
        throw new Error("thrown inside");
      }),
    /thrown inside/,
  );
  assert.equal(readlinkSync("/proc/thread-self/ns/net"), own);
  netns.close();
  assert.throws(() => inNetns(netns, () => "never"), /is used while it is open/);
  assert.equal(readlinkSync("/proc/thread-self/ns/net"), own);
});

test("this kernel has all that Weft needs, and the look leaves nothing behind", { skip }, async (t) => {
  const { kernel } = await openTestNetns(t);
  const before = await kernel.observe([]);
  const { datapath, ...others } = await kernel.features();
  assert.deepEqual(others, { missing: [], ingressForward: true, bandwidth: true });
  assert.ok("hook" in datapath, "programs can be put on devices");
  assert.deepEqual(await kernel.observe([]), before);
});

test("a process without descriptors is told so, and nothing is left open", { skip }, async (t) => {
  const { kernel, path } = await openTestNetns(t);
  const openFds = () => readdirSync("/proc/self/fd").length;
  const before = openFds();
  const restore = limitDescriptors(256);
  const taken: number[] = [];
  try {
    for (;;) taken.push(openSync("/dev/null", "r"));
  } catch {
    // All are taken. One is given back for the namespace, one for the way back from it, none for the socket.
    for (const fd of taken.splice(-2)) closeSync(fd);
  }
  const refused = await kernel.enter(path).catch((error: unknown) => error);
  for (const fd of taken) closeSync(fd);
  restore();
  assert.ok(refused instanceof Fault && refused.code === "kernel-refused", String(refused));
  assert.match(refused.message, /EMFILE.*; look at the limits of this process/);
  assert.equal(openFds(), before);
});

/** Lowers how many descriptors this process may have; the result sets it back. */
function limitDescriptors(limit: number): () => void {
  const soft = /Max open files\s+(\d+)/.exec(readFileSync("/proc/self/limits", "utf8"))?.[1];
  const set = (value: string) => execFileSync("prlimit", ["--pid", String(process.pid), `--nofile=${value}:`]);
  set(String(limit));
  return () => set(String(soft));
}

test("a closed port refuses, and says so", { skip }, async (t) => {
  const { path } = await openTestNetns(t);
  const root = openLinuxKernel();
  const kernel = await root.enter(path);
  root.close();
  await applyAll(kernel, add(BRIDGE));
  kernel.close();
  kernel.close();
  await assert.rejects(kernel.observe([]), /this kernel port is closed/);
});
