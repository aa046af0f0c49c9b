/** Addresses, routes, rules, neighbours, FDB entries and sysctls, with what the kernel does to them by itself. */
import assert from "node:assert/strict";
import { formatHostState } from "../../src/core/host/format.ts";
import { EMPTY_HOST_STATE, type Route } from "../../src/core/host/host-state.ts";
import { addressOf, cidr, ip, ipInterface } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import {
  address,
  BRIDGE,
  done,
  neighbor,
  PEER_MAC,
  PEER_ROUTE,
  PEER_ROUTE6,
  refused,
  route,
  shown,
  sysctl,
  type Test,
  up,
  VTEP,
  WITH_VTEP,
} from "./kernel-contract-objects.ts";

export function addressTests(test: Test): void {
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

  test("the first IPv4 address of a prefix takes the later ones of the prefix with it", async ({ kernel }) => {
    // A host may have it otherwise by default, and new namespaces inherit that.
    const unpromoted = ["all", "vtep1024"].map((dev) => sysctl(`net/ipv4/conf/${dev}/promote_secondaries`, "0"));
    await done(kernel, [
      ...WITH_VTEP,
      ...unpromoted,
      address("vtep1024", "44.128.0.3/20"),
      address("vtep1024", "7.0.0.1/8"),
    ]);
    await done(kernel, [{ op: "address.delete", address: { dev: "vtep1024", address: ipInterface("44.128.0.2/20") } }]);
    assert.deepEqual(await shown(kernel, "addr"), ["addr 7.0.0.1/8 dev vtep1024", "addr fd01:a::2/64 dev vtep1024"]);
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

export function routeTests(test: Test): void {
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

  test("a table of its own has its gateway on the link, a link-local one too", async ({ kernel, newNetns }) => {
    const netns = await newNetns();
    const inside = await kernel.enter(netns);
    const peer = { netns, name: "net1", mac: PEER_MAC, mtu: 1450 };
    await done(kernel, [{ op: "link.add", link: { kind: "veth", name: "weft1", up: true, peer } }, up("weft1")]);
    await done(inside, [up("net1"), address("net1", "9.0.1.2/32"), address("net1", "fd77::5/128")]);
    for (const [gateway, all] of [
      ["9.0.1.1/32", "0.0.0.0/0"],
      ["fe80::57:1/128", "::/0"],
    ] as const) {
      const toGateway = { dst: cidr(gateway), table: 871, metric: 1025, type: "unicast", dev: "net1" } as const;
      const out = { ...toGateway, dst: cidr(all), via: addressOf(cidr(gateway)) };
      // What is link-local is on every link.
      if (all === "0.0.0.0/0") await refused(inside, route(out), "ENETUNREACH");
      else await done(inside, [route(out)]);
      await done(inside, [route(toGateway), route(out)]);
    }
    await done(inside, [neighbor("net1", "9.0.1.1"), neighbor("net1", "fe80::57:1")]);
    assert.deepEqual(await shown(inside, "route", "neigh"), [
      "route ::/0 via fe80::57:1 dev net1 table 871 proto 87 metric 1025",
      "route 0.0.0.0/0 via 9.0.1.1 dev net1 table 871 proto 87 metric 1025",
      "route 9.0.1.1/32 dev net1 table 871 proto 87 metric 1025",
      "route fe80::57:1/128 dev net1 table 871 proto 87 metric 1025",
      `neigh 9.0.1.1 dev net1 lladdr ${PEER_MAC} PERMANENT`,
      `neigh fe80::57:1 dev net1 lladdr ${PEER_MAC} PERMANENT`,
    ]);
    inside.close();
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

export function forwardingEntryTests(test: Test): void {
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

export function sysctlTests(test: Test): void {
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

  test("ip_forward is the word for every device and for later ones, once; a device keeps its own after that", async ({
    kernel,
  }) => {
    const conf = (dev: string) => `net/ipv4/conf/${dev}/forwarding`;
    const paths = ["net/ipv4/ip_forward", ...["default", "lo", "m-dcos", "m-new"].map(conf)];
    const read = async () => (await kernel.observe(paths)).sysctls.map(({ value }) => value).join(" ");
    await done(kernel, [{ op: "link.add", link: BRIDGE }]);
    await done(kernel, [sysctl("net/ipv4/ip_forward", "1"), sysctl("net/ipv4/ip_forward", "0")]);
    assert.equal(await read(), "0 0 0 0");
    await done(kernel, [sysctl(conf("default"), "1"), { op: "link.add", link: { ...BRIDGE, name: "m-new" } }]);
    assert.equal(await read(), "0 1 0 0 1");
    await done(kernel, [sysctl(conf("m-dcos"), "1"), sysctl("net/ipv4/ip_forward", "0")]);
    assert.equal(await read(), "0 1 0 1 1");
    await done(kernel, [sysctl("net/ipv4/ip_forward", "1"), sysctl(conf("lo"), "0")]);
    assert.equal(await read(), "1 1 0 1 1");
    await done(kernel, [sysctl("net/ipv4/ip_forward", "0")]);
    assert.equal(await read(), "0 0 0 0 0");
  });

  test("each setting of a device is read as it was written, and none for another", async ({ kernel }) => {
    await done(kernel, [{ op: "link.add", link: BRIDGE }]);
    const settings = { forwarding: "1", rp_filter: "2", promote_secondaries: "1", route_localnet: "1" };
    const paths = [
      ...Object.keys(settings).map((name) => `net/ipv4/conf/m-dcos/${name}`),
      ...["accept_ra", "disable_ipv6"].map((name) => `net/ipv6/conf/m-dcos/${name}`),
    ];
    const values = [...Object.values(settings), "2", "1"];
    const read = async () => (await kernel.observe(paths)).sysctls.map(({ value }) => value);
    let expected = await read();
    for (const [i, path] of paths.entries()) {
      assert.notEqual(expected[i], values[i], `${path} is about to change`);
      await done(kernel, [sysctl(path, values[i] ?? "")]);
      expected = expected.with(i, values[i] ?? "");
      assert.deepEqual(await read(), expected, path);
    }
  });
}
