/**
 * What the Kernel port promises, as tests that run against the fake kernel and against Linux alike. Everything here was
 * seen on Linux 6.18; where two kernels differ, the suite says nothing.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { diff } from "../../src/core/host/diff.ts";
import { formatHostState } from "../../src/core/host/format.ts";
import {
  EMPTY_HOST_STATE,
  type HostState,
  type KernelOp,
  type Link,
  type NftChain,
  type NftTable,
  type Route,
} from "../../src/core/host/host-state.ts";
import { desiredContainer } from "../../src/core/overlay/attach.ts";
import { desiredHost, sysctlPaths } from "../../src/core/overlay/desired.ts";
import type { Kernel } from "../../src/io/ports.ts";
import type { Attachment } from "../../src/model/attachment.ts";
import { Fault } from "../../src/model/fault.ts";
import { cidr, ip, ipInterface } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import { SEED_ATTACHMENT, seedContext, seedInput } from "../support/seed-cluster.ts";

/** One fresh namespace and a way to make more; `close` removes all of it. */
export interface KernelUnderTest {
  readonly kernel: Kernel;
  /** Makes an empty network namespace and tells its path. */
  newNetns(): Promise<string>;
  close(): Promise<void>;
}

const VTEP: Extract<Link, { kind: "vxlan" }> = {
  kind: "vxlan",
  name: "vtep1024",
  up: true,
  mtu: 1450,
  mac: mac("70:b3:d5:80:00:02"),
  alias: "weft",
  vni: 1024,
  port: 64_000,
  local: ip("10.0.0.11"),
  learning: false,
};
const BRIDGE: Extract<Link, { kind: "bridge" }> = { kind: "bridge", name: "m-dcos", up: true, alias: "weft dcos" };
const PEER_MAC = mac("70:b3:d5:80:00:03");
const PEER_ROUTE: Route = {
  dst: cidr("9.0.2.0/24"),
  table: 254,
  metric: 8_388_611,
  type: "unicast",
  dev: "vtep1024",
  via: ip("44.128.0.3"),
  onlink: true,
};
const PEER_ROUTE6: Route = { ...PEER_ROUTE, dst: cidr("fd01:b:0:0:2::/80"), via: ip("fd01:a::3") };

const up = (name: string): KernelOp => ({ op: "link.set", name, up: true });
const address = (dev: string, text: string): KernelOp => ({
  op: "address.replace",
  address: { dev, address: ipInterface(text) },
});
const route = (route: Route): KernelOp => ({ op: "route.replace", route });
const neighbor = (dev: string, text: string): KernelOp => ({
  op: "neighbor.replace",
  neighbor: { dev, ip: ip(text), mac: PEER_MAC },
});
const sysctl = (path: string, value: string): KernelOp => ({ op: "sysctl.set", sysctl: { path, value } });

const WITH_VTEP: readonly KernelOp[] = [
  { op: "link.add", link: VTEP },
  up("vtep1024"),
  address("vtep1024", "44.128.0.2/20"),
  address("vtep1024", "fd01:a::2/64"),
];

/** Registers the suite. `open` is called once for each test. */
export function kernelContract(name: string, open: () => Promise<KernelUnderTest>): void {
  const test = (what: string, body: (world: KernelUnderTest) => Promise<void>): void => {
    it(what, { timeout: 30_000 }, async () => {
      const world = await open();
      try {
        await body(world);
      } finally {
        await world.close();
      }
    });
  };
  describe(`kernel contract: ${name}`, () => {
    linkTests(test);
    pairTests(test);
    addressTests(test);
    routeTests(test);
    forwardingEntryTests(test);
    sysctlTests(test);
    nftTests(test);
    batchTests(test);
    convergenceTests(test);
  });
}

type Test = (what: string, body: (world: KernelUnderTest) => Promise<void>) => void;

/** Applies what must succeed. */
async function done(kernel: Kernel, ops: readonly KernelOp[]): Promise<void> {
  const failures = await kernel.apply(ops);
  assert.deepEqual(
    failures.map(({ error }) => error.message),
    [],
  );
}

/** Applies one operation that must be refused with `code`. */
async function refused(kernel: Kernel, op: KernelOp, code: string): Promise<void> {
  const failures = await kernel.apply([op]);
  assert.equal(failures.length, 1, `${op.op} must be refused with ${code}`);
  assert.equal(failures[0]?.error.code, code, failures[0]?.error.message);
  assert.equal(failures[0]?.op, op);
}

async function linkNamed(kernel: Kernel, name: string): Promise<Link | undefined> {
  return (await kernel.observe([])).links.find((link) => link.name === name);
}

/** The lines of the state that begin with one of the words. */
async function shown(kernel: Kernel, ...words: readonly string[]): Promise<string[]> {
  const lines = formatHostState(await kernel.observe([])).split("\n");
  return lines.filter((line) => words.some((word) => line.startsWith(`${word} `)));
}

function linkTests(test: Test): void {
  test("a new namespace holds lo and nothing of ours", async ({ kernel }) => {
    const state = await kernel.observe([]);
    assert.deepEqual(
      state.links.map((link) => link.name),
      ["lo"],
    );
    assert.equal(state.links[0]?.kind, "device");
    assert.deepEqual([state.routes, state.rules, state.neighbors, state.fdb, state.tables], [[], [], [], [], []]);
  });

  test("links are made down, with all that was asked for, and without a link-local address", async ({ kernel }) => {
    await done(kernel, [
      { op: "link.add", link: VTEP },
      { op: "link.add", link: BRIDGE },
    ]);
    assert.deepEqual(await linkNamed(kernel, "vtep1024"), { ...VTEP, up: false });
    const bridge = await linkNamed(kernel, "m-dcos");
    assert.deepEqual({ ...bridge, mac: undefined }, { ...BRIDGE, up: false, mtu: 1500, mac: undefined });
    assert.match(bridge?.mac ?? "", /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    const paths = ["vtep1024", "m-dcos"].map((dev) => `net/ipv6/conf/${dev}/addr_gen_mode`);
    const { sysctls } = await kernel.observe(paths);
    assert.deepEqual(
      sysctls.map(({ value }) => value),
      ["1", "1"],
    );
  });

  test("a link is raised and changed in place", async ({ kernel }) => {
    await done(kernel, [{ op: "link.add", link: VTEP }]);
    const change = { up: true, mtu: 1400, mac: mac("70:b3:d5:80:00:09"), alias: "weft again" };
    await done(kernel, [{ op: "link.set", name: "vtep1024", ...change }]);
    assert.deepEqual(await linkNamed(kernel, "vtep1024"), { ...VTEP, ...change });
    await done(kernel, [{ op: "link.set", name: "vtep1024", up: false }]);
    assert.equal((await linkNamed(kernel, "vtep1024"))?.up, false);
  });

  test("a name, and a VNI on a port, can be had once", async ({ kernel }) => {
    await done(kernel, [{ op: "link.add", link: VTEP }]);
    await refused(kernel, { op: "link.add", link: { ...BRIDGE, name: "vtep1024" } }, "EEXIST");
    await refused(kernel, { op: "link.add", link: { ...VTEP, name: "other" } }, "EEXIST");
    await done(kernel, [{ op: "link.delete", name: "vtep1024" }]);
    assert.equal(await linkNamed(kernel, "vtep1024"), undefined);
  });

  test("what is not there can be neither changed nor deleted", async ({ kernel }) => {
    await refused(kernel, up("nobody"), "ENODEV");
    await refused(kernel, { op: "link.delete", name: "nobody" }, "ENODEV");
  });

  test("a VXLAN device over IPv6 keeps its local address", async ({ kernel }) => {
    const link = { ...VTEP, local: ip("fd00::11") };
    await done(kernel, [{ op: "link.add", link }]);
    assert.deepEqual(await linkNamed(kernel, "vtep1024"), { ...link, up: false });
  });
}

function pairTests(test: Test): void {
  const pair = (netns: string): KernelOp => ({
    op: "link.add",
    link: {
      kind: "veth",
      name: "weft01",
      up: true,
      mtu: 1420,
      mac: mac("02:57:00:00:00:01"),
      alias: "weft dcos c1 eth0",
      peer: { netns, name: "eth0", mac: mac("02:57:09:00:01:02"), mtu: 1420 },
    },
  });

  test("a pair's other end appears in its namespace, down, under its final name", async ({ kernel, newNetns }) => {
    const path = await newNetns();
    await done(kernel, [pair(path), up("weft01")]);
    const inner = await kernel.enter(path);
    const end = { kind: "veth", name: "eth0", up: false, mtu: 1420, mac: "02:57:09:00:01:02" };
    assert.deepEqual(await linkNamed(inner, "eth0"), end);
    assert.match(inner.netnsId, /^\d+:\d+$/);
    const { sysctls } = await inner.observe(["net/ipv6/conf/eth0/addr_gen_mode"]);
    assert.equal(sysctls[0]?.value, "1");
    inner.close();
  });

  test("deleting one end of a pair deletes the other", async ({ kernel, newNetns }) => {
    const path = await newNetns();
    await done(kernel, [pair(path)]);
    const inner = await kernel.enter(path);
    await done(inner, [{ op: "link.delete", name: "eth0" }]);
    assert.equal(await linkNamed(kernel, "weft01"), undefined);
    inner.close();
  });

  test("a pair is refused whole: its other name is taken, or there is no such namespace", async (world) => {
    const { kernel, newNetns } = world;
    const path = await newNetns();
    const inner = await kernel.enter(path);
    await done(inner, [{ op: "link.add", link: { ...BRIDGE, name: "eth0" } }]);
    await refused(kernel, pair(path), "EEXIST");
    await refused(kernel, pair("/run/netns/weft-test-nobody"), "ENOENT");
    assert.equal(await linkNamed(kernel, "weft01"), undefined);
    inner.close();
  });

  test("a path that is no network namespace cannot be entered", async ({ kernel, newNetns }) => {
    await assert.rejects(kernel.enter("/run/netns/weft-test-nobody"), isFault("bad-netns"));
    const inner = await kernel.enter(await newNetns());
    assert.ok((await inner.observe([])).links.length > 0, "positive control");
    inner.close();
  });
}

function isFault(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Fault && error.code === code;
}

function addressTests(test: Test): void {
  test("addresses are put on a device once, however often", async ({ kernel }) => {
    await done(kernel, [...WITH_VTEP, ...WITH_VTEP.slice(2)]);
    assert.deepEqual(await shown(kernel, "addr"), [
      "addr 44.128.0.2/20 dev vtep1024",
      "addr fd01:a::2/64 dev vtep1024",
    ]);
    await done(kernel, [
      { op: "address.delete", address: { dev: "vtep1024", address: ipInterface("44.128.0.2/20") } },
      { op: "address.delete", address: { dev: "vtep1024", address: ipInterface("fd01:a::2/64") } },
    ]);
    assert.deepEqual(await shown(kernel, "addr"), []);
  });

  test("an address needs a device, and IPv6 needs IPv6 on it", async ({ kernel }) => {
    await refused(kernel, address("nobody", "44.128.0.2/20"), "ENODEV");
    await done(kernel, [{ op: "link.add", link: VTEP }, sysctl("net/ipv6/conf/vtep1024/disable_ipv6", "1")]);
    await refused(kernel, address("vtep1024", "fd01:a::2/64"), "EACCES");
    await done(kernel, [sysctl("net/ipv6/conf/vtep1024/disable_ipv6", "0"), address("vtep1024", "fd01:a::2/64")]);
  });

  test("an address that is not there cannot be deleted", async ({ kernel }) => {
    await done(kernel, WITH_VTEP);
    for (const text of ["44.128.0.9/20", "fd01:a::9/64"])
      await refused(
        kernel,
        { op: "address.delete", address: { dev: "vtep1024", address: ipInterface(text) } },
        "EADDRNOTAVAIL",
      );
  });

  test("the last IPv4 address of a device takes the IPv4 routes of the device with it", async ({ kernel }) => {
    await done(kernel, [...WITH_VTEP, route(PEER_ROUTE), route(PEER_ROUTE6)]);
    await done(kernel, [{ op: "address.delete", address: { dev: "vtep1024", address: ipInterface("44.128.0.2/20") } }]);
    assert.deepEqual(
      (await kernel.observe([])).routes.map(({ dst }) => dst),
      [PEER_ROUTE6.dst],
    );
  });
}

function routeTests(test: Test): void {
  test("routes of every form are read back as they were written", async ({ kernel }) => {
    const routes: Route[] = [
      PEER_ROUTE,
      PEER_ROUTE6,
      { ...PEER_ROUTE, dst: cidr("10.0.0.12/32"), table: 42 },
      { ...PEER_ROUTE6, dst: cidr("fd00::12/128"), table: 42 },
      { dst: cidr("9.0.0.0/8"), table: 254, metric: 0x7fff0000, type: "unreachable" },
      { dst: cidr("fd01:b::/64"), table: 254, metric: 0x7fff0000, type: "unreachable" },
      { dst: cidr("9.0.1.2/32"), table: 254, metric: 0, type: "unicast", dev: "vtep1024", src: ip("44.128.0.2") },
      {
        dst: cidr("fd01:b::1:0:0:2/128"),
        table: 254,
        metric: 1024,
        type: "unicast",
        dev: "vtep1024",
        src: ip("fd01:a::2"),
      },
      { dst: cidr("0.0.0.0/0"), table: 254, metric: 0, type: "unicast", dev: "vtep1024", via: ip("44.128.0.1") },
      { dst: cidr("::/0"), table: 254, metric: 1024, type: "unicast", dev: "vtep1024", via: ip("fd01:a::1") },
    ];
    await done(kernel, [...WITH_VTEP, ...routes.map(route)]);
    const text = (list: readonly Route[]): string => formatHostState({ ...EMPTY_HOST_STATE, routes: list });
    assert.equal(text((await kernel.observe([])).routes), text(routes));
    await done(
      kernel,
      routes.map((route) => ({ op: "route.delete", route })),
    );
    assert.deepEqual((await kernel.observe([])).routes, []);
  });

  test("replacing a route of the same table, destination and metric leaves one", async ({ kernel }) => {
    await done(kernel, [...WITH_VTEP, route(PEER_ROUTE), route(PEER_ROUTE6)]);
    await done(kernel, [
      route({ ...PEER_ROUTE, via: ip("44.128.0.4") }),
      route({ ...PEER_ROUTE6, via: ip("fd01:a::4") }),
    ]);
    assert.deepEqual(
      (await kernel.observe([])).routes.map(({ via }) => via),
      ["44.128.0.4", "fd01:a::4"],
    );
  });

  test("a gateway must be on the link, unless it is said to be", async ({ kernel }) => {
    await done(kernel, WITH_VTEP);
    const { onlink: _4, ...far4 } = { ...PEER_ROUTE, via: ip("1.2.3.4") };
    const { onlink: _6, ...far6 } = { ...PEER_ROUTE6, via: ip("fd05::1") };
    await refused(kernel, route(far4), "ENETUNREACH");
    await refused(kernel, route(far6), "EHOSTUNREACH");
    await done(kernel, [route({ ...far4, onlink: true }), route({ ...far6, onlink: true })]);
    await done(kernel, [
      route({ dst: cidr("9.9.9.9/32"), table: 254, metric: 0, type: "unicast", dev: "vtep1024" }),
      route({ dst: cidr("9.8.0.0/16"), table: 254, metric: 0, type: "unicast", dev: "vtep1024", via: ip("9.9.9.9") }),
    ]);
  });

  test("a route needs a device that is there and up, and a source that the host has", async ({ kernel }) => {
    await refused(kernel, route(PEER_ROUTE), "ENODEV");
    await done(kernel, [{ op: "link.add", link: VTEP }]);
    await refused(kernel, route(PEER_ROUTE), "ENETDOWN");
    await refused(kernel, route(PEER_ROUTE6), "ENETDOWN");
    await done(kernel, [up("vtep1024"), ...WITH_VTEP.slice(2)]);
    await refused(kernel, route({ ...PEER_ROUTE, src: ip("5.5.5.5") }), "EINVAL");
    await refused(kernel, route({ ...PEER_ROUTE6, src: ip("fd05::1") }), "EINVAL");
    await done(kernel, [route(PEER_ROUTE), route(PEER_ROUTE6)]);
  });

  test("a route that is not there cannot be deleted", async ({ kernel }) => {
    await done(kernel, WITH_VTEP);
    await refused(kernel, { op: "route.delete", route: PEER_ROUTE }, "ESRCH");
    await refused(kernel, { op: "route.delete", route: PEER_ROUTE6 }, "ESRCH");
  });

  test("a device that goes down keeps IPv4 addresses and FDB, and loses the rest", async ({ kernel }) => {
    const entry = { dev: "vtep1024", mac: PEER_MAC, dst: ip("10.0.0.12") };
    await done(kernel, [...WITH_VTEP, route(PEER_ROUTE), route(PEER_ROUTE6), { op: "fdb.replace", entry }]);
    await done(kernel, [neighbor("vtep1024", "44.128.0.3"), neighbor("vtep1024", "fd01:a::3")]);
    await done(kernel, [{ op: "link.set", name: "vtep1024", up: false }]);
    const state = await kernel.observe([]);
    assert.deepEqual([state.routes, state.neighbors, state.fdb], [[], [], [entry]]);
    assert.deepEqual(await shown(kernel, "addr"), ["addr 44.128.0.2/20 dev vtep1024"]);
  });

  test("policy rules are there once", async ({ kernel }) => {
    const rules = [cidr("9.0.0.0/8"), cidr("fd01:b::/64")].map((src) => ({ src, table: 42, priority: 32_042 }));
    for (const rule of rules) {
      await refused(kernel, { op: "rule.delete", rule }, "ENOENT");
      await done(kernel, [{ op: "rule.add", rule }]);
      await refused(kernel, { op: "rule.add", rule }, "EEXIST");
    }
    assert.deepEqual((await kernel.observe([])).rules, rules);
    await done(
      kernel,
      rules.map((rule) => ({ op: "rule.delete", rule })),
    );
    assert.deepEqual((await kernel.observe([])).rules, []);
  });
}

function forwardingEntryTests(test: Test): void {
  const entry = { dev: "vtep1024", mac: PEER_MAC, dst: ip("10.0.0.12") };

  test("neighbours and FDB entries are permanent, and replaced in place", async ({ kernel }) => {
    await done(kernel, [...WITH_VTEP, neighbor("vtep1024", "44.128.0.3"), neighbor("vtep1024", "fd01:a::3")]);
    await done(kernel, [
      { op: "fdb.replace", entry },
      { op: "fdb.replace", entry: { ...entry, dst: ip("10.0.0.99") } },
    ]);
    assert.deepEqual(await shown(kernel, "neigh", "fdb"), [
      `neigh 44.128.0.3 dev vtep1024 lladdr ${PEER_MAC} PERMANENT`,
      `neigh fd01:a::3 dev vtep1024 lladdr ${PEER_MAC} PERMANENT`,
      `fdb ${PEER_MAC} dev vtep1024 dst 10.0.0.99 self permanent`,
    ]);
  });

  test("neighbours and FDB entries that are not there cannot be deleted", async ({ kernel }) => {
    await done(kernel, WITH_VTEP);
    for (const text of ["44.128.0.3", "fd01:a::3"])
      await refused(
        kernel,
        { op: "neighbor.delete", neighbor: { dev: "vtep1024", ip: ip(text), mac: PEER_MAC } },
        "ENOENT",
      );
    await refused(kernel, { op: "fdb.delete", entry }, "ENOENT");
    await refused(kernel, neighbor("nobody", "44.128.0.3"), "ENODEV");
    await done(kernel, [
      { op: "fdb.replace", entry },
      { op: "fdb.delete", entry },
    ]);
  });

  test("an FDB entry is of the tunnel's family", async ({ kernel }) => {
    await done(kernel, WITH_VTEP);
    await refused(kernel, { op: "fdb.replace", entry: { ...entry, dst: ip("fd00::12") } }, "EAFNOSUPPORT");
  });

  test("a new MAC clears a device's neighbours", async ({ kernel }) => {
    await done(kernel, [...WITH_VTEP, neighbor("vtep1024", "44.128.0.3"), neighbor("vtep1024", "fd01:a::3")]);
    await done(kernel, [{ op: "link.set", name: "vtep1024", mac: mac("70:b3:d5:80:00:09") }]);
    assert.deepEqual((await kernel.observe([])).neighbors, []);
  });
}

function sysctlTests(test: Test): void {
  test("sysctls are written and read; paths that do not exist are left out, or refused", async ({ kernel }) => {
    await done(kernel, [{ op: "link.add", link: { ...BRIDGE, name: "m-dot.ted" } }]);
    const path = "net/ipv6/conf/m-dot.ted/accept_ra";
    await done(kernel, [sysctl("net/ipv4/ip_forward", "1"), sysctl(path, "2")]);
    const { sysctls } = await kernel.observe([path, "net/ipv4/conf/nobody/rp_filter", "net/ipv4/ip_forward"]);
    assert.deepEqual(
      [...sysctls].sort((a, b) => a.path.localeCompare(b.path)),
      [
        { path: "net/ipv4/ip_forward", value: "1" },
        { path, value: "2" },
      ],
    );
    await refused(kernel, sysctl("net/ipv4/conf/nobody/rp_filter", "2"), "ENOENT");
  });
}

const TO_NODES: NftChain = {
  name: "to-nodes",
  rules: [[{ kind: "forward", field: "ip daddr", map: "nodes4", device: "vtep1024" }]],
};
const NODES: NftTable = {
  family: "netdev",
  name: "weft",
  chains: [
    TO_NODES,
    {
      name: "m-dcos",
      hook: { type: "filter", hook: "ingress", priority: 0, device: "m-dcos", policy: "accept" },
      rules: [[{ kind: "jump", chain: "to-nodes" }]],
    },
  ],
  maps: [{ name: "nodes4", type: "ipv4_addr", elements: [[ip("10.0.0.12"), ip("44.128.0.3")]] }],
};
const ELEMENTS = { family: "netdev", table: "weft", map: "nodes4", type: "ipv4_addr" } as const;

function nftTests(test: Test): void {
  const tables = async (kernel: Kernel): Promise<string> =>
    formatHostState({ ...EMPTY_HOST_STATE, tables: (await kernel.observe([])).tables });
  const text = (...list: NftTable[]): string => formatHostState({ ...EMPTY_HOST_STATE, tables: list });
  const devices: readonly KernelOp[] = [...WITH_VTEP, { op: "link.add", link: BRIDGE }];

  test("every statement is read back as it was written", async ({ kernel }) => {
    const host = desiredHost(seedInput(1)).tables.filter((table) => table.family !== "netdev");
    const odd: NftTable = {
      family: "ip",
      name: "weft",
      maps: [],
      chains: [
        {
          name: "odd",
          hook: { type: "filter", hook: "forward", priority: -5, policy: "drop" },
          rules: [
            [{ kind: "match", field: "ip saddr", op: "!=", prefix: cidr("44.128.0.0/20") }, { kind: "drop" }],
            [{ kind: "match", field: "ip daddr", op: "==", prefix: cidr("9.0.1.1/32") }, { kind: "accept" }],
            [{ kind: "oifname", device: "m-dcos" }, { kind: "return" }],
          ],
        },
      ],
    };
    await done(kernel, devices);
    for (const table of [...host, NODES]) await done(kernel, [{ op: "nft.table.replace", table }]);
    assert.equal(await tables(kernel), text(...host, NODES));
    await done(kernel, [{ op: "nft.table.replace", table: odd }]);
    assert.equal(await tables(kernel), text(odd, NODES, ...host.filter((table) => table.family === "ip6")));
  });

  test("replacing a table replaces all that is in it", async ({ kernel }) => {
    await done(kernel, [...devices, { op: "nft.table.replace", table: NODES }]);
    const smaller: NftTable = {
      ...NODES,
      chains: [TO_NODES],
      maps: [{ name: "nodes4", type: "ipv4_addr", elements: [] }],
    };
    await done(kernel, [{ op: "nft.table.replace", table: smaller }]);
    assert.equal(await tables(kernel), text(smaller));
    await done(kernel, [{ op: "nft.table.delete", family: "netdev", name: "weft" }]);
    assert.equal(await tables(kernel), "");
    await refused(kernel, { op: "nft.table.delete", family: "netdev", name: "weft" }, "ENOENT");
  });

  test("a chain is replaced alone, also its hook", async ({ kernel }) => {
    await done(kernel, [...devices, { op: "nft.table.replace", table: NODES }]);
    const chain: NftChain = {
      name: "m-dcos",
      hook: { type: "filter", hook: "ingress", priority: 7, device: "m-dcos", policy: "accept" },
      rules: [[{ kind: "accept" }]],
    };
    const emptied: NftChain = { name: "to-nodes", rules: [] };
    await done(kernel, [
      { op: "nft.chain.replace", family: "netdev", table: "weft", chain: emptied },
      { op: "nft.chain.replace", family: "netdev", table: "weft", chain },
    ]);
    assert.equal(await tables(kernel), text({ ...NODES, chains: [emptied, chain] }));
  });

  test("a chain is deleted when nothing jumps to it", async ({ kernel }) => {
    await done(kernel, [...devices, { op: "nft.table.replace", table: NODES }]);
    const remove = (chain: string): KernelOp => ({ op: "nft.chain.delete", family: "netdev", table: "weft", chain });
    await refused(kernel, remove("to-nodes"), "EBUSY");
    await done(kernel, [remove("m-dcos"), remove("to-nodes")]);
    await refused(kernel, remove("m-dcos"), "ENOENT");
    assert.equal(await tables(kernel), text({ ...NODES, chains: [] }));
  });

  test("elements come and go; one that is wrong changes nothing", async ({ kernel }) => {
    await done(kernel, [...devices, { op: "nft.table.replace", table: NODES }]);
    await done(kernel, [{ op: "nft.elements.add", ...ELEMENTS, elements: [[ip("10.0.0.13"), ip("44.128.0.4")]] }]);
    await refused(
      kernel,
      {
        op: "nft.elements.add",
        ...ELEMENTS,
        elements: [
          [ip("10.0.0.14"), ip("44.128.0.5")],
          [ip("10.0.0.12"), ip("44.128.0.9")],
        ],
      },
      "EEXIST",
    );
    await refused(
      kernel,
      { op: "nft.elements.delete", ...ELEMENTS, keys: [ip("10.0.0.12"), ip("10.0.0.99")] },
      "ENOENT",
    );
    await done(kernel, [{ op: "nft.elements.delete", ...ELEMENTS, keys: [ip("10.0.0.12")] }]);
    const elements = [[ip("10.0.0.13"), ip("44.128.0.4")]] as const;
    assert.equal(await tables(kernel), text({ ...NODES, maps: [{ name: "nodes4", type: "ipv4_addr", elements }] }));
  });

  test("what a rule or an element needs must be there", async ({ kernel }) => {
    const chain: NftChain = { name: "x", rules: [[{ kind: "jump", chain: "nowhere" }]] };
    await refused(kernel, { op: "nft.chain.replace", family: "netdev", table: "weft", chain }, "ENOENT");
    await refused(
      kernel,
      { op: "nft.elements.add", ...ELEMENTS, elements: [[ip("10.0.0.1"), ip("44.128.0.1")]] },
      "ENOENT",
    );
    await done(kernel, [{ op: "nft.table.replace", table: { ...NODES, chains: [], maps: [] } }]);
    await refused(kernel, { op: "nft.chain.replace", family: "netdev", table: "weft", chain }, "ENOENT");
    await done(kernel, devices);
    await refused(kernel, { op: "nft.chain.replace", family: "netdev", table: "weft", chain: TO_NODES }, "ENOENT");
    await refused(
      kernel,
      { op: "nft.elements.add", ...ELEMENTS, elements: [[ip("10.0.0.1"), ip("44.128.0.1")]] },
      "ENOENT",
    );
  });

  test("a rule that forwards to a device that was made again is seen to be stale", async ({ kernel }) => {
    await done(kernel, [...devices, { op: "nft.table.replace", table: NODES }]);
    await done(kernel, [{ op: "link.delete", name: "vtep1024" }, ...WITH_VTEP]);
    assert.notEqual(await tables(kernel), text(NODES));
    await done(kernel, [{ op: "nft.chain.replace", family: "netdev", table: "weft", chain: TO_NODES }]);
    assert.equal(await tables(kernel), text(NODES));
  });
}

function batchTests(test: Test): void {
  test("one operation that fails stops no other, and is named by its place", async ({ kernel }) => {
    // Where no IPv4 address is at all, Linux takes none for a gateway's.
    await done(kernel, [{ op: "link.add", link: BRIDGE }, address("m-dcos", "9.0.1.1/25")]);
    const failures = await kernel.apply([
      { op: "link.add", link: VTEP },
      { op: "link.add", link: VTEP },
      up("vtep1024"),
      route({ ...PEER_ROUTE, dev: "nobody" }),
      { op: "nft.table.delete", family: "ip", name: "weft" },
      route(PEER_ROUTE),
    ]);
    assert.deepEqual(
      failures.map(({ index, error }) => [index, error.code]),
      [
        [1, "EEXIST"],
        [3, "ENODEV"],
        [4, "ENOENT"],
      ],
    );
    assert.equal((await kernel.observe([])).routes.length, 1);
  });

  test("three thousand operations in one call, two of them wrong", async ({ kernel }) => {
    await done(kernel, WITH_VTEP);
    const peers = Array.from({ length: 1_000 }, (_, i) => ({ low: i + 3, subnet: `9.${i >> 8}.${i & 255}.0/24` }));
    const ops = peers.flatMap(({ low, subnet }): KernelOp[] => {
      const vtep = ip(`44.128.${low >> 8}.${low & 255}`);
      const peerMac = mac(`70:b3:d5:80:${hex(low >> 8)}:${hex(low & 255)}`);
      return [
        { op: "neighbor.replace", neighbor: { dev: "vtep1024", ip: vtep, mac: peerMac } },
        { op: "fdb.replace", entry: { dev: low === 500 ? "nobody" : "vtep1024", mac: peerMac, dst: ip("10.0.0.12") } },
        route({ ...PEER_ROUTE, dst: cidr(subnet), via: vtep, metric: low, dev: low === 900 ? "nobody" : "vtep1024" }),
      ];
    });
    const failures = await kernel.apply(ops);
    assert.deepEqual(
      failures.map(({ index }) => index),
      [497 * 3 + 1, 897 * 3 + 2],
    );
    const state = await kernel.observe([]);
    assert.deepEqual([state.neighbors.length, state.fdb.length, state.routes.length], [1_000, 999, 999]);
  });

  test("a change is told to whoever watches, and not after the watch is closed", async ({ kernel, newNetns }) => {
    const seen = new Set<string>();
    let told = (): void => {};
    const watch = kernel.watch(({ kind }) => {
      seen.add(kind);
      told();
    });
    const heard = async (kind: string, ops: readonly KernelOp[]): Promise<void> => {
      seen.clear();
      await done(kernel, ops);
      while (!seen.has(kind)) await new Promise<void>((resolve) => (told = resolve));
    };
    await heard("link", [{ op: "link.add", link: VTEP }, up("vtep1024")]);
    await heard("address", WITH_VTEP.slice(2));
    await heard("route", [route(PEER_ROUTE)]);
    await heard("neighbor", [neighbor("vtep1024", "44.128.0.3")]);
    await heard("nftables", [{ op: "nft.table.replace", table: { ...NODES, chains: [TO_NODES] } }]);
    watch.close();
    seen.clear();
    const other = await kernel.enter(await newNetns());
    await done(kernel, [{ op: "link.delete", name: "vtep1024" }]);
    await other.observe([]);
    assert.deepEqual([...seen], []);
    other.close();
  });
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

function convergenceTests(test: Test): void {
  test("a whole host, and a container in it, are as desired after one pass, and need no second", async (world) => {
    const { kernel, newNetns } = world;
    const { ip: _, ...addressless } = SEED_ATTACHMENT;
    const attachments: Attachment[] = [
      { ...SEED_ATTACHMENT, netns: await newNetns() },
      {
        ...addressless,
        containerId: "c2",
        network: "dcos6",
        netns: await newNetns(),
        hostIfname: "weft02",
        ip6: ip("fd01:b::1:0:0:2"),
      },
    ];
    const whole = { ...seedInput(1), attachments };
    await pass(kernel, async () => {
      const observed = await kernel.observe(sysctlPaths(whole));
      return [observed, desiredHost({ ...whole, observed })];
    });
    for (const each of attachments) {
      const inner = await kernel.enter(each.netns);
      const desired = desiredContainer(each, seedContext(1));
      const paths = desired.sysctls.map(({ path }) => path);
      await pass(inner, async () => [await inner.observe(paths), desired]);
      inner.close();
    }
  });
}

/** One pass that must succeed, and a second that must find nothing to do. */
async function pass(kernel: Kernel, read: () => Promise<[observed: HostState, desired: HostState]>): Promise<void> {
  await done(kernel, diff(...(await read())));
  assert.deepEqual(diff(...(await read())), []);
}
