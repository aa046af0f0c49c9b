/** The real kernel tells of changes of every kind, made by anybody, and of notices that it had to drop. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { KernelOp } from "../../src/core/host/host-state.ts";
import type { Kernel, KernelChange } from "../../src/io/ports.ts";
import { cidr } from "../../src/model/ip.ts";
import { applyAll, openWithDevices } from "../support/kernel-objects.ts";
import { labOrReason } from "../support/lab.ts";
import { openTestNetns } from "../support/netns.ts";

const skip = await labOrReason();
const FLOOD = ["route add 198.51.100.0/24 dev m-dcos", "route delete 198.51.100.0/24 dev m-dcos"];
type Kind = KernelChange["kind"];

/** What was told since the last look, with a way to wait for a kind. */
function listen(kernel: Kernel) {
  let heard = new Set<Kind>();
  let wake = () => {};
  const watch = kernel.watch(({ kind }) => {
    heard.add(kind);
    wake();
  });
  return {
    close: () => watch.close(),
    async until(kind: Kind): Promise<void> {
      while (!heard.has(kind)) await new Promise<void>((resolve) => (wake = resolve));
      heard = new Set();
    },
    /** Everything that the kernel told up to now: a change of `kind` is made, and waited for. */
    async all(kind: Kind, change: () => unknown): Promise<Set<Kind>> {
      change();
      while (!heard.has(kind)) await new Promise<void>((resolve) => (wake = resolve));
      const all = heard;
      heard = new Set();
      return all;
    },
  };
}

test("each kind of change by another program is told", { skip, timeout: 20_000 }, async (t) => {
  const { kernel, run } = await openWithDevices(t);
  const ears = listen(kernel);
  t.after(() => ears.close());
  const rows: [Kind, string][] = [
    ["link", "ip link add other type bridge"],
    ["link", "ip link set other up"],
    ["link", "ip link delete other"],
    ["address", "ip address add 192.0.2.1/24 dev m-dcos"],
    ["address", "ip address add fd09::1/64 dev m-dcos nodad"],
    ["route", "ip route add 198.51.100.0/24 dev m-dcos"],
    ["route", "ip route delete 198.51.100.0/24 dev m-dcos"],
    ["route", "ip -6 route add fd08::/64 dev m-dcos"],
    ["rule", "ip rule add from 192.0.2.0/24 lookup 77"],
    ["rule", "ip -6 rule add from fd09::/64 lookup 77"],
    ["neighbor", "ip neigh add 44.128.0.9 lladdr 70:b3:d5:80:00:09 dev vtep1024 nud permanent"],
    ["neighbor", "ip neigh delete 44.128.0.9 dev vtep1024"],
    ["neighbor", "bridge fdb add 70:b3:d5:80:00:09 dev vtep1024 dst 10.0.0.9 self permanent"],
    ["neighbor", "bridge fdb delete 70:b3:d5:80:00:09 dev vtep1024 dst 10.0.0.9 self"],
    ["nftables", "nft add table ip weft"],
    ["nftables", "nft flush ruleset"],
    ["netconf", "sysctl -qw net.ipv4.conf.m-dcos.rp_filter=2"],
    ["netconf", "sysctl -qw net.ipv6.conf.all.forwarding=1"],
  ];
  for (const [kind, command] of rows) {
    const [program = "", ...args] = command.split(" ");
    run(program, ...args);
    await ears.until(kind);
  }
});

test("a neighbour that the kernel resolves by itself is no news", { skip, timeout: 20_000 }, async (t) => {
  const { kernel, run } = await openWithDevices(t);
  const ears = listen(kernel);
  t.after(() => ears.close());
  const resolved = ["neigh", "add", "44.128.0.9", "lladdr", "70:b3:d5:80:00:09", "dev", "vtep1024", "nud"];
  // Notices come in their order, and no rule ever changes by itself.
  const marker = (priority: string) => run("ip", "rule", "add", "lookup", "77", "priority", priority);
  const heard = await ears.all("rule", () => {
    run("ip", ...resolved, "reachable");
    marker("1");
  });
  assert.ok(!heard.has("neighbor"));
  const permanent = await ears.all("rule", () => {
    run("ip", ...resolved.with(1, "replace"), "permanent");
    marker("2");
  });
  assert.ok(permanent.has("neighbor"), "positive control");
});

test("notices that overflow are told as an overrun, and watching goes on", { skip, timeout: 60_000 }, async (t) => {
  const { kernel, run } = await openWithDevices(t);
  const ears = listen(kernel);
  t.after(() => ears.close());
  // `run` does not return to the event loop: nobody reads while the other program floods.
  const lines = Array.from({ length: 30_000 }, () => FLOOD.join("\n"));
  const directory = mkdtempSync(join(tmpdir(), "weft-test-"));
  t.after(() => rmSync(directory, { recursive: true }));
  writeFileSync(join(directory, "batch"), lines.join("\n"));
  run("ip", "-batch", join(directory, "batch"));
  await ears.until("overrun");
  run("nft", "add", "table", "ip", "weft");
  await ears.until("nftables");
  run("ip", "route", "add", "203.0.113.0/24", "dev", "m-dcos");
  await ears.until("route");
});

test("a watch of one namespace hears nothing of another, and a closed one nothing at all", {
  skip,
  timeout: 20_000,
}, async (t) => {
  const one = await openTestNetns(t);
  const other = await openTestNetns(t);
  const ears = listen(one.kernel);
  const closed = new Set<Kind>();
  one.kernel.watch(({ kind }) => closed.add(kind)).close();
  const bridge: KernelOp = { op: "link.add", link: { kind: "bridge", name: "m-dcos", up: false } };
  const heard = await ears.all("rule", async () => {
    await applyAll(other.kernel, [bridge]);
    await applyAll(one.kernel, [{ op: "rule.add", rule: { src: cidr("9.0.0.0/8"), table: 42, priority: 1 } }]);
  });
  ears.close();
  assert.deepEqual([[...heard], [...closed]], [["rule"], []]);
});
