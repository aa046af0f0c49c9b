import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { AgentNetworkConfig, AgentRecord } from "../../model/cluster.ts";
import { type Cidr, cidr, ip, overlaps } from "../../model/ip.ts";
import type { NetworkConfig, Overlay } from "../../model/network.ts";
import { Allocator, type Registrant } from "./allocate.ts";
import { shortageMessage } from "./pool.ts";

const DCOS: Overlay = { name: "dcos", subnet: cidr("9.0.0.0/8"), prefix: 24, enabled: true };
const DCOS6: Overlay = { name: "dcos6", subnet6: cidr("fd01:b::/64"), prefix6: 80, enabled: true };
const NETWORK: NetworkConfig = {
  vtepSubnet: cidr("44.128.0.0/20"),
  vtepSubnet6: cidr("fd01:a::/64"),
  vtepMacOui: "70:B3:D5:00:00:00",
  overlays: [DCOS, DCOS6],
};
const AGENT: AgentNetworkConfig = { allocateSubnet: true, mesosBridge: true, dockerBridge: true };
const NO_CONTAINERS: AgentNetworkConfig = { allocateSubnet: true, mesosBridge: false, dockerBridge: false };

const agent = (n: number, networkConfig = AGENT): Registrant => ({
  id: `agent-${n}`,
  ip: ip(`10.0.${n >> 8}.${n & 255}`),
  hostname: `host-${n}`,
  networkConfig,
});

function register(allocator: Allocator, registrant: Registrant, known?: AgentRecord): AgentRecord {
  const { record } = allocator.register(registrant, known);
  assert.ok(record !== undefined, "the agent gets a VTEP");
  return record;
}

test("the documented cluster of one host without containers and two agents comes out identical", () => {
  const allocator = new Allocator(NETWORK);
  const rows = [10, 11, 12].map((n) => register(allocator, agent(n, n === 10 ? NO_CONTAINERS : AGENT)));
  assert.deepEqual(
    rows.map(({ backend }) => [backend.vtepIp, backend.vtepIp6, backend.vtepMac, backend.vni, backend.vtepName]),
    [
      ["44.128.0.1/20", "fd01:a::1/64", "70:b3:d5:80:00:01", 1024, "vtep1024"],
      ["44.128.0.2/20", "fd01:a::2/64", "70:b3:d5:80:00:02", 1024, "vtep1024"],
      ["44.128.0.3/20", "fd01:a::3/64", "70:b3:d5:80:00:03", 1024, "vtep1024"],
    ],
  );
  assert.deepEqual(rows[0]?.overlays, [
    { info: DCOS, subnet: "9.0.0.0/24" },
    { info: DCOS6, subnet6: "fd01:b::/80" },
  ]);
  assert.deepEqual(rows[1]?.overlays, [
    {
      info: DCOS,
      subnet: "9.0.1.0/24",
      mesosBridge: { name: "m-dcos", ip: "9.0.1.0/25" },
      dockerBridge: { name: "d-dcos", ip: "9.0.1.128/25" },
    },
    {
      info: DCOS6,
      subnet6: "fd01:b:0:0:1::/80",
      mesosBridge: { name: "m-dcos6", ip6: "fd01:b:0:0:1::/81" },
      dockerBridge: { name: "d-dcos6", ip6: "fd01:b::1:8000:0:0/81" },
    },
  ]);
  assert.deepEqual(rows[2]?.overlays[0]?.dockerBridge, { name: "d-dcos", ip: "9.0.2.128/25" });
  assert.deepEqual(rows[2]?.overlays[1]?.dockerBridge, { name: "d-dcos6", ip6: "fd01:b::2:8000:0:0/81" });
});

test("each half stays the same whichever bridges an agent asks for", () => {
  const overlayWith = (mesosBridge: boolean, dockerBridge: boolean) =>
    register(new Allocator(NETWORK), agent(1, { allocateSubnet: true, mesosBridge, dockerBridge })).overlays[0];
  assert.deepEqual(overlayWith(false, true), {
    info: DCOS,
    subnet: "9.0.0.0/24",
    dockerBridge: { name: "d-dcos", ip: "9.0.0.128/25" },
  });
  assert.deepEqual(overlayWith(true, false), {
    info: DCOS,
    subnet: "9.0.0.0/24",
    mesosBridge: { name: "m-dcos", ip: "9.0.0.0/25" },
  });
});

test("an agent that wants no subnets has the networks by name, a VTEP, and takes nothing of their space", () => {
  const allocator = new Allocator(NETWORK);
  const record = register(allocator, agent(1, { allocateSubnet: false, mesosBridge: true, dockerBridge: true }));
  assert.deepEqual(record.overlays, [{ info: DCOS }, { info: DCOS6 }]);
  assert.equal(register(allocator, agent(2)).overlays[0]?.subnet, "9.0.0.0/24");
  assert.deepEqual(allocator.register(agent(1), record).record?.overlays, record.overlays, "its record wins later");
});

test("a known agent gets the same record, whatever bridges it now asks for", () => {
  const allocator = new Allocator(NETWORK);
  const record = register(allocator, agent(1));
  const again = allocator.register(agent(1, NO_CONTAINERS), JSON.parse(JSON.stringify(record)));
  assert.deepEqual(again.record, record);
  assert.ok(again.record !== undefined && !again.changed);
});

test("a known agent gets what the configuration gained: a network, a family, the VTEP's IPv6 address and MTU", () => {
  const four: NetworkConfig = { vtepSubnet: NETWORK.vtepSubnet, vtepMacOui: NETWORK.vtepMacOui, overlays: [DCOS] };
  const before = register(new Allocator(four), agent(1));
  const both: Overlay = { ...DCOS, subnet6: cidr("fd01:c::/64"), prefix6: 80 };
  const allocator = Allocator.restore({ ...NETWORK, vtepMtu: 9000, overlays: [both, DCOS6] }, [before]);
  const after = allocator.register(agent(1), before);
  assert.ok(after.record !== undefined && after.changed);
  assert.deepEqual(after.record.backend, { ...before.backend, vtepIp6: "fd01:a::1/64", vtepMtu: 9000 });
  assert.deepEqual(after.record.overlays, [
    {
      info: both,
      subnet: "9.0.0.0/24",
      subnet6: "fd01:c::/80",
      mesosBridge: { name: "m-dcos", ip: "9.0.0.0/25", ip6: "fd01:c::/81" },
      dockerBridge: { name: "d-dcos", ip: "9.0.0.128/25", ip6: "fd01:c::8000:0:0/81" },
    },
    {
      info: DCOS6,
      subnet6: "fd01:b::/80",
      mesosBridge: { name: "m-dcos6", ip6: "fd01:b::/81" },
      dockerBridge: { name: "d-dcos6", ip6: "fd01:b::8000:0:0/81" },
    },
  ]);
});

test("a disabled network is not given to anyone new, and stays with who has it", () => {
  const has = register(new Allocator(NETWORK), agent(1));
  const off: NetworkConfig = { ...NETWORK, overlays: [{ ...DCOS, enabled: false }, DCOS6] };
  const allocator = Allocator.restore(off, [has]);
  assert.deepEqual(register(allocator, agent(1), has).overlays[0]?.subnet, "9.0.0.0/24");
  const wider: Overlay = { ...DCOS, subnet6: cidr("fd01:c::/64"), prefix6: 80, enabled: false };
  const four = { ...has, overlays: has.overlays.slice(0, 1) };
  const [kept] = register(Allocator.restore({ ...NETWORK, overlays: [wider] }, [four]), agent(1), four).overlays;
  assert.equal(kept?.subnet6, undefined, "nor does it grow");
  const fresh = register(allocator, agent(2));
  assert.deepEqual(
    fresh.overlays.map(({ info }) => info.name),
    ["dcos6"],
  );
  const on = Allocator.restore(NETWORK, [has, fresh]);
  assert.deepEqual(
    register(on, agent(2), fresh).overlays.map(({ info, subnet }) => [info.name, subnet]),
    [
      ["dcos6", undefined],
      ["dcos", "9.0.1.0/24"],
    ],
  );
});

test("an agent without any network keeps its VTEP over a restart", () => {
  const none: NetworkConfig = { ...NETWORK, overlays: [{ ...DCOS, enabled: false }] };
  const bare = register(new Allocator(none), agent(1));
  assert.deepEqual(bare.overlays, []);
  const restarted = Allocator.restore(none, [bare]);
  assert.equal(register(restarted, agent(2)).backend.vtepIp, "44.128.0.2/20");
  assert.deepEqual(register(restarted, agent(1), bare), bare);
});

test("another agent may take a record over, under its own identity", () => {
  const allocator = new Allocator(NETWORK);
  const old = register(allocator, agent(1));
  const heir = { ...agent(1), id: "heir", hostname: "rebuilt" };
  assert.deepEqual(register(allocator, heir, old), { ...old, id: "heir", hostname: "rebuilt" });
});

test("a network that is used up costs the agent that network, and a dual stack gives both families or neither", () => {
  const both: Overlay = {
    name: "b",
    subnet: cidr("10.8.0.0/16"),
    prefix: 24,
    subnet6: cidr("fd02::/79"),
    prefix6: 80,
    enabled: true,
  };
  const allocator = new Allocator({ ...NETWORK, overlays: [both, DCOS] });
  const records = [1, 2].map((n) => register(allocator, agent(n)));
  assert.equal(records[1]?.overlays[0]?.subnet, "10.8.1.0/24");
  for (let n = 3; n < 9; n++) {
    const { record, shortages } = allocator.register(agent(n), undefined);
    assert.deepEqual(
      record?.overlays.map(({ info }) => info.name),
      ["dcos"],
    );
    assert.deepEqual(shortages.map(shortageMessage), [
      "network b has no free IPv6 agent subnet in fd02::/79 (2 of 2 given out); delete agents that are gone, or give it a larger space",
    ]);
  }
  const used = allocator.usage().find(({ kind, network }) => kind === "subnet" && network === "b");
  assert.equal(used?.used, 2n, "no IPv4 slice leaked");
});

test("without a VTEP there is no agent, and an address of one family is not kept for want of the other", () => {
  const small: NetworkConfig = { ...NETWORK, vtepSubnet6: cidr("fd01:a::/126") };
  const allocator = new Allocator(small);
  const records = [1, 2].map((n) => register(allocator, agent(n)));
  for (let i = 0; i < 3; i++) {
    const refused = allocator.register(agent(3), undefined);
    assert.equal(refused.record, undefined);
    assert.match(
      refused.shortages.map(shortageMessage).join(),
      /^there is no free VTEP IPv6 address in fd01:a::\/126 \(2 of 2/,
    );
  }
  assert.equal(allocator.usage()[0]?.used, 2n, "no IPv4 address leaked");
  allocator.release(records[0] as AgentRecord);
  assert.equal(register(allocator, agent(3)).backend.vtepIp, "44.128.0.1/20", "what was freed is the lowest again");
});

test("records that contradict each other or the pools are a corrupt store", () => {
  const record = register(new Allocator(NETWORK), agent(1));
  const corrupt = { code: "corrupt-store" };
  assert.throws(() => Allocator.restore(NETWORK, [record, { ...record, id: "twin" }]), corrupt);
  assert.throws(() => Allocator.restore({ ...NETWORK, vtepSubnet: cidr("10.0.0.0/24") }, [record]), corrupt);
  assert.throws(() => Allocator.restore({ ...NETWORK, overlays: [DCOS6] }, [record]), corrupt);
});

// ---- laws ----------------------------------------------------------------------------------------------------------

/** Small pools, so that runs reach their ends. */
const TIGHT: NetworkConfig = {
  vtepSubnet: cidr("44.128.0.0/28"),
  vtepSubnet6: cidr("fd01:a::/125"),
  vtepMacOui: "70:B3:D5:00:00:00",
  overlays: [
    { name: "both", subnet: cidr("10.8.0.0/22"), prefix: 24, subnet6: cidr("fd02::/77"), prefix6: 80, enabled: true },
    { name: "four", subnet: cidr("10.9.0.0/21"), prefix: 24, enabled: true },
  ],
};
const step = fc.record({
  n: fc.integer({ min: 1, max: 12 }),
  action: fc.constantFrom("register", "register", "undo", "delete"),
  networkConfig: fc.record({ allocateSubnet: fc.boolean(), mesosBridge: fc.boolean(), dockerBridge: fc.boolean() }),
});

function run(steps: readonly { n: number; action: string; networkConfig: AgentNetworkConfig }[]) {
  const allocator = new Allocator(TIGHT);
  const records = new Map<string, AgentRecord>();
  for (const { n, action, networkConfig } of steps) {
    const registrant = agent(n, networkConfig);
    const known = records.get(registrant.id);
    if (action === "delete") {
      if (known !== undefined) allocator.release(known);
      records.delete(registrant.id);
      continue;
    }
    const before = JSON.stringify(usage(allocator));
    const result = allocator.register(registrant, known);
    if (result.record === undefined) assert.equal(JSON.stringify(usage(allocator)), before, "a refusal leaks nothing");
    else if (action === "undo") {
      result.undo();
      assert.equal(JSON.stringify(usage(allocator)), before, "undo gives everything back");
    } else records.set(registrant.id, result.record);
  }
  return { allocator, records: [...records.values()] };
}

function usage(allocator: Allocator): string[] {
  return allocator.usage().map(({ pool, used }) => `${pool} ${used}`);
}

test("no two agents share an address or a MAC, and what is counted as used is what records hold", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { allocator, records } = run(steps);
      const prefixes = records.flatMap((record) =>
        record.overlays.flatMap(({ subnet, subnet6 }) => [subnet, subnet6].filter((p): p is Cidr => p !== undefined)),
      );
      prefixes.forEach((a, i) => {
        for (const b of prefixes.slice(i + 1)) assert.ok(!overlaps(a, b), `${a} and ${b}`);
      });
      const vteps = records.flatMap(({ backend }) => [
        backend.vtepIp,
        backend.vtepMac,
        backend.vtepIp6 ?? backend.vtepIp,
      ]);
      assert.equal(new Set(vteps).size, records.length * 3);
      const used = allocator.usage().reduce((sum, { used }) => sum + used, 0n);
      assert.equal(used, BigInt(prefixes.length + 2 * records.length));
    }),
  );
});

test("an allocator restored from the records goes on exactly as the one that made them", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { allocator, records } = run(steps);
      const restored = Allocator.restore(TIGHT, JSON.parse(JSON.stringify(records)));
      assert.deepEqual(usage(restored), usage(allocator));
      for (let n = 20; n < 30; n++) {
        const [a, b] = [allocator, restored].map((each) => each.register(agent(n), undefined));
        assert.deepEqual(a?.record, b?.record);
        assert.deepEqual(a?.shortages, b?.shortages);
      }
    }),
  );
});

test("to register and to release again changes nothing", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const { allocator } = run(steps);
      const before = usage(allocator);
      const first = allocator.register(agent(99), undefined).record;
      if (first === undefined) return;
      allocator.release(first);
      assert.deepEqual(usage(allocator), before);
      assert.deepEqual(
        allocator.register(agent(99), undefined).record,
        first,
        "an agent that comes back gets the same",
      );
    }),
  );
});
