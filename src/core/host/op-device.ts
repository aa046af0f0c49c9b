/**
 * Which device an operation is about, for whoever must look up its number or tell whose failure it is.
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

/** `net/ipv6/conf/DEV/…` is the device's. */
export function deviceOfSysctl(path: string): string | undefined {
  return /^net\/ipv[46]\/(?:conf|neigh)\/([^/]+)\//.exec(path)?.[1];
}
