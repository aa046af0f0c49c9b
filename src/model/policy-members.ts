/**
 * What an agent tells others of its labelled containers, so that their kernels know who is in which group: for each
 * container the labels that policies ask for, and its addresses. It travels on the agent's own word; so an address counts
 * only if the cluster gave it to that agent.
 */
import { z } from "zod";
import type { Attachment } from "./attachment.ts";
import { addressesOf } from "./attachment.ts";
import { type Cidr, contains, familyOf } from "./ip.ts";
import { POLICY_MEMBERS_TOLD_MAX, POLICY_MEMBERS_TOLD_MAX_BYTES } from "./limits.ts";
import type { Policy, PolicyMember } from "./policy.ts";
import { ipSchema } from "./schemas.ts";

const toldSchema: z.ZodType<readonly PolicyMember[]> = z
  .array(
    z.object({ network: z.string(), labels: z.record(z.string(), z.string()), addresses: z.array(ipSchema).max(2) }),
  )
  .max(POLICY_MEMBERS_TOLD_MAX);

/** The containers that some policy may select, with no other labels than those that policies ask for. */
export function policyMembers(
  attachments: readonly Attachment[],
  policies: readonly Policy[],
): readonly PolicyMember[] {
  const keys = new Set(policies.flatMap(({ from, to }) => [...Object.keys(from), ...Object.keys(to)]));
  return attachments.flatMap((attachment) => {
    const labels = Object.fromEntries(Object.entries(attachment.labels ?? {}).filter(([key]) => keys.has(key)));
    const { network } = attachment;
    return Object.keys(labels).length === 0 ? [] : [{ network, labels, addresses: addressesOf(attachment) }];
  });
}

/** As many as fit, in their order; `undefined` when there is nothing to tell. */
export function encodeMembers(members: readonly PolicyMember[]): Uint8Array | undefined {
  const texts: string[] = [];
  let bytes = 2;
  for (const member of members.slice(0, POLICY_MEMBERS_TOLD_MAX)) {
    const text = JSON.stringify(member);
    bytes += Buffer.byteLength(text) + 1;
    if (bytes > POLICY_MEMBERS_TOLD_MAX_BYTES) break;
    texts.push(text);
  }
  return texts.length === 0 ? undefined : Buffer.from(`[${texts.join()}]`);
}

/**
 * What another agent told; nothing of what cannot be read.
 * @param subnets that the cluster gave that agent
 */
export function decodeMembers(told: Uint8Array, subnets: readonly Cidr[]): readonly PolicyMember[] {
  if (told.length > POLICY_MEMBERS_TOLD_MAX_BYTES) return [];
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(told).toString());
  } catch {
    return [];
  }
  const { data = [] } = toldSchema.safeParse(value);
  const isItsOwn = (address: PolicyMember["addresses"][number]): boolean =>
    subnets.some((subnet) => familyOf(subnet) === familyOf(address) && contains(subnet, address));
  return data.map((member) => ({ ...member, addresses: member.addresses.filter(isItsOwn) }));
}
