/**
 * A random history of a LeaseWorld from a seed: calls of two runtimes and both plugins, alone and at once, among passes
 * and losses; deaths, reboots, full disks, clock jumps, slices that come and go. After each step the world is checked; at the end all containers are detached, and
 * the host must be as it was at first.
 */
import assert from "node:assert/strict";
import { messageOf } from "../../src/model/fault.ts";
import type { TestCall } from "./cni.ts";
import type { LeaseMachine } from "./lease-machine.ts";
import { type Flaws, LeaseWorld } from "./lease-world.ts";
import { seededRandom } from "./seeded-random.ts";

const CONTAINERS = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"] as const;
const RUNTIMES = ["podman", "containerd"] as const;

export class LeaseHistory {
  readonly world: LeaseWorld;
  readonly done: string[] = [];
  readonly #random: () => number;
  #requests = 0;

  constructor(world: LeaseWorld, random: () => number) {
    this.world = world;
    this.#random = random;
  }

  async step(): Promise<void> {
    const kind = this.#below(20);
    this.done.push(`step ${kind}`);
    if (kind < 12) await this.#calls();
    else if (kind === 12) await this.world.collect(this.#oneOf(RUNTIMES), this.#network());
    else if (kind < 15) this.world.loseNamespace(this.#oneOf(CONTAINERS));
    else if (kind === 15) await this.world.loseDevice(this.#below(6));
    else if (kind === 16) this.world.disk.full = this.#below(2) === 0;
    else if (kind === 17) this.world.clock.advance(this.#below(200_000));
    else if (kind === 18 && this.#below(3) === 0) await this.#reboot();
    else if (this.#below(2) === 0) this.world.reslice();
    else await this.world.calls([], { passes: [false, false] });
    await this.world.check();
  }

  async #reboot(): Promise<void> {
    this.world.disk.full = false;
    await this.world.reboot(this.#below(6));
  }

  async #calls(): Promise<void> {
    const calls = Array.from({ length: 1 + this.#below(4) }, () => this.#call());
    const meanwhile = {
      passes: Array.from({ length: this.#below(3) }, () => this.#below(3) === 0),
      lost: this.#below(3) === 0 ? [this.#oneOf(calls).containerId, this.#oneOf(CONTAINERS)] : [],
      reslices: this.#below(4) === 0 ? this.#below(3) : 0,
      ...(this.#below(3) === 0 ? { diesAfter: this.#below(60) } : {}),
    };
    this.done.push(`${JSON.stringify(calls)}, meanwhile ${JSON.stringify(meanwhile)}`);
    await this.world.calls(calls, meanwhile);
  }

  #call(): TestCall {
    const containerId = this.#oneOf(CONTAINERS);
    const command = this.#oneOf(["ADD", "ADD", "ADD", "DEL", "DEL", "CHECK", "STATUS"] as const);
    // A container belongs to one runtime, and its first interface to one plugin.
    const runtime = RUNTIMES[CONTAINERS.indexOf(containerId) % 2] ?? "podman";
    const plugin = containerId < "c" ? "weft-ipam" : "weft-cni";
    const requestId = this.#below(5) === 0 ? `r${this.#requests}` : `r${++this.#requests}`;
    return {
      command,
      containerId,
      ifname: this.#below(4) === 0 ? "eth1" : "eth0",
      network: this.#network(),
      requestId,
      environment: { CNI_WEFT_RUNTIME: runtime, CNI_WEFT_PLUGIN: plugin },
      ...(command === "CHECK" ? { prevResult: {} } : {}),
    };
  }

  /** The small one, mostly: it runs out. */
  #network(): string {
    return this.#oneOf(["both", "both", "both", "dcos", "dcos6"] as const);
  }

  /** Everything ends, as runtimes end it. */
  async end(): Promise<void> {
    this.world.disk.full = false;
    for (const containerId of CONTAINERS)
      for (const ifname of ["eth0", "eth1"])
        for (const network of ["both", "dcos", "dcos6"])
          for (const plugin of ["weft-cni", "weft-ipam"])
            await this.world.calls([
              { command: "DEL", containerId, ifname, network, environment: { CNI_WEFT_PLUGIN: plugin } },
            ]);
    while (this.world.hasFurther) this.world.reslice();
    await this.world.check();
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  #oneOf<T>(list: readonly T[]): T {
    return list[this.#below(list.length)] as T;
  }
}

/** @returns what was wrong first, with the steps that led to it; `undefined` when nothing was */
export async function leaseFailure(
  machine: LeaseMachine,
  seed: number,
  steps: number,
  flaws?: Flaws,
): Promise<string | undefined> {
  const { fraction } = seededRandom(seed);
  const world = await LeaseWorld.open(machine, fraction, flaws);
  const empty = await world.dump();
  const history = new LeaseHistory(world, fraction);
  try {
    for (let step = 0; step < steps; step++) await history.step();
    await history.end();
    assert.deepEqual(world.leases(), []);
    assert.equal(await world.dump(), empty, "the host is as it was at first");
    return undefined;
  } catch (error) {
    return `${messageOf(error)}\nseed ${seed}, after\n  ${history.done.slice(-12).join("\n  ")}`;
  }
}
