/**
 * How long it takes to tell the datapath of a peer: one prefix while 10,000 others are there (`update.one`), and all
 * 10,000 (`load.10000`), through the kernel port as an agent does it. No peer program does the same; the targets are
 * absolute.
 */
import type { DatapathEntry } from "../src/core/host/datapath.ts";
import type { KernelOp } from "../src/core/host/host-state.ts";
import { openLinuxKernel } from "../src/io/kernel/linux-kernel.ts";
import type { Kernel } from "../src/io/ports.ts";
import { assert } from "../src/model/fault.ts";
import { cidr, ip } from "../src/model/ip.ts";
import { mac } from "../src/model/mac.ts";
import { bench, median } from "./figures.ts";
import { openTwoHosts, wireByWeft } from "./two-hosts.ts";

const PEERS = 10_000;
const DEV = "vtep1024";

await bench("datapath-maps", async ({ quick, figure }) => {
  const hosts = openTwoHosts("maps");
  await wireByWeft(hosts, () => ({}), 2);
  const root = openLinuxKernel();
  const kernel = await root.enter(`/run/netns/${hosts.hosts[0]}`);
  const entries = Array.from({ length: PEERS }, (_, i) => peer(i));
  const loads: number[] = [];
  for (let round = 0; round < (quick ? 5 : 25); round++) {
    loads.push(await timed(kernel, [{ op: "datapath.put", dev: DEV, entries }]));
    await timed(kernel, [{ op: "datapath.remove", dev: DEV, entries }]);
  }
  await timed(kernel, [{ op: "datapath.put", dev: DEV, entries }]);
  const [one] = entries.slice(PEERS / 2);
  assert(one !== undefined, "there is a peer in the middle");
  const updates: number[] = [];
  for (let round = 0; round < (quick ? 500 : 5_000); round++)
    updates.push(await timed(kernel, [{ op: "datapath.put", dev: DEV, entries: [one] }]));
  kernel.close();
  root.close();
  figure({ figure: "update.one", unit: "µs", ours: median(updates) * 1_000, peer: null, target: "ours<=20" });
  figure({ figure: "load.10000", unit: "ms", ours: median(loads), peer: null, target: "ours<=60" });
});

async function timed(kernel: Kernel, ops: readonly KernelOp[]): Promise<number> {
  const start = performance.now();
  const failures = await kernel.apply(ops);
  const ms = performance.now() - start;
  assert(failures.length === 0, `the kernel takes it: ${failures[0]?.error.message}`);
  return ms;
}

function peer(i: number): DatapathEntry {
  const [high, low] = [Math.floor(i / 250), i % 250];
  return {
    map: "peers",
    prefix: cidr(`9.${100 + high}.${low}.0/24`),
    node: ip(`10.${100 + high}.${low}.1`),
    vtep: ip(`44.${high}.${low}.1`),
    mac: mac(`70:b3:d5:81:${high.toString(16).padStart(2, "0")}:${low.toString(16).padStart(2, "0")}`),
    group: 0,
    level: 2,
  };
}
