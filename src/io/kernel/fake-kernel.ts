/**
 * The simulated twin of the Kernel port, for tests without root: as strict as Linux 6.18 in what it refuses, and with
 * the kernel's own side effects (test/contract/kernel-contract.ts holds for both).
 *
 * A `FakeMachine` is one host: its own namespace and those of its containers, each at a path. It counts operations over
 * all of them, so that a test can make the n-th one fail, or let the program die after it.
 */
import type { FlowSample, PairKey, Traffic } from "../../core/host/datapath.ts";
import { formatHostState } from "../../core/host/format.ts";
import type { HostState, KernelOp, Link, Route } from "../../core/host/host-state.ts";
import { Fault } from "../../model/fault.ts";
import { ipInterface } from "../../model/ip.ts";
import type { ContainerKernel, KernelChange, KernelFeatures, OpFailure, Watch } from "../ports.ts";
import * as datapath from "./fake-kernel-datapath.ts";
import { addLink, deleteLink, moveLink, removeLink, setLink } from "./fake-kernel-links.ts";
import { FakeNamespace, Refusal, refuse } from "./fake-kernel-namespace.ts";
import * as nft from "./fake-kernel-nft.ts";
import * as routing from "./fake-kernel-routing.ts";

/** Thrown out of `apply` where a test wants the program to have died. */
export class Killed extends Error {
  override readonly name = "Killed";
}

export class FakeMachine {
  root: FakeNamespace;
  features: KernelFeatures = {
    missing: [],
    ingressForward: true,
    bandwidth: true,
    datapath: { hook: "tcx", code: "00000000", encapsulates: true, decapsulatesIpv6: true },
  };
  readonly #paths = new Map<string, FakeNamespace>();
  readonly #refusals = new Map<number, string>();
  #boots = 1;
  #cookies = 0;
  #ops = 0;
  #diesAt = Number.POSITIVE_INFINITY;

  constructor() {
    this.root = this.#namespace();
  }

  /** A handle on the machine's own namespace. Several may be open; they see the same. */
  kernel(): FakeKernel {
    return new FakeKernel(this, this.root);
  }

  /** A handle on a container's namespace. */
  kernelOf(namespace: FakeNamespace): FakeKernel {
    return new FakeKernel(this, namespace);
  }

  newNetns(path: string): FakeNamespace {
    if (this.#paths.has(path)) throw new Error(`${path} is there already`);
    const namespace = this.#namespace();
    this.#paths.set(path, namespace);
    return namespace;
  }

  netns(path: string): FakeNamespace | undefined {
    return this.#paths.get(path);
  }

  /** The container ends: its namespace goes, and with it both ends of its pairs. */
  deleteNetns(path: string): void {
    const namespace = this.#paths.get(path);
    if (namespace === undefined) throw new Error(`${path} is not there`);
    this.#paths.delete(path);
    for (const { link, pair } of [...namespace.links.values()]) {
      removeLink(namespace, link.name);
      if (pair === undefined) continue;
      removeLink(pair.namespace, pair.name);
      notify(pair.namespace, new Set(["link"]));
    }
  }

  /** A container runtime takes a device of the machine into its container. */
  giveLink(name: string, path: string, newName: string): void {
    const inside = this.#paths.get(path);
    if (inside === undefined) throw new Error(`${path} is not there`);
    moveLink(this.root, name, inside, newName);
    notify(this.root, new Set(["link"]));
  }

  /** And gives it back, as long as its container lives. */
  returnLink(path: string, name: string, newName: string): void {
    const inside = this.#paths.get(path);
    if (inside?.links.has(name)) moveLink(inside, name, this.root, newName);
  }

  /** The machine starts anew: an empty namespace of its own, no others. Numbers are given from the start again. */
  reboot(): void {
    this.#boots += 1;
    this.#cookies = 0;
    this.#paths.clear();
    this.root = this.#namespace();
  }

  /** Refuses the operation number `n` from now (0: the next one) with `code`. */
  failOp(n: number, code = "EIO"): void {
    this.#refusals.set(this.#ops + n, code);
  }

  /** Carries out `n` more operations, then throws `Killed` once. */
  dieAfter(n: number): void {
    this.#diesAt = this.#ops + n;
  }

  /** Counts an operation. @throws Killed, Refusal as the test asked */
  step(op: KernelOp): void {
    if (this.#ops >= this.#diesAt) {
      this.#diesAt = Number.POSITIVE_INFINITY;
      throw new Killed(`killed before ${op.op}`);
    }
    const code = this.#refusals.get(this.#ops++);
    if (code !== undefined) refuse(code, `${op.op}: refused by the test`);
  }

  #namespace(): FakeNamespace {
    this.#cookies += 1;
    return new FakeNamespace(`boot-${this.#boots}:${this.#cookies}`);
  }
}

/** An open handle on one namespace of a `FakeMachine`. */
export class FakeKernel implements ContainerKernel {
  readonly machine: FakeMachine;
  readonly namespace: FakeNamespace;
  readonly #watches = new Set<(change: KernelChange) => void>();
  #isClosed = false;

  constructor(machine: FakeMachine, namespace: FakeNamespace) {
    this.machine = machine;
    this.namespace = namespace;
  }

  get netnsId(): string {
    return this.namespace.id;
  }

  async observe(sysctlPaths: readonly string[]): Promise<HostState> {
    this.#checkOpen();
    return this.namespace.observe(sysctlPaths);
  }

  async links(): Promise<readonly Link[]> {
    return (await this.observe([])).links;
  }

  async apply(ops: readonly KernelOp[]): Promise<readonly OpFailure[]> {
    return this.applyNow(ops);
  }

  /** As `apply`, for who simulates many hosts on virtual time and cannot wait. */
  applyNow(ops: readonly KernelOp[]): readonly OpFailure[] {
    this.#checkOpen();
    const failures: OpFailure[] = [];
    const changed = new Map<FakeNamespace, Set<KernelChange["kind"]>>();
    try {
      for (const [index, op] of ops.entries()) {
        try {
          this.machine.step(op);
          for (const namespace of this.#touched(op)) {
            const kinds = changed.get(namespace) ?? new Set();
            changed.set(namespace, kinds.add(kindOf(op)));
          }
          carryOut(op, this.namespace, (path) => this.machine.netns(path));
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          failures.push({ index, op, error: { code: error.code, message: error.message } });
        }
      }
    } finally {
      for (const [namespace, kinds] of changed) notify(namespace, kinds);
    }
    return failures;
  }

  watch(onChange: (change: KernelChange) => void): Watch {
    this.#checkOpen();
    const call = (change: KernelChange): void => onChange(change);
    this.#watches.add(call);
    this.namespace.watchers.add(call);
    return { close: () => this.#unwatch(call) };
  }

  async features(): Promise<KernelFeatures> {
    return this.machine.features;
  }

  /** What a test put there: nothing here carries packets. */
  async traffic(): Promise<Traffic | undefined> {
    this.#checkOpen();
    return this.namespace.datapath === undefined ? undefined : this.namespace.traffic;
  }

  async forgetPairs(pairs: readonly PairKey[]): Promise<void> {
    this.#checkOpen();
    const keys = new Set(pairs.map(pairText));
    const { traffic } = this.namespace;
    this.namespace.traffic = { ...traffic, pairs: traffic.pairs.filter((pair) => !keys.has(pairText(pair))) };
  }

  async samples(): Promise<readonly FlowSample[]> {
    this.#checkOpen();
    return this.namespace.datapath === undefined ? [] : this.namespace.samples.splice(0);
  }

  async enter(path: string): Promise<FakeKernel> {
    this.#checkOpen();
    const namespace = this.machine.netns(path);
    if (namespace === undefined)
      throw new Fault("bad-netns", `${path}: no network namespace is there; give the path of one that exists`, {
        path,
      });
    return new FakeKernel(this.machine, namespace);
  }

  close(): void {
    for (const call of [...this.#watches]) this.#unwatch(call);
    this.#isClosed = true;
  }

  /** All that is there, as text. */
  dump(): string {
    return formatHostState(this.namespace.observe([]));
  }

  /** Gives the machine a device that is not Weft's, up, with these addresses (`10.0.0.11/24`). */
  addDevice(name: string, addresses: readonly string[], mtu = 1500): void {
    this.namespace.addLink({ link: { kind: "device", name, up: true, mtu, mac: this.namespace.nextMac() } }, "0");
    for (const text of addresses) this.namespace.addresses.push({ dev: name, address: ipInterface(text) });
  }

  /** Gives the machine a route that is not Weft's. */
  addForeignRoute(route: Route): void {
    this.namespace.foreignRoutes.push(route);
  }

  /** The namespaces whose watchers hear of the operation: a pair has two ends. */
  #touched(op: KernelOp): readonly FakeNamespace[] {
    const inner =
      op.op === "link.delete"
        ? this.namespace.links.get(op.name)?.pair?.namespace
        : op.op === "link.add" && op.link.kind === "veth" && op.link.peer?.netns !== undefined
          ? this.machine.netns(op.link.peer.netns)
          : undefined;
    return inner === undefined ? [this.namespace] : [this.namespace, inner];
  }

  #unwatch(call: (change: KernelChange) => void): void {
    this.#watches.delete(call);
    this.namespace.watchers.delete(call);
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new Error("assertion failed: the kernel is used before it is closed, not after");
  }
}

function pairText({ source, destination, path }: PairKey): string {
  return `${source} ${destination} ${path}`;
}

/** Events arrive later, never within the call that caused them. */
function notify(namespace: FakeNamespace, kinds: ReadonlySet<KernelChange["kind"]>): void {
  if (namespace.watchers.size === 0) return;
  queueMicrotask(() => {
    for (const call of [...namespace.watchers])
      for (const kind of kinds) if (namespace.watchers.has(call)) call({ kind });
  });
}

function kindOf(op: KernelOp): KernelChange["kind"] {
  const object = op.op.slice(0, op.op.indexOf("."));
  switch (object) {
    case "nft":
      return "nftables";
    case "fdb":
      return "neighbor";
    case "shaper":
      return "link";
    case "connections":
      return "nftables";
    case "datapath":
      return "link";
    case "sysctl":
      return "netconf";
    default:
      return object as KernelChange["kind"];
  }
}

type FindNamespace = (path: string) => FakeNamespace | undefined;

type Carriers = {
  readonly [K in KernelOp["op"]]: (
    namespace: FakeNamespace,
    op: Extract<KernelOp, { readonly op: K }>,
    findNamespace: FindNamespace,
  ) => void;
};

const CARRIERS: Carriers = {
  "link.add": addLink,
  "link.set": setLink,
  "link.delete": deleteLink,
  "address.replace": routing.replaceAddress,
  "address.delete": routing.deleteAddress,
  "route.replace": routing.replaceRoute,
  "route.delete": routing.deleteRoute,
  "rule.add": routing.addRule,
  "rule.delete": routing.deleteRule,
  "neighbor.replace": routing.replaceNeighbor,
  "neighbor.delete": routing.deleteNeighbor,
  "fdb.replace": routing.replaceFdb,
  "fdb.delete": routing.deleteFdb,
  "shaper.replace": routing.replaceShaper,
  "shaper.delete": routing.deleteShaper,
  "connections.forget": routing.forgetConnections,
  "sysctl.set": routing.setSysctl,
  "nft.table.replace": nft.replaceTable,
  "nft.table.delete": nft.deleteTable,
  "nft.chain.replace": nft.replaceChain,
  "nft.chain.delete": nft.deleteChain,
  "nft.map.add": nft.addMap,
  "nft.map.delete": nft.deleteMap,
  "nft.elements.add": nft.addElements,
  "nft.elements.delete": nft.deleteElements,
  "nft.passage.replace": nft.replacePassage,
  "datapath.replace": datapath.replaceDatapath,
  "datapath.prepare": datapath.prepareDevice,
  "datapath.delete": datapath.deleteDatapath,
  "datapath.set": datapath.setDatapath,
  "datapath.attach": datapath.attachProgram,
  "datapath.detach": datapath.detachProgram,
  "datapath.put": datapath.putEntries,
  "datapath.remove": datapath.removeEntries,
};

function carryOut<K extends KernelOp["op"]>(
  op: Extract<KernelOp, { readonly op: K }>,
  namespace: FakeNamespace,
  findNamespace: FindNamespace,
): void {
  const carrier: Carriers[K] = CARRIERS[op.op as K];
  carrier(namespace, op, findNamespace);
}
