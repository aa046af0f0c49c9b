/**
 * The doors into one network namespace: its netlink sockets, and its part of /proc/sys.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import type { Sysctl } from "../../core/host/host-state.ts";
import { SystemCallError } from "./ffi.ts";
import { NETLINK_NETFILTER, NETLINK_ROUTE, NetlinkSocket } from "./netlink-socket.ts";
import { inNetns, type Netns } from "./netns.ts";

export class KernelSockets {
  /** `undefined`: the namespace that the process is in. */
  readonly netns: Netns | undefined;
  readonly route: NetlinkSocket;
  #netfilter: NetlinkSocket | undefined;

  constructor(netns: Netns | undefined) {
    this.netns = netns;
    this.route = this.openRoute();
  }

  /**
   * Which namespace this is: `BOOTID:COOKIE`, which no other ever has; so one that a reboot or a reused path put in its
   * place is told apart by comparison. `BOOTID:DEVICE:INODE` on a kernel without cookies.
   */
  netnsId(netns: Netns): string {
    return `${bootId()}:${this.route.netnsCookie ?? netns.inode}`;
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

  /** Whether the kernel has IPv6 at all. */
  hasIpv6(): boolean {
    ipv6WasSeen ||= existsSync("/proc/sys/net/ipv6"); // it comes with a module, and never goes
    return ipv6WasSeen;
  }

  /** The value without surrounding white space; `undefined` where there is no such setting. */
  readSysctls(paths: readonly string[]): readonly (string | undefined)[] {
    return inNetns(this.netns, () => paths.map(readSysctl));
  }

  /** All of them while the namespace is entered once. @returns what each threw, or `undefined` */
  writeSysctls(sysctls: readonly Sysctl[]): readonly unknown[] {
    return inNetns(this.netns, () => sysctls.map(writeSysctl));
  }

  close(): void {
    this.route.close();
    this.#netfilter?.close();
    this.netns?.close();
  }
}

let ipv6WasSeen = false;
let knownBootId: string | undefined;

function bootId(): string {
  knownBootId ??= readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  return knownBootId;
}

function writeSysctl({ path, value }: Sysctl): unknown {
  try {
    writeFileSync(`/proc/sys/${path}`, value);
    return undefined;
  } catch (error) {
    return error;
  }
}

function readSysctl(path: string): string | undefined {
  try {
    return readFileSync(`/proc/sys/${path}`, "utf8").trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}
