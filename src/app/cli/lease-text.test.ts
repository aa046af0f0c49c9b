import assert from "node:assert/strict";
import { test } from "node:test";
import { cidr, ip } from "../../model/ip.ts";
import { capacityTable, endpointsTable } from "./lease-text.ts";

test("capacity, per network and half", () => {
  assert.equal(
    capacityTable([
      {
        network: "dcos",
        family: 4,
        runtime: "cni",
        half: cidr("9.0.1.0/25"),
        size: 125,
        used: 100,
        resting: 2,
        free: 23,
      },
      {
        network: "dcos6",
        family: 6,
        runtime: "docker",
        half: cidr("fd01:b::1:8000:0:0/81"),
        size: 2 ** 47 - 2,
        used: 0,
        resting: 0,
        free: 2 ** 47 - 2,
      },
    ]),
    `
NETWORK  FOR     HALF                   ADDRESSES  USED  RESTING  FREE  FULL
dcos     cni     9.0.1.0/25                   125   100        2    23  80 %
dcos6    docker  fd01:b::1:8000:0:0/81       2^47     0        0  2^47   0 %`.slice(1),
  );
});

test("endpoints fit a terminal, whatever their names", () => {
  const text = endpointsTable([
    {
      containerId: "0123456789abcdef".repeat(4),
      name: "a-container-with-a-rather-long-name",
      runtime: "containerd",
      network: "a-long-name-x",
      ifname: "eth0",
      addresses: [ip("9.0.1.2"), ip("fd01:b:0:0:1::2")],
      plugin: "weft-cni",
      state: "attached",
      since: "2026-11-21T08:00:00Z",
    },
    {
      containerId: "c2",
      runtime: "",
      network: "dcos",
      ifname: "eth0",
      addresses: [],
      plugin: "weft-cni",
      state: "pending",
      since: "2026-11-21T08:00:01Z",
    },
  ]);
  for (const line of text.split("\n")) assert.ok(line.length <= 80, line);
  assert.match(text, /2026-11-21 08:00:00/);
  assert.match(text, /c2 +- +dcos +on its way/);
});
