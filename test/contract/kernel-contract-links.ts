/** Links, pairs and shapers: how they are made, changed, deleted and refused. */
import assert from "node:assert/strict";
import type { KernelOp } from "../../src/core/host/host-state.ts";
import { Fault } from "../../src/model/fault.ts";
import { ip } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import { BRIDGE, done, linkNamed, refused, type Test, up, VTEP } from "./kernel-contract-objects.ts";

export function linkTests(test: Test): void {
  test("a new namespace holds lo and nothing of ours", async ({ kernel }) => {
    const state = await kernel.observe([]);
    assert.deepEqual(
      state.links.map((link) => link.name),
      ["lo"],
    );
    assert.equal(state.links[0]?.kind, "device");
    assert.deepEqual([state.routes, state.rules, state.neighbors, state.fdb, state.tables], [[], [], [], [], []]);
  });

  test("links are made down, with all that was asked for, and without a link-local address", async ({ kernel }) => {
    await done(kernel, [
      { op: "link.add", link: VTEP },
      { op: "link.add", link: BRIDGE },
    ]);
    assert.deepEqual(await linkNamed(kernel, "vtep1024"), { ...VTEP, up: false });
    const bridge = await linkNamed(kernel, "m-dcos");
    assert.deepEqual({ ...bridge, mac: undefined }, { ...BRIDGE, up: false, mtu: 1500, mac: undefined });
    assert.deepEqual(await kernel.links(), (await kernel.observe([])).links);
    assert.match(bridge?.mac ?? "", /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    const paths = ["vtep1024", "m-dcos"].map((dev) => `net/ipv6/conf/${dev}/addr_gen_mode`);
    const { sysctls } = await kernel.observe(paths);
    assert.deepEqual(
      sysctls.map(({ value }) => value),
      ["1", "1"],
    );
  });

  test("a link is raised and changed in place", async ({ kernel }) => {
    await done(kernel, [{ op: "link.add", link: VTEP }]);
    const change = { up: true, mtu: 1400, mac: mac("70:b3:d5:80:00:09"), alias: "weft again" };
    await done(kernel, [{ op: "link.set", name: "vtep1024", ...change }]);
    assert.deepEqual(await linkNamed(kernel, "vtep1024"), { ...VTEP, ...change });
    await done(kernel, [{ op: "link.set", name: "vtep1024", up: false }]);
    assert.equal((await linkNamed(kernel, "vtep1024"))?.up, false);
  });

  test("a name, and a VNI on a port, can be had once", async ({ kernel }) => {
    await done(kernel, [{ op: "link.add", link: VTEP }]);
    await refused(kernel, { op: "link.add", link: { ...BRIDGE, name: "vtep1024" } }, "EEXIST");
    await refused(kernel, { op: "link.add", link: { ...VTEP, name: "other" } }, "EEXIST");
    await done(kernel, [{ op: "link.delete", name: "vtep1024" }]);
    assert.equal(await linkNamed(kernel, "vtep1024"), undefined);
  });

  test("what is not there can be neither changed nor deleted", async ({ kernel }) => {
    await refused(kernel, up("nobody"), "ENODEV");
    await refused(kernel, { op: "link.delete", name: "nobody" }, "ENODEV");
  });

  test("a VXLAN device over IPv6 keeps its local address", async ({ kernel }) => {
    const link = { ...VTEP, local: ip("fd00::11") };
    await done(kernel, [{ op: "link.add", link }]);
    assert.deepEqual(await linkNamed(kernel, "vtep1024"), { ...link, up: false });
  });
}

export function pairTests(test: Test): void {
  const pair = (netns: string): KernelOp => ({
    op: "link.add",
    link: {
      kind: "veth",
      name: "weft01",
      up: true,
      mtu: 1420,
      mac: mac("02:57:00:00:00:01"),
      alias: "weft dcos c1 eth0",
      peer: { netns, name: "eth0", mac: mac("02:57:09:00:01:02"), mtu: 1420 },
    },
  });

  test("a pair's other end appears in its namespace, down, under its final name", async ({ kernel, newNetns }) => {
    const path = await newNetns();
    await done(kernel, [pair(path), up("weft01")]);
    const inner = await kernel.enter(path);
    const end = { kind: "veth", name: "eth0", up: false, mtu: 1420, mac: "02:57:09:00:01:02" };
    assert.deepEqual(await linkNamed(inner, "eth0"), end);
    const { sysctls } = await inner.observe(["net/ipv6/conf/eth0/addr_gen_mode"]);
    assert.equal(sysctls[0]?.value, "1");
    inner.close();
  });

  test("deleting one end of a pair deletes the other", async ({ kernel, newNetns }) => {
    const path = await newNetns();
    await done(kernel, [pair(path)]);
    const inner = await kernel.enter(path);
    await done(inner, [{ op: "link.delete", name: "eth0" }]);
    assert.equal(await linkNamed(kernel, "weft01"), undefined);
    inner.close();
  });

  test("a pair is refused whole: its other name is taken, or there is no such namespace", async (world) => {
    const { kernel, newNetns } = world;
    const path = await newNetns();
    const inner = await kernel.enter(path);
    await done(inner, [{ op: "link.add", link: { ...BRIDGE, name: "eth0" } }]);
    await refused(kernel, pair(path), "EEXIST");
    await refused(kernel, pair("/run/netns/weft-test-nobody"), "ENOENT");
    assert.equal(await linkNamed(kernel, "weft01"), undefined);
    inner.close();
  });

  test("a namespace has one identity, by whichever path and handle, and no other has it", async (world) => {
    const { kernel, newNetns } = world;
    const path = await newNetns();
    const [inner, again, other] = [
      await kernel.enter(path),
      await kernel.enter(path),
      await kernel.enter(await newNetns()),
    ];
    assert.match(inner.netnsId, /^[\w-]+:\d+$/);
    assert.equal(again.netnsId, inner.netnsId);
    assert.notEqual(other.netnsId, inner.netnsId);
    for (const each of [inner, again, other]) each.close();
  });

  test("a path that is no network namespace cannot be entered", async ({ kernel, newNetns }) => {
    await assert.rejects(kernel.enter("/run/netns/weft-test-nobody"), isFault("bad-netns"));
    const inner = await kernel.enter(await newNetns());
    assert.ok((await inner.observe([])).links.length > 0, "positive control");
    inner.close();
  });
}

function isFault(code: string): (error: unknown) => boolean {
  return (error) => error instanceof Fault && error.code === code;
}

export function shaperTests(test: Test): void {
  const shaper = { dev: "m-dcos", rate: 1_250_000, burst: 125_000 };
  const added: KernelOp = { op: "link.add", link: BRIDGE };

  test("shapers are read as they were written, slow ones with a large burst and fast ones too", async ({ kernel }) => {
    await done(kernel, [added]);
    for (const [rate, burst] of [
      [125, 2_000_000_000],
      [1_250_000, 125_000],
      [4_294_967_295, 65_536],
      [12_500_000_000, 2_000_000_000],
    ] as const) {
      await done(kernel, [{ op: "shaper.replace", shaper: { ...shaper, rate, burst } }]);
      assert.deepEqual((await kernel.observe([])).shapers, [{ ...shaper, rate, burst }]);
    }
    await done(kernel, [{ op: "shaper.delete", shaper }]);
    assert.deepEqual((await kernel.observe([])).shapers, []);
  });

  test("a shaper goes with its device, and one that is not there cannot be deleted", async ({ kernel }) => {
    await refused(kernel, { op: "shaper.replace", shaper }, "ENODEV");
    await done(kernel, [added]);
    await refused(kernel, { op: "shaper.delete", shaper }, "ENOENT");
    await done(kernel, [{ op: "shaper.replace", shaper }, { op: "link.delete", name: shaper.dev }, added]);
    assert.deepEqual((await kernel.observe([])).shapers, []);
  });
}
