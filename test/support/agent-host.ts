/**
 * One whole agent on a simulated host, clock and disk.
 */
import assert from "node:assert/strict";
import { Agent } from "../../src/app/agent/agent.ts";
import type { KernelOp } from "../../src/core/host/host-state.ts";
import { FakeMachine } from "../../src/io/kernel/fake-kernel.ts";
import type { Log } from "../../src/io/log.ts";
import type { AgentStore, Kernel } from "../../src/io/ports.ts";
import { SimClock } from "../../src/io/sim-clock.ts";
import { MemoryDisk, openMemoryAgentStore } from "../../src/io/store/memory-store.ts";
import type { OverlayStatus } from "../../src/model/cluster.ts";
import { ip } from "../../src/model/ip.ts";
import { NOBODY_ELSE } from "./host-world.ts";

/** One host with its disk; an agent can be started on it again and again. */
export class AgentHost {
  readonly machine = new FakeMachine();
  readonly clock = new SimClock();
  readonly disk = new MemoryDisk();
  readonly errors: string[] = [];
  passes = 0;
  /** How long the kernel takes to be read. */
  observeMs = 0;
  readonly cniConfDir: string | undefined;
  statuses: readonly OverlayStatus[] = [];
  agent: Agent;
  /** The one that the agent has open. */
  store: AgentStore | undefined;

  constructor(cniConfDir?: string) {
    this.cniConfDir = cniConfDir;
    const kernel = this.machine.kernel();
    kernel.addDevice("eth0", ["10.0.0.11/24"]);
    this.agent = this.newAgent();
  }

  async stop(): Promise<void> {
    await this.agent.stop();
    this.store?.close();
  }

  newAgent(): Agent {
    const log: Log = {
      debug: (_, message) => {
        if (message === "a pass changed the kernel") this.passes++;
      },
      info: () => {},
      warn: () => {},
      error: (_, message) => this.errors.push(message),
    };
    this.store = openMemoryAgentStore(this.disk);
    this.agent = new Agent(
      {
        ip: ip("10.0.0.11"),
        hostname: "host1",
        networkConfig: { allocateSubnet: true, mesosBridge: true, dockerBridge: true },
        socketPath: "/run/weft/agent.sock",
        ...(this.cniConfDir !== undefined && { cniConfDir: this.cniConfDir }),
      },
      {
        kernel: this.#slowKernel(),
        ...NOBODY_ELSE,
        store: this.store,
        clock: this.clock,
        log,
        onStatus: (statuses) => {
          this.statuses = statuses;
        },
      },
    );
    return this.agent;
  }

  #slowKernel(): Kernel {
    const kernel = this.machine.kernel();
    const observe = kernel.observe.bind(kernel);
    kernel.observe = async (paths) => {
      if (this.observeMs > 0) await new Promise<void>((resolve) => this.clock.after(this.observeMs, resolve));
      return observe(paths);
    };
    return kernel;
  }

  /** Lets virtual time pass, and everything that is then due come to its end. */
  async run(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 10) {
      this.clock.advance(10);
      await settled();
    }
  }

  /** Somebody else's hand on the kernel. */
  async damage(...ops: KernelOp[]): Promise<void> {
    assert.deepEqual(await this.machine.kernel().apply(ops), []);
    await settled();
  }

  /** The kernel's state as text, without the MACs that it makes up itself. */
  dump(): string {
    return this.machine
      .kernel()
      .dump()
      .replaceAll(/0e:00:00:00:00:../g, "(any)");
  }
}

/** All promises that can go on have gone on. */
export function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
