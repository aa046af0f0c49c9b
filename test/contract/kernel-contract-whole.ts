/** Many operations in one call, events, and a whole host. */
import assert from "node:assert/strict";
import { diff } from "../../src/core/host/diff.ts";
import type { HostState, KernelOp } from "../../src/core/host/host-state.ts";
import { desiredContainer } from "../../src/core/overlay/attach.ts";
import { desiredHost, sysctlPaths } from "../../src/core/overlay/desired.ts";
import type { Kernel } from "../../src/io/ports.ts";
import type { Attachment } from "../../src/model/attachment.ts";
import { cidr, ip } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import { SEED_ATTACHMENT, seedContext, seedInput } from "../support/seed-cluster.ts";
import {
  address,
  BRIDGE,
  done,
  neighbor,
  PEER_ROUTE,
  route,
  type Test,
  up,
  VTEP,
  WITH_VTEP,
} from "./kernel-contract-objects.ts";

export function batchTests(test: Test): void {
  test("one operation that fails stops no other, and is named by its place", async ({ kernel }) => {
    // Where no IPv4 address is at all, Linux takes none for a gateway's.
    await done(kernel, [{ op: "link.add", link: BRIDGE }, address("m-dcos", "9.0.1.1/25")]);
    const failures = await kernel.apply([
      { op: "link.add", link: VTEP },
      { op: "link.add", link: VTEP },
      up("vtep1024"),
      route({ ...PEER_ROUTE, dev: "nobody" }),
      { op: "nft.table.delete", family: "ip", name: "weft" },
      route(PEER_ROUTE),
    ]);
    assert.deepEqual(
      failures.map(({ index, error }) => [index, error.code]),
      [
        [1, "EEXIST"],
        [3, "ENODEV"],
        [4, "ENOENT"],
      ],
    );
    assert.equal((await kernel.observe([])).routes.length, 1);
  });

  test("three thousand operations in one call, two of them wrong", async ({ kernel }) => {
    await done(kernel, WITH_VTEP);
    const peers = Array.from({ length: 1_000 }, (_, i) => ({ low: i + 3, subnet: `9.${i >> 8}.${i & 255}.0/24` }));
    const ops = peers.flatMap(({ low, subnet }): KernelOp[] => {
      const vtep = ip(`44.128.${low >> 8}.${low & 255}`);
      const peerMac = mac(`70:b3:d5:80:${hex(low >> 8)}:${hex(low & 255)}`);
      return [
        { op: "neighbor.replace", neighbor: { dev: "vtep1024", ip: vtep, mac: peerMac } },
        { op: "fdb.replace", entry: { dev: low === 500 ? "nobody" : "vtep1024", mac: peerMac, dst: ip("10.0.0.12") } },
        route({ ...PEER_ROUTE, dst: cidr(subnet), via: vtep, metric: low, dev: low === 900 ? "nobody" : "vtep1024" }),
      ];
    });
    const failures = await kernel.apply(ops);
    assert.deepEqual(
      failures.map(({ index }) => index),
      [497 * 3 + 1, 897 * 3 + 2],
    );
    const state = await kernel.observe([]);
    assert.deepEqual([state.neighbors.length, state.fdb.length, state.routes.length], [1_000, 999, 999]);
  });

  test("a change is told to whoever watches, and not after the watch is closed", async ({ kernel, newNetns }) => {
    const seen = new Set<string>();
    let told = (): void => {};
    const watch = kernel.watch(({ kind }) => {
      seen.add(kind);
      told();
    });
    const heard = async (kind: string, ops: readonly KernelOp[]): Promise<void> => {
      seen.clear();
      await done(kernel, ops);
      while (!seen.has(kind)) await new Promise<void>((resolve) => (told = resolve));
    };
    await heard("link", [{ op: "link.add", link: VTEP }, up("vtep1024")]);
    await heard("address", WITH_VTEP.slice(2));
    await heard("route", [route(PEER_ROUTE)]);
    await heard("neighbor", [neighbor("vtep1024", "44.128.0.3")]);
    await heard("nftables", [{ op: "nft.table.replace", table: { family: "ip", name: "weft", chains: [], maps: [] } }]);
    watch.close();
    seen.clear();
    const other = await kernel.enter(await newNetns());
    await done(kernel, [{ op: "link.delete", name: "vtep1024" }]);
    await other.observe([]);
    assert.deepEqual([...seen], []);
    other.close();
  });
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

const BANDWIDTH = { ingressRate: 8_000_000, ingressBurst: 800_000, egressRate: 16_000_000, egressBurst: 1_600_000 };

export function convergenceTests(test: Test): void {
  test("a whole host, and a container in it, are as desired after one pass, and need no second", async (world) => {
    const { kernel, newNetns } = world;
    const { ip: _, ...addressless } = SEED_ATTACHMENT;
    const attachments: Attachment[] = [
      { ...SEED_ATTACHMENT, netns: await newNetns(), bandwidth: BANDWIDTH },
      {
        ...addressless,
        containerId: "c2",
        network: "dcos6",
        netns: await newNetns(),
        hostIfname: "weft02",
        ip6: ip("fd01:b::1:0:0:2"),
      },
    ];
    const whole = { ...seedInput(1), attachments };
    await pass(kernel, async () => {
      const observed = await kernel.observe(sysctlPaths(whole));
      return [observed, desiredHost({ ...whole, observed })];
    });
    for (const each of attachments) {
      const inner = await kernel.enter(each.netns);
      const desired = desiredContainer(each, seedContext(1));
      const paths = desired.sysctls.map(({ path }) => path);
      await pass(inner, async () => [await inner.observe(paths), desired]);
      inner.close();
    }
  });
}

/** One pass that must succeed, and a second that must find nothing to do. */
async function pass(kernel: Kernel, read: () => Promise<[observed: HostState, desired: HostState]>): Promise<void> {
  await done(kernel, diff(...(await read())));
  assert.deepEqual(diff(...(await read())), []);
}
