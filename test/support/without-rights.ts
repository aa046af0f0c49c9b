/** A program for test/kernel/no-rights.test.ts: tries each call of the Kernel port and prints how it was refused. */
import type { KernelOp } from "../../src/core/host/host-state.ts";
import { openLinuxKernel } from "../../src/io/kernel/linux-kernel.ts";
import { Fault } from "../../src/model/fault.ts";

const kernel = openLinuxKernel();
const ops: KernelOp[] = [
  { op: "link.add", link: { kind: "bridge", name: "m-dcos", up: false } },
  { op: "link.set", name: "lo", up: false },
  { op: "nft.table.delete", family: "ip", name: "weft" },
  { op: "sysctl.set", sysctl: { path: "net/ipv4/conf/lo/forwarding", value: "1" } },
];
const calls = {
  observe: () => kernel.observe([]),
  features: () => kernel.features(),
  watch: async () => kernel.watch(() => {}),
  enter: async () => (await kernel.enter("/proc/self/ns/net")).observe([]),
  apply: async () => (await kernel.apply(ops)).map(({ error }) => `${error.code} ${error.message}`),
};
const answers: Record<string, unknown> = {};
for (const [name, call] of Object.entries(calls))
  answers[name] = await call().catch((error: unknown) =>
    error instanceof Fault ? `${error.code} ${error.message}` : String(error),
  );
console.log(JSON.stringify(answers));
