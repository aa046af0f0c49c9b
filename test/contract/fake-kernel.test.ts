/** The fake kernel keeps the port's contract. */
import { FakeMachine } from "../../src/io/kernel/fake-kernel.ts";
import { kernelContract } from "./kernel-contract.ts";

kernelContract("fake", async () => {
  const machine = new FakeMachine();
  const kernel = machine.kernel();
  let count = 0;
  return {
    kernel,
    newNetns: async () => {
      const path = `/run/netns/${++count}`;
      machine.newNetns(path);
      return path;
    },
    close: async () => kernel.close(),
  };
});
