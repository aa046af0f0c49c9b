/**
 * Links: which are made, changed in place, or deleted, and what a deletion takes with it.
 *
 * Kind, VNI, port, local address and learning cannot be changed on a living device: one of ours that differs in them is
 * deleted and made again. A foreign one is left; the `link.add` that follows is refused by the kernel and so reported.
 */
import type { HostState, KernelOp, Link } from "./host-state.ts";
import { ownsLink } from "./ownership.ts";

export interface LinkChanges {
  readonly deleted: readonly Link[];
  /** Links to be made, those that replace a deleted one included. */
  readonly added: readonly Link[];
  readonly set: readonly Extract<KernelOp, { op: "link.set" }>[];
  /** Devices that are not there once `deleted` are: what was on them is gone without being deleted. */
  readonly gone: ReadonlySet<string>;
  /** Names that somebody else's device holds. Nothing is put on them. */
  readonly blocked: ReadonlySet<string>;
  /** Devices whose neighbours the kernel drops, because their MAC changes. */
  readonly renumbered: ReadonlySet<string>;
}

export function diffLinks(observed: HostState["links"], desired: HostState["links"]): LinkChanges {
  const wanted = new Map(desired.map((link) => [link.name, link]));
  const present = new Map(observed.map((link) => [link.name, link]));
  const deleted = observed.filter((link) => {
    const want = wanted.get(link.name);
    return ownsLink(link) && (want === undefined || !isSameDevice(link, want));
  });
  const gone = new Set(deleted.map((link) => link.name));
  const added: Link[] = [];
  const set: LinkChanges["set"][number][] = [];
  const blocked = new Set<string>();
  for (const want of desired) {
    const there = gone.has(want.name) ? undefined : present.get(want.name);
    if (there !== undefined && isSameDevice(there, want)) {
      const change = inPlace(there, want);
      if (change !== undefined) set.push(change);
    } else if (isMadeByUs(want)) {
      added.push(want);
      if (there !== undefined) blocked.add(want.name);
    } else set.push({ op: "link.set", name: want.name, up: want.up });
  }
  const renumbered = new Set(set.filter((op) => op.mac !== undefined).map((op) => op.name));
  return { deleted, added, set, gone, blocked, renumbered };
}

/** A device of somebody else's, and the container's end of a pair, must be there; they are not made. */
export function isMadeByUs(link: Link): link is Extract<KernelOp, { op: "link.add" }>["link"] {
  return link.kind !== "device" && !(link.kind === "veth" && link.peer === undefined);
}

function isSameDevice(there: Link, want: Link): boolean {
  if (want.kind === "device") return true;
  if (there.kind !== want.kind) return false;
  if (want.kind !== "vxlan" || there.kind !== "vxlan") return true;
  return (
    there.vni === want.vni && there.port === want.port && there.local === want.local && there.learning === want.learning
  );
}

function inPlace(there: Link, want: Link): Extract<KernelOp, { op: "link.set" }> | undefined {
  const change = {
    ...(want.mtu !== undefined && want.mtu !== there.mtu ? { mtu: want.mtu } : {}),
    ...(want.mac !== undefined && want.mac !== there.mac ? { mac: want.mac } : {}),
    ...(want.alias !== undefined && want.alias !== there.alias ? { alias: want.alias } : {}),
    ...(want.up !== there.up ? { up: want.up } : {}),
  };
  return Object.keys(change).length === 0 ? undefined : { op: "link.set", name: want.name, ...change };
}
