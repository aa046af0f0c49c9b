/** Devices that tests of the real kernel put things on, and ways to put them there. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import type { KernelOp, Link } from "../../src/core/host/host-state.ts";
import type { Kernel } from "../../src/io/ports.ts";
import { ip, ipInterface } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import { openTestNetns, type TestNetns } from "./netns.ts";

/** The tunnel device of a node. */
export const VTEP = {
  kind: "vxlan",
  name: "vtep1024",
  up: true,
  vni: 1024,
  port: 64_000,
  local: ip("10.0.0.1"),
  learning: false,
  mtu: 1450,
  mac: mac("70:b3:d5:80:00:01"),
  alias: "weft vtep",
} as const satisfies Link;
export const BRIDGE = { kind: "bridge", name: "m-dcos", up: true, alias: "weft dcos" } as const satisfies Link;

/** Makes the link, and raises it if it is to be up. */
export const add = (link: Extract<KernelOp, { op: "link.add" }>["link"]): KernelOp[] => [
  { op: "link.add", link },
  ...(link.up ? [{ op: "link.set", name: link.name, up: true } as const] : []),
];

/** Applies what must succeed. */
export async function applyAll(kernel: Kernel, ops: readonly KernelOp[]): Promise<void> {
  assert.deepEqual(await kernel.apply(ops), []);
}

/** A namespace with the tunnel device and a bridge, on which the rest is put. */
export async function openWithDevices(t: TestContext): Promise<TestNetns> {
  const netns = await openTestNetns(t);
  await applyAll(netns.kernel, [
    ...add(VTEP),
    ...add(BRIDGE),
    { op: "address.replace", address: { dev: "vtep1024", address: ipInterface("44.128.0.1/20") } },
    { op: "address.replace", address: { dev: "vtep1024", address: ipInterface("fd01:a::1/64") } },
    { op: "address.replace", address: { dev: "m-dcos", address: ipInterface("9.0.1.1/25") } },
  ]);
  return netns;
}

/** Sets are compared in one order. */
export const byText = <T>(values: readonly T[]): T[] =>
  values.toSorted((a, b) => JSON.stringify(a).localeCompare(JSON.stringify(b)));
