import assert from "node:assert/strict";
import { test } from "node:test";
import { Fault } from "../../model/fault.ts";
import { ip } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import { conflist, conflistFileName } from "./conflist.ts";
import { type AddResult, addReply, errorReply, versionReply } from "./reply.ts";

const IPV4: AddResult = {
  host: { name: "weft0123456789", mac: mac("02:57:00:00:00:01") },
  container: { name: "eth0", mac: mac("02:57:09:00:01:02"), netns: "/run/netns/c1" },
  mtu: 1450,
  ips: [{ address: ip("9.0.1.2"), gateway: ip("9.0.1.1") }],
  dns: {},
};
const DUAL: AddResult = {
  ...IPV4,
  ips: [...IPV4.ips, { address: ip("fd01:b::2"), gateway: ip("fd01:b::1") }],
  dns: { nameservers: ["198.51.100.1"] },
};

const INTERFACES = [
  { name: "weft0123456789", mac: "02:57:00:00:00:01" },
  { name: "eth0", mac: "02:57:09:00:01:02", sandbox: "/run/netns/c1" },
];
const IP4 = { interface: 1, address: "9.0.1.2/32", gateway: "9.0.1.1" };
const IP6 = { interface: 1, address: "fd01:b::2/128", gateway: "fd01:b::1" };
const ROUTES = [
  { dst: "0.0.0.0/0", gw: "9.0.1.1" },
  { dst: "::/0", gw: "fd01:b::1" },
];

test("the result of ADD in every version", () => {
  const before1 = {
    interfaces: INTERFACES,
    ips: [
      { version: "4", ...IP4 },
      { version: "6", ...IP6 },
    ],
  };
  const since1 = { interfaces: INTERFACES, ips: [IP4, IP6] };
  const withMtu = { ...since1, interfaces: INTERFACES.map((each) => ({ ...each, mtu: 1450 })) };
  const table = [
    ["0.3.0", before1],
    ["0.3.1", before1],
    ["0.4.0", before1],
    ["1.0.0", since1],
    ["1.1.0", withMtu],
  ] as const;
  for (const [cniVersion, expected] of table) {
    const { status, body } = addReply(cniVersion, DUAL);
    assert.equal(status, 200);
    assert.deepEqual(JSON.parse(body), {
      cniVersion,
      ...expected,
      routes: ROUTES,
      dns: { nameservers: ["198.51.100.1"] },
    });
  }
});

test("one family has one address and one default route", () => {
  const { ips, routes, dns } = JSON.parse(addReply("1.0.0", IPV4).body);
  assert.deepEqual({ ips, routes, dns }, { ips: [IP4], routes: ROUTES.slice(0, 1), dns: {} });
});

test("what an earlier plugin of the chain made is handed on, and comes first", () => {
  const json = {
    cniVersion: "1.0.0",
    interfaces: [{ name: "dummy0", pciID: "0000:00:01.0" }],
    ips: [{ address: "192.0.2.1/24", interface: 0 }],
    dns: { domain: "example.com" },
  };
  const { interfaces, ips, routes, dns } = JSON.parse(addReply("1.0.0", DUAL, { json, interfaces: [], ips: [] }).body);
  assert.deepEqual(interfaces, [json.interfaces[0], ...INTERFACES]);
  assert.deepEqual(ips, [json.ips[0], { ...IP4, interface: 2 }, { ...IP6, interface: 2 }]);
  assert.deepEqual(routes, ROUTES);
  assert.deepEqual(dns, { domain: "example.com", nameservers: ["198.51.100.1"] });
});

test("VERSION echoes what was asked and lists what is spoken", () => {
  assert.deepEqual(JSON.parse(versionReply("0.2.0").body), {
    cniVersion: "0.2.0",
    supportedVersions: ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
  });
});

test("an error has its code by the table of faults", () => {
  const fault = new Fault("unknown-network", "agent 10.0.0.1 knows no network x; it has dcos", { network: "x" });
  const { status, body } = errorReply("0.4.0", "ADD", fault);
  assert.equal(status, 404);
  assert.deepEqual(JSON.parse(body), {
    cniVersion: "0.4.0",
    code: 107,
    msg: "agent 10.0.0.1 knows no network x; it has dcos",
    details: 'unknown-network {"network":"x"}',
  });
});

test("STATUS says by its own code that no container can be attached", () => {
  const codeOf = (fault: Fault, command: "STATUS" | "ADD") => JSON.parse(errorReply("1.1.0", command, fault).body).code;
  assert.equal(codeOf(new Fault("not-ready", "x"), "STATUS"), 50);
  assert.equal(codeOf(new Fault("exhausted", "x"), "STATUS"), 50);
  assert.equal(codeOf(new Fault("unsupported-version", "x"), "STATUS"), 1);
  assert.equal(codeOf(new Fault("bad-request", "x"), "STATUS"), 7);
  assert.equal(codeOf(new Fault("not-ready", "x"), "ADD"), 11);
});

test("the list that lets a runtime find a network", () => {
  assert.deepEqual(conflist("dcos", "/run/weft/agent.sock"), {
    cniVersion: "1.0.0",
    cniVersions: ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"],
    name: "dcos",
    plugins: [
      {
        type: "weft-cni",
        network: "dcos",
        weft_socket: "/run/weft/agent.sock",
        capabilities: { portMappings: true, ips: true, mac: true, dns: true, bandwidth: true, aliases: true },
      },
    ],
  });
  assert.equal(conflistFileName("dcos"), "weft-dcos.conflist");
});
