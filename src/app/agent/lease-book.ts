/**
 * The attachments of this agent, as the store has them, and which of them are on their way out.
 *
 * Every change is durable before it is visible here. An attachment on its way out is `pending` on the disk, so that an
 * agent that dies meanwhile goes on with it; its addresses are held until it is removed.
 */
import { containerHalves, type LeaseRequest, lease } from "../../core/ipam/lease.ts";
import type { AgentStore } from "../../io/ports.ts";
import { type Attachment, addressesOf } from "../../model/attachment.ts";
import type { Assignment } from "../../model/cluster.ts";
import { type Cidr, contains, type Ip } from "../../model/ip.ts";

type Identity = Pick<Attachment, "containerId" | "ifname">;

export class LeaseBook {
  readonly #store: AgentStore;
  readonly #attachments: Map<string, Attachment>;
  readonly #leaving = new Set<string>();
  readonly #lastGiven = new Map<Cidr, Ip>();

  /** What the store has as `pending` was left by an agent that died: it is on its way out. */
  constructor(store: AgentStore) {
    this.#store = store;
    this.#attachments = new Map(store.attachments().map((attachment) => [keyOf(attachment), attachment]));
    for (const [key, { state }] of this.#attachments) if (state === "pending") this.#leaving.add(key);
  }

  /** Oldest first. */
  all(): readonly Attachment[] {
    return [...this.#attachments.values()];
  }

  get(identity: Identity): Attachment | undefined {
    return this.#attachments.get(keyOf(identity));
  }

  isLeaving(identity: Identity): boolean {
    return this.#leaving.has(keyOf(identity));
  }

  /**
   * The lease that a request would get now; nothing is kept of it.
   * @throws Fault unknown-network, exhausted
   */
  lease(request: LeaseRequest, assignment: Assignment): Attachment {
    return lease(request, assignment, this.#attachments.values(), this.#lastGiven);
  }

  /**
   * Gives addresses and writes them down, in one step that nothing can come between.
   * @throws Fault unknown-network, exhausted, storage
   */
  open(request: LeaseRequest, assignment: Assignment): Attachment {
    const attachment = this.lease(request, assignment);
    this.save(attachment);
    for (const half of containerHalves(assignment, attachment.network))
      for (const address of addressesOf(attachment)) if (contains(half, address)) this.#lastGiven.set(half, address);
    return attachment;
  }

  /** @throws Fault storage; then nothing has changed */
  save(attachment: Attachment): void {
    this.#store.putAttachment(attachment);
    this.#attachments.set(keyOf(attachment), attachment);
  }

  /** @throws Fault storage; then nothing has changed */
  leave(attachment: Attachment): void {
    if (attachment.state !== "pending") this.save({ ...attachment, state: "pending" });
    this.#leaving.add(keyOf(attachment));
  }

  /** Gives the addresses back. @throws Fault storage; then it is still on its way out */
  remove({ containerId, ifname }: Identity): void {
    this.#store.deleteAttachment(containerId, ifname);
    const key = keyOf({ containerId, ifname });
    this.#attachments.delete(key);
    this.#leaving.delete(key);
  }
}

function keyOf({ containerId, ifname }: Identity): string {
  return `${containerId}\0${ifname}`;
}
