/**
 * Loading the programs when the world interferes: signals that come while the verifier is at work.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { DatapathSet } from "../../src/io/kernel/bpf/datapath-set.ts";
import { closeFd } from "../../src/io/kernel/ffi.ts";
import { openLinuxKernel } from "../../src/io/kernel/linux-kernel.ts";
import { labOrReason } from "../support/lab.ts";

const skip = await labOrReason();

/** Of the kernel a signal alone interrupts the verifier; a program has handlers for some, of children that end say. */
const STORM = `while kill -WINCH "$1"; do sleep 0.03; done`;

test("programs are loaded though signals come while the kernel looks at them", { skip }, async (t) => {
  const kernel = openLinuxKernel();
  t.after(() => kernel.close());
  const { datapath } = await kernel.features();
  if ("missing" in datapath) return t.skip(datapath.missing);
  let signals = 0;
  const heard = () => {
    signals++;
  };
  process.on("SIGWINCH", heard);
  const storm = spawn("sh", ["-c", STORM, "sh", String(process.pid)], { stdio: "ignore" });
  t.after(() => {
    storm.kill();
    process.off("SIGWINCH", heard);
  });
  await once(process, "SIGWINCH");
  const set = DatapathSet.make();
  t.after(() => set.close());
  signals = 0;
  for (let i = 0; i < 20; i++) {
    for (const program of ["container", "tunnel", "underlay"] as const) closeFd(set.load(program));
    await setImmediate();
  }
  assert.ok(signals > 0, "positive control");
});
