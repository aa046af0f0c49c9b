/**
 * A container's interface on one network: the lease of its addresses and the devices that carry it. The agent keeps
 * these on its disk; what the kernel must look like for them follows from them alone.
 */
import type { Ip } from "./ip.ts";
import type { Mac } from "./mac.ts";

export interface Attachment {
  /** Container and interface together identify an attachment (CNI: containerID and ifname). */
  readonly containerId: string;
  readonly ifname: string;
  readonly network: string;
  /** Path of the container's network namespace, and which one it was: `DEVICE:INODE` tells a reused path apart. */
  readonly netns: string;
  readonly netnsId: string;
  /** The host's end of the veth. */
  readonly hostIfname: string;
  /** MAC of the container's interface. */
  readonly mac: Mac;
  /** At most one address of each family; at least one. */
  readonly ip?: Ip;
  readonly ip6?: Ip;
  /**
   * `pending` from before the kernel is touched until all of it is in place: what a dead agent left in that state is
   * taken back. `attached` is what the runtime was told.
   */
  readonly state: "pending" | "attached";
  /** Chosen by the caller for one call, so that the same call sent twice gets the same answer. */
  readonly requestId: string;
}

/** The addresses that an attachment holds, IPv4 first. */
export function addressesOf({ ip, ip6 }: Pick<Attachment, "ip" | "ip6">): readonly Ip[] {
  return [ip, ip6].filter((address) => address !== undefined);
}
