/**
 * What failed in a pass, told per network: the status that the master shows (spec: overlay §3.3).
 *
 * A failure belongs to the networks whose devices or subnets its operation is about; one that is about none of them
 * (the tunnel, NAT, a sysctl of the host) belongs to all, because all depend on it.
 */
import type { Attachment } from "../../model/attachment.ts";
import type { AgentOverlay, OverlayStatus } from "../../model/cluster.ts";
import { type Cidr, containsCidr } from "../../model/ip.ts";
import { STATUS_ERROR_MAX_LENGTH } from "../../model/limits.ts";
import { prefixesOf } from "../../model/network.ts";
import type { KernelOp } from "../host/host-state.ts";
import { deviceOf } from "../host/op-device.ts";

/** An operation that failed, and why. */
export interface FailedOp {
  readonly op: KernelOp;
  readonly error: { readonly message: string };
}

/** @returns one status a network, in the order of `overlays` */
export function overlayStatuses(
  overlays: readonly AgentOverlay[],
  failures: readonly FailedOp[],
  attachments: readonly Attachment[],
): OverlayStatus[] {
  const namesOf = failures.map(({ op }) => new Set(networksOf(op, overlays, attachments)));
  return overlays.map(({ info: { name } }) => {
    const errors = failures.filter((_, i) => namesOf[i]?.has(name)).map(({ error }) => error.message);
    if (errors.length === 0) return { name, status: "STATUS_OK" };
    return { name, status: "STATUS_FAILED", error: clipped([...new Set(errors)].join("; ")) };
  });
}

/** The same status for all networks: before the first pass, or when no pass could be made. */
export function uniformStatuses(
  overlays: readonly AgentOverlay[],
  status: OverlayStatus["status"],
  error?: string,
): OverlayStatus[] {
  return overlays.map(({ info: { name } }) =>
    error === undefined ? { name, status } : { name, status, error: clipped(error) },
  );
}

function networksOf(op: KernelOp, overlays: readonly AgentOverlay[], attachments: readonly Attachment[]): string[] {
  // A chain that is deleted had the name of its veth (nodes.ts).
  const device = op.op === "nft.chain.delete" ? op.chain : deviceOf(op);
  const attached = attachments.find(({ hostIfname }) => hostIfname === device);
  if (attached !== undefined) return [attached.network];
  const prefix = prefixOf(op);
  const about = overlays.filter(
    ({ info, mesosBridge, dockerBridge }) =>
      (device !== undefined && [mesosBridge?.name, dockerBridge?.name].includes(device)) ||
      (prefix !== undefined && prefixesOf(info).some((whole) => containsCidr(whole, prefix))),
  );
  return (about.length === 0 ? overlays : about).map(({ info }) => info.name);
}

function prefixOf(op: KernelOp): Cidr | undefined {
  return op.op === "route.replace" || op.op === "route.delete" ? op.route.dst : undefined;
}

function clipped(text: string): string {
  return text.length <= STATUS_ERROR_MAX_LENGTH ? text : `${text.slice(0, STATUS_ERROR_MAX_LENGTH - 1)}…`;
}
