/**
 * The Kernel port on Linux, spoken over netlink in this process.
 *
 * Calls of one port are carried out one after another; each does its system calls synchronously, in stretches of a
 * millisecond or two between which the event loop goes on. Nothing about the kernel is remembered from one call to the
 * next. Containers are entered by setns for the moment in which a socket is opened (netns.ts).
 */
import type { FlowSample, PairKey, Traffic } from "../../core/host/datapath.ts";
import type { HostState, KernelOp, Link } from "../../core/host/host-state.ts";
import { Fault } from "../../model/fault.ts";
import type { ContainerKernel, Kernel, KernelChange, KernelFeatures, OpFailure, Watch } from "../ports.ts";
import { applyOps } from "./apply.ts";
import { watchNetns } from "./events.ts";
import { probeFeatures } from "./features.ts";
import { SystemCallError } from "./ffi.ts";
import { KernelSockets, openKernelSockets } from "./kernel-sockets.ts";
import { observeKernel, observeLinks } from "./observe.ts";

/**
 * The network namespace that the process is in.
 * @throws SystemCallError where there is no netlink
 */
export function openLinuxKernel(): Kernel {
  return new LinuxKernel(new KernelSockets(undefined));
}

class LinuxKernel implements Kernel {
  readonly #sockets: KernelSockets;
  readonly #watches = new Set<Watch>();
  #features: Promise<KernelFeatures> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  /** @param sockets become the kernel's own: they are closed with it */
  constructor(sockets: KernelSockets) {
    this.#sockets = sockets;
  }

  observe(sysctlPaths: readonly string[]): Promise<HostState> {
    return this.#inOrder(() => observeKernel(this.#sockets, sysctlPaths));
  }

  links(): Promise<readonly Link[]> {
    return this.#inOrder(async () => observeLinks(this.#sockets).map(({ link }) => link));
  }

  apply(ops: readonly KernelOp[]): Promise<readonly OpFailure[]> {
    return this.#inOrder(() => applyOps(this.#sockets, ops));
  }

  watch(onChange: (change: KernelChange) => void): Watch {
    const watch = watchNetns(this.#sockets.netns, onChange);
    this.#watches.add(watch);
    return {
      close: () => {
        this.#watches.delete(watch);
        watch.close();
      },
    };
  }

  features(): Promise<KernelFeatures> {
    this.#features ??= probeFeatures().catch((error) => {
      this.#features = undefined; // rights may come later
      throw error;
    });
    return this.#features;
  }

  traffic(): Promise<Traffic | undefined> {
    return this.#inOrder(async () => this.#sockets.datapath()?.traffic(observeLinks(this.#sockets)));
  }

  forgetPairs(pairs: readonly PairKey[]): Promise<void> {
    return this.#inOrder(async () => this.#sockets.datapath()?.forgetPairs(observeLinks(this.#sockets), pairs));
  }

  samples(): Promise<readonly FlowSample[]> {
    return this.#inOrder(async () => {
      const links = observeLinks(this.#sockets);
      const names = new Map(links.map(({ ifindex, link }) => [ifindex, link.name]));
      return this.#sockets.datapath()?.samples(links, (ifindex) => names.get(ifindex)) ?? [];
    });
  }

  async enter(path: string): Promise<ContainerKernel> {
    try {
      return new LinuxContainerKernel(openKernelSockets(path), path, this.#sockets.entered);
    } catch (error) {
      throw refusalOf(error);
    }
  }

  close(): void {
    for (const watch of this.#watches) watch.close();
    this.#watches.clear();
    this.#sockets.close();
  }

  #inOrder<T>(call: () => Promise<T>): Promise<T> {
    const result = this.#last.then(call).catch((error) => {
      throw refusalOf(error);
    });
    this.#last = result.catch(() => {});
    return result;
  }
}

class LinuxContainerKernel extends LinuxKernel implements ContainerKernel {
  readonly netnsId: string;
  readonly #leave: () => void;

  constructor(sockets: KernelSockets, path: string, entered: Map<string, KernelSockets>) {
    super(sockets);
    this.netnsId = sockets.netnsId();
    entered.set(path, sockets);
    this.#leave = () => {
      if (entered.get(path) === sockets) entered.delete(path);
    };
  }

  override close(): void {
    this.#leave();
    super.close();
  }
}

/** A system call that failed where none should (no descriptors, no memory) is a refusal too. */
function refusalOf(error: unknown): unknown {
  if (!(error instanceof SystemCallError)) return error;
  return new Fault("kernel-refused", `${error.message}; look at the limits of this process`, { errno: error.code });
}
