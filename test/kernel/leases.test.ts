/**
 * The histories of test/sim/leases.test.ts on Linux, in namespaces of this process: WEFT_LEASE_SEED and WEFT_LEASE_STEPS as
 * there. A reboot is a new namespace for the host.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { openLinuxKernel } from "../../src/io/kernel/linux-kernel.ts";
import { createNetns, inNetns, type Netns } from "../../src/io/kernel/netns.ts";
import type { Kernel } from "../../src/io/ports.ts";
import { labOrReason } from "../support/lab.ts";
import { leaseFailure } from "../support/lease-history.ts";
import type { LeaseMachine } from "../support/lease-machine.ts";

const skip = await labOrReason();
const SEED = Number(process.env.WEFT_LEASE_SEED ?? Date.now() % 100_000);
const STEPS = Number(process.env.WEFT_LEASE_STEPS ?? 1_000);
const STEPS_A_LIFE = 50;

class LinuxMachine implements LeaseMachine {
  readonly isPrompt = false;
  readonly #root = openLinuxKernel();
  readonly #containers = new Map<string, Netns>();
  #host: Netns | undefined;
  #kernel: Kernel | undefined;

  async kernel(): Promise<Kernel> {
    this.#host = createNetns();
    for (const command of ["link add eth0 type veth peer name wire", "link set eth0 up", "link set wire up"])
      this.#ip(command);
    this.#ip("addr add 10.0.0.11/24 dev eth0");
    this.#kernel = await this.#root.enter(pathOf(this.#host));
    return this.#kernel;
  }

  async netns(container: string): Promise<string> {
    const known = this.#containers.get(container);
    if (known !== undefined) return pathOf(known);
    const netns = createNetns();
    this.#containers.set(container, netns);
    const inside = await this.#root.enter(pathOf(netns));
    assert.deepEqual(await inside.apply([{ op: "link.set", name: "lo", up: true }]), []);
    inside.close();
    return pathOf(netns);
  }

  hasNetns(container: string): boolean {
    return this.#containers.has(container);
  }

  loseNetns(container: string): void {
    this.#containers.get(container)?.close();
    this.#containers.delete(container);
  }

  reboot(): void {
    for (const netns of this.#containers.values()) netns.close();
    this.#containers.clear();
    this.#kernel?.close();
    this.#host?.close();
  }

  close(): void {
    this.reboot();
    this.#root.close();
  }

  #ip(command: string): void {
    const { status, stderr } = inNetns(this.#host, () => spawnSync("ip", command.split(" "), { encoding: "utf8" }));
    assert.equal(status, 0, `ip ${command}: ${stderr}`);
  }
}

function pathOf(netns: Netns): string {
  return `/proc/self/fd/${netns.fd}`;
}

test(`no history leaks a lease or gives an address twice (seed ${SEED}, ${STEPS} steps)`, { skip }, async () => {
  for (let life = 0; life * STEPS_A_LIFE < STEPS; life++) {
    const machine = new LinuxMachine();
    try {
      assert.equal(await leaseFailure(machine, SEED + life, STEPS_A_LIFE), undefined);
    } finally {
      machine.close();
    }
  }
});
