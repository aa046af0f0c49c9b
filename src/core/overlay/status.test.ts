import assert from "node:assert/strict";
import { test } from "node:test";
import type { AgentOverlay } from "../../model/cluster.ts";
import { cidr, ip } from "../../model/ip.ts";
import { mac } from "../../model/mac.ts";
import type { KernelOp } from "../host/host-state.ts";
import { overlayStatuses, uniformStatuses } from "./status.ts";

const overlays: readonly AgentOverlay[] = [
  {
    info: { name: "dcos", subnet: cidr("9.0.0.0/8"), prefix: 24, enabled: true },
    subnet: cidr("9.0.1.0/24"),
    mesosBridge: { name: "m-dcos", ip: cidr("9.0.1.0/25") },
  },
  { info: { name: "dcos6", subnet6: cidr("fd01:b::/64"), prefix6: 80, enabled: true } },
];

const failed = (op: KernelOp) => [{ op, error: { message: `${op.op} failed` } }];
const statuses = (op: KernelOp) => overlayStatuses(overlays, failed(op), []).map(({ status }) => status);

test("a failure is told of the networks that it is about, and of all when it is about none", () => {
  const rows: [KernelOp, string, string][] = [
    [{ op: "link.add", link: { kind: "bridge", name: "m-dcos", up: true } }, "STATUS_FAILED", "STATUS_OK"],
    [
      { op: "sysctl.set", sysctl: { path: "net/ipv6/conf/m-dcos/accept_ra", value: "0" } },
      "STATUS_FAILED",
      "STATUS_OK",
    ],
    [
      { op: "route.replace", route: { dst: cidr("fd01:b:0:0:2::/80"), table: 254, metric: 1, type: "unicast" } },
      "STATUS_OK",
      "STATUS_FAILED",
    ],
    [{ op: "link.delete", name: "vtep1024" }, "STATUS_FAILED", "STATUS_FAILED"],
    [
      { op: "fdb.replace", entry: { dev: "vtep1024", mac: mac("70:b3:d5:80:00:02"), dst: ip("10.0.0.2") } },
      "STATUS_FAILED",
      "STATUS_FAILED",
    ],
  ];
  for (const [op, dcos, dcos6] of rows) assert.deepEqual(statuses(op), [dcos, dcos6], op.op);
});

test("a container's device belongs to the container's network", () => {
  const attachment = {
    containerId: "c",
    ifname: "eth0",
    network: "dcos6",
    netns: "/run/netns/c",
    netnsId: "boot-1:1",
    hostIfname: "weft1",
    mac: mac("02:58:00:00:00:01"),
    state: "attached",
    requestId: "",
    runtime: "podman",
    since: "2026-11-21T08:00:00Z",
  } as const;
  const ops: KernelOp[] = [
    { op: "link.delete", name: "weft1" },
    { op: "nft.chain.delete", family: "netdev", table: "weft", chain: "weft1" },
  ];
  for (const op of ops) {
    const [dcos, dcos6] = overlayStatuses(overlays, failed(op), [attachment]);
    assert.equal(dcos?.status, "STATUS_OK", op.op);
    assert.equal(dcos6?.error, `${op.op} failed`);
  }
});

test("many errors become one bounded text, each said once", () => {
  const twice = [...failed({ op: "link.delete", name: "x" }), ...failed({ op: "link.delete", name: "y" })];
  assert.equal(overlayStatuses(overlays, twice, [])[0]?.error, "link.delete failed");
  const [long] = uniformStatuses(overlays, "STATUS_FAILED", "e".repeat(5_000));
  assert.equal(long?.error?.length, 1_024);
});
