import assert from "node:assert/strict";
import { test } from "node:test";
import { Fault } from "../../model/fault.ts";
import { ip } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import { type AddResult, addReply, ipamReply } from "./reply.ts";
import { readIpamResult, readPrevResult } from "./result.ts";
import { CNI_VERSIONS } from "./version.ts";

const OURS: AddResult = {
  host: { name: "weft0123456789", mac: mac("02:57:00:00:00:01") },
  container: { name: "eth0", mac: mac("02:57:09:00:01:02"), netns: "/run/netns/c1" },
  mtu: 1450,
  ips: [{ address: ip("9.0.1.2"), gateway: ip("9.0.1.1") }],
  dns: {},
};

/** As host-local of the reference plugins prints it, which leaves the version's fields out that it does not have. */
const IPAM_RESULTS: readonly object[] = [
  {
    cniVersion: "0.3.1",
    ips: [{ version: "4", address: "10.22.0.2/16", gateway: "10.22.0.1" }],
    routes: [{ dst: "0.0.0.0/0" }],
    dns: {},
  },
  { cniVersion: "1.0.0", ips: [{ address: "10.22.0.2/16", gateway: "10.22.0.1" }], routes: [{ dst: "0.0.0.0/0" }] },
  {
    cniVersion: "1.1.0",
    ips: [{ address: "10.22.0.2/16", gateway: "10.22.0.1" }],
    routes: [{ dst: "0.0.0.0/0", mtu: 1400, table: 7, scope: 0, priority: 3 }],
    dns: null,
  },
];

test("what another IPAM plugin gave, in every version", () => {
  for (const json of IPAM_RESULTS)
    assert.deepEqual(readIpamResult(JSON.stringify(json), "host-local"), {
      ips: [{ address: "10.22.0.2/16", gateway: "10.22.0.1" }],
      routes: [{ dst: "0.0.0.0/0" }],
      dns: {},
    });
});

test("one address of each family, routes with their gateway, no gateway of its own", () => {
  const given = {
    ips: [{ address: "fd00::2/64" }, { address: "10.0.0.2/24", gateway: null, interface: -1 }],
    routes: [{ dst: "10.1.2.3/8", gw: "10.0.0.254" }],
    dns: { nameservers: ["10.0.0.53"] },
  };
  const result = readIpamResult(JSON.stringify(given), "static");
  assert.deepEqual(result, {
    ips: [{ address: "fd00::2/64" }, { address: "10.0.0.2/24" }],
    routes: [{ dst: "10.0.0.0/8", gw: "10.0.0.254" }],
    dns: { nameservers: ["10.0.0.53"] },
  });
});

test("a result that cannot be carried is the other plugin's failure, with all reasons", () => {
  const table: [unknown, RegExp][] = [
    [[], /: the result: must be an object, is a list$/],
    [{}, /^IPAM plugin dhcp gave a result that cannot be used: ips: has no address$/],
    [{ ips: {}, routes: 1 }, /ips: must be a list, is an object; routes: must be a list, is the number 1/],
    [{ ips: [null] }, /ips\[0\]: must be an object, is null/],
    [{ ips: [{ address: "10.0.0.2" }] }, /ips\[0\]\.address: must be an address in CIDR notation/],
    [{ ips: [{ address: "10.0.0.2/24", gateway: "x" }] }, /ips\[0\]\.gateway: must be an IP address/],
    [{ ips: [{ address: "10.0.0.2/24" }, { address: "10.0.0.3/24" }] }, /ips: has 2 IPv4 addresses, one is used/],
    [{ ips: [{ address: "10.0.0.2/24" }], routes: [{ gw: "10.0.0.1" }] }, /routes\[0\]\.dst: must be/],
    [{ ip4: { ip: "10.0.0.2/24" } }, /has no address/],
  ];
  for (const [json, message] of table)
    assert.throws(
      () => readIpamResult(JSON.stringify(json), "dhcp"),
      (error) => error instanceof Fault && error.code === "delegate-failed" && message.test(error.message),
    );
  assert.throws(() => readIpamResult("panic: oh", "dhcp"), /the result: must be an object, is the string "panic: oh"/);
  assert.throws(() => readIpamResult("", "dhcp"), /the result: must be an object, is the string ""$/);
});

test("what an earlier plugin made is handed on unchanged in every version, the newest fields too", () => {
  const interfaces = [
    { name: "dummy0", mac: "02:00:00:00:00:09", mtu: 1400, socketPath: "/run/x.sock", pciID: "0000:00:01.0" },
    { name: "net1", sandbox: "/run/netns/c1" },
  ];
  const ips = [{ address: "192.0.2.1/24", gateway: "192.0.2.254", interface: 1 }];
  const routes = [
    { dst: "198.51.100.0/24", gw: "192.0.2.254", mtu: 1400, advmss: 1360, priority: 9, table: 100, scope: 0 },
  ];
  for (const version of CNI_VERSIONS) {
    const problems: string[] = [];
    const prevResult = readPrevResult({ cniVersion: version, interfaces, ips, routes, dns: { domain: "d" } }, problems);
    assert.deepEqual(problems, []);
    const answer = JSON.parse(addReply(version, OURS, prevResult).body);
    assert.equal(answer.cniVersion, version);
    assert.deepEqual(answer.interfaces.slice(0, 2), interfaces);
    assert.deepEqual(answer.ips[0], ips[0]);
    assert.equal(answer.ips[1].interface, 3, "the index counts the earlier interfaces");
    assert.deepEqual(answer.routes[0], routes[0]);
    assert.deepEqual(answer.dns, { domain: "d" });
  }
});

test("what weft-ipam answers: addresses without interfaces, as each version has them", () => {
  const addresses = { ips: [{ address: "9.0.1.2/25" as never, gateway: ip("9.0.1.1") }], dns: {} };
  const ip4 = { address: "9.0.1.2/25", gateway: "9.0.1.1" };
  for (const cniVersion of CNI_VERSIONS)
    assert.deepEqual(JSON.parse(ipamReply(cniVersion, addresses).body), {
      cniVersion,
      ips: [cniVersion.startsWith("0.") ? { version: "4", ...ip4 } : ip4],
      routes: [],
      dns: {},
    });
  const routes = [{ dst: "0.0.0.0/0" }];
  const bare = ipamReply("1.1.0", { ips: [{ address: "fd01:b::2/80" as never }], routes, dns: { search: ["x"] } });
  const { ips, routes: written, dns } = JSON.parse(bare.body);
  assert.deepEqual([ips, written, dns], [[{ address: "fd01:b::2/80" }], routes, { search: ["x"] }]);
  assert.deepEqual(readIpamResult(bare.body, "weft-ipam").ips, ips, "we can read what we write");
});
