/**
 * Who is in which group of containers, as this agent knows it: its own containers by its leases, others by what their
 * agents tell, as far as the cluster gave those the addresses.
 */
import type { Attachment } from "../../model/attachment.ts";
import type { Assignment, Peer } from "../../model/cluster.ts";
import { type Hosting, hostedBy } from "../../model/hosting.ts";
import { hostCidr } from "../../model/ip.ts";
import type { PolicyMember } from "../../model/policy.ts";
import { decodeMembers, encodeMembers, policyMembers } from "../../model/policy-members.ts";

export class MemberBook {
  /** By agent id, as it was told. */
  readonly #told = new Map<string, Uint8Array>();
  #lastTold = "";

  /** @returns whether anything changed */
  heard(agentId: string, told: Uint8Array | undefined): boolean {
    const before = this.#told.get(agentId);
    if (before === undefined ? told === undefined : told !== undefined && Buffer.compare(before, told) === 0)
      return false;
    if (told === undefined) this.#told.delete(agentId);
    else this.#told.set(agentId, told.slice());
    return true;
  }

  /** All that are known; none are asked for without policies. */
  members(
    { policies = [] }: Assignment,
    attachments: readonly Attachment[],
    peers: readonly Peer[],
    hosting: Hosting,
  ): readonly PolicyMember[] {
    if (policies.length === 0) return [];
    const others = peers.flatMap((peer) => {
      const told = this.#told.get(peer.id);
      if (told === undefined) return [];
      return decodeMembers(told, [...peer.subnets, ...hostedBy(peer, hosting).map(hostCidr)]);
    });
    return [...policyMembers(attachments, policies), ...others];
  }

  /** Calls `tell` if what others are to know of this agent's containers is not what they were told last. */
  tell(
    { policies = [] }: Assignment,
    attachments: readonly Attachment[],
    tell: (told: Uint8Array | undefined) => void,
  ): void {
    const told = encodeMembers(policyMembers(attachments, policies));
    const text = told === undefined ? "" : Buffer.from(told).toString();
    if (text === this.#lastTold) return;
    this.#lastTold = text;
    tell(told);
  }
}
