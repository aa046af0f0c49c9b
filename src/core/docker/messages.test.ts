/** A Docker engine's calls as values: what 20.10 sends, what other versions may, and noise. */
import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Fault } from "../../model/fault.ts";
import { cidr, ip } from "../../model/ip.ts";
import { CALL_PATHS, decodeEngineCall, FIXED_ANSWERS, joinAnswer, refusal } from "./messages.ts";

const ID = "a5ce".padEnd(64, "0");

function decoded(method: string, body: unknown): unknown {
  const path = CALL_PATHS.find((each) => each.endsWith(`.${method}`)) ?? assert.fail(method);
  return decodeEngineCall(path, Buffer.from(JSON.stringify(body)));
}

test("what Docker 20.10 sends", () => {
  const portmap = { Proto: 6, IP: "", Port: 80, HostIP: "", HostPort: 8080, HostPortEnd: 8082 };
  const rows: readonly (readonly [method: string, body: unknown, call: unknown])[] = [
    [
      "RequestPool",
      { AddressSpace: "weft", Pool: "9.0.0.0/8", SubPool: "", Options: { "weft.network": "dcos" }, V6: false },
      { method: "RequestPool", request: { network: "dcos", pool: "9.0.0.0/8", family: 4 } },
    ],
    [
      "RequestPool",
      { AddressSpace: "", Pool: "", SubPool: "fd01:b::/80", Options: null, V6: true },
      { method: "RequestPool", request: { subPool: "fd01:b::/80", family: 6 } },
    ],
    ["ReleasePool", { PoolID: "dcos/4" }, { method: "ReleasePool" }],
    [
      "RequestAddress",
      { PoolID: "dcos/4", Address: "", Options: { RequestAddressType: "com.docker.network.gateway" } },
      { method: "RequestAddress", pool: "dcos/4", isGateway: true },
    ],
    [
      "RequestAddress",
      { PoolID: "dcos/4", Address: "9.0.0.140", Options: null },
      { method: "RequestAddress", pool: "dcos/4", isGateway: false, asked: "9.0.0.140" },
    ],
    [
      "ReleaseAddress",
      { PoolID: "dcos/4", Address: "9.0.0.140" },
      { method: "ReleaseAddress", pool: "dcos/4", address: "9.0.0.140" },
    ],
    [
      "CreateNetwork",
      {
        NetworkID: ID,
        Options: {
          "com.docker.network.enable_ipv6": true,
          "com.docker.network.internal": true,
          "com.docker.network.generic": { "weft.network": "dcos", "com.docker.network.driver.mtu": "1300" },
        },
        IPv4Data: [
          {
            AddressSpace: "weft",
            AuxAddresses: { h1: "9.0.0.141/32" },
            Gateway: "9.0.0.129/8",
            Pool: "9.0.0.0/8",
          },
        ],
        IPv6Data: [{ AddressSpace: "weft", Gateway: "fd01:b::1/64", Pool: "fd01:b::/64" }],
      },
      {
        method: "CreateNetwork",
        request: {
          ...{ id: ID, network: "dcos", mtu: 1_300, internal: true, lengths: {} },
          pools: [
            { pool: "9.0.0.0/8", addressSpace: "weft", hasAux: true },
            { pool: "fd01:b::/64", addressSpace: "weft", hasAux: false },
          ],
        },
      },
    ],
    ["DeleteNetwork", { NetworkID: ID }, { method: "DeleteNetwork", networkId: ID }],
    [
      "CreateEndpoint",
      {
        NetworkID: ID,
        EndpointID: "e",
        Interface: { Address: "9.0.0.130/32", AddressIPv6: "fd01:b::2/128", MacAddress: "02:00:00:00:00:77" },
        Options: { "com.docker.network.portmap": [portmap] },
      },
      {
        method: "CreateEndpoint",
        request: { id: "e", networkId: ID, addresses: ["9.0.0.130", "fd01:b::2"], mac: "02:00:00:00:00:77" },
      },
    ],
    [
      "Join",
      { NetworkID: ID, EndpointID: "e", SandboxKey: "/var/run/docker/netns/309d5bce3315", Options: {} },
      { method: "Join", endpointId: "e", networkId: ID, sandbox: "/var/run/docker/netns/309d5bce3315" },
    ],
    [
      "ProgramExternalConnectivity",
      {
        NetworkID: ID,
        EndpointID: "e",
        Options: {
          "com.docker.network.portmap": [
            portmap,
            { ...portmap, Proto: 17, HostIP: "::1", HostPort: 0, HostPortEnd: 0 },
          ],
        },
      },
      {
        method: "ProgramExternalConnectivity",
        endpointId: "e",
        ports: [
          { protocol: "tcp", containerPort: 80, first: 8_080, last: 8_082 },
          { protocol: "udp", containerPort: 80, first: 0, last: 0, hostIp: "::1" },
        ],
      },
    ],
    [
      "RevokeExternalConnectivity",
      { NetworkID: ID, EndpointID: "e" },
      { method: "RevokeExternalConnectivity", endpointId: "e" },
    ],
    ["Leave", { NetworkID: ID, EndpointID: "e" }, { method: "Leave", endpointId: "e" }],
    ["DeleteEndpoint", { NetworkID: ID, EndpointID: "e" }, { method: "DeleteEndpoint", endpointId: "e" }],
    ["EndpointOperInfo", { NetworkID: ID, EndpointID: "e" }, { method: "EndpointOperInfo", endpointId: "e" }],
  ];
  for (const [method, body, call] of rows) assert.deepEqual(decoded(method, body), call, method);
});

test("what cannot be read is refused, and the field is named", () => {
  const rows: readonly (readonly [method: string, body: unknown, message: RegExp])[] = [
    ["RequestPool", { Pool: "9.0.0.0/33", V6: false }, /'9\.0\.0\.0\/33' is no subnet/],
    ["RequestAddress", { PoolID: "dcos/4", Address: "nine" }, /'nine' is no address/],
    ["CreateNetwork", {}, /CreateNetwork: NetworkID/],
    ["Join", { NetworkID: ID, EndpointID: "e", SandboxKey: "netns" }, /Join: SandboxKey/],
    [
      "CreateNetwork",
      { NetworkID: ID, Options: { "com.docker.network.generic": { "com.docker.network.driver.mtu": "big" } } },
      /mtu=big is no number/,
    ],
    [
      "ProgramExternalConnectivity",
      { EndpointID: "e", Options: { "com.docker.network.portmap": [{ Proto: 132, Port: 1, HostPort: 1 }] } },
      /not IP protocol 132/,
    ],
    [
      "ProgramExternalConnectivity",
      { EndpointID: "e", Options: { "com.docker.network.portmap": "8080" } },
      /published ports cannot be read/,
    ],
  ];
  for (const [method, body, message] of rows)
    assert.throws(() => decoded(method, body), { code: "bad-request", message }, method);
  assert.throws(() => decodeEngineCall("/NetworkDriver.Leave", Buffer.from("{")), { code: "bad-request" });
});

test("noise is refused or read, and nothing else", () => {
  const path = fc.constantFrom(...CALL_PATHS);
  const keys = [
    "NetworkID",
    "EndpointID",
    "PoolID",
    "Pool",
    "Address",
    "Options",
    "Interface",
    "V6",
    "SandboxKey",
    "IPv4Data",
  ];
  const body = fc.oneof(
    fc.uint8Array({ maxLength: 60 }),
    fc.json().map((text) => Buffer.from(text)),
    fc
      .dictionary(
        fc.constantFrom(...keys),
        fc.oneof(
          fc.string(),
          fc.boolean(),
          fc.constant(null),
          fc.object({ maxDepth: 2 }),
          fc.array(fc.object({ maxDepth: 1 })),
        ),
      )
      .map((value) => Buffer.from(JSON.stringify(value))),
  );
  fc.assert(
    fc.property(path, body, (each, bytes) => {
      try {
        decodeEngineCall(each, bytes);
      } catch (error) {
        assert.ok(error instanceof Fault && error.code === "bad-request", String(error));
      }
    }),
    { numRuns: 2_000 },
  );
});

test("the answers are in Docker's words", () => {
  assert.deepEqual(FIXED_ANSWERS["Plugin.Activate"], { Implements: ["NetworkDriver", "IpamDriver"] });
  assert.deepEqual(refusal("no"), { Err: "no", Error: "no" });
  const gateways = [ip("9.0.0.129"), ip("fd01:b::1")];
  const inside = [{ prefix: cidr("fd01:b::/64"), gateway: ip("fd01:b::1") }];
  assert.deepEqual(joinAnswer({ device: "wd1", gateways, inside }, false), {
    InterfaceName: { SrcName: "wd1", DstPrefix: "eth" },
    Gateway: "9.0.0.129",
    GatewayIPv6: "fd01:b::1",
    StaticRoutes: [
      { Destination: "9.0.0.129/32", RouteType: 1, NextHop: "" },
      { Destination: "fd01:b::1/128", RouteType: 1, NextHop: "" },
      { Destination: "fd01:b::/64", RouteType: 0, NextHop: "fd01:b::1" },
    ],
    DisableGatewayService: true,
  });
  const own = joinAnswer({ gateways, inside }, false) as { InterfaceName: object };
  assert.deepEqual(own.InterfaceName, { SrcName: "", DstPrefix: "weft" }, "there is nothing to take");
  assert.deepEqual(joinAnswer({ device: "wd1", gateways, inside }, true), {
    InterfaceName: { SrcName: "wd1", DstPrefix: "eth" },
    StaticRoutes: [
      { Destination: "fd01:b::1/128", RouteType: 1, NextHop: "" },
      { Destination: "fd01:b::/64", RouteType: 0, NextHop: "fd01:b::1" },
    ],
    DisableGatewayService: true,
  });
});
