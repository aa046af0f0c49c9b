/**
 * What the Kernel port promises, as tests that run against the fake kernel and against Linux alike. Everything here was
 * seen on Linux 6.18; where two kernels differ, the suite says nothing.
 */
import { describe, it } from "node:test";
import { datapathTests } from "./kernel-contract-datapath.ts";
import { linkTests, pairTests, shaperTests } from "./kernel-contract-links.ts";
import { nftTests } from "./kernel-contract-nft.ts";
import type { KernelUnderTest, Test } from "./kernel-contract-objects.ts";
import { passageTests } from "./kernel-contract-passages.ts";
import { addressTests, forwardingEntryTests, routeTests, sysctlTests } from "./kernel-contract-routing.ts";
import { batchTests, convergenceTests } from "./kernel-contract-whole.ts";

/** Registers the suite. `open` is called once for each test. */
export function kernelContract(name: string, open: () => Promise<KernelUnderTest>): void {
  const test: Test = (what, body) => {
    it(what, { timeout: 30_000 }, async (t) => {
      const world = await open();
      // Also when the time is up: an open watch would keep the process.
      t.after(() => world.close());
      await body(world, t);
    });
  };
  describe(`kernel contract: ${name}`, () => {
    linkTests(test);
    pairTests(test);
    shaperTests(test);
    addressTests(test);
    routeTests(test);
    forwardingEntryTests(test);
    sysctlTests(test);
    nftTests(test);
    passageTests(test);
    datapathTests(test);
    batchTests(test);
    convergenceTests(test);
  });
}
