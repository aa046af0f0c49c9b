import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { AgentRecord } from "../../model/cluster.ts";
import { cidr, type Ip, ip, overlaps } from "../../model/ip.ts";
import { prefixesOf } from "../../model/network.ts";
import { type NetworkSource, networkOfSource, type OverlaySource } from "../../model/network-source.ts";
import { isWithin, type Reservation } from "../../model/reservation.ts";
import { Allocator } from "./allocate.ts";
import { reconfigure } from "./reconfigure.ts";

const DCOS: OverlaySource = { name: "dcos", subnet: "9.0.0.0/8", prefix: 24, enabled: true };
const DCOS6: OverlaySource = { name: "dcos6", subnet6: "fd01:b::/64", prefix6: 80, enabled: true };
const STORED: NetworkSource = {
  vtep_subnet: "44.128.0.0/20",
  vtep_subnet6: "fd01:a::/64",
  vtep_mac_oui: "70:B3:D5:00:00:00",
  overlays: [DCOS, DCOS6],
};

/** One agent that has all enabled networks of `source`. */
function agents(source: NetworkSource): AgentRecord[] {
  const registrant = {
    id: "agent-1",
    ip: ip("10.0.0.1"),
    hostname: "host-1",
    networkConfig: { allocateSubnet: true, mesosBridge: true, dockerBridge: true },
  };
  const { record } = new Allocator(networkOfSource(source)).register(registrant, undefined);
  assert.ok(record !== undefined);
  return [record];
}

/** The change applied to a cluster with one agent; it must leave a configuration that the agent's record fits. */
function change(file: NetworkSource, stored = STORED) {
  const records = agents(stored);
  const result = reconfigure(stored, records, file);
  Allocator.restore(networkOfSource(result.network), records);
  return result;
}

const file = (delta: Partial<NetworkSource>): NetworkSource => ({ ...STORED, ...delta });

test("at the first start, and as long as there is no agent, the file is in force", () => {
  const other = file({ vtep_subnet: "10.0.0.0/20", overlays: [DCOS6] });
  assert.deepEqual(reconfigure(undefined, [], other), { network: other, refused: [] });
  assert.deepEqual(reconfigure(STORED, [], other), { network: other, refused: [] });
});

test("an unchanged file changes nothing", () => {
  assert.deepEqual(change(STORED), { network: STORED, refused: [] });
});

test("additions are taken: a network, a family of a network in use, a pool of IPv6 VTEPs, an MTU, an OUI", () => {
  const { vtep_subnet6: _, ...four } = file({ overlays: [DCOS] });
  const more: NetworkSource = {
    ...STORED,
    vtep_mtu: 9000,
    vtep_mac_oui: "02:00:00:00:00:00",
    overlays: [
      { name: "new", subnet: "192.168.0.0/16", prefix: 24, enabled: true },
      { ...DCOS, subnet6: "fd01:c::/64", prefix6: 80 },
    ],
  };
  assert.deepEqual(change(more, four), { network: more, refused: [] });
});

test("a network in use may be disabled, and written in other words", () => {
  const disabled = file({
    overlays: [
      { ...DCOS, enabled: false },
      { ...DCOS6, subnet6: "FD01:B:0::/64" },
    ],
  });
  assert.deepEqual(change(disabled), { network: disabled, refused: [] });
});

test("the removal of a network in use is refused, and the rest of the file is in force", () => {
  const extra: OverlaySource = { name: "extra", subnet: "10.1.0.0/16", prefix: 24, enabled: true };
  const { network, refused } = change(file({ overlays: [extra, DCOS6] }));
  assert.deepEqual(network.overlays, [extra, DCOS6, DCOS]);
  assert.deepEqual(refused, [
    "network dcos: it cannot be removed while 1 agent has a share of it; its stored definition stays in force until those agents are deleted and the change is made again",
  ]);
});

test("an incompatible change of a network in use is refused", () => {
  const rows: [OverlaySource, RegExp][] = [
    [
      { ...DCOS, prefix: 26 },
      /^network dcos: it cannot change from 9.0.0.0\/8 in \/24 to 9.0.0.0\/8 in \/26 while 1 agent/,
    ],
    [{ ...DCOS, subnet: "10.0.0.0/8" }, /to 10.0.0.0\/8 in \/24/],
    [{ name: "dcos", subnet6: "fd01:c::/64", prefix6: 80, enabled: true }, /to nothing while/],
  ];
  for (const [after, sentence] of rows) {
    const { network, refused } = change(file({ overlays: [after, DCOS6] }));
    assert.deepEqual(network, STORED);
    assert.equal(refused.length, 1);
    assert.match(refused[0] ?? "", sentence);
  }
});

test("a pool of VTEP addresses in use stays as it is", () => {
  const { vtep_subnet6: _, ...noVtep6 } = STORED;
  const rows: [NetworkSource, RegExp][] = [
    [file({ vtep_subnet: "10.0.0.0/20" }), /^vtep_subnet: 44.128.0.0\/20 cannot become 10.0.0.0\/20 while 1 agent has/],
    [file({ vtep_subnet6: "fd01:c::/64" }), /^vtep_subnet6: fd01:a::\/64 cannot become fd01:c::\/64/],
    [noVtep6, /^vtep_subnet6: fd01:a::\/64 cannot go/],
  ];
  for (const [after, sentence] of rows) {
    const { network, refused } = change(after);
    assert.deepEqual(network, STORED);
    assert.equal(refused.length, 1);
    assert.match(refused[0] ?? "", sentence);
  }
});

test("a network that nobody uses may change or go", () => {
  const idle: OverlaySource = { name: "idle", subnet: "10.1.0.0/16", prefix: 24, enabled: false };
  const stored = file({ overlays: [DCOS, DCOS6, idle] });
  const changed = file({ overlays: [DCOS, DCOS6, { ...idle, subnet: "10.2.0.0/16", enabled: true }] });
  assert.deepEqual(change(changed, stored), { network: changed, refused: [] });
  assert.deepEqual(change(STORED, stored), { network: STORED, refused: [] });
});

test("what is in the way of a kept network is refused, and an idle one falls back to what it was", () => {
  const idle: OverlaySource = { name: "idle", subnet: "10.1.0.0/16", prefix: 24, enabled: false };
  const stored = file({ overlays: [DCOS, DCOS6, idle] });
  const inDcos: OverlaySource = { name: "new", subnet: "9.1.0.0/16", prefix: 24, enabled: true };
  const { network, refused } = change(
    file({
      overlays: [DCOS6, inDcos, { ...idle, subnet: "9.2.0.0/16" }, { ...DCOS, name: "DCOS", subnet: "11.0.0.0/8" }],
    }),
    stored,
  );
  assert.deepEqual(network.overlays, [DCOS6, idle, DCOS]);
  assert.deepEqual(refused.slice(1), [
    "network new: 9.1.0.0/16 overlaps 9.0.0.0/8 of network dcos, which stays; it is not added",
    "network idle: 9.2.0.0/16 overlaps 9.0.0.0/8 of network dcos, which stays; it is not changed",
    "network DCOS: its name differs only by case from dcos, which stays; it is not added",
  ]);
});

test("a family or a VTEP pool that would overlap what stays is not added", () => {
  const { vtep_subnet6: _, ...four } = file({
    overlays: [DCOS, { name: "six", subnet6: "fd05::/64", prefix6: 80, enabled: true }],
  });
  const after = file({ vtep_subnet6: "fd05::/64", overlays: [{ ...DCOS, subnet6: "fd05:0:0:0:1::/80", prefix6: 96 }] });
  const { network, refused } = change(after, four);
  assert.deepEqual(network.overlays, four.overlays);
  assert.equal(network.vtep_subnet6, undefined);
  assert.equal(refused.length, 3);
  assert.match(
    refused.join("\n"),
    /vtep_subnet6: fd05::\/64 overlaps fd05::\/64 of network six, which stays; it is not added/,
  );
});

test("whatever two files say, every record still fits, and nothing overlaps", () => {
  const overlay = fc
    .record({
      name: fc.constantFrom("a", "A", "b", "c"),
      four: fc.option(fc.constantFrom("10.0.0.0/16", "10.0.0.0/17", "10.1.0.0/16", "10.0.0.0/8"), { nil: undefined }),
      six: fc.option(fc.constantFrom("fd02::/64", "fd02::/72", "fd03::/64"), { nil: undefined }),
      prefix: fc.constantFrom(24, 26),
      enabled: fc.boolean(),
    })
    .map(
      ({ name, four, six, prefix, enabled }): OverlaySource => ({
        name,
        ...((four !== undefined || six === undefined) && { subnet: four ?? "11.0.0.0/16", prefix }),
        ...(six !== undefined && { subnet6: six, prefix6: 80 }),
        enabled,
      }),
    );
  const source = fc
    .record({
      vtep_subnet: fc.constantFrom("44.0.0.0/24", "44.0.0.0/25", "11.0.0.0/24"),
      vtep_subnet6: fc.constantFrom("fd01::/64", "fd01:1::/64"),
      vtep_mac_oui: fc.constant("70:B3:D5:00:00:00"),
      overlays: fc.uniqueArray(overlay, { selector: ({ name }) => name.toLowerCase(), minLength: 1, maxLength: 4 }),
    })
    .filter((each) => disjoint(each));
  fc.assert(
    fc.property(source, source, (stored, after) => {
      const { network, refused } = change(after, stored);
      assert.ok(disjoint(network), JSON.stringify(network));
      assert.equal(refused.length === 0, JSON.stringify(network) === JSON.stringify(after), refused.join("\n"));
      assert.deepEqual(change(network, stored).refused, [], "what is in force is no change");
      const kept = stored.overlays.flatMap(({ name, subnet = "" }) =>
        subnet === "" ? [] : reserved(name, subnet.replace(/0\/.*/, "77")),
      );
      const without = reconfigure(stored, [], after, kept).network;
      assert.ok(disjoint(without), JSON.stringify(without));
      for (const { network: name, addresses } of kept) {
        const overlay = networkOfSource(without).overlays.find((each) => each.name === name);
        assert.ok(overlay !== undefined && isWithin(prefixesOf(overlay), addresses[0] as Ip), JSON.stringify(without));
      }
    }),
    { numRuns: 1_000 },
  );
});

function disjoint({ vtep_subnet, vtep_subnet6, overlays }: NetworkSource): boolean {
  const all = [vtep_subnet, vtep_subnet6, ...overlays.flatMap(({ subnet, subnet6 }) => [subnet, subnet6])];
  const prefixes = all.filter((prefix) => prefix !== undefined).map(cidr);
  return prefixes.every((a, i) => prefixes.slice(i + 1).every((b) => !overlaps(a, b)));
}

test("a space may be added to a network in use, drained, and taken away once nobody has anything of it", () => {
  const more = [{ subnet: "10.1.0.0/16", prefix: 24 }];
  const added = file({ overlays: [{ ...DCOS, more }, DCOS6] });
  assert.deepEqual(change(added), { network: added, refused: [] });
  const draining = file({ overlays: [{ ...DCOS, draining: true, more }, DCOS6] });
  assert.deepEqual(change(draining, added), { network: draining, refused: [] });
  assert.deepEqual(change(STORED, added), { network: STORED, refused: [] }, "the agent has the first one");
  const swapped = file({ overlays: [{ ...DCOS, ...more[0] }, DCOS6] });
  const early = reconfigure(draining, agents(STORED), swapped);
  assert.deepEqual(early.network, draining);
  assert.match(
    early.refused.join(),
    /^network dcos: it cannot change from 9\.0\.0\.0\/8 in \/24 to 10\.1\.0\.0\/16 in \/24/,
  );
  const moved = agents(swapped);
  assert.deepEqual(reconfigure(draining, moved, swapped), { network: swapped, refused: [] });
  const inTheWay = file({ overlays: [{ ...DCOS, more: [{ subnet: "44.128.0.0/24", prefix: 26 }] }, DCOS6] });
  assert.match(change(inTheWay).refused.join(), /overlaps 44\.128\.0\.0\/20 of vtep_subnet/);
});

const reserved = (network: string, ...addresses: string[]): Reservation[] => [
  { network, name: "web", addresses: addresses.map(ip) },
];

test("a network or a space in which something is reserved stays, with agents or without", () => {
  const more = [{ subnet: "10.1.0.0/16", prefix: 24 }];
  const two = file({ overlays: [{ ...DCOS, more }, DCOS6] });
  const kept = reserved("dcos", "10.1.0.77");
  for (const records of [agents(two), []]) {
    const { network, refused } = reconfigure(two, records, STORED, kept);
    assert.deepEqual(network, two);
    assert.deepEqual(refused, [
      "network dcos: it cannot change from 10.1.0.0/16 in /24 to 9.0.0.0/8 in /24 while 10.1.0.77 is reserved for web; its " +
        "stored definition stays in force until that ends ('weft reserve --remove dcos web') and the change is made again",
    ]);
    // What holds nothing of it is no obstacle, nor is anything in another network.
    for (const none of [reserved("dcos", "9.0.0.77"), reserved("dcos6", "10.1.0.77")])
      assert.deepEqual(reconfigure(two, records, STORED, none), { network: STORED, refused: [] });
  }
  const idle: OverlaySource = { name: "idle", subnet: "10.2.0.0/16", prefix: 24, enabled: false };
  const stored = file({ overlays: [DCOS, DCOS6, idle] });
  const inIdle = reserved("idle", "10.2.0.77");
  const { network, refused } = reconfigure(stored, agents(stored), STORED, inIdle);
  assert.deepEqual(network.overlays, stored.overlays);
  assert.match(refused.join(), /^network idle: it cannot be removed while 10\.2\.0\.77 is reserved for web/);
});

test("without agents, a pool of VTEPs changes unless it would overlap what is reserved", () => {
  const kept = reserved("dcos", "9.0.0.77");
  const other = file({ vtep_subnet: "45.0.0.0/20", overlays: [DCOS, { ...DCOS6, subnet6: "fd01:e::/64" }] });
  assert.deepEqual(reconfigure(STORED, [], other, kept), { network: other, refused: [] });
  const { network, refused } = reconfigure(STORED, [], file({ vtep_subnet: "9.0.0.0/20", overlays: [DCOS6] }), kept);
  assert.deepEqual([network.vtep_subnet, network.overlays], ["44.128.0.0/20", [DCOS6, DCOS]]);
  assert.match(
    refused.join("\n"),
    /network dcos: .*\nvtep_subnet: 9\.0\.0\.0\/20 overlaps 9\.0\.0\.0\/8 of network dcos/,
  );
});
