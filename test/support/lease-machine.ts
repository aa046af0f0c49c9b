/**
 * Where a LeaseWorld happens: the fake kernel's machine, or one of Linux's.
 */
import assert from "node:assert/strict";
import { FakeMachine } from "../../src/io/kernel/fake-kernel.ts";
import type { Kernel } from "../../src/io/ports.ts";

/** Where it happens. Containers go by their names. */
export interface LeaseMachine {
  /** Of the host, whose eth0 has 10.0.0.11/24. Another one after a reboot. */
  kernel(): Promise<Kernel>;
  /** The path of the container's namespace, with its loopback up; made when it is not there. */
  netns(container: string): Promise<string>;
  hasNetns(container: string): boolean;
  loseNetns(container: string): void;
  /** All namespaces are gone, and the host's is empty. */
  reboot(): void;
  /** What is lost is gone at once; else only a while after, as on Linux. */
  readonly isPrompt: boolean;
}

/** On the fake kernel. */
export function fakeLeaseMachine(): LeaseMachine {
  const machine = new FakeMachine();
  const pathOf = (container: string) => `/run/netns/${container}`;
  const hasNetns = (container: string) => machine.netns(pathOf(container)) !== undefined;
  return {
    kernel: async () => {
      const kernel = machine.kernel();
      kernel.addDevice("eth0", ["10.0.0.11/24"]);
      return kernel;
    },
    netns: async (container) => {
      const path = pathOf(container);
      if (hasNetns(container)) return path;
      machine.newNetns(path);
      const inside = await machine.kernel().enter(path);
      assert.deepEqual(await inside.apply([{ op: "link.set", name: "lo", up: true }]), []);
      inside.close();
      return path;
    },
    hasNetns,
    loseNetns: (container) => machine.deleteNetns(pathOf(container)),
    reboot: () => machine.reboot(),
    isPrompt: true,
  };
}
