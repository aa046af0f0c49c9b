/**
 * What both halves of the Docker driver are given, and the names they share. They are hands on the same leases as CNI's:
 * one book, one queue, one release.
 */
import type { OverlayContext } from "../../../core/overlay/context.ts";
import type { Log } from "../../../io/log.ts";
import type { AgentStore, Clock, HostSockets, Kernel } from "../../../io/ports.ts";
import { Fault } from "../../../model/fault.ts";
import type { AddressGiver } from "../address-giver.ts";
import type { AttachHost } from "../attach-service.ts";
import type { KeyedQueue } from "../keyed-queue.ts";
import type { LeaseBook } from "../lease-book.ts";
import type { Release } from "../release.ts";

export interface EngineDependencies {
  readonly kernel: Kernel;
  readonly store: AgentStore;
  readonly sockets: HostSockets;
  readonly clock: Clock;
  readonly log: Log;
  readonly host: AttachHost;
  readonly book: LeaseBook;
  readonly queue: KeyedQueue;
  readonly release: Release;
  readonly giver: AddressGiver;
}

/** With the endpoint it identifies a lease; what the interface is named inside is the engine's choice. */
export const ENGINE_IFNAME = "eth";

/** @throws Fault not-ready */
export function requireContext({ context }: AttachHost): OverlayContext {
  const now = context();
  if (now !== undefined) return now;
  throw new Fault("not-ready", "the weft agent of this host has no addresses yet; it is waiting for its master");
}
