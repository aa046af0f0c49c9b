/**
 * All that is tested of the datapath on the wire, for one way of putting programs on devices: at level 0 to know that the
 * plain kernel does it too, at levels 1 and 2 that the programs do it as the kernel does.
 */
import { describe } from "node:test";
import type { HookName } from "../../src/io/kernel/bpf/hooks.ts";
import { useHook } from "../../src/io/kernel/kernel-sockets.ts";
import { openLinuxKernel } from "../../src/io/kernel/linux-kernel.ts";
import { openWays } from "../support/datapath-ways.ts";
import { labOrReason } from "../support/lab.ts";
import { carryTests } from "./datapath-carried.ts";
import { changeTests } from "./datapath-changed.ts";
import { refusalTests } from "./datapath-refused.ts";
import { translationTests } from "./datapath-translated.ts";

const LEVELS = [0, 1, 2] as const;

/** @param hook absent: as the product chooses */
export async function pathTests(hook: HookName | undefined): Promise<void> {
  const noLab = await labOrReason();
  if (hook !== undefined) useHook(hook);
  const { datapath } = noLab === undefined ? await featuresHere() : { datapath: { missing: noLab } };
  const missing = "missing" in datapath ? datapath.missing : undefined;
  for (const level of LEVELS) {
    // Without programs there is no hook: once is enough.
    if (level === 0 && hook !== undefined) continue;
    const skip = noLab ?? (level > 0 ? missing : undefined) ?? false;
    describe(`level ${level}${hook === undefined ? "" : ` by ${hook} alone`}`, { skip }, () => {
      const ways = openWays(level, hook, datapath);
      carryTests(ways);
      refusalTests(ways);
      translationTests(ways);
      changeTests(ways);
    });
  }
}

async function featuresHere() {
  const kernel = openLinuxKernel();
  try {
    return await kernel.features();
  } finally {
    kernel.close();
  }
}
