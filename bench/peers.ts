/**
 * What it takes to put all peers into the kernel: a route, a neighbour and a forwarding entry each, against `ip -batch`
 * and `bridge -batch` with the same entries in the same empty namespace.
 *
 * Ours is the agent's own path, from KernelOps to the answer of `apply`. The peer's time includes starting the two
 * programs, as every caller of them would pay it, but not the writing of their batch files.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FdbEntry, KernelOp, Neighbor, Route } from "../src/core/host/host-state.ts";
import { openLinuxKernel } from "../src/io/kernel/linux-kernel.ts";
import { createNetns, inNetns, type Netns } from "../src/io/kernel/netns.ts";
import type { Kernel } from "../src/io/ports.ts";
import { assert } from "../src/model/fault.ts";
import { cidr, ip, ipInterface, nthAddress, nthSubnet } from "../src/model/ip.ts";
import { bytesToMac } from "../src/model/mac.ts";
import { VNI, VTEP_NAME, VXLAN_PORT } from "../src/model/names.ts";
import { alternate, atEnd, bench, median } from "./figures.ts";

interface PeerEntries {
  readonly neighbor: Neighbor;
  readonly fdb: FdbEntry;
  readonly route: Route;
}

function peersOf(count: number): PeerEntries[] {
  return Array.from({ length: count }, (_, i) => {
    const n = BigInt(i + 2);
    const vtep = nthAddress(cidr("44.0.0.0/8"), n);
    const mac = bytesToMac(Uint8Array.of(0x70, 0xb3, 0xd5, 0x80, (i + 2) >> 8, (i + 2) & 0xff));
    const dst = nthSubnet(cidr("9.0.0.0/8"), 24, n);
    return {
      neighbor: { dev: VTEP_NAME, ip: vtep, mac },
      fdb: { dev: VTEP_NAME, mac, dst: nthAddress(cidr("10.0.0.0/8"), n) },
      route: { dst, table: 254, metric: i + 2, type: "unicast", dev: VTEP_NAME, via: vtep, onlink: true },
    };
  });
}

function opsToAdd(peers: readonly PeerEntries[]): KernelOp[] {
  return [
    ...peers.map(({ neighbor }): KernelOp => ({ op: "neighbor.replace", neighbor })),
    ...peers.map(({ fdb }): KernelOp => ({ op: "fdb.replace", entry: fdb })),
    ...peers.map(({ route }): KernelOp => ({ op: "route.replace", route })),
  ];
}

function opsToDelete(peers: readonly PeerEntries[]): KernelOp[] {
  return [
    ...peers.map(({ route }): KernelOp => ({ op: "route.delete", route })),
    ...peers.map(({ fdb }): KernelOp => ({ op: "fdb.delete", entry: fdb })),
    ...peers.map(({ neighbor }): KernelOp => ({ op: "neighbor.delete", neighbor })),
  ];
}

/** The same entries for `ip -batch` and `bridge -batch`. */
function batchTexts(peers: readonly PeerEntries[]): { readonly ip: string; readonly bridge: string } {
  const ipLines = peers.flatMap(({ neighbor, route }) => [
    `neigh replace ${neighbor.ip} lladdr ${neighbor.mac} dev ${neighbor.dev} nud permanent`,
    `route replace ${route.dst} via ${route.via} dev ${route.dev} onlink proto 87 metric ${route.metric}`,
  ]);
  const bridgeLines = peers.map(({ fdb }) => `fdb replace ${fdb.mac} dev ${fdb.dev} dst ${fdb.dst} self permanent`);
  return { ip: `${ipLines.join("\n")}\n`, bridge: `${bridgeLines.join("\n")}\n` };
}

function runBatch(netns: Netns, program: "ip" | "bridge", file: string): void {
  // The child inherits the namespace that this thread is in while it is started.
  const { status, stderr } = inNetns(netns, () => spawnSync(program, ["-batch", file]));
  assert(status === 0, `${program} -batch succeeds: ${stderr}`);
}

async function milliseconds(body: () => unknown): Promise<number> {
  const start = performance.now();
  await body();
  return performance.now() - start;
}

async function apply(kernel: Kernel, ops: readonly KernelOp[]): Promise<void> {
  const failures = await kernel.apply(ops);
  assert(failures.length === 0, `the kernel takes all entries: ${failures[0]?.error.message}`);
}

async function makeVtep(kernel: Kernel): Promise<void> {
  await apply(kernel, [
    {
      op: "link.add",
      link: {
        kind: "vxlan",
        name: VTEP_NAME,
        up: true,
        vni: VNI,
        port: VXLAN_PORT,
        local: ip("10.0.0.1"),
        learning: false,
      },
    },
    { op: "link.set", name: VTEP_NAME, up: true },
    { op: "address.replace", address: { dev: VTEP_NAME, address: ipInterface("44.0.0.1/8") } },
  ]);
}

interface Setting {
  readonly kernel: Kernel;
  readonly netns: Netns;
  readonly directory: string;
}

/** Medians of adding all these peers at once, in milliseconds; each round leaves the tables as it found them. */
async function measure({ kernel, netns, directory }: Setting, peers: readonly PeerEntries[], rounds: number) {
  const add = opsToAdd(peers);
  const remove = opsToDelete(peers);
  const texts = batchTexts(peers);
  const files = { ip: join(directory, "ip"), bridge: join(directory, "bridge") };
  writeFileSync(files.ip, texts.ip);
  writeFileSync(files.bridge, texts.bridge);
  const side = async (program: () => unknown) => {
    const time = await milliseconds(program);
    await apply(kernel, remove); // also shows that every entry was there
    return time;
  };
  const ours = () => side(() => apply(kernel, add));
  const peer = () =>
    side(() => {
      runBatch(netns, "ip", files.ip);
      runBatch(netns, "bridge", files.bridge);
    });
  await ours(); // the first round compiles
  const samples = await alternate(rounds, ours, peer);
  return { ours: median(samples.ours), peer: median(samples.peer) };
}

await bench("peers", async ({ quick, figure }) => {
  const directory = mkdtempSync(join(tmpdir(), "weft-bench-"));
  atEnd(() => rmSync(directory, { recursive: true }));
  const netns = createNetns();
  const root = openLinuxKernel();
  const kernel = await root.enter(`/proc/self/fd/${netns.fd}`);
  const setting = { kernel, netns, directory };
  try {
    await makeVtep(kernel);
    const peers = peersOf(10_001);
    const all = peers.slice(0, 10_000);
    const thousand = await measure(setting, peers.slice(0, 1_000), quick ? 7 : 25);
    figure({ figure: "program.1000", unit: "ms", ...thousand, target: "ours<=20" });
    figure({
      figure: "program.10000",
      unit: "ms",
      ...(await measure(setting, all, quick ? 3 : 9)),
      target: "ours<=200",
    });
    await apply(kernel, opsToAdd(all)); // one more, with 10,000 there
    const one = await measure(setting, peers.slice(10_000), quick ? 40 : 200);
    figure({ figure: "program.one", unit: "ms", ...one, target: "ours<=0.1" });
  } finally {
    kernel.close();
    root.close();
    netns.close();
  }
});
