/**
 * One whole host of a simulation: a machine with a kernel, a disk, containers, and the agent's process, which does with
 * shipping parts what src/app/agent does: peers that gossip names are programmed at once, others stay until all can be
 * known, and a pass makes the kernel what is desired. Without promises, so that a run stays on virtual time.
 */
import { diff } from "../../src/core/host/diff.ts";
import type { HostState, KernelOp } from "../../src/core/host/host-state.ts";
import { isGone } from "../../src/core/host/op-device.ts";
import { desiredContainer } from "../../src/core/overlay/attach.ts";
import type { OverlayContext } from "../../src/core/overlay/context.ts";
import { desiredHost, peerOps, peerProblems, sysctlPaths } from "../../src/core/overlay/desired.ts";
import { readFacts } from "../../src/core/overlay/facts.ts";
import { changedPeers, type DirectoryChange } from "../../src/core/trust/directory.ts";
import { type FakeKernel, FakeMachine } from "../../src/io/kernel/fake-kernel.ts";
import type { Attachment } from "../../src/model/attachment.ts";
import type { Peer } from "../../src/model/cluster.ts";
import { type Ip, ip, nthAddress, withLength } from "../../src/model/ip.ts";
import { mac } from "../../src/model/mac.ts";
import type { Papers } from "./master-records.ts";

const UNDERLAY_LENGTH = 8;
/** Of a network's half: the first address is the gateway's. */
const FIRST_CONTAINER = 2n;

export class SimHost {
  readonly agentId: string;
  readonly number: number;
  readonly machine = new FakeMachine();
  ip: Ip;
  papers: Papers | undefined;
  attachments: readonly Attachment[] = [];
  /** Of the process that runs now. */
  readonly peers = new Map<string, Peer>();
  arePeersComplete = false;
  isRunning = false;
  /** Thrown away: another machine is in its place. */
  isOff = false;
  /** Rises with each start and end of the process. */
  life = 0;
  /** What a pass would find to do, though the peers that came were programmed at once; see `pass`. */
  surprise: readonly KernelOp[] = [];
  /** A whole pass was made, and since then only peers changed that contradict nobody. */
  #isExact = false;
  #isProgrammed = false;
  #kernel: FakeKernel;

  constructor(number: number, agentId: string, at: Ip) {
    this.number = number;
    this.agentId = agentId;
    this.ip = at;
    this.#kernel = this.#bootedKernel();
  }

  get kernel(): FakeKernel {
    return this.#kernel;
  }

  /** The machine starts anew, maybe at another address: its kernel is empty, its containers are gone. */
  reboot(at: Ip = this.ip): void {
    this.machine.reboot();
    this.ip = at;
    this.#kernel = this.#bootedKernel();
  }

  /** The host is given another address while its machine runs on. */
  moveTo(at: Ip): void {
    const { namespace } = this.#kernel;
    namespace.removeAddresses(({ dev }) => dev === "eth0");
    this.ip = at;
    namespace.addresses.push({ dev: "eth0", address: withLength(at, UNDERLAY_LENGTH) });
  }

  loseDisk(): void {
    this.papers = undefined;
    this.attachments = [];
  }

  startProcess(): void {
    this.life += 1;
    this.isRunning = true;
    this.peers.clear();
    this.arePeersComplete = false;
    this.#isProgrammed = false;
    this.#isExact = false;
    if (this.hasItsPlace) this.pass();
  }

  endProcess(): void {
    this.life += 1;
    this.isRunning = false;
  }

  /** What is on the disk is of the address that it has. */
  get hasItsPlace(): boolean {
    return this.papers?.assignment.agent.ip === this.ip;
  }

  /** A master's answer. */
  assigned(papers: Papers): void {
    const isSame = JSON.stringify(papers.assignment) === JSON.stringify(this.papers?.assignment);
    this.papers = papers;
    this.attachments = attachmentsOf(this.number, papers);
    if (isSame && this.#isProgrammed) return;
    this.#isProgrammed = false;
    this.#isExact = false;
    this.pass();
  }

  /** There are no others than these. */
  knowsAll(peers: readonly Peer[]): void {
    this.peers.clear();
    for (const peer of peers) this.peers.set(peer.id, peer);
    this.arePeersComplete = true;
    this.#isExact = false;
    this.pass();
  }

  learned(changes: readonly DirectoryChange[]): void {
    const peers = changedPeers(changes);
    if (peers.size > 0) this.#peersChanged(peers);
  }

  get context(): OverlayContext | undefined {
    const { papers } = this;
    if (papers === undefined) return undefined;
    const facts = readFacts(this.#kernel.namespace.observe([]), this.ip);
    return { assignment: papers.assignment, facts, features: this.machine.features };
  }

  /** Peers that must be in the kernel by now; none while two of them contradict each other, which a pass settles. */
  settledPeers(): readonly Peer[] {
    const { context } = this;
    return context !== undefined && this.#isProgrammed && this.#areUncontested(context) ? [...this.peers.values()] : [];
  }

  /** What a pass would do now. */
  pending(): readonly KernelOp[] {
    const context = this.context;
    if (context === undefined) return [];
    const { attachments } = this;
    const { namespace } = this.#kernel;
    const observed: HostState = namespace.observe(sysctlPaths({ ...context, attachments }));
    const peers = [...this.peers.values()];
    return diff(
      observed,
      desiredHost({ ...context, attachments, peers, otherPeersStay: !this.arePeersComplete, observed }),
    );
  }

  /** @returns how many operations it took */
  pass(): number {
    const { context } = this;
    if (context === undefined || !this.hasItsPlace) return 0;
    for (const { netns } of this.attachments) if (this.machine.netns(netns) === undefined) this.machine.newNetns(netns);
    const ops = this.pending();
    if (this.#isExact && ops.length > 0) this.surprise = ops;
    const failures = this.#kernel.applyNow(ops).filter(({ op, error }) => !isGone(op, error.code));
    let count = ops.length;
    for (const attachment of this.attachments) count += this.#passInside(attachment, context);
    this.#isProgrammed = failures.length === 0;
    this.#isExact = this.#isProgrammed && this.arePeersComplete && this.#areUncontested(context);
    return count;
  }

  #passInside(attachment: Attachment, context: OverlayContext): number {
    const namespace = this.machine.netns(attachment.netns);
    if (namespace === undefined) return 0;
    const desired = desiredContainer(attachment, context);
    const ops = diff(namespace.observe(desired.sysctls.map(({ path }) => path)), desired);
    if (ops.length > 0) this.machine.kernelOf(namespace).applyNow(ops);
    return ops.length;
  }

  /** They are programmed at once, without reading the kernel. */
  #peersChanged(changed: ReadonlyMap<string, Peer | undefined>): void {
    const before = [...changed.keys()].flatMap((id) => this.peers.get(id) ?? []);
    const after = [...changed.values()].flatMap((peer) => peer ?? []);
    const { context } = this;
    const wasUncontested = context !== undefined && this.#isExact && this.#areUncontested(context);
    for (const [id, peer] of changed)
      if (peer === undefined) this.peers.delete(id);
      else this.peers.set(id, peer);
    if (context === undefined || !this.#isProgrammed) {
      this.pass();
      return;
    }
    this.#isExact = wasUncontested && this.#areUncontested(context);
    const failures = this.#kernel.applyNow(peerOps(before, after, context));
    if (failures.length > 0) this.pass();
  }

  #areUncontested(context: OverlayContext): boolean {
    return peerProblems([...this.peers.values()], context).length === 0;
  }

  #bootedKernel(): FakeKernel {
    const kernel = this.machine.kernel();
    kernel.addDevice("eth0", [`${this.ip}/${UNDERLAY_LENGTH}`]);
    return kernel;
  }
}

/** One container on the first network, and on every second host one on the second network. */
function attachmentsOf(number: number, { assignment }: Papers): readonly Attachment[] {
  const { overlays } = assignment.agent;
  return overlays.slice(0, 1 + (number % 2)).flatMap(({ info, mesosBridge }, n) => {
    const [half, half6] = [mesosBridge?.ip, mesosBridge?.ip6];
    const containerId = `h${number}c${n}`;
    return [
      {
        containerId,
        ifname: "eth0",
        network: info.name,
        netns: `/run/netns/${containerId}`,
        netnsId: `boot-1:${n}`,
        hostIfname: `weft${number}c${n}`,
        mac: mac(`02:57:00:0${n}:${hex(number >> 8)}:${hex(number & 255)}`),
        ...(half !== undefined && { ip: nthAddress(half, FIRST_CONTAINER) }),
        ...(half6 !== undefined && { ip6: nthAddress(half6, FIRST_CONTAINER) }),
        state: "attached",
        requestId: "r",
        runtime: "podman",
        since: "2026-11-21T08:00:00Z",
      },
    ];
  });
}

function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}

/** A gossip address's host. */
export function hostOf(address: string): Ip {
  return ip(address.slice(0, address.lastIndexOf(":")));
}
