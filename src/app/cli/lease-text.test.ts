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
        slice: cidr("9.0.1.0/24"),
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
        slice: cidr("fd01:b:0:0:1::/80"),
        size: 2 ** 47 - 2,
        used: 0,
        resting: 0,
        free: 2 ** 47 - 2,
      },
    ]),
    `
NETWORK  FOR     HALF                   SIZE  USED  RESTING  FREE  FULL
dcos     cni     9.0.1.0/25              125   100        2    23  80 %
dcos6    docker  fd01:b::1:8000:0:0/81  2^47     0        0  2^47   0 %`.slice(1),
  );
});

const WEB = {
  containerId: "0123456789abcdef".repeat(4),
  name: "web",
  runtime: "podman",
  network: "dcos",
  ifname: "eth0",
  addresses: [ip("9.0.1.2"), ip("fd01:b:0:0:1::2")],
  plugin: "weft-cni",
  state: "attached",
  since: "2026-11-21T08:00:17Z",
} as const;

test("endpoints, one line for each address", () => {
  const { name: _, ...nameless } = WEB;
  assert.equal(
    endpointsTable([
      { ...WEB, addresses: [...WEB.addresses] },
      { ...nameless, containerId: "c2", runtime: "", addresses: [], state: "pending" },
    ]),
    `
CONTAINER           RUNTIME  NETWORK  ADDRESS          SINCE
web (0123456789ab)  podman   dcos     9.0.1.2          2026-11-21 08:00Z
                                      fd01:b::1:0:0:2
c2                  -        dcos     -                on its way`.slice(1),
  );
});

test("endpoints fit a terminal, whatever their names, and no address is cut", () => {
  const longest = ip("fd01:bbbb:cccc:dddd:eeee:ffff:1111:2222");
  const text = endpointsTable([
    {
      ...WEB,
      name: "a-container-with-a-rather-long-name",
      runtime: "containerd-shim",
      network: "a-long-name-x",
      addresses: [longest],
    },
  ]);
  for (const line of text.split("\n")) assert.ok(line.length <= 80, line);
  assert.ok(text.includes(longest));
});
