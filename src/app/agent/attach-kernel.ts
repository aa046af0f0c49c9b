/**
 * What attaching does to the kernel: build both sides of an attachment, take them away, compare them with what they
 * should be. No step remembers anything; what each side looks like is decided in core/overlay/attach.
 */

import { isDatapathOp } from "../../core/host/datapath.ts";
import { diff } from "../../core/host/diff.ts";
import { difference } from "../../core/host/differences.ts";
import { EMPTY_HOST_STATE, type HostState, type KernelOp, type NftTable } from "../../core/host/host-state.ts";
import { isGone } from "../../core/host/op-device.ts";
import {
  attachOps,
  desiredAttachment,
  desiredContainer,
  detachInsideOps,
  detachOps,
  insideName,
} from "../../core/overlay/attach.ts";
import type { OverlayContext } from "../../core/overlay/context.ts";
import type { ContainerKernel, Kernel, OpFailure } from "../../io/ports.ts";
import type { Attachment, Lease } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";

/**
 * Makes the pair, the host's side and the container's inside. A device that is in the way under the host's name is
 * ours from another time: it is removed first.
 * @param siblings the other attachments of the container
 * @param inside absent: an engine takes the container's end, and makes the inside
 * @throws Fault kernel-refused, no-rights; what was made so far stays
 */
export async function build(
  attachment: Attachment,
  siblings: readonly Attachment[],
  context: OverlayContext,
  kernel: Kernel,
  inside?: ContainerKernel,
): Promise<void> {
  let failures = await kernel.apply(attachOps(attachment, siblings, context));
  if (failures.some(({ op, error }) => op.op === "link.add" && error.code === "EEXIST")) {
    await takeDown(attachment, siblings, kernel);
    failures = await kernel.apply(attachOps(attachment, siblings, context));
  }
  refuse(attachment, failures);
  if (inside === undefined) return;
  const desired = desiredContainer(attachment, context);
  // Nothing is on a device that was just made, so nothing has to be read; but a rule stays when its device goes. Docker
  // waits: there such a rule is refused, and taken away before the next try.
  const isBare = desired.rules.length === 0 || attachment.docker !== undefined;
  const observed = isBare ? bare(desired) : await observeFor(desired, inside);
  refuse(attachment, await inside.apply(diff(observed, desired)));
}

/** Makes the inside what it should be, where an engine has made most of it. @throws Fault kernel-refused, no-rights */
export async function tell(attachment: Attachment, context: OverlayContext, inside: ContainerKernel): Promise<void> {
  const desired = desiredContainer(attachment, context);
  refuse(attachment, await inside.apply(diff(await observeFor(desired, inside), desired)));
}

/**
 * Removes what `build` makes; the container's end goes with the host's.
 * @throws Fault kernel-refused, no-rights; not for what is gone already
 */
export async function takeDown(attachment: Attachment, siblings: readonly Attachment[], kernel: Kernel): Promise<void> {
  const onHost = await kernel.apply(detachOps(attachment, siblings));
  const failures = [...onHost, ...(await clearInside(attachment, kernel))];
  refuse(
    attachment,
    failures.filter(({ op, error }) => !isGone(op, error.code)),
  );
}

/** Enters the namespace only for what would stay there without the device, and only while it is the same one. */
async function clearInside(attachment: Attachment, kernel: Kernel): Promise<readonly OpFailure[]> {
  const ops = detachInsideOps(attachment);
  if (ops.length === 0) return [];
  const inside = await openNamespace(kernel, attachment);
  try {
    return (await inside?.apply(ops)) ?? [];
  } finally {
    inside?.close();
  }
}

/** The namespace of a lease; `undefined` when it is gone, even if its path leads to another. */
export async function openNamespace(kernel: Kernel, lease: Lease): Promise<ContainerKernel | undefined> {
  try {
    const inside = await kernel.enter(lease.netns);
    if (inside.netnsId === lease.netnsId) return inside;
    inside.close();
    return undefined;
  } catch (error) {
    if (error instanceof Fault && error.code === "bad-netns") return undefined;
    throw error;
  }
}

/** What of the attachment is not as it should be, in words; empty when it is whole. A lost device says all. */
export async function differences(
  attachment: Attachment,
  context: OverlayContext,
  kernel: Kernel,
  inside: ContainerKernel,
): Promise<readonly string[]> {
  const desired = { ...EMPTY_HOST_STATE, ...desiredAttachment(attachment, context) };
  const observed = await observeFor(desired, kernel);
  const hostOps = diff(partOf(observed, desired, attachment), desired);
  const lost = hostOps.filter(({ op }) => op === "link.add");
  const onHost = (lost.length > 0 ? lost : hostOps).map((op) => `on the host ${difference(op)}`);
  if ((await presenceOf(attachment, inside)) === "absent")
    return [`in the container device ${insideName(attachment)} is missing`, ...onHost];
  const desiredInside = desiredContainer(attachment, context);
  const insideOnes = diff(await observeFor(desiredInside, inside), desiredInside);
  return [...insideOnes.map((op) => `in the container ${difference(op)}`), ...onHost];
}

/** Whether the container's end of the pair is there, recognized by its MAC; `taken`: its name belongs to another. */
export async function presenceOf(
  attachment: Attachment,
  inside: ContainerKernel,
): Promise<"whole" | "absent" | "taken"> {
  const name = insideName(attachment);
  const end = (await inside.links()).find((link) => link.name === name);
  if (end === undefined) return "absent";
  return end.mac === attachment.mac ? "whole" : "taken";
}

/** All that is desired, read. */
function observeFor(desired: HostState, kernel: Kernel): Promise<HostState> {
  return kernel.observe(desired.sysctls.map(({ path }) => path));
}

/** The devices alone, down and with nothing on them. */
function bare({ links }: HostState): HostState {
  return { ...EMPTY_HOST_STATE, links: links.map((link) => ({ ...link, up: false })) };
}

/** Of the host's state, what `desiredAttachment` speaks of. */
function partOf(observed: HostState, desired: HostState, { hostIfname }: Attachment): HostState {
  return {
    ...EMPTY_HOST_STATE,
    links: observed.links.filter(({ name }) => name === hostIfname),
    addresses: observed.addresses.filter(({ dev }) => dev === hostIfname),
    routes: observed.routes.filter(({ dev }) => dev === hostIfname),
    neighbors: observed.neighbors.filter(({ dev }) => dev === hostIfname),
    shapers: observed.shapers.filter(({ dev }) => dev === hostIfname),
    sysctls: observed.sysctls,
    tables: desired.tables.flatMap((table) => {
      const there = observed.tables.find(({ family, name }) => family === table.family && name === table.name);
      return there === undefined ? [] : [tablePartOf(there, table)];
    }),
  };
}

/** A port that leads to another interface of the same container is as good as its own. */
function tablePartOf(observed: NftTable, desired: NftTable): NftTable {
  const chains = new Set(desired.chains.map(({ name }) => name));
  const maps = desired.maps.flatMap((map) => {
    const there = observed.maps.find(({ name, type }) => name === map.name && type === map.type);
    const keys = new Set(there?.elements.map(([key]) => key));
    return there === undefined ? [] : [{ ...map, elements: map.elements.filter(([key]) => keys.has(key)) }];
  });
  return { ...observed, chains: observed.chains.filter(({ name }) => chains.has(name)), maps };
}

/** What the datapath lacks the kernel does, and the next pass mends. */
function refuse(attachment: Attachment, failures: readonly OpFailure[]): void {
  const first = failures.find(({ op, error }) => !isAbsentSysctl(op, error.code) && !isMemory(op) && !isDatapathOp(op));
  if (first === undefined) return;
  const { containerId, ifname, network } = attachment;
  const code = ["EPERM", "EACCES"].includes(first.error.code) ? "no-rights" : "kernel-refused";
  throw new Fault(
    code,
    `container ${containerId}: ${ifname} on network ${network}: the kernel refused to ${first.error.message}; ` +
      "nothing of the call is left, it may be sent again",
    { containerId, ifname, network, failures: failures.map(({ error }) => error.message) },
  );
}

/** That old connections go on as they were is a pity, and no reason to have no new ones. */
function isMemory({ op }: KernelOp): boolean {
  return op === "connections.forget";
}

/** A kernel without IPv6 has none of its sysctls. */
function isAbsentSysctl(op: KernelOp, code: string): boolean {
  return op.op === "sysctl.set" && op.sysctl.path.startsWith("net/ipv6/") && code === "ENOENT";
}
