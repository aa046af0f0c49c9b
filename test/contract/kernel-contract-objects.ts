/** The objects and the few verbs that the contract's tests are written with. */
import assert from "node:assert/strict";
import type { TestContext } from "node:test";
import { formatHostState } from "../../src/core/host/format.ts";
import type { KernelOp, Link, Route } from "../../src/core/host/host-state.ts";
import type { Kernel } from "../../src/io/ports.ts";
import { cidr, ip, ipInterface } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";

/** One fresh namespace and a way to make more; `close` removes all of it. */
export interface KernelUnderTest {
  readonly kernel: Kernel;
  /** Makes an empty network namespace and tells its path. */
  newNetns(): Promise<string>;
  close(): Promise<void>;
}

export const VTEP: Extract<Link, { kind: "vxlan" }> = {
  kind: "vxlan",
  name: "vtep1024",
  up: true,
  mtu: 1450,
  mac: mac("70:b3:d5:80:00:02"),
  alias: "weft",
  vni: 1024,
  port: 64_000,
  local: ip("10.0.0.11"),
  learning: false,
};
export const BRIDGE: Extract<Link, { kind: "bridge" }> = {
  kind: "bridge",
  name: "m-dcos",
  up: true,
  alias: "weft dcos",
};
export const PEER_MAC = mac("70:b3:d5:80:00:03");
export const PEER_ROUTE: Route = {
  dst: cidr("9.0.2.0/24"),
  table: 254,
  metric: 8_388_611,
  type: "unicast",
  dev: "vtep1024",
  via: ip("44.128.0.3"),
  onlink: true,
};
export const PEER_ROUTE6: Route = { ...PEER_ROUTE, dst: cidr("fd01:b:0:0:2::/80"), via: ip("fd01:a::3") };

export const up = (name: string): KernelOp => ({ op: "link.set", name, up: true });
export const address = (dev: string, text: string): KernelOp => ({
  op: "address.replace",
  address: { dev, address: ipInterface(text) },
});
export const route = (route: Route): KernelOp => ({ op: "route.replace", route });
export const neighbor = (dev: string, text: string): KernelOp => ({
  op: "neighbor.replace",
  neighbor: { dev, ip: ip(text), mac: PEER_MAC },
});
export const sysctl = (path: string, value: string): KernelOp => ({ op: "sysctl.set", sysctl: { path, value } });

export const WITH_VTEP: readonly KernelOp[] = [
  { op: "link.add", link: VTEP },
  up("vtep1024"),
  address("vtep1024", "44.128.0.2/20"),
  address("vtep1024", "fd01:a::2/64"),
];

/** @param body may skip itself */
export type Test = (what: string, body: (world: KernelUnderTest, t: TestContext) => Promise<void>) => void;

/** Applies what must succeed. */
export async function done(kernel: Kernel, ops: readonly KernelOp[]): Promise<void> {
  const failures = await kernel.apply(ops);
  assert.deepEqual(
    failures.map(({ error }) => error.message),
    [],
  );
}

/** Applies one operation that must be refused with `code`. */
export async function refused(kernel: Kernel, op: KernelOp, code: string): Promise<void> {
  const failures = await kernel.apply([op]);
  assert.equal(failures.length, 1, `${op.op} must be refused with ${code}`);
  assert.equal(failures[0]?.error.code, code, failures[0]?.error.message);
  assert.equal(failures[0]?.op, op);
}

export async function linkNamed(kernel: Kernel, name: string): Promise<Link | undefined> {
  return (await kernel.observe([])).links.find((link) => link.name === name);
}

/** The lines of the state that begin with one of the words. */
export async function shown(kernel: Kernel, ...words: readonly string[]): Promise<string[]> {
  const lines = formatHostState(await kernel.observe([])).split("\n");
  return lines.filter((line) => words.some((word) => line.startsWith(`${word} `)));
}
