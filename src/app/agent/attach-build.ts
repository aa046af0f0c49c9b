/**
 * Builds an attachment on a host that somebody may have damaged a moment ago: where the kernel refuses, the host is
 * mended by a pass first, and it is tried once more.
 */
import type { OverlayContext } from "../../core/overlay/context.ts";
import type { Log } from "../../io/log.ts";
import type { ContainerKernel, Kernel } from "../../io/ports.ts";
import type { Attachment } from "../../model/attachment.ts";
import { Fault } from "../../model/fault.ts";
import { build, takeDown } from "./attach-kernel.ts";
import type { AttachHost } from "./attach-service.ts";
import type { LeaseBook } from "./lease-book.ts";

export interface BuildDependencies {
  readonly kernel: Kernel;
  readonly book: LeaseBook;
  readonly host: AttachHost;
  readonly log: Log;
}

/** @param inside see `build` @throws Fault kernel-refused, no-rights; what was made so far stays */
export async function buildMended(
  pending: Attachment,
  context: OverlayContext,
  { book, host, kernel, log }: BuildDependencies,
  inside?: ContainerKernel,
): Promise<void> {
  const siblings = book.siblings(pending);
  const attempt = () => host.exclusive(() => build(pending, siblings, context, kernel, inside));
  try {
    await attempt();
  } catch (error) {
    if (!(error instanceof Fault) || error.code !== "kernel-refused") throw error;
    const { containerId, ifname, network } = pending;
    log.info({ containerId, ifname, network }, `tried again after a pass: ${error.message}`);
    await host.exclusive(() => takeDown(pending, siblings, kernel));
    await host.heal();
    await attempt();
  }
}
