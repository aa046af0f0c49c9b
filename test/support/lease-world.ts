/**
 * A host that anything may happen to, for the question whether leases hold: an agent that dies at any step, a host that
 * reboots, a disk that is full or loses its last writes, clocks that jump, namespaces and devices that vanish. On the
 * kernel that a test chooses; beside it stands the truth, which is what runtimes were told.
 */
import assert from "node:assert/strict";
import { AttachService } from "../../src/app/agent/attach-service.ts";
import { waitFor } from "../../src/app/demo/wait.ts";
import { diff } from "../../src/core/host/diff.ts";
import { formatHostState } from "../../src/core/host/format.ts";
import type { HostState } from "../../src/core/host/host-state.ts";
import type { OverlayContext } from "../../src/core/overlay/context.ts";
import { desiredHost, sysctlPaths } from "../../src/core/overlay/desired.ts";
import { Killed } from "../../src/io/kernel/fake-kernel.ts";
import { SILENT_LOG } from "../../src/io/log.ts";
import type { AgentStore, Kernel } from "../../src/io/ports.ts";
import { SimClock } from "../../src/io/sim-clock.ts";
import { MemoryDisk, openMemoryAgentStore } from "../../src/io/store/memory-store.ts";
import { addressesOf, isAttachment, type Lease } from "../../src/model/attachment.ts";
import type { Slice } from "../../src/model/cluster.ts";
import { type Cidr, cidr, contains } from "../../src/model/ip.ts";
import { OWNER } from "../../src/model/names.ts";
import { rigAssignment } from "./attach-rig.ts";
import { callBody, type TestCall } from "./cni.ts";
import { NOBODY_ELSE } from "./host-world.ts";
import type { LeaseMachine } from "./lease-machine.ts";
import { Life, mortalKernel, mortalStore } from "./life.ts";
import { seedContext } from "./seed-cluster.ts";
import { Turns } from "./turns.ts";

/** Of `both`, for five containers more. */
const FURTHER = cidr("10.8.0.16/28");
/** The kernel takes a namespace away some time after its last user has gone. */
const CHECK_MS = 5_000;

/** What a test may break, to see that it is noticed. */
export interface Flaws {
  readonly store?: (store: AgentStore) => AgentStore;
  readonly kernel?: (kernel: Kernel) => Kernel;
  readonly call?: (call: TestCall) => TestCall;
  /** The further slices as the agent sees them. */
  readonly slices?: (slices: readonly Slice[]) => readonly Slice[];
}

/** What goes on while calls are carried out. */
interface Meanwhile {
  /** Passes of the agent's loop; true: one that looks at every namespace. */
  readonly passes?: readonly boolean[];
  /** Containers that lose their namespaces: the agent's repair and the runtime's DEL meet. */
  readonly lost?: readonly string[];
  /** Steps of the master with the second slice. */
  readonly reslices?: number;
  /** The agent dies after so many steps. */
  readonly diesAfter?: number;
}

/** What a runtime was told of one interface, and has not ended. */
interface Told {
  readonly call: TestCall;
  readonly result: unknown;
  readonly addresses: readonly string[];
}

export class LeaseWorld {
  readonly disk = new MemoryDisk();
  readonly clock = new SimClock();
  /** Interfaces that were told to be attached, by container and interface. */
  readonly told = new Map<string, Told>();
  /** Interfaces whose last call was not answered, or refused half-way: either way is right. */
  readonly doubt = new Set<string>();
  /** The second slice of `both`, while the agent has it. */
  #further: Slice | undefined;
  /** What was held of it when it began to drain: nothing is added to that. */
  #heldWhenDrained: ReadonlySet<string> = new Set();
  readonly #flaws: Flaws;
  readonly #machine: LeaseMachine;
  #kernel: Kernel;
  #store: AgentStore;
  #service: AttachService;
  #life: Life;
  readonly #turns: Turns;
  #tail: Promise<unknown> = Promise.resolve();

  private constructor(machine: LeaseMachine, kernel: Kernel, flaws: Flaws, fraction: () => number) {
    this.#machine = machine;
    this.#turns = new Turns(fraction);
    this.#life = this.#newLife();
    this.#flaws = flaws;
    this.#kernel = kernel;
    this.#store = openMemoryAgentStore(this.disk);
    this.#service = this.#newService();
  }

  /** @param fraction draws who of several goes next */
  static async open(machine: LeaseMachine, fraction: () => number, flaws: Flaws = {}): Promise<LeaseWorld> {
    const world = new LeaseWorld(machine, await machine.kernel(), flaws, fraction);
    await world.pass();
    return world;
  }

  // ---- what happens --------------------------------------------------------------------------------------------------

  /** Calls at once, and what goes on meanwhile, in an order that is drawn. */
  async calls(
    calls: readonly TestCall[],
    { passes = [], lost = [], reslices = 0, diesAfter }: Meanwhile = {},
  ): Promise<void> {
    if (diesAfter !== undefined) this.#startAgent(this.#newLife(diesAfter));
    const placed: TestCall[] = [];
    for (const call of calls)
      placed.push(call.command === "DEL" ? call : { ...call, netns: await this.#machine.netns(call.containerId) });
    const { isPrompt } = this.#machine;
    const begin = () => [
      ...placed.map((call) => this.#survive(() => this.#carryOut(call), call)),
      ...passes.map((isWhole) => this.#survive(() => this.#exclusive(() => this.#repairPass(isWhole)))),
      ...Array.from({ length: reslices }, () => this.#survive(async () => this.reslice())),
      // On Linux its path would lead elsewhere at once: it is the number of a file that others may open.
      ...(isPrompt ? lost : []).map((container) => this.#survive(async () => this.loseNamespace(container))),
    ];
    // Linux has an order of its own.
    await (isPrompt ? this.#turns.give(begin) : Promise.all(begin()));
    if (diesAfter !== undefined) this.#startAgent(this.#newLife());
  }

  /** The runtime's own list: what it was told is attached to the network, and what it does not know about. */
  async collect(runtime: string, network: string): Promise<void> {
    const known = [...this.told.values()].filter(({ call }) => runtimeOf(call) === runtime && call.network === network);
    const inDoubt = [...this.doubt].map((key) => key.split(" "));
    const list = [...known.map(({ call }) => [call.containerId, call.ifname ?? "eth0"]), ...inDoubt].map(
      ([containerID, ifname]) => ({ containerID, ifname }),
    );
    await this.#survive(() =>
      this.#carryOut({
        command: "GC",
        containerId: "",
        network,
        environment: { CNI_WEFT_RUNTIME: runtime },
        config: { "cni.dev/valid-attachments": list },
      }),
    );
  }

  /** The container's namespace goes, and whatever was attached in it. */
  loseNamespace(container: string): void {
    if (!this.#machine.hasNetns(container)) return;
    this.#machine.loseNetns(container);
    for (const [key, { call }] of this.told) if (call.containerId === container) this.#forget(key);
  }

  get hasFurther(): boolean {
    return this.#further !== undefined;
  }

  /** The master's next step for the second slice; it is taken back only when nothing is held of it. */
  reslice(): void {
    const held = this.#heldOf(FURTHER);
    if (this.#further === undefined) this.#further = { subnet: FURTHER };
    else if (this.#further.draining !== true) this.#further = { subnet: FURTHER, draining: true };
    else this.#further = held.length === 0 ? undefined : { subnet: FURTHER };
    this.#heldWhenDrained = new Set(held);
  }

  async loseDevice(nth: number): Promise<void> {
    const attachment = this.#service.attachments()[nth];
    if (attachment !== undefined) await this.#kernel.apply([{ op: "link.delete", name: attachment.hostIfname }]);
  }

  /** The power fails: containers and kernel are gone, and of the disk the last writes that were not synced. */
  async reboot(lostWrites: number): Promise<void> {
    this.disk.cutPower(lostWrites);
    this.#machine.reboot();
    this.told.clear();
    this.doubt.clear();
    this.#kernel = await this.#machine.kernel();
    this.#store = openMemoryAgentStore(this.disk);
    this.#service = this.#newService();
    await this.pass();
  }

  // ---- what must hold ------------------------------------------------------------------------------------------------

  /** The agent has had time for its passes: everything is as runtimes were told, and nothing more is there. */
  async check(): Promise<void> {
    if (this.#machine.isPrompt) return this.#check();
    await waitFor("leases and the world to be one", CHECK_MS, async () => {
      await this.#check();
      return true;
    });
  }

  async #check(): Promise<void> {
    if (this.disk.full) return this.#checkHolders();
    for (let n = 0; n < 2; n++) await this.#exclusive(() => this.#repairPass(true));
    await this.pass();
    this.#checkHolders();
    const leases = this.#store.leases();
    assert.deepEqual(await this.#service.audit(), []);
    for (const lease of leases) {
      const key = `${lease.containerId} ${lease.ifname}`;
      assert(this.told.has(key) || this.doubt.has(key), `${key} has a lease, and nobody was told`);
    }
    for (const [key, told] of this.told) await this.#checkTold(key, told, leases);
    await this.#checkKernel(leases.filter(isAttachment).map(({ hostIfname }) => hostIfname));
  }

  #checkHolders(): void {
    const holders = new Map<string, string>();
    for (const lease of this.#service.leases())
      for (const address of addressesOf(lease)) {
        const key = `${lease.containerId} ${lease.ifname}`;
        assert(!holders.has(address), `${address} has two holders: ${holders.get(address)} and ${key}`);
        holders.set(address, key);
      }
    const held = this.#heldOf(FURTHER);
    if (this.#further === undefined) assert.deepEqual(held, [], "nothing is held of a slice that was given back");
    if (this.#further?.draining === true)
      for (const address of held) assert(this.#heldWhenDrained.has(address), `${address} is of a slice that drains`);
  }

  #heldOf(slice: Cidr): readonly string[] {
    return this.#service.leases().flatMap((lease) => addressesOf(lease).filter((address) => contains(slice, address)));
  }

  get #context(): OverlayContext {
    const { slices = (same: readonly Slice[]) => same } = this.#flaws;
    const more = slices(this.#further === undefined ? [] : [this.#further]);
    const assignment = rigAssignment();
    const overlays = assignment.agent.overlays.map((each) => {
      if (each.info.name !== "both") return each;
      // Halves that do not lend make the first slice run out, so that the second one is used.
      return { ...each, more, info: { ...each.info, strictHalves: more.length > 0 } };
    });
    return { ...seedContext(1), assignment: { ...assignment, agent: { ...assignment.agent, overlays } } };
  }

  async #checkTold(key: string, { call, result, addresses }: Told, leases: readonly Lease[]): Promise<void> {
    const lease = leases.find(({ containerId, ifname }) => `${containerId} ${ifname}` === key);
    assert(lease !== undefined, `${key} was told it is attached, and has no lease`);
    assert.deepEqual(addressesOf(lease), addresses, `${key} has the addresses it was told`);
    const { status, body } = await this.#service.answer(
      callBody({ ...call, command: "CHECK", config: { ...call.config, prevResult: result } }),
    );
    assert.equal(status, 200, `${key} is whole: ${body}`);
  }

  async #checkKernel(devices: readonly string[]): Promise<void> {
    const { links, tables } = await this.#kernel.observe([]);
    const sorted = devices.toSorted();
    const veths = links.map(({ name }) => name).filter((name) => name.startsWith(OWNER));
    assert.deepEqual(veths.toSorted(), sorted, "devices");
    const chains = tables
      .filter(({ family }) => family === "netdev")
      .flatMap((table) => table.chains)
      .flatMap(({ hook }) => hook?.device ?? []);
    assert.deepEqual(chains.toSorted(), sorted, "chains");
  }

  /** The host, as text, without the MACs that a kernel draws anew. */
  async dump(): Promise<string> {
    return formatHostState(await this.#kernel.observe([])).replaceAll(/ address [0-9a-f:]{17}/g, "");
  }

  leases(): readonly Lease[] {
    return this.#store.leases();
  }

  // ---- inside --------------------------------------------------------------------------------------------------------

  async #carryOut(call: TestCall): Promise<void> {
    const { status, body } = await this.#service.answer(callBody(this.#flaws.call?.(call) ?? call));
    const key = `${call.containerId} ${call.ifname ?? "eth0"}`;
    if (call.command === "DEL" && status === 200) this.#forgetIfMeant(key, call);
    // It may have stopped half-way: the lease is then on its way out.
    if (call.command === "DEL" && status !== 200 && !body.includes('"code":5')) this.#doubt(key);
    if (call.command !== "ADD" || status !== 200) return;
    const result = JSON.parse(body) as { ips: { address: string }[] };
    const addresses = result.ips.map(({ address }) => address.split("/")[0] ?? "");
    for (const [other, told] of this.told)
      if (other !== key)
        for (const address of addresses)
          assert(!told.addresses.includes(address), `${address} is given to ${key}, and ${other} has it`);
    this.doubt.delete(key);
    if (this.#machine.hasNetns(call.containerId)) this.told.set(key, { call, result, addresses });
  }

  /** DEL of another network or another plugin means nothing here. */
  #forgetIfMeant(key: string, call: TestCall): void {
    const told = this.told.get(key);
    if (told === undefined || (told.call.network === call.network && pluginOf(told.call) === pluginOf(call)))
      this.told.delete(key);
    const held = this.#service.leases().some(({ containerId, ifname }) => `${containerId} ${ifname}` === key);
    if (!held) this.doubt.delete(key);
  }

  #forget(key: string): void {
    this.told.delete(key);
    this.doubt.delete(key);
  }

  #doubt(key: string): void {
    this.told.delete(key);
    this.doubt.add(key);
  }

  async #survive(work: () => Promise<void>, call?: TestCall): Promise<void> {
    const life = this.#life;
    try {
      await this.#turns.take();
      await work();
    } catch (error) {
      if (!(error instanceof Killed) || !life.isOver()) throw error;
      if (call !== undefined && call.command !== "CHECK" && call.command !== "STATUS")
        this.#doubt(`${call.containerId} ${call.ifname ?? "eth0"}`);
    }
  }

  async #repairPass(isWhole = false): Promise<void> {
    const observed = await this.#kernel.observe([]);
    await this.#turns.take();
    if (isWhole) this.clock.advance(31_000);
    await this.#service.repair(observed);
  }

  /** What the agent's loop does after a repair. */
  async pass(): Promise<void> {
    const attachments = this.#service.attachments();
    const observed = await this.#kernel.observe(sysctlPaths({ ...this.#context, attachments }));
    const present = new Set(observed.links.map(({ name }) => name));
    const there = attachments.filter(({ hostIfname }) => present.has(hostIfname));
    const desired: HostState = desiredHost({ ...this.#context, peers: [], attachments: there, observed });
    assert.deepEqual(await this.#kernel.apply(diff(observed, desired)), []);
  }

  #newLife(stepsMax?: number): Life {
    return new Life(stepsMax, () => this.#turns.take());
  }

  #startAgent(life: Life): void {
    this.#store.close();
    this.#life = life;
    this.#store = openMemoryAgentStore(this.disk);
    this.#service = this.#newService();
  }

  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#tail.then(work);
    this.#tail = done.catch(() => {});
    return done;
  }

  #newService(): AttachService {
    const { store = (same: AgentStore) => same, kernel = (same: Kernel) => same } = this.#flaws;
    this.#tail = Promise.resolve();
    return new AttachService({
      ...NOBODY_ELSE,
      kernel: mortalKernel(kernel(this.#kernel), this.#life),
      store: mortalStore(store(this.#store), this.#life),
      clock: this.clock,
      log: SILENT_LOG,
      host: {
        context: () => this.#context,
        statuses: () => [],
        changed: () => {},
        again: () => {},
        exclusive: (work) => this.#exclusive(work),
        heal: async () => {},
      },
    });
  }
}

export function runtimeOf({ environment }: TestCall): string {
  return environment?.CNI_WEFT_RUNTIME ?? "";
}

function pluginOf({ environment }: TestCall): string {
  return environment?.CNI_WEFT_PLUGIN ?? "weft-cni";
}
