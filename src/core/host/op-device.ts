/**
 * What an operation is about, and what its failure means.
 */
import type { KernelOp } from "./host-state.ts";

/** The name of the device; `undefined` for what concerns the whole namespace. */
export function deviceOf(op: KernelOp): string | undefined {
  switch (op.op) {
    case "link.add":
      return op.link.name;
    case "link.set":
    case "link.delete":
      return op.name;
    case "address.replace":
    case "address.delete":
      return op.address.dev;
    case "route.replace":
    case "route.delete":
      return op.route.dev;
    case "neighbor.replace":
    case "neighbor.delete":
      return op.neighbor.dev;
    case "fdb.replace":
    case "fdb.delete":
      return op.entry.dev;
    case "shaper.replace":
    case "shaper.delete":
      return op.shaper.dev;
    case "sysctl.set":
      return deviceOfSysctl(op.sysctl.path);
    case "nft.chain.replace":
      return op.chain.hook?.device;
    default:
      return undefined;
  }
}

/** Whether a deletion failed because there was nothing left to delete, which is what it was for. */
export function isGone(op: KernelOp, code: string): boolean {
  const isDeletion = op.op.endsWith(".delete") || op.op === "datapath.remove" || op.op === "datapath.detach";
  return isDeletion && ["ENOENT", "ENODEV", "ESRCH"].includes(code);
}

/** `net/ipv6/conf/DEV/…` is the device's. */
export function deviceOfSysctl(path: string): string | undefined {
  return /^net\/ipv[46]\/(?:conf|neigh)\/([^/]+)\//.exec(path)?.[1];
}
