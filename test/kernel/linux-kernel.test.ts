/** Linux keeps the port's contract: the same suite that the fake kernel passes. */
import { test } from "node:test";
import { openLinuxKernel } from "../../src/io/kernel/linux-kernel.ts";
import { createNetns, type Netns } from "../../src/io/kernel/netns.ts";
import { kernelContract } from "../contract/kernel-contract.ts";
import { labOrReason } from "../support/lab.ts";

const skip = await labOrReason();

if (skip !== undefined) test("kernel contract: Linux", { skip });
else
  kernelContract("Linux", async () => {
    const namespaces: Netns[] = [];
    const newNetns = async () => {
      const netns = createNetns();
      namespaces.push(netns);
      return `/proc/self/fd/${netns.fd}`;
    };
    const root = openLinuxKernel();
    const kernel = await root.enter(await newNetns());
    return {
      kernel,
      newNetns,
      close: async () => {
        kernel.close();
        root.close();
        for (const netns of namespaces) netns.close();
      },
    };
  });
