/**
 * nftables objects written to the real kernel: `nft` prints what we meant, and what is read back is what was written.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { KernelOp, NftTable } from "../../src/core/host/host-state.ts";
import { cidr, ip } from "../../src/model/ip.ts";
import { add, applyAll, byText, openWithDevices, VTEP } from "../support/kernel-objects.ts";
import { labOrReason } from "../support/lab.ts";
import { PORTS, PORTS6, SPOOFING } from "../support/nft-tables.ts";

const skip = await labOrReason();

const IP_TABLE: NftTable = {
  family: "ip",
  name: "weft",
  maps: [],
  chains: [
    {
      name: "raw-prerouting",
      hook: { type: "filter", hook: "prerouting", priority: -300, policy: "accept" },
      rules: [
        [
          { kind: "match", field: "ip saddr", op: "==", prefix: cidr("9.0.0.0/8") },
          { kind: "match", field: "ip daddr", op: "!=", prefix: cidr("44.128.0.0/20") },
          { kind: "notrack" },
        ],
        [{ kind: "range", field: "udp dport", first: 64_000, last: 64_000 }, { kind: "notrack" }],
        [{ kind: "iifname", device: "vtep1024" }, { kind: "drop" }],
      ],
    },
    {
      name: "postrouting",
      hook: { type: "nat", hook: "postrouting", priority: 100, policy: "accept" },
      rules: [
        [{ kind: "oifname", device: "vtep1024" }, { kind: "return" }],
        [{ kind: "match", field: "ip saddr", op: "==", prefix: cidr("9.0.1.1/32") }, { kind: "accept" }],
        [{ kind: "match", field: "ip saddr", op: "==", prefix: cidr("0.0.0.0/0") }, { kind: "masquerade" }],
        [{ kind: "jump", chain: "more" }],
      ],
    },
    { name: "more", rules: [] },
  ],
};
const IP6_TABLE: NftTable = {
  family: "ip6",
  name: "weft",
  maps: [],
  chains: [
    {
      name: "raw-output",
      hook: { type: "filter", hook: "output", priority: -300, policy: "drop" },
      rules: [
        [{ kind: "match", field: "ip6 daddr", op: "==", prefix: cidr("fd01:b::/64") }, { kind: "notrack" }],
        [{ kind: "match", field: "ip6 saddr", op: "==", prefix: cidr("fd01:b::/81") }, { kind: "accept" }],
      ],
    },
  ],
};
const NETDEV_TABLE: NftTable = {
  family: "netdev",
  name: "weft",
  maps: [
    { name: "nodes4", type: "ipv4_addr : ipv4_addr", elements: [[ip("10.0.0.2"), ip("44.128.0.2")]] },
    { name: "nodes6", type: "ipv6_addr : ipv6_addr", elements: [[ip("fd00::2"), ip("fd01:a::2")]] },
  ],
  chains: [
    {
      name: "to-nodes",
      rules: [
        [{ kind: "forward", field: "ip daddr", map: "nodes4", device: "vtep1024" }],
        [{ kind: "forward", field: "ip6 daddr", map: "nodes6", device: "vtep1024" }],
        [{ kind: "match", field: "ip saddr", op: "!=", prefix: cidr("9.0.1.0/25") }, { kind: "drop" }],
      ],
    },
    {
      name: "m-dcos",
      hook: { type: "filter", hook: "ingress", priority: 0, device: "m-dcos", policy: "accept" },
      rules: [[{ kind: "jump", chain: "to-nodes" }]],
    },
  ],
};

test("`nft` lists the rules as we would type them, and they read back equal", { skip }, async (t) => {
  const { kernel, run } = await openWithDevices(t);
  const tables = [IP_TABLE, IP6_TABLE, NETDEV_TABLE];
  await applyAll(
    kernel,
    tables.map((table): KernelOp => ({ op: "nft.table.replace", table })),
  );
  assert.equal(
    run("nft", "-n", "list", "ruleset").replaceAll(/\s+/g, " ").trim(),
    `table ip weft { chain raw-prerouting { type filter hook prerouting priority -300; policy accept;
      ip saddr 9.0.0.0/8 ip daddr != 44.128.0.0/20 notrack
      udp dport 64000 notrack
      iifname "vtep1024" drop }
    chain postrouting { type nat hook postrouting priority 100; policy accept;
      oifname "vtep1024" return
      ip saddr 9.0.1.1 accept
      ip saddr 0.0.0.0/0 masquerade
      jump more }
    chain more { } }
    table ip6 weft { chain raw-output { type filter hook output priority -300; policy drop;
      ip6 daddr fd01:b::/64 notrack
      ip6 saddr fd01:b::/81 accept } }
    table netdev weft {
      map nodes4 { type ipv4_addr : ipv4_addr elements = { 10.0.0.2 : 44.128.0.2 } }
      map nodes6 { type ipv6_addr : ipv6_addr elements = { fd00::2 : fd01:a::2 } }
      chain to-nodes {
        fwd ip to ip daddr map @nodes4 device "vtep1024"
        fwd ip6 to ip6 daddr map @nodes6 device "vtep1024"
        ip saddr != 9.0.1.0/25 drop }
      chain m-dcos { type filter hook ingress device "m-dcos" priority 0; policy accept;
        jump to-nodes } }`.replaceAll(/\s+/g, " "),
  );
  assert.deepEqual(byText((await kernel.observe([])).tables), byText(tables));
});

test("`nft` lists host ports and the rules against spoofing as we would type them", { skip }, async (t) => {
  const { kernel, run } = await openWithDevices(t);
  const tables = [PORTS, PORTS6, SPOOFING];
  await applyAll(
    kernel,
    tables.map((table): KernelOp => ({ op: "nft.table.replace", table })),
  );
  assert.equal(
    run("nft", "-n", "list", "ruleset").replaceAll(/\s+/g, " ").trim(),
    `table ip weft {
      map ports { type inet_proto . inet_service : ipv4_addr . inet_service
        elements = { 6 . 8080 : 9.0.1.2 . 80 } }
      map ports-at { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
        elements = { 10.0.0.11 . 17 . 65535 : 9.0.1.2 . 1 } }
    chain host-ports {
      dnat ip to ip daddr . meta l4proto . th dport map @ports-at
      dnat ip to meta l4proto . th dport map @ports }
    chain prerouting { type nat hook prerouting priority -100; policy accept;
      fib daddr type 2 jump host-ports }
    chain postrouting { type nat hook postrouting priority 100; policy accept;
      ct status 0x20 ip saddr 9.0.0.0/8 masquerade } }
    table ip6 weft {
      map ports { type inet_proto . inet_service : ipv6_addr . inet_service
        elements = { 6 . 8080 : fd01:b::2 . 80 } }
      map ports-at { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service
        elements = { fd00::11 . 17 . 53 : fd01:b::2 . 53 } }
    chain host-ports {
      dnat ip6 to ip6 daddr . meta l4proto . th dport map @ports-at
      dnat ip6 to meta l4proto . th dport map @ports }
    chain output { type nat hook output priority -100; policy accept;
      fib daddr type 2 jump host-ports } }
    table netdev weft {
    chain m-dcos { type filter hook ingress device "m-dcos" priority 0; policy drop;
      ether saddr != 02:57:09:00:01:02 drop
      icmp type 5 drop
      icmpv6 type 133-137 drop
      udp sport 67 drop
      tcp sport 80-8080 accept } }`.replaceAll(/\s+/g, " "),
  );
  assert.deepEqual(byText((await kernel.observe([])).tables), byText(tables));
});

test("chains and elements change alone; a flushed rule set is seen", { skip }, async (t) => {
  const { kernel, run } = await openWithDevices(t);
  await applyAll(kernel, [
    { op: "nft.table.replace", table: NETDEV_TABLE },
    { op: "nft.table.replace", table: IP_TABLE },
  ]);
  const inNetdev = { family: "netdev", table: "weft" } as const;
  const hooked = NETDEV_TABLE.chains[1];
  assert.ok(hooked?.hook !== undefined);
  const changed = { ...hooked, hook: { ...hooked.hook, priority: 5 }, rules: [] };
  const toNodes = { name: "to-nodes", rules: [[{ kind: "accept" } as const]] };
  await applyAll(kernel, [
    { op: "nft.chain.replace", ...inNetdev, chain: changed },
    { op: "nft.chain.replace", ...inNetdev, chain: toNodes },
    {
      op: "nft.elements.add",
      ...inNetdev,
      map: "nodes4",
      type: "ipv4_addr : ipv4_addr",
      elements: [[ip("10.0.0.3"), ip("44.128.0.3")]],
    },
    { op: "nft.elements.delete", ...inNetdev, map: "nodes4", type: "ipv4_addr : ipv4_addr", keys: [ip("10.0.0.2")] },
    { op: "nft.table.delete", family: "ip", name: "weft" },
  ]);
  const [table, ...others] = (await kernel.observe([])).tables;
  assert.deepEqual(others, []);
  assert.deepEqual(table?.chains, [toNodes, changed]);
  assert.deepEqual(table?.maps[0]?.elements, [["10.0.0.3", "44.128.0.3"]]);
  await applyAll(kernel, [{ op: "nft.chain.delete", ...inNetdev, chain: "m-dcos" }]);
  assert.deepEqual((await kernel.observe([])).tables[0]?.chains, [toNodes]);
  run("nft", "flush", "ruleset");
  assert.deepEqual((await kernel.observe([])).tables, []);
});

test("what we would never write is unknown, and other tables are not looked at", { skip }, async (t) => {
  const { kernel, run } = await openWithDevices(t);
  await applyAll(kernel, [
    { op: "nft.table.replace", table: IP_TABLE },
    { op: "nft.table.replace", table: NETDEV_TABLE },
  ]);
  run("nft", "add", "rule", "ip", "weft", "more", "ip", "saddr", "9.9.9.9", "log", "drop");
  run("nft", "add", "rule", "ip", "weft", "more", "tcp", "dport", "!=", "22", "accept");
  run("nft", "add", "table", "ip", "other");
  run("nft", "add", "chain", "ip", "weft", "odd", "{ type route hook output priority 3; }");
  run("nft", "add", "set", "ip", "weft", "numbers", "{ type inet_service; }");
  run(
    "nft",
    "add",
    "chain",
    "netdev",
    "weft",
    "two",
    "{ type filter hook ingress devices = { lo, m-dcos } priority 3; }",
  );
  const { tables } = await kernel.observe([]);
  assert.deepEqual(
    tables.map(({ family, name }) => `${family} ${name}`),
    ["ip weft", "netdev weft"],
  );
  const two = tables[1]?.chains.find(({ name }) => name === "two");
  assert.deepEqual(two?.hook, { type: "filter", hook: "ingress", priority: 3, policy: "accept" });
  const table = tables[0];
  assert.deepEqual(table?.maps, []);
  assert.deepEqual(table?.chains.find(({ name }) => name === "more")?.rules, [
    [
      { kind: "match", field: "ip saddr", op: "==", prefix: "9.9.9.9/32" },
      { kind: "unknown", text: "log verdict" },
    ],
    [{ kind: "unknown", text: "meta cmp payload cmp verdict" }],
  ]);
  assert.deepEqual(table?.chains.find(({ name }) => name === "odd")?.rules, [
    [{ kind: "unknown", text: "a hook of another kind" }],
  ]);

  // The device of a forward is made anew: the rule still names the old one, so it is not what is wanted any more.
  await applyAll(kernel, [{ op: "link.delete", name: "vtep1024" }, ...add(VTEP)]);
  const rules = async () =>
    (await kernel.observe([])).tables
      .find(({ family }) => family === "netdev")
      ?.chains.find(({ name }) => name === "to-nodes")?.rules;
  assert.equal((await rules())?.[0]?.[0]?.kind, "unknown");
  const [toNodes] = NETDEV_TABLE.chains;
  assert.ok(toNodes !== undefined);
  await applyAll(kernel, [{ op: "nft.chain.replace", family: "netdev", table: "weft", chain: toNodes }]);
  assert.deepEqual(await rules(), toNodes.rules);
});
