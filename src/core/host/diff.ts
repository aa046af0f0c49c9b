import type { HostState, KernelOp } from "./host-state.ts";

/** Being written; the signature stands. */
export function diff(_observed: HostState, _desired: HostState): KernelOp[] {
  throw new Error("diff is being written");
}
