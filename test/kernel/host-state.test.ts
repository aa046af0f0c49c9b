/**
 * Every kind of object that HostState knows (nftables apart), written to the real kernel: the kernel's own tools print what we meant,
 * and what is read back is what was written.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Address, FdbEntry, HostState, KernelOp, Neighbor, Route, Rule } from "../../src/core/host/host-state.ts";
import { cidr, ip, ipInterface } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import { add, applyAll, BRIDGE, byText, openWithDevices, VTEP } from "../support/kernel-objects.ts";
import { labOrReason } from "../support/lab.ts";
import { openTestNetns } from "../support/netns.ts";

const skip = await labOrReason();

test("links: `ip` shows kind, addresses and marks as given, no link-local address appears", { skip }, async (t) => {
  const { kernel, json } = await openTestNetns(t);
  const inner = await openTestNetns(t);
  const VTEP6 = { ...VTEP, name: "vtep6", vni: 7, local: ip("fd00::1"), mac: mac("70:b3:d5:80:00:02") };
  const peer = { netns: inner.path, name: "eth0", mac: mac("02:57:09:00:01:02"), mtu: 1400 };
  await applyAll(kernel, [
    ...add(VTEP),
    ...add(VTEP6),
    ...add(BRIDGE),
    ...add({ kind: "veth", name: "weft0", up: true, mtu: 1400, mac: mac("02:57:00:00:00:01"), alias: "weft c", peer }),
  ]);
  await applyAll(inner.kernel, [{ op: "link.set", name: "eth0", up: true, alias: "weft eth0" }]);

  const shown = new Map((json("ip", "-d", "-j", "address") as ShownLink[]).map((link) => [link.ifname, link]));
  const vtep = shown.get("vtep1024");
  assert.equal(vtep?.linkinfo?.info_kind, "vxlan");
  const { id, port, local, learning } = vtep?.linkinfo?.info_data ?? {};
  assert.deepEqual({ id, port, local, learning }, { id: 1024, port: 64_000, local: "10.0.0.1", learning: false });
  assert.equal(vtep?.address, "70:b3:d5:80:00:01");
  assert.equal(vtep?.mtu, 1450);
  assert.equal(vtep?.ifalias, "weft vtep");
  assert.equal(shown.get("vtep6")?.linkinfo?.info_data?.local6, "fd00::1");
  for (const name of ["vtep1024", "vtep6", "m-dcos", "weft0"]) {
    const [link] = json("ip", "-d", "-j", "link", "show", name) as ShownLink[];
    assert.equal(link?.inet6_addr_gen_mode, "none", name);
    assert.ok(shown.get(name)?.flags.includes("UP"), name);
    assert.deepEqual(shown.get(name)?.addr_info, [], name);
  }

  const { links } = await kernel.observe([]);
  assert.deepEqual(
    links.find((link) => link.name === "vtep1024"),
    VTEP,
  );
  assert.deepEqual(
    links.find((link) => link.name === "vtep6"),
    VTEP6,
  );
  const bridge = links.find((link) => link.name === "m-dcos");
  assert.deepEqual(bridge, { ...BRIDGE, mtu: bridge?.mtu, mac: bridge?.mac });
  const veth = { kind: "veth", name: "weft0", up: true, mtu: 1400, mac: mac("02:57:00:00:00:01"), alias: "weft c" };
  assert.deepEqual(
    links.find((link) => link.name === "weft0"),
    veth,
  );
  assert.deepEqual(
    (await inner.kernel.observe([])).links.find((link) => link.name === "eth0"),
    { kind: "veth", name: "eth0", up: true, mtu: 1400, mac: peer.mac, alias: "weft eth0" },
  );
});

test("a link that is down, set and deleted is so for `ip` too", { skip }, async (t) => {
  const { kernel, json } = await openTestNetns(t);
  const flags = () => (json("ip", "-j", "link", "show", "m-dcos") as ShownLink[])[0]?.flags;
  await applyAll(kernel, [{ op: "link.add", link: BRIDGE }]);
  assert.ok(!flags()?.includes("UP"), "made down, whatever `up` says");
  await applyAll(kernel, [
    { op: "link.set", name: "m-dcos", up: true, mtu: 1300, mac: mac("02:00:00:00:00:09"), alias: "weft x" },
  ]);
  const link = (await kernel.observe([])).links.find(({ name }) => name === "m-dcos");
  const expected = {
    kind: "bridge",
    name: "m-dcos",
    up: true,
    mtu: 1300,
    mac: mac("02:00:00:00:00:09"),
    alias: "weft x",
  };
  assert.deepEqual(link, expected);
  assert.ok(flags()?.includes("UP"));
  await applyAll(kernel, [
    { op: "link.set", name: "m-dcos", up: false },
    { op: "link.delete", name: "m-dcos" },
  ]);
  assert.deepEqual(
    (await kernel.observe([])).links.map(({ name }) => name),
    ["lo"],
  );
});

test("addresses: IPv6 ones are usable at once, link-local ones are not ours to see", { skip }, async (t) => {
  const { kernel, run, json } = await openTestNetns(t);
  await applyAll(kernel, add(BRIDGE));
  const addresses: Address[] = [
    { dev: "m-dcos", address: ipInterface("9.0.1.1/25") },
    { dev: "m-dcos", address: ipInterface("fd01:b::1/81") },
  ];
  await applyAll(
    kernel,
    addresses.map((address): KernelOp => ({ op: "address.replace", address })),
  );
  run("ip", "address", "add", "fe80::7/64", "dev", "m-dcos", "nodad");
  const [shown] = json("ip", "-j", "address", "show", "dev", "m-dcos") as ShownLink[];
  const found = shown?.addr_info.map(
    (each) => `${each.local}/${each.prefixlen} ${each.nodad ?? "-"} ${each.tentative ?? "-"}`,
  );
  assert.deepEqual(found, ["9.0.1.1/25 - -", "fd01:b::1/81 true -", "fe80::7/64 true -"]);
  const ofBridge = (state: HostState) => byText(state.addresses.filter(({ dev }) => dev === "m-dcos"));
  assert.deepEqual(ofBridge(await kernel.observe([])), byText(addresses));
  await applyAll(
    kernel,
    addresses.map((address): KernelOp => ({ op: "address.delete", address })),
  );
  assert.deepEqual(ofBridge(await kernel.observe([])), []);
});

const ROUTES: readonly Route[] = [
  {
    dst: cidr("9.0.2.0/24"),
    table: 254,
    metric: 2,
    type: "unicast",
    dev: "vtep1024",
    via: ip("44.128.0.2"),
    onlink: true,
  },
  { dst: cidr("9.0.1.5/32"), table: 254, metric: 0, type: "unicast", dev: "m-dcos", src: ip("9.0.1.1") },
  { dst: cidr("0.0.0.0/0"), table: 254, metric: 0, type: "unicast", dev: "m-dcos", via: ip("9.0.1.9"), onlink: true },
  { dst: cidr("9.0.0.0/8"), table: 254, metric: 0x7fff0000, type: "unreachable" },
  { dst: cidr("10.0.0.2/32"), table: 42, metric: 0, type: "unicast", dev: "vtep1024", via: ip("44.128.0.2") },
  { dst: cidr("10.0.0.3/32"), table: 4242, metric: 0, type: "unicast", dev: "vtep1024", via: ip("44.128.0.2") },
  {
    dst: cidr("fd01:b:0:0:2::/80"),
    table: 254,
    metric: 2,
    type: "unicast",
    dev: "vtep1024",
    via: ip("fd01:a::2"),
    onlink: true,
  },
  { dst: cidr("fd01:b::5/128"), table: 254, metric: 1, type: "unicast", dev: "m-dcos" },
  { dst: cidr("fd01:b::/64"), table: 254, metric: 0x7fff0000, type: "unreachable" },
  { dst: cidr("::/0"), table: 254, metric: 1024, type: "unicast", dev: "vtep1024", via: ip("fd01:a::2") },
];

test("routes of both families, in any table, unreachable ones too, and nobody else's", { skip }, async (t) => {
  const { kernel, run, json } = await openWithDevices(t);
  run("ip", "route", "add", "198.51.100.0/24", "dev", "m-dcos");
  await applyAll(
    kernel,
    ROUTES.map((route): KernelOp => ({ op: "route.replace", route })),
  );
  const shown = ["-4", "-6"].flatMap(
    (family) => json("ip", "-j", "-d", family, "route", "show", "table", "all", "proto", "87") as ShownRoute[],
  );
  const said = shown.map((route) =>
    [
      route.type,
      route.dst,
      route.gateway,
      route.type === "unreachable" ? "" : route.dev,
      route.table ?? "main",
      route.metric ?? 0,
      route.scope ?? "-",
    ].join(" "),
  );
  assert.deepEqual(
    said.toSorted(),
    [
      "unicast 10.0.0.2 44.128.0.2 vtep1024 42 0 global",
      "unicast 10.0.0.3 44.128.0.2 vtep1024 4242 0 global",
      "unicast 9.0.1.5  m-dcos main 0 link",
      "unicast 9.0.2.0/24 44.128.0.2 vtep1024 main 2 global",
      "unicast default 9.0.1.9 m-dcos main 0 global",
      "unicast default fd01:a::2 vtep1024 main 1024 global",
      "unicast fd01:b:0:0:2::/80 fd01:a::2 vtep1024 main 2 global",
      "unicast fd01:b::5  m-dcos main 1 global",
      "unreachable 9.0.0.0/8   main 2147418112 global",
      "unreachable fd01:b::/64   main 2147418112 global",
    ].toSorted(),
  );
  assert.deepEqual(byText((await kernel.observe([])).routes), byText(ROUTES));

  const first = ROUTES[0] as Route;
  await applyAll(kernel, [{ op: "route.replace", route: { ...first, via: ip("44.128.0.9") } }]);
  assert.equal((await kernel.observe([])).routes.find(({ dst }) => dst === first.dst)?.via, "44.128.0.9");
  await applyAll(
    kernel,
    ROUTES.map(
      (route): KernelOp => ({
        op: "route.delete",
        route: route === first ? { ...first, via: ip("44.128.0.9") } : route,
      }),
    ),
  );
  assert.deepEqual((await kernel.observe([])).routes, []);
  assert.match(run("ip", "route", "show", "198.51.100.0/24"), /m-dcos/);
});

test("policy rules of ours, and nobody else's", { skip }, async (t) => {
  const { kernel, run, json } = await openTestNetns(t);
  run("ip", "rule", "add", "from", "192.0.2.0/24", "lookup", "77", "priority", "5");
  const rules: Rule[] = [
    { src: cidr("9.0.0.0/8"), table: 42, priority: 100 },
    { src: cidr("fd01:b::/64"), table: 4242, priority: 101 },
  ];
  await applyAll(
    kernel,
    rules.map((rule): KernelOp => ({ op: "rule.add", rule })),
  );
  const shown = ["-4", "-6"].flatMap((family) => json("ip", "-j", "-d", family, "rule") as ShownRule[]);
  const ours = shown.filter(({ protocol }) => protocol === "87");
  assert.deepEqual(
    ours.map((rule) => `${rule.priority} ${rule.src}/${rule.srclen} ${rule.table}`),
    ["100 9.0.0.0/8 42", "101 fd01:b::/64 4242"],
  );
  assert.deepEqual((await kernel.observe([])).rules, rules);
  await applyAll(
    kernel,
    rules.map((rule): KernelOp => ({ op: "rule.delete", rule })),
  );
  assert.deepEqual((await kernel.observe([])).rules, []);
});

test("neighbours and forwarding entries: permanent, on the device alone", { skip }, async (t) => {
  const { kernel, run, json } = await openWithDevices(t);
  const neighbors: Neighbor[] = [
    { dev: "vtep1024", ip: ip("44.128.0.2"), mac: mac("70:b3:d5:80:00:02") },
    { dev: "vtep1024", ip: ip("fd01:a::2"), mac: mac("70:b3:d5:80:00:02") },
  ];
  const fdb: FdbEntry[] = [{ dev: "vtep1024", mac: mac("70:b3:d5:80:00:02"), dst: ip("10.0.0.2") }];
  await applyAll(kernel, [
    ...neighbors.map((neighbor): KernelOp => ({ op: "neighbor.replace", neighbor })),
    ...fdb.map((entry): KernelOp => ({ op: "fdb.replace", entry })),
  ]);
  run("ip", "neigh", "add", "44.128.0.77", "lladdr", "70:b3:d5:80:00:77", "dev", "vtep1024", "nud", "stale");
  const shown = ["-4", "-6"].flatMap(
    (family) => json("ip", "-j", family, "neigh", "show", "nud", "permanent") as { dst: string; lladdr: string }[],
  );
  assert.deepEqual(
    shown.map((n) => `${n.dst} ${n.lladdr}`),
    neighbors.map((n) => `${n.ip} ${n.mac}`),
  );
  const entries = json("bridge", "-j", "fdb", "show", "dev", "vtep1024") as {
    mac: string;
    dst: string;
    flags: string[];
    state: string;
  }[];
  assert.deepEqual(
    entries.map((e) => [e.mac, e.dst, e.flags, e.state]),
    [[fdb[0]?.mac, "10.0.0.2", ["self"], "permanent"]],
  );
  const observed = await kernel.observe([]);
  assert.deepEqual(observed.neighbors, neighbors);
  assert.deepEqual(observed.fdb, fdb);

  await applyAll(kernel, [{ op: "fdb.replace", entry: { ...(fdb[0] as FdbEntry), dst: ip("10.0.0.3") } }]);
  assert.deepEqual(
    (await kernel.observe([])).fdb.map(({ dst }) => dst),
    ["10.0.0.3"],
  );
  await applyAll(kernel, [
    { op: "fdb.delete", entry: { ...(fdb[0] as FdbEntry), dst: ip("10.0.0.3") } },
    ...neighbors.map((neighbor): KernelOp => ({ op: "neighbor.delete", neighbor })),
  ]);
  const after = await kernel.observe([]);
  assert.deepEqual([after.fdb, after.neighbors], [[], []]);
});

test("sysctls are those of the namespace, not of the process", { skip }, async (t) => {
  const { kernel, run } = await openTestNetns(t);
  const other = await openTestNetns(t);
  const path = "net/ipv4/conf/lo/rp_filter";
  await applyAll(kernel, [{ op: "sysctl.set", sysctl: { path, value: "2" } }]);
  assert.equal(run("sysctl", "-n", path), "2\n");
  assert.deepEqual((await kernel.observe([path, "net/ipv4/conf/absent/rp_filter"])).sysctls, [{ path, value: "2" }]);
  assert.deepEqual((await other.kernel.observe([path])).sysctls, [{ path, value: "0" }]);
});

interface ShownLink {
  readonly ifname: string;
  readonly address?: string;
  readonly mtu: number;
  readonly flags: readonly string[];
  readonly ifalias?: string;
  readonly inet6_addr_gen_mode?: string;
  readonly addr_info: readonly { local: string; prefixlen: number; nodad?: boolean; tentative?: boolean }[];
  readonly linkinfo?: { readonly info_kind: string; readonly info_data?: Readonly<Record<string, unknown>> };
}

interface ShownRoute {
  readonly type: string;
  readonly dst: string;
  readonly gateway?: string;
  readonly dev?: string;
  readonly table?: string;
  readonly metric?: number;
  readonly scope?: string;
}

interface ShownRule {
  readonly priority: number;
  readonly src: string;
  readonly srclen: number;
  readonly table: string;
  readonly protocol?: string;
}
