/**
 * Private network namespaces for tests of the real kernel.
 *
 * A namespace has no name anywhere: only this process's descriptor holds it, so it is gone when the test ends, also when
 * it fails and also when the process is killed.
 */
import { spawnSync } from "node:child_process";
import type { TestContext } from "node:test";
import { openLinuxKernel } from "../../src/io/kernel/linux-kernel.ts";
import { createNetns, inNetns } from "../../src/io/kernel/netns.ts";
import type { ContainerKernel } from "../../src/io/ports.ts";
import { assert } from "../../src/model/fault.ts";

export interface TestNetns {
  /** Where `Kernel.enter` of this process finds it. */
  readonly path: string;
  readonly kernel: ContainerKernel;
  /** Runs a program inside; what it prints. Fails with what it wrote to stderr when its status is not 0. */
  run(program: string, ...args: string[]): string;
  /** `run`, with JSON for its output. */
  json(program: string, ...args: string[]): unknown;
}

/** A new, empty namespace with its loopback device up, until the test (or whatever else tells its end) ends. */
export async function openTestNetns(t: Pick<TestContext, "after">): Promise<TestNetns> {
  const netns = createNetns();
  const path = `/proc/self/fd/${netns.fd}`;
  const root = openLinuxKernel();
  const kernel = await root.enter(path);
  t.after(() => {
    kernel.close();
    root.close();
    netns.close();
  });
  const run = (program: string, ...args: string[]): string => {
    // The child inherits the namespace that this thread is in while it is started.
    const { status, stdout, stderr, error } = inNetns(netns, () =>
      spawnSync(program, args, { encoding: "utf8", maxBuffer: 64 << 20 }),
    );
    assert(status === 0, `${program} ${args.join(" ")} succeeds: ${error?.message ?? stderr}`);
    return stdout;
  };
  run("ip", "link", "set", "lo", "up");
  return { path, kernel, run, json: (program, ...args) => JSON.parse(run(program, ...args)) };
}
