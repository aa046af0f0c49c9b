import type { HostState } from "./host-state.ts";

/** Being written; the signature stands. */
export function formatHostState(_state: HostState): string {
  throw new Error("formatHostState is being written");
}
