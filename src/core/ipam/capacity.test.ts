import assert from "node:assert/strict";
import { test } from "node:test";
import { SEED_ATTACHMENT, seedAssignment } from "../../../test/support/seed-cluster.ts";
import { ip } from "../../model/ip.ts";
import { ADDRESS_REST_MS } from "../../model/limits.ts";
import { capacities, rooms } from "./capacity.ts";
import { Ledger } from "./ledger.ts";

const AGENT = seedAssignment(1);

function ledgerWith(...addresses: string[]): Ledger {
  return new Ledger(
    [],
    addresses.map((address) => ({ ...SEED_ATTACHMENT, containerId: address, ip: ip(address) })),
    0,
  );
}

test("each half counts what it has, and only that", () => {
  const ledger = ledgerWith("9.0.1.2", "9.0.1.3", "9.0.1.130", "192.168.7.5");
  ledger.release({ ...SEED_ATTACHMENT, containerId: "9.0.1.3", ip: ip("9.0.1.3") }, 1_000);
  const [cni, docker, cni6] = capacities(AGENT, ledger, 2_000);
  assert.deepEqual(cni, {
    network: "dcos",
    family: 4,
    runtime: "cni",
    half: "9.0.1.0/25",
    slice: "9.0.1.0/24",
    size: 125,
    used: 1,
    resting: 1,
    free: 123,
  });
  assert.deepEqual([docker?.runtime, docker?.used, docker?.free], ["docker", 1, 124]);
  assert.deepEqual([cni6?.network, cni6?.family, cni6?.size], ["dcos6", 6, 2 ** 47 - 2]);
  assert.equal(capacities(AGENT, ledger, 1_000 + ADDRESS_REST_MS)[0]?.free, 124);
  assert.equal(capacities({ ...AGENT, enableIpv6: false }, ledger, 0).length, 2);
});

test("what is kept for names and not held is no room for others; held, it is used", () => {
  const addresses = ["9.0.1.77", "9.0.1.78", "9.0.1.200", "9.0.7.7"].map((text) => ip(text));
  const reservations = [
    { network: "dcos", name: "web", addresses },
    { network: "elsewhere", name: "web", addresses: [ip("9.0.1.90")] },
  ];
  const [cni, docker] = capacities({ ...AGENT, reservations }, ledgerWith("9.0.1.78"), 0);
  assert.deepEqual([cni?.size, cni?.used, cni?.free], [124, 1, 123]);
  assert.deepEqual([docker?.size, docker?.used, docker?.free], [124, 0, 124]);
});

test("halves that lend are one room, strict ones two", () => {
  const halves = capacities(AGENT, ledgerWith("9.0.1.2"), 0);
  assert.deepEqual(rooms(AGENT, halves)[0], { what: "network dcos, IPv4", used: 1, size: 250 });
  const overlays = AGENT.agent.overlays.map((each) => ({ ...each, info: { ...each.info, strictHalves: true } }));
  assert.deepEqual(rooms({ ...AGENT, agent: { ...AGENT.agent, overlays } }, halves).slice(0, 2), [
    { what: "network dcos, IPv4 in 9.0.1.0/25", used: 1, size: 125 },
    { what: "network dcos, IPv4 in 9.0.1.128/25", used: 0, size: 125 },
  ]);
});
