/** nftables: what is written is read back, and what a rule needs must be there. */
import assert from "node:assert/strict";
import { formatHostState } from "../../src/core/host/format.ts";
import {
  EMPTY_HOST_STATE,
  type KernelOp,
  type NftChain,
  type NftHook,
  type NftRule,
  type NftTable,
  type NftValue,
} from "../../src/core/host/host-state.ts";
import { desiredHost } from "../../src/core/overlay/desired.ts";
import type { Kernel } from "../../src/io/ports.ts";
import { cidr, ip } from "../../src/model/ip.ts";
import { PORTS, PORTS6, SPOOFING } from "../support/nft-tables.ts";
import { seedInput } from "../support/seed-cluster.ts";
import { BRIDGE, done, refused, type Test, WITH_VTEP } from "./kernel-contract-objects.ts";

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
  maps: [{ name: "nodes4", type: "ipv4_addr : ipv4_addr", elements: [[ip("10.0.0.12"), ip("44.128.0.3")]] }],
};
const ELEMENTS = { family: "netdev", table: "weft", map: "nodes4", type: "ipv4_addr : ipv4_addr" } as const;

export function nftTests(test: Test): void {
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
            [{ kind: "ct direction reply" }, { kind: "accept" }],
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

  test("the statements and maps of host ports, at the hooks that allow them", async ({ kernel }) => {
    await done(kernel, devices);
    for (const table of [PORTS, PORTS6, SPOOFING]) await done(kernel, [{ op: "nft.table.replace", table }]);
    assert.equal(await tables(kernel), text(PORTS, PORTS6, SPOOFING));
    const chain = (hook: NftHook, ...rule: NftRule): KernelOp => ({
      op: "nft.chain.replace",
      family: "ip",
      table: "weft",
      chain: { name: "wrong", hook, rules: [rule] },
    });
    const dnat = PORTS.chains[0]?.rules[0]?.[0];
    assert.ok(dnat?.kind === "dnat");
    const nat = { type: "nat", priority: 0, policy: "accept" } as const;
    const toPorts = { kind: "jump", chain: "host-ports" } as const;
    await refused(kernel, chain({ ...nat, hook: "postrouting" }, dnat), "ENOTSUP");
    await refused(kernel, chain({ ...nat, hook: "input" }, toPorts), "ENOTSUP");
    await refused(kernel, chain({ ...nat, type: "filter", hook: "output" }, toPorts), "ENOTSUP");
    await refused(kernel, chain({ ...nat, hook: "output" }, { kind: "masquerade" }), "ENOTSUP");
    await refused(kernel, chain({ ...nat, hook: "output" }, { ...dnat, map: "nowhere" }), "ENOENT");
    await refused(kernel, chain({ ...nat, hook: "output" }, { ...dnat, family: "ip6" }), "ENOTSUP");
    await done(kernel, [chain({ ...nat, hook: "output" }, toPorts)]);
    const untracked: NftChain = { name: "wrong", rules: [[{ kind: "ct status dnat" }]] };
    await refused(kernel, { op: "nft.chain.replace", family: "netdev", table: "weft", chain: untracked }, "EPROTO");
  });

  test("elements of concatenations come and go one by one", async ({ kernel }) => {
    await done(kernel, [{ op: "nft.table.replace", table: PORTS }]);
    const ports = { family: "ip", table: "weft", map: "ports", type: PORTS.maps[0]?.type ?? assert.fail() } as const;
    const add = (key: NftValue, value: NftValue): KernelOp => ({
      op: "nft.elements.add",
      ...ports,
      elements: [[key, value]],
    });
    await done(kernel, [add("tcp . 53", `${ip("9.0.1.3")} . 5353`)]);
    await refused(kernel, add("tcp . 53", `${ip("9.0.1.4")} . 5353`), "EEXIST");
    await refused(kernel, add("tcp . 53", `${ip("9.0.1.3")} . 5353`), "EEXIST");
    await done(kernel, [{ op: "nft.elements.delete", ...ports, keys: ["tcp . 8080"] }]);
    await refused(kernel, { op: "nft.elements.delete", ...ports, keys: ["udp . 53", "tcp . 53"] }, "ENOENT");
    assert.deepEqual((await kernel.observe([])).tables[0]?.maps.find(({ name }) => name === "ports")?.elements, [
      ["tcp . 53", `${ip("9.0.1.3")} . 5353`],
    ]);
  });

  test("maps of verdicts: the chains that they lead to and the rules that ask them hold each other", async ({
    kernel,
  }) => {
    const at = { family: "ip", table: "weft" } as const;
    const verdicts = { ...at, map: "networks4-16", type: "ipv4_addr : verdict" } as const;
    const closed: NftChain = { name: "to4-closed", rules: [[{ kind: "drop" }]] };
    const gate: NftChain = {
      name: "forward",
      hook: { type: "filter", hook: "forward", priority: 0, policy: "accept" },
      rules: [
        [{ kind: "vmap", field: "ip daddr", length: 16, map: "networks4-16" }],
        [{ kind: "vmap", field: "ip saddr", length: 32, map: "networks4-16" }],
      ],
    };
    const elements = [
      [ip("9.1.0.0"), "jump to4-closed"],
      [ip("9.2.0.0"), "drop"],
      [ip("9.3.0.0"), "accept"],
    ] as const;
    const whole: NftTable = {
      family: "ip",
      name: "weft",
      chains: [closed, gate],
      maps: [{ name: "networks4-16", type: "ipv4_addr : verdict", elements }],
    };
    await done(kernel, [{ op: "nft.table.replace", table: whole }]);
    assert.equal(await tables(kernel), text(whole));
    await done(kernel, [{ op: "nft.table.replace", table: { ...whole, chains: [], maps: [] } }]);
    await refused(kernel, { op: "nft.chain.replace", ...at, chain: gate }, "ENOENT");
    await done(kernel, [{ op: "nft.map.add", ...verdicts }]);
    await refused(kernel, { op: "nft.map.add", ...verdicts }, "EEXIST");
    await refused(kernel, { op: "nft.elements.add", ...verdicts, elements }, "ENOENT");
    await done(kernel, [
      { op: "nft.chain.replace", ...at, chain: closed },
      { op: "nft.elements.add", ...verdicts, elements },
      { op: "nft.chain.replace", ...at, chain: gate },
    ]);
    assert.equal(await tables(kernel), text(whole));
    await refused(kernel, { op: "nft.chain.delete", ...at, chain: "to4-closed" }, "EBUSY");
    await refused(kernel, { op: "nft.map.delete", ...at, map: "networks4-16" }, "EBUSY");
    await done(kernel, [
      { op: "nft.elements.delete", ...verdicts, keys: [ip("9.1.0.0")] },
      { op: "nft.chain.delete", ...at, chain: "to4-closed" },
      { op: "nft.chain.delete", ...at, chain: "forward" },
      { op: "nft.map.delete", ...at, map: "networks4-16" },
    ]);
    await refused(kernel, { op: "nft.map.delete", ...at, map: "networks4-16" }, "ENOENT");
    assert.equal(await tables(kernel), text({ ...whole, chains: [], maps: [] }));
  });

  test("replacing a table replaces all that is in it", async ({ kernel }) => {
    await done(kernel, [...devices, { op: "nft.table.replace", table: NODES }]);
    const smaller: NftTable = {
      ...NODES,
      chains: [TO_NODES],
      maps: [{ name: "nodes4", type: "ipv4_addr : ipv4_addr", elements: [] }],
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
    assert.equal(
      await tables(kernel),
      text({ ...NODES, maps: [{ name: "nodes4", type: "ipv4_addr : ipv4_addr", elements }] }),
    );
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
