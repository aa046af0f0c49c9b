/**
 * A host with an attach service that can be made to die and started again.
 */
import assert from "node:assert/strict";
import { type AttachHost, AttachService } from "../../src/app/agent/attach-service.ts";
import { KeyedQueue } from "../../src/app/agent/keyed-queue.ts";
import { diff } from "../../src/core/host/diff.ts";
import { formatHostState } from "../../src/core/host/format.ts";
import type { HostState } from "../../src/core/host/host-state.ts";
import { desiredHost, sysctlPaths } from "../../src/core/overlay/desired.ts";
import { type FakeKernel, FakeMachine } from "../../src/io/kernel/fake-kernel.ts";
import { SILENT_LOG } from "../../src/io/log.ts";
import type { AgentStore, Kernel, PluginAnswer, PluginCall, SocketHolder } from "../../src/io/ports.ts";
import { SimClock } from "../../src/io/sim-clock.ts";
import { MemoryDisk, openMemoryAgentStore } from "../../src/io/store/memory-store.ts";
import type { Assignment, OverlayStatus } from "../../src/model/cluster.ts";
import { Fault } from "../../src/model/fault.ts";
import { NO_HOSTING } from "../../src/model/hosting.ts";
import { cidr } from "../../src/model/ip.ts";
import { callBody, type TestCall } from "./cni.ts";
import { Life, mortalKernel, mortalStore } from "./life.ts";
import { seedAssignment, seedContext } from "./seed-cluster.ts";

/** Agent 1 of the seeds with a third, dual-stack network, `both`, which has room for five containers in IPv4. */
export function rigAssignment(): Assignment {
  const seed = seedAssignment(1);
  const both = {
    info: {
      name: "both",
      subnet: cidr("10.8.0.0/16"),
      prefix: 28,
      subnet6: cidr("fd01:c::/64"),
      prefix6: 80,
      enabled: true,
    },
    subnet: cidr("10.8.0.0/28"),
    subnet6: cidr("fd01:c::/80"),
    mesosBridge: { name: "m-both", ip: cidr("10.8.0.0/29"), ip6: cidr("fd01:c::/81") },
    dockerBridge: { name: "d-both", ip: cidr("10.8.0.8/29"), ip6: cidr("fd01:c::8000:0:0/81") },
  };
  return {
    ...seed,
    agent: { ...seed.agent, overlays: [...seed.agent.overlays, both] },
    overlaySubnets: [...seed.overlaySubnets, cidr("10.8.0.0/16"), cidr("fd01:c::/64")],
  };
}

export interface Answer {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON came
  readonly json: any;
}

export class AttachRig {
  readonly kernel: Kernel;
  readonly disk = new MemoryDisk();
  readonly context = { ...seedContext(1), assignment: rigAssignment() };
  /** False: as before the first assignment. */
  isReady = true;
  passesAsked = 0;
  /** How often the master was to hear that a container was refused for want of an address. */
  refusals = 0;
  readonly clock = new SimClock();
  /** What the last pass left. */
  statuses: readonly OverlayStatus[] = [];
  /** Processes of the host that hold a port. */
  holders: (protocol: "tcp" | "udp", port: number) => readonly SocketHolder[] = () => [];
  /** Another CNI plugin. */
  plugin: (call: PluginCall) => Promise<PluginAnswer> = async ({ type }) => {
    throw new Fault("delegate-failed", `the plugin ${type} is in none of the folders`);
  };
  /** What stands between the service and its store; a test may put in one that lies. */
  wrapStore: (store: AgentStore) => AgentStore = (store) => store;
  /** What the agent knows of reserved addresses. */
  claims: Pick<AttachHost, "hosting" | "claim" | "lostTo"> = {};
  /** What the master is asked for; absent before the process starts: it cannot be asked. */
  addNetwork: AttachHost["addNetwork"];
  readonly warnings: string[] = [];
  readonly #exclusive = new KeyedQueue();
  service: AttachService;
  store: AgentStore;

  /** On a namespace whose eth0 has 10.0.0.11/24. `pass` programs the overlay. */
  constructor(kernel: Kernel) {
    this.kernel = kernel;
    this.store = openMemoryAgentStore(this.disk);
    this.service = this.#serviceOn(new Life());
  }

  /** What the agent's loop does for an ADD that the kernel refused; a test may let it mend something. */
  heal: () => Promise<void> = async () => {};

  /** What the agent's loop does. */
  async pass(): Promise<void> {
    const attachments = this.service.attachments();
    const read = () => this.kernel.observe(sysctlPaths({ ...this.context, attachments }));
    const desired = (observed: HostState) => desiredHost({ ...this.context, peers: [], attachments, observed });
    const before = await read();
    assert.deepEqual(await this.kernel.apply(diff(before, desired(before))), []);
    const after = await read();
    assert.deepEqual(diff(after, desired(after)), [], "a second pass finds nothing");
  }

  /** The agent's process starts (again), to live for so many steps. @returns its life */
  restart(stepsMax?: number): Life {
    this.store.close();
    this.store = openMemoryAgentStore(this.disk);
    const life = new Life(stepsMax);
    this.service = this.#serviceOn(life);
    return life;
  }

  async call(call: TestCall): Promise<Answer> {
    const { status, body } = await this.service.answer(callBody(call));
    return { status, json: body === "" ? undefined : JSON.parse(body) };
  }

  /** The host and the namespaces at `paths`, as text. */
  async dump(...paths: string[]): Promise<string> {
    const texts = [formatHostState(await this.kernel.observe([]))];
    for (const path of paths) {
      const inside = await this.kernel.enter(path);
      texts.push(`${path}:\n${formatHostState(await inside.observe([]))}`);
      inside.close();
    }
    return texts.join("\n");
  }

  #serviceOn(life: Life): AttachService {
    return new AttachService({
      kernel: mortalKernel(this.kernel, life),
      store: mortalStore(this.wrapStore(this.store), life),
      plugins: { run: (call) => this.plugin(call) },
      sockets: { holders: (protocol, port) => this.holders(protocol, port) },
      clock: this.clock,
      host: {
        hosting: () => this.claims.hosting?.() ?? NO_HOSTING,
        claim: async (wanted, deadline) => (await this.claims.claim?.(wanted, deadline)) ?? false,
        lostTo: (lease) => this.claims.lostTo?.(lease),
        statuses: () => this.statuses,
        again: () => {
          this.passesAsked++;
        },
        exclusive: (work) => this.#exclusive.run("", work),
        context: () => (this.isReady ? this.context : undefined),
        changed: () => {
          this.passesAsked++;
        },
        heal: () => this.heal(),
        refused: () => {
          this.refusals++;
        },
        addNetwork: this.addNetwork && ((wanted, deadline) => this.addNetwork?.(wanted, deadline) ?? Promise.resolve()),
      },
      log: { ...SILENT_LOG, warn: (_, message) => this.warnings.push(message) },
    });
  }
}

/** On a fake kernel. */
export class FakeAttachRig extends AttachRig {
  readonly machine: FakeMachine;

  private constructor(machine: FakeMachine, kernel: FakeKernel) {
    super(kernel);
    this.machine = machine;
    kernel.addDevice("eth0", ["10.0.0.11/24"]);
  }

  /** With the overlay programmed and the namespaces at `paths`, their loopback up. */
  static async open(...paths: string[]): Promise<FakeAttachRig> {
    const machine = new FakeMachine();
    const rig = new FakeAttachRig(machine, machine.kernel());
    await rig.pass();
    for (const path of paths) await rig.newNetns(path);
    return rig;
  }

  async newNetns(path: string): Promise<void> {
    this.machine.newNetns(path);
    const inside = await this.kernel.enter(path);
    assert.deepEqual(await inside.apply([{ op: "link.set", name: "lo", up: true }]), []);
  }
}
