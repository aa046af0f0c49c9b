/**
 * The doors into one network namespace: its netlink sockets, and its part of /proc/sys.
 */
import { constants, existsSync, openSync, readFileSync, writeFileSync } from "node:fs";
import type { Sysctl } from "../../core/host/host-state.ts";
import { hasTcx } from "./bpf/bpf-calls.ts";
import { DatapathKernel } from "./bpf/datapath-kernel.ts";
import { type HookChoice, type HookName, Hooks } from "./bpf/hooks.ts";
import { closeFd, SystemCallError } from "./ffi.ts";
import { decodePolicyCount, encodePolicyCountGet } from "./netlink/ipsec-messages.ts";
import { MessageWriter } from "./netlink/message.ts";
import { NETLINK_NETFILTER, NETLINK_ROUTE, NETLINK_XFRM, NetlinkSocket } from "./netlink-socket.ts";
import { inNetns, type Netns, openNetns } from "./netns.ts";

export class KernelSockets {
  /** `undefined`: the namespace that the process is in. */
  readonly netns: Netns | undefined;
  readonly route: NetlinkSocket;
  /** Those into containers that are open now, by the path they were entered by: what works on both sides has them. */
  readonly entered = new Map<string, KernelSockets>();
  #netfilter: NetlinkSocket | undefined;
  #datapath: DatapathKernel | undefined;
  #ipsec: NetlinkSocket | undefined;
  readonly #confFolders = new Map<string, number>();

  constructor(netns: Netns | undefined) {
    this.netns = netns;
    this.route = this.openRoute();
  }

  /**
   * Which namespace this is: `BOOTID:COOKIE`, which no other ever has; so one that a reboot or a reused path put in its
   * place is told apart by comparison. `BOOTID:DEVICE:INODE` on a kernel without cookies.
   */
  netnsId(): string {
    return `${bootId()}:${this.route.netnsCookie ?? this.netns?.inode}`;
  }

  /** Another one, which the caller closes. */
  openRoute(): NetlinkSocket {
    return inNetns(this.netns, () => new NetlinkSocket(NETLINK_ROUTE));
  }

  /** Opened at the first use: most containers need none. `undefined` where the kernel has no netfilter. */
  netfilter(): NetlinkSocket | undefined {
    try {
      this.#netfilter ??= inNetns(this.netns, () => new NetlinkSocket(NETLINK_NETFILTER));
      return this.#netfilter;
    } catch (error) {
      if (error instanceof SystemCallError && error.code === "EPROTONOSUPPORT") return undefined;
      throw error;
    }
  }

  /** Whether the kernel encrypts some of what leaves (IPsec), or does not tell; not where it has no IPsec. */
  encrypts(): boolean {
    // Its module may come later.
    this.#ipsec ??= this.#openIpsec();
    if (this.#ipsec === undefined) return false;
    let count = 0;
    const question = new MessageWriter();
    encodePolicyCountGet(question);
    const verdict = this.#ipsec.ask(question, (message) => {
      count += decodePolicyCount(message) ?? 0;
    });
    return count > 0 || verdict.errno !== 0;
  }

  #openIpsec(): NetlinkSocket | undefined {
    try {
      return inNetns(this.netns, () => new NetlinkSocket(NETLINK_XFRM));
    } catch (error) {
      if (error instanceof SystemCallError && error.code === "EPROTONOSUPPORT") return undefined;
      throw error;
    }
  }

  /** Opened at the first use. `undefined` where the process may not ask for programs. */
  datapath(): DatapathKernel | undefined {
    const hooks = this.hooks();
    if (hooks === undefined) return undefined;
    this.#datapath ??= new DatapathKernel(hooks);
    return this.#datapath;
  }

  /** `undefined` where the process may not ask for programs. */
  hooks(): Hooks | undefined {
    const choice = datapathHooks();
    return choice && new Hooks(this.netns, this.route, kernelHasTcx === true, () => hookChoice ?? choice);
  }

  /** Whether the kernel has IPv6 at all. */
  hasIpv6(): boolean {
    ipv6WasSeen ||= existsSync("/proc/sys/net/ipv6"); // it comes with a module, and never goes
    return ipv6WasSeen;
  }

  /** The value without surrounding white space; `undefined` where there is no such setting. */
  readSysctls(paths: readonly string[]): readonly (string | undefined)[] {
    return inNetns(this.netns, () => paths.map((path) => readSysctl(this.#fileOf(path))));
  }

  /** All of them while the namespace is entered once. @returns what each threw, or `undefined` */
  writeSysctls(sysctls: readonly Sysctl[]): readonly unknown[] {
    return inNetns(this.netns, () => sysctls.map(({ path, value }) => writeSysctl(this.#fileOf(path), value)));
  }

  /**
   * Settings of devices are reached from their folder, which is held open: each walk from /proc/sys passes all network
   * namespaces of the machine (netlink/device-conf.ts). To be called inside the namespace.
   */
  #fileOf(path: string): string {
    const [, folder = "", rest] = /^(net\/ipv[46]\/conf)\/(.*)$/.exec(path) ?? [];
    if (rest === undefined) return `/proc/sys/${path}`;
    let fd = this.#confFolders.get(folder);
    if (fd === undefined) {
      fd = openFolder(`/proc/sys/${folder}`);
      if (fd === undefined) return `/proc/sys/${path}`;
      this.#confFolders.set(folder, fd);
    }
    return `/proc/self/fd/${fd}/${rest}`;
  }

  close(): void {
    this.route.close();
    this.#netfilter?.close();
    this.#datapath?.close();
    this.#ipsec?.close();
    for (const fd of this.#confFolders.values()) closeFd(fd);
    this.#confFolders.clear();
    this.netns?.close();
  }
}

/**
 * Those into the namespace at `path`.
 * @throws Fault bad-netns, no-rights, kernel-refused; SystemCallError
 */
export function openKernelSockets(path: string): KernelSockets {
  const netns = openNetns(path);
  try {
    return new KernelSockets(netns);
  } catch (error) {
    netns.close();
    throw error;
  }
}

/** What this kernel has, asked once; `undefined`: this process may not know. */
let kernelHasTcx: boolean | undefined;
let hookChoice: HookChoice | undefined;

/** How this process puts programs on devices. `undefined`: it may not. */
export function datapathHooks(): HookChoice | undefined {
  kernelHasTcx ??= hasTcx();
  if (kernelHasTcx === undefined) return undefined;
  hookChoice ??= { host: kernelHasTcx ? "tcx" : "clsact", container: "clsact" };
  return hookChoice;
}

/** All programs by one hook, whatever is best. */
export function useHook(name: HookName): void {
  hookChoice = { host: name, container: name };
}

let ipv6WasSeen = false;
let knownBootId: string | undefined;

function bootId(): string {
  knownBootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return knownBootId;
}

/** `undefined` where the kernel has no such folder. */
function openFolder(path: string): number | undefined {
  try {
    return openSync(path, constants.O_RDONLY | constants.O_DIRECTORY);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

function writeSysctl(file: string, value: string): unknown {
  try {
    writeFileSync(file, value);
    return undefined;
  } catch (error) {
    return error;
  }
}

function readSysctl(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
